export * from "./pending.ts";
