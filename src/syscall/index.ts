export * from "./fd.ts";
export * from "./kernel.ts";
export * from "./kernel-real.ts";
