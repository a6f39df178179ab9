/** Reading and writing registers as operands (check_reg_arg). */
import { DST_OP, EACCES, EINVAL, MAX_BPF_REG, NOT_INIT, SCALAR_VALUE, SRC_OP } from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { type RegState, markRegUnknown } from "./reg-state.ts";

/** Rejects a read of an uninitialised register or a write to r10; DST_OP makes the register an unknown scalar. */
export function checkRegArg(env: Env, regno: number, what: number): void {
  env.scratchedRegs |= 1 << regno;
  if (regno >= MAX_BPF_REG) reject(env, EINVAL, `R${regno} is invalid\n`);
  const r = env.regs[regno]!;
  if (what === SRC_OP) {
    if (r.type === NOT_INIT) reject(env, EACCES, `R${regno} !read_ok\n`);
    return;
  }
  if (regno === 10) reject(env, EACCES, "frame pointer is read only\n");
  if (what === DST_OP) markRegUnknown(r, env.bpfCapable);
}

/** A pointer that may not leak: always false for those who may leak pointers. */
export const isPointerValue = (env: Env, r: RegState): boolean => !env.allowPtrLeaks && r.type !== SCALAR_VALUE;
