export type * from "./capture.ts";
export { VerifierAborted, VerifierReject } from "./errors.ts";
export { type CauseStep, type ExplainOptions, type Explanation, explain } from "./explain/index.ts";
export { KERNELS, type KernelProfile, kernelProfile } from "./kernel-profile.ts";
export { Profile, type ProfileFrame } from "./profile.ts";
export { type LineCost, foldedStacks, lineCosts } from "./stats/index.ts";
export { verify } from "./verify.ts";
export type { Verdict, VerifyOptions } from "./verify.ts";
