export { generate } from "./codegen.ts";
export type { Code } from "./emit.ts";
export type { Target } from "./target.ts";
export { DEFAULT_TARGET, targetFor } from "./target.ts";
