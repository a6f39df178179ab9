export * from "./btf.ts";
export * from "./builder.ts";
export * from "./ext.ts";
export * from "./kinds.ts";
export * from "./layout.ts";
export * from "./types.ts";
