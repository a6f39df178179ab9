export * from "./attach-types.ts";
export * from "./commands.ts";
export * from "./errno.ts";
export * from "./flags.ts";
export * from "./link-types.ts";
export * from "./map-types.ts";
export * from "./prog-types.ts";
export * from "./syscalls.ts";
