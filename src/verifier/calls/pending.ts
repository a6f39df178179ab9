/** Calls whose rules are not here yet: refused. */
import { EOPNOTSUPP } from "../constants.ts";
import { type Env, reject } from "../env.ts";
import type { RegState } from "../reg-state.ts";

const refuse = (env: Env): never => reject(env, EOPNOTSUPP, "not supported by this verifier\n");

export function checkKfuncCall(env: Env, _i: number): void {
  refuse(env);
}
export function btfCheckSubprogCall(_env: Env, _subprog: number, _regs: RegState[]): void {}
export function checkAttachBtfId(_env: Env): void {}
export function checkPseudoBtfId(env: Env, _i: number): void {
  refuse(env);
}
