export { createCapture } from "./capture.ts";
export { CAPTURE_MESSAGES } from "./types.ts";
export type {
  Capture,
  CaptureCode,
  CapturedFunction,
  CaptureHost,
  CaptureResult,
  FunctionLocation,
  FunctionScopes,
  Inspector,
  LoadedModule,
  Resolved,
} from "./types.ts";
export { SourceMapV3 } from "./source-map.ts";
