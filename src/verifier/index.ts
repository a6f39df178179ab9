export type * from "./capture.ts";
export { VerifierAborted, VerifierReject } from "./errors.ts";
export { Profile, type ProfileFrame } from "./profile.ts";
export { verify } from "./verify.ts";
export type { Verdict, VerifyOptions } from "./verify.ts";
