export * from "./capture/index.ts";
export * from "./compile.ts";
export { DEFAULT_TARGET, type Target } from "./codegen/index.ts";
export type { Arch, TracepointField, TracepointFormat } from "./front/index.ts";
export type { OptLevel } from "./opt/index.ts";
