export * from "./fault.ts";
export { Interp, type Status } from "./interp.ts";
export * from "./maps/index.ts";
export type { RunInput } from "./context.ts";
export { Run, type UninitRule } from "./run.ts";
export * from "./run-program.ts";
export * from "./vm.ts";
export * from "./world.ts";
