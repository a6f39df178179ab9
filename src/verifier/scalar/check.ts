/** Scalars in a verification run: what adjust_scalar_min_max_vals, reg_set_min_max and reg_bounds_sanity_check do beyond computing. */
import {
  BPF_ADD,
  BPF_ALU64,
  BPF_AND,
  BPF_END,
  BPF_OR,
  BPF_SUB,
  BPF_TO_LE,
  classOf,
  codeOf,
  sourceOf,
} from "../../asm/opcode.ts";
import { EACCES, EFAULT, SCALAR_VALUE } from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { pushStack } from "../explore-state.ts";
import { sanitizeValAlu } from "../ptr-alu.ts";
import { type RegState, markRegKnown, markRegUnknown, setUnbounded } from "../reg-state.ts";
import { scalarAlu, scalarByteSwap } from "./alu.ts";
import { markReg32Known } from "./bits.ts";
import { refinePaths } from "./branch.ts";
import { boundsViolation, violationText } from "./invariants.ts";

/**
 * reg_bounds_sanity_check, to be called after every change the kernel calls it after: an
 * inconsistent register is logged and becomes unbounded; with BPF_F_TEST_REG_INVARIANTS
 * the program is rejected.
 */
export function regBoundsSanity(env: Env, r: RegState, ctx: string): void {
  const violation = boundsViolation(r);
  if (violation === null) return;
  const text = violationText(r, ctx, violation);
  if (env.testRegInvariants) reject(env, EFAULT, text);
  env.log.write(text);
  setUnbounded(r);
}

/**
 * A value that is 0 or -1 meets a constant mask (a compiler's branchless select): both
 * cases are explored apart (maybe_fork_scalars). The other path runs the instruction again with 0.
 */
function maybeForkScalars(env: Env, insnIdx: number, dst: RegState): void {
  const is64 = (dst.sminLo & dst.sminHi) === -1 && (dst.smaxLo | dst.smaxHi) === 0;
  if (!is64 && !(dst.s32Min === -1 && dst.s32Max === 0)) return;
  const branch = pushStack(env, insnIdx, insnIdx, false);
  const other = branch.frames[branch.curframe]!.regs[env.dst[insnIdx]!]!;
  if (is64) {
    markRegKnown(other, 0, 0);
    markRegKnown(dst, -1, -1);
  } else {
    markReg32Known(other, 0);
    markReg32Known(dst, -1);
  }
}

/**
 * adjust_scalar_min_max_vals: the arithmetic instruction or byte swap at `insnIdx` on scalars. `src` must not
 * be `dst` (copy it first). Unknown results (division, shifts by something unknown) are not an error.
 */
export function adjustScalarMinMaxVals(env: Env, insnIdx: number, dst: RegState, src: RegState): void {
  const insn = env.code[insnIdx]!;
  const code = codeOf(insn);
  if (code === BPF_END) {
    if (!env.has.swappedBits) markRegUnknown(dst, env.bpfCapable);
    else scalarByteSwap(dst, env.imm[insnIdx]!, classOf(insn) === BPF_ALU64, sourceOf(insn) === BPF_TO_LE);
    return;
  }
  if ((code === BPF_ADD || code === BPF_SUB) && !sanitizeValAlu(env, insnIdx)) {
    const op = code === BPF_ADD ? "add" : "sub";
    reject(
      env,
      EACCES,
      `R${env.dst[insnIdx]!} tried to ${op} from different maps, paths or scalars, pointer arithmetic with it prohibited for !root\n`,
    );
  }
  if (env.has.scalarForks && (code === BPF_AND || code === BPF_OR) && (src.maskLo | src.maskHi) === 0)
    maybeForkScalars(env, insnIdx, dst);
  if (!scalarAlu(code, classOf(insn) !== BPF_ALU64, dst, src)) markRegUnknown(dst, env.bpfCapable);
}

/**
 * reg_set_min_max: refines the registers of both paths of `if r1 op r2`. Nothing is
 * learnt unless both are scalars.
 */
export function regSetMinMax(
  env: Env,
  true1: RegState,
  true2: RegState,
  false1: RegState,
  false2: RegState,
  op: number,
  is32: boolean,
): void {
  if (false1.type !== SCALAR_VALUE || false2.type !== SCALAR_VALUE) return;
  refinePaths(true1, true2, false1, false2, op, is32);
  regBoundsSanity(env, true1, "true_reg1");
  regBoundsSanity(env, true2, "true_reg2");
  regBoundsSanity(env, false1, "false_reg1");
  regBoundsSanity(env, false2, "false_reg2");
}
