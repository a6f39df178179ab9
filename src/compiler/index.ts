export * from "./capture/index.ts";
export * from "./compile.ts";
export { DEFAULT_TARGET, targetFor, type Target } from "./codegen/index.ts";
export type {
  Arch,
  BranchKind,
  CoverBranch,
  CoverCount,
  CoverFunction,
  CoverTable,
  TracepointField,
  TracepointFormat,
} from "./front/index.ts";
export type { OptLevel } from "./opt/index.ts";
export { renderDiagnostics, type RenderOptions } from "../core/render.ts";
export type { Diagnostic, Label, Severity, Span } from "../core/diagnostic.ts";
