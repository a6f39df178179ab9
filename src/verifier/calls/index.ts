export { callChangesPktData, callMightSleep, callSummary, helperName, isAsyncCallbackCallingInsn, isBpfThrowInsn, isIterNextInsn, isSyncCallbackCallingInsn, kfuncName } from "./call-facts.ts";
export { destroyIfDynptrStackSlot } from "./dynptr.ts";
export { checkHelperCall } from "./helper-calls.ts";
export { addKfuncCall, kfuncSpinAllowed } from "./kfunc-ids.ts";
export { checkMapKptrAccess, regBtfRecord } from "./kptr.ts";
export { btfCheckSubprogCall, checkAttachBtfId, checkKfuncCall, checkPseudoBtfId } from "./pending.ts";
