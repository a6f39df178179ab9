/** Arithmetic on two scalars (adjust_scalar_min_max_vals): which operations are followed, and in which order their parts are computed. */
import { BPF_ADD, BPF_ALU64, BPF_AND, BPF_ARSH, BPF_LSH, BPF_MUL, BPF_NEG, BPF_OR, BPF_RSH, BPF_SUB, BPF_XOR, classOf, codeOf } from "../../asm/opcode.ts";
import { EACCES } from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { pushStack } from "../explore-state.ts";
import { sanitizeValAlu } from "../ptr-alu.ts";
import { RegState, markRegKnown, markRegUnknown } from "../reg-state.ts";
import { scalar32MinMaxAdd, scalar32MinMaxMul, scalar32MinMaxSub, scalarMinMaxAdd, scalarMinMaxMul, scalarMinMaxSub } from "./arith.ts";
import {
  markReg32Known,
  scalar32Arsh,
  scalar32Lsh,
  scalar32MinMaxAnd,
  scalar32MinMaxOr,
  scalar32MinMaxXor,
  scalar32Rsh,
  scalarArsh,
  scalarLsh,
  scalarMinMaxAnd,
  scalarMinMaxOr,
  scalarMinMaxXor,
  scalarRsh,
} from "./bits.ts";
import { zextSubreg } from "./extend.ts";
import { regBoundsSync } from "./sync.ts";
import { tnumAddReg, tnumAndReg, tnumMulReg, tnumOrReg, tnumSubReg, tnumXorReg } from "./tnum.ts";

const negated = new RegState();

/** The shift distance when it is a constant below the width, else -1. */
function shiftDistance(src: RegState, is32: boolean): number {
  const n = src.valLo;
  const width = is32 ? 32 : 64;
  if (src.maskLo !== 0 || src.umaxHi !== 0 || src.umaxLo >>> 0 >= width) return -1;
  if (is32) return src.s32Min === src.s32Max && src.u32Min === src.u32Max ? n : -1;
  const isRange = ((src.uminLo ^ src.umaxLo) | (src.uminHi ^ src.umaxHi) | (src.sminLo ^ src.smaxLo) | (src.sminHi ^ src.smaxHi)) !== 0;
  return src.maskHi !== 0 || isRange ? -1 : n;
}

/**
 * Computes `dst op= src` on scalars (pure; without the environment's side of it).
 * `code` is the operation (BPF_ADD…), `is32` whether only the low words take part.
 * False: the kernel does not follow this operation, `dst` is to become unknown.
 */
export function scalarAlu(code: number, is32: boolean, dst: RegState, src: RegState): boolean {
  switch (code) {
    case BPF_ADD:
      scalar32MinMaxAdd(dst, src);
      scalarMinMaxAdd(dst, src);
      tnumAddReg(dst, src);
      break;
    case BPF_SUB:
      scalar32MinMaxSub(dst, src);
      scalarMinMaxSub(dst, src);
      tnumSubReg(dst, src);
      break;
    case BPF_NEG:
      negated.copyFrom(dst);
      markRegKnown(dst, 0, 0);
      scalar32MinMaxSub(dst, negated);
      scalarMinMaxSub(dst, negated);
      tnumSubReg(dst, negated);
      break;
    case BPF_MUL:
      tnumMulReg(dst, src);
      scalar32MinMaxMul(dst, src);
      scalarMinMaxMul(dst, src);
      break;
    case BPF_AND:
      tnumAndReg(dst, src);
      scalar32MinMaxAnd(dst, src);
      scalarMinMaxAnd(dst, src);
      break;
    case BPF_OR:
      tnumOrReg(dst, src);
      scalar32MinMaxOr(dst, src);
      scalarMinMaxOr(dst, src);
      break;
    case BPF_XOR:
      tnumXorReg(dst, src);
      scalar32MinMaxXor(dst, src);
      scalarMinMaxXor(dst, src);
      break;
    case BPF_LSH:
    case BPF_RSH:
    case BPF_ARSH: {
      const n = shiftDistance(src, is32);
      if (n < 0) return false;
      if (code === BPF_LSH) (is32 ? scalar32Lsh : scalarLsh)(dst, n);
      else if (code === BPF_RSH) (is32 ? scalar32Rsh : scalarRsh)(dst, n);
      else (is32 ? scalar32Arsh : scalarArsh)(dst, n);
      break;
    }
    default:
      return false;
  }
  if (is32) zextSubreg(dst);
  regBoundsSync(dst);
  return true;
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
 * adjust_scalar_min_max_vals: the arithmetic instruction at `insnIdx` on scalars. `src` must not
 * be `dst` (copy it first). Unknown results (division, shifts by something unknown) are not an error.
 */
export function adjustScalarMinMaxVals(env: Env, insnIdx: number, dst: RegState, src: RegState): void {
  const insn = env.code[insnIdx]!;
  const code = codeOf(insn);
  if ((code === BPF_ADD || code === BPF_SUB) && !sanitizeValAlu(env, insnIdx)) {
    const op = code === BPF_ADD ? "add" : "sub";
    reject(env, EACCES, `R${env.dst[insnIdx]!} tried to ${op} from different maps, paths or scalars, pointer arithmetic with it prohibited for !root\n`);
  }
  if ((code === BPF_AND || code === BPF_OR) && (src.maskLo | src.maskHi) === 0) maybeForkScalars(env, insnIdx, dst);
  if (!scalarAlu(code, classOf(insn) !== BPF_ALU64, dst, src)) markRegUnknown(dst, env.bpfCapable);
}
