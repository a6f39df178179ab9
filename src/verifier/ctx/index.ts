export { checkPtrToBtfAccess, checkPtrToMapAccess } from "./btf-access.ts";
export { btfCtxAccess } from "./btf-ctx.ts";
export { markBtfLdReg } from "./ld-reg.ts";
