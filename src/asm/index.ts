export * from "./build.ts";
export * from "./decode.ts";
export * from "./encode.ts";
export type * from "./insn.ts";
export * from "./opcode.ts";
