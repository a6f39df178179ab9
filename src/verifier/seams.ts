/**
 * What the core asks of calls/, ctx/ and btf/. They are built on the core, so the core does not
 * import them: `verify` hands them over.
 */
import type * as btf from "./btf/index.ts";
import type * as calls from "./calls/index.ts";
import type * as ctx from "./ctx/index.ts";

export type Seams = Pick<
  typeof calls,
  | "addKfuncCall"
  | "kfuncSpinAllowed"
  | "callChangesPktData"
  | "callMightSleep"
  | "callSummary"
  | "helperName"
  | "isAsyncCallbackCallingInsn"
  | "isBpfThrowInsn"
  | "isIterNextInsn"
  | "isSyncCallbackCallingInsn"
  | "kfuncName"
  | "checkAttachBtfId"
  | "checkFixups"
  | "checkHelperCall"
  | "checkKfuncCall"
  | "checkMapKptrAccess"
  | "regBtfRecord"
  | "checkPseudoBtfId"
  | "destroyIfDynptrStackSlot"
  | "btfCheckSubprogCall"
> &
  Pick<typeof ctx, "checkPtrToBtfAccess" | "checkPtrToMapAccess" | "btfCtxAccess"> &
  Pick<typeof btf, "parseMapRecord">;
