export * from "./perfbuf.ts";
export * from "./reader.ts";
export * from "./ringbuf.ts";
export * from "./user-ringbuf.ts";
