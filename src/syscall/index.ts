export * from "./attr.ts";
export * from "./attr-layout.ts";
export * from "./bpf.ts";
export * from "./errors.ts";
export * from "./fd.ts";
export * from "./kernel.ts";
export * from "./kernel-real.ts";
