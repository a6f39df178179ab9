/** Context accesses whose rules are not here yet: refused. */
import { EACCES } from "../constants.ts";
import { type Env, reject } from "../env.ts";
import type { CtxAccess } from "../types.ts";

const refuse = (env: Env): never => reject(env, EACCES, "not supported by this verifier\n");

export function checkCtxAccess(env: Env, _i: number, _regno: number, off: number, size: number, _access: number, _value: number): CtxAccess {
  return reject(env, EACCES, `invalid bpf_context access off=${off} size=${size}\n`);
}
export function checkPtrToBtfAccess(env: Env, _regno: number, _off: number, _size: number, _access: number, _value: number): void {
  refuse(env);
}
export function checkPtrToMapAccess(env: Env, _regno: number, _off: number, _size: number, _access: number, _value: number): void {
  refuse(env);
}
export function checkSockAccess(env: Env, _i: number, _regno: number, _off: number, _size: number, _access: number): void {
  refuse(env);
}
export function checkFlowKeysAccess(env: Env, _off: number, _size: number): void {
  refuse(env);
}
export function checkTpBufferAccess(env: Env, _regno: number, _off: number, _size: number): void {
  refuse(env);
}
export function hasConvertCtxAccess(_env: Env): boolean {
  return true;
}
export function mayAccessDirectPktData(_env: Env, _access: number): boolean {
  return false;
}
export function btfCtxAccess(_env: Env, _off: number, _size: number, _access: number): CtxAccess | null {
  return null;
}
