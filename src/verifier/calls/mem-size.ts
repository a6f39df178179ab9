/** Memory arguments whose size is known or comes in the next register. */
import * as c from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { udec64 } from "../log-num.ts";
import { checkHelperMemAccess } from "../mem-helper.ts";
import { markPtrNotNullReg } from "../branch.ts";
import { u64 } from "../num.ts";
import { markChainPrecision } from "../precision.ts";
import type { RegState } from "../reg-state.ts";
import { CallMeta } from "./meta.ts";

/** check_mem_size_reg: `regno` holds the size of the memory at regno - 1. */
export function checkMemSizeReg(
  env: Env,
  r: RegState,
  regno: number,
  access: number,
  zeroSizeAllowed: boolean,
  meta: CallMeta,
): void {
  meta.msizeMaxLo = r.umaxLo;
  meta.msizeMaxHi = r.umaxHi;
  if (r.sminHi < 0) reject(env, c.EACCES, `R${regno} min value is negative, either use unsigned or 'var &= const'\n`);
  if ((r.uminLo | r.uminHi) === 0 && !env.has.zeroSizeTexts)
    checkHelperMemAccess(env, regno - 1, 0, access, zeroSizeAllowed, r.isConst() ? meta : null);
  else if ((r.uminLo | r.uminHi) === 0 && !zeroSizeAllowed) {
    reject(
      env,
      c.EACCES,
      `R${regno} invalid zero-sized read: u64=[${udec64(r.uminLo, r.uminHi)},${udec64(r.umaxLo, r.umaxHi)}]\n`,
    );
  }
  const max = u64(r.umaxLo, r.umaxHi);
  if (max >= c.BPF_MAX_VAR_SIZ)
    reject(env, c.EACCES, `R${regno} unbounded memory access, use 'var &= const' or 'if (var < const)'\n`);
  checkHelperMemAccess(env, regno - 1, max, access, zeroSizeAllowed, r.isConst() ? meta : null);
  markChainPrecision(env, regno);
}

/** Runs `check` as if the register could not be NULL, and restores it. */
function asNonNull(env: Env, r: RegState, check: () => void): void {
  if (!c.typeMayBeNull(r.type)) {
    check();
    return;
  }
  const saved = r.clone();
  markPtrNotNullReg(env, r);
  try {
    check();
  } finally {
    r.copyFrom(saved);
  }
}

/** check_mem_reg: `size` bytes that a function reads and writes; NULL is fine. */
export function checkMemReg(env: Env, r: RegState, regno: number, size: number): void {
  if (r.isNull()) return;
  asNonNull(env, r, () => {
    checkHelperMemAccess(env, regno, size, c.BPF_READ, true, null);
    checkHelperMemAccess(env, regno, size, c.BPF_WRITE, true, null);
  });
}

/** check_kfunc_mem_size_reg */
export function checkKfuncMemSizeReg(env: Env, r: RegState, regno: number): void {
  const meta = new CallMeta(0);
  asNonNull(env, env.regs[regno - 1]!, () => {
    checkMemSizeReg(env, r, regno, c.BPF_READ, true, meta);
    checkMemSizeReg(env, r, regno, c.BPF_WRITE, true, meta);
  });
}
