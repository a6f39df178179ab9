export {
  type ReadCapture,
  type ReadCaptureOptions,
  CAPTURE_FORMAT,
  progLoadFromJson,
  progLoadToJson,
} from "./capture.ts";
export * from "./constants.ts";
export * from "./data-maps.ts";
export { prepareBtf } from "./fix-btf.ts";
export * from "./functions.ts";
export * from "./object.ts";
export type { AttachProg, LoadKfunc, LoadKsym, LoadMap, ProgLoad } from "./prog-load.ts";
export { LoadMaker, type LoadTarget, type MadeLoad, progLoads } from "./prog-loads.ts";
export { describeSection } from "./prog-section.ts";
export * from "./reader.ts";
export type * from "./source.ts";
export type * from "./spec.ts";
export * from "./strings.ts";
export * from "./symbols.ts";
export { writeObject } from "./write-object.ts";
export * from "./writer.ts";
