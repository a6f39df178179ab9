export { addKfuncCall, kfuncSpinAllowed } from "./kfunc-ids.ts";
export { btfCheckSubprogCall } from "./subprog-args.ts";
export {
  callChangesPktData,
  callMightSleep,
  callSummary,
  helperName,
  isAsyncCallbackCallingInsn,
  isBpfThrowInsn,
  isIterNextInsn,
  isSyncCallbackCallingInsn,
  kfuncName,
} from "./call-facts.ts";
export { checkAttachBtfId } from "./attach.ts";
export { checkFixups } from "./fixups.ts";
export { checkHelperCall } from "./helper-calls.ts";
export { checkKfuncCall } from "./kfunc-calls.ts";
export { checkMapKptrAccess, regBtfRecord } from "./kptr.ts";
export { checkPseudoBtfId } from "./pseudo-btf.ts";
export { destroyIfDynptrStackSlot } from "./dynptr.ts";
