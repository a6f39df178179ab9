export * from "./bytes.ts";
export * from "./diagnostic.ts";
export * from "./errors.ts";
export * from "./int.ts";
export * from "./render.ts";
