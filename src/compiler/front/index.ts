export { lowerProgram } from "./program.ts";
export { KernelTypes } from "./kernel.ts";
export { ModuleContext, isGlobal, isMap, isProgram, type ModuleOptions } from "./module.ts";
export { MESSAGES, type Message, type MessageCode } from "./messages.ts";
export type { Arch, TracepointField, TracepointFormat } from "./targets.ts";
