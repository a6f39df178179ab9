export * from "./builder.ts";
export * from "./cfg.ts";
export * from "./ir.ts";
export { parseModule } from "./parse.ts";
export { printFunc, printInst, printModule } from "./print.ts";
export { dropUnreached } from "./reach.ts";
export { verifyFunc } from "./verify.ts";
