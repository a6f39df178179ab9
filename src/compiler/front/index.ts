export { type BranchKind, type CoverBranch, type CoverCount, type CoverFunction, type CoverTable } from "./cover.ts";
export { lowerProgram } from "./program.ts";
export { KernelTypes } from "./kernel.ts";
export { ModuleContext, isGlobal, isMap, isProgram } from "./module.ts";
export type { Arch, TracepointField, TracepointFormat } from "./targets.ts";
