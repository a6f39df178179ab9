export { callChangesPktData, callMightSleep, callSummary, helperName, isAsyncCallbackCallingInsn, isBpfThrowInsn, isIterNextInsn, isSyncCallbackCallingInsn, kfuncName } from "./call-facts.ts";
export { destroyIfDynptrStackSlot } from "./dynptr.ts";
export { checkHelperCall } from "./helper-calls.ts";
export { checkKfuncCall } from "./kfunc-calls.ts";
export { addKfuncCall, kfuncSpinAllowed } from "./kfunc-ids.ts";
export { checkMapKptrAccess, regBtfRecord } from "./kptr.ts";
export { checkAttachBtfId } from "./pending.ts";
export { checkPseudoBtfId } from "./pseudo-btf.ts";
export { btfCheckSubprogCall } from "./subprog-args.ts";
