export * from "./builder.ts";
export * from "./cfg.ts";
export * from "./ir.ts";
export { parseModule } from "./parse.ts";
export { printFunc, printModule } from "./print.ts";
export { verifyFunc } from "./verify.ts";
