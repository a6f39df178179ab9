/** Calls whose rules are not here yet: refused. */
import { helperById } from "../../uapi/helpers.ts";
import { EOPNOTSUPP, PTR_TO_CTX, SCALAR_VALUE } from "../constants.ts";
import { type Env, reject } from "../env.ts";
import type { BtfField, BtfRecord, VMap } from "../map.ts";
import { type RegState, markRegKnownZero } from "../reg-state.ts";
import type { FuncState } from "../state.ts";

const refuse = (env: Env): never => reject(env, EOPNOTSUPP, "not supported by this verifier\n");

export function checkHelperCall(env: Env, _i: number): void {
  refuse(env);
}
export function checkKfuncCall(env: Env, _i: number): void {
  refuse(env);
}
export function btfCheckSubprogCall(_env: Env, _subprog: number, _regs: RegState[]): void {}
export function btfPrepareFuncArgs(_env: Env, _subprog: number): void {}
export function setupEntryRegs(env: Env, _subprog: number): void {
  const r = env.regs[1]!;
  markRegKnownZero(r);
  r.type = PTR_TO_CTX;
}
export function checkReturnCode(env: Env, regno: number, _name: string): void {
  if (env.regs[regno]!.type !== SCALAR_VALUE) refuse(env);
}
export function checkGlobalSubprogReturnCode(env: Env): void {
  refuse(env);
}
export function checkAttachBtfId(_env: Env): void {}
export function checkBtfInfoEarly(_env: Env): void {}
export function checkBtfInfo(_env: Env): void {}
export function addKfuncCall(_env: Env, _i: number): void {}
export function findExceptionCallback(_env: Env): number {
  return 0;
}
export function checkPseudoBtfId(env: Env, _i: number): void {
  refuse(env);
}
export function checkMapProgCompatibility(_env: Env, _map: VMap): void {}
export function callSummary(_env: Env, _i: number): { numParams: number; fastcall: boolean; isVoid: boolean } | null {
  return null;
}
export function isSyncCallbackCallingInsn(_env: Env, _i: number): boolean {
  return false;
}
export function isAsyncCallbackCallingInsn(_env: Env, _i: number): boolean {
  return false;
}
export function isIterNextInsn(_env: Env, _i: number): boolean {
  return false;
}
export function kfuncSpinAllowed(_env: Env, _i: number): boolean {
  return false;
}
export function isBpfThrowInsn(_env: Env, _i: number): boolean {
  return false;
}
export function callChangesPktData(_env: Env, _i: number): boolean {
  return false;
}
export function callMightSleep(_env: Env, _i: number): boolean {
  return false;
}
export function destroyIfDynptrStackSlot(_env: Env, _frame: FuncState, _spi: number): void {}
export function checkMapKptrAccess(env: Env, _regno: number, _valueRegno: number, _i: number, _field: BtfField): void {
  refuse(env);
}
export function helperName(_env: Env, id: number): string | null {
  return helperById(id)?.name ?? null;
}
export function kfuncName(_env: Env, _i: number): string | null {
  return null;
}
export function regBtfRecord(_env: Env, _reg: RegState): BtfRecord | null {
  return null;
}
