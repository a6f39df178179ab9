/** Arithmetic instructions (check_alu_op): operand rules, moves, and the way to pointer or scalar arithmetic. */
import {
  BPF_ADD,
  BPF_ADDR_SPACE_CAST,
  BPF_ALU,
  BPF_ALU64,
  BPF_ARSH,
  BPF_DIV,
  BPF_END,
  BPF_K,
  BPF_LSH,
  BPF_MOD,
  BPF_MOV,
  BPF_NEG,
  BPF_RSH,
  BPF_SUB,
  BPF_TO_LE,
  BPF_X,
  classOf,
  codeOf,
  sourceOf,
} from "../asm/opcode.ts";
import { DST_OP, DST_OP_NO_MARK, EACCES, EINVAL, PTR_TO_ARENA, SCALAR_VALUE, SRC_OP } from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { copyRegMarks } from "./live-marks.ts";
import { fls64, u64 } from "./num.ts";
import { markChainPrecision } from "./precision.ts";
import { ALU_STRING, adjustPtrMinMaxVals } from "./ptr-alu.ts";
import { checkRegArg, isPointerValue } from "./reg-arg.ts";
import { RegState, markRegKnown, markRegKnownS32, markRegUnknown } from "./reg-state.ts";
import { adjustScalarMinMaxVals, regBoundsSanity } from "./scalar/check.ts";
import {
  clearScalarId,
  coerceRegToSizeSx,
  coerceSubregToSizeSx,
  linkByConst,
  regBoundsSync,
  zextSubreg,
} from "./scalar/index.ts";
import { assignScalarIdBeforeMov } from "./stack.ts";

const offReg = new RegState();
const srcCopy = new RegState();

/** adjust_reg_min_max_vals: every operation but mov, neg and byte swaps. */
function adjustReg(env: Env, i: number): void {
  const code = env.code[i]!;
  const op = codeOf(code);
  const regs = env.regs;
  const dstRegno = env.dst[i]!;
  const srcRegno = env.src[i]!;
  const dst = regs[dstRegno]!;
  const isX = sourceOf(code) === BPF_X;
  let src = isX ? regs[srcRegno]! : null;
  if (dst.type === PTR_TO_ARENA || (src !== null && src.type === PTR_TO_ARENA)) {
    if (dst.type !== PTR_TO_ARENA) {
      dst.copyFrom(src!);
      copyRegMarks(env.frame, dstRegno, env.frame, srcRegno);
    }
    if (classOf(code) === BPF_ALU64) env.aux[i]!.needsZext = true;
    return;
  }
  const dstIsPtr = dst.type !== SCALAR_VALUE;
  if (src !== null) {
    if (src.type !== SCALAR_VALUE) {
      if (dstIsPtr) {
        if (op === BPF_SUB && env.allowPtrLeaks) {
          markRegUnknown(dst, env.bpfCapable);
          return;
        }
        reject(env, EACCES, `R${dstRegno} pointer ${ALU_STRING[op >> 4]!} pointer prohibited\n`);
      }
      markChainPrecision(env, dstRegno);
      offReg.copyFrom(dst);
      adjustPtrMinMaxVals(env, i, src, offReg);
      return;
    }
    if (dstIsPtr) {
      markChainPrecision(env, srcRegno);
      adjustPtrMinMaxVals(env, i, dst, src);
      return;
    }
    if (dst.precise) markChainPrecision(env, srcRegno);
  } else {
    src = offReg;
    markRegKnownS32(src, env.imm[i]!);
    src.type = SCALAR_VALUE;
    src.precise = false;
    if (dstIsPtr) {
      adjustPtrMinMaxVals(env, i, dst, src);
      return;
    }
  }
  if (src === dst) {
    srcCopy.copyFrom(src);
    src = srcCopy;
  }
  const is32 = classOf(code) !== BPF_ALU64;
  // Whatever becomes of the number, it is no longer the one that others are linked to.
  if (!env.has.addConstLinks) dst.id = 0;
  const { valLo, valHi } = src;
  const isConst = (src.maskLo | (is32 ? 0 : src.maskHi)) === 0;
  const fits32 = dst.umaxHi === 0;
  adjustScalarMinMaxVals(env, i, dst, src);
  const links =
    env.bpfCapable && (op === BPF_ADD || op === BPF_SUB) && dst.id !== 0 && isConst && !(isX && srcRegno === dstRegno);
  if (links) linkByConst(dst, valLo, valHi, op === BPF_SUB, is32, fits32);
  else clearScalarId(dst);
}

function moveReg(env: Env, i: number): void {
  const code = env.code[i]!;
  const off = env.off[i]!;
  const srcRegno = env.src[i]!;
  const src = env.regs[srcRegno]!;
  const dst = env.regs[env.dst[i]!]!;
  if (classOf(code) === BPF_ALU64) {
    if (env.imm[i] !== 0) {
      markRegUnknown(dst, env.bpfCapable);
      if (env.imm[i] === 1) dst.type = PTR_TO_ARENA;
    } else if (off === 0) {
      assignScalarIdBeforeMov(env, src);
      if (src !== dst) dst.copyFrom(src);
    } else {
      if (isPointerValue(env, src)) reject(env, EACCES, `R${srcRegno} sign-extension part of pointer\n`);
      if (src.type === SCALAR_VALUE) {
        const noSext = u64(src.umaxLo, src.umaxHi) < 2 ** (off - 1);
        if (noSext) assignScalarIdBeforeMov(env, src);
        if (src !== dst) dst.copyFrom(src);
        if (!noSext) clearScalarId(dst);
        coerceRegToSizeSx(dst, off >> 3);
      } else markRegUnknown(dst, env.bpfCapable);
    }
    return;
  }
  if (isPointerValue(env, src)) reject(env, EACCES, `R${srcRegno} partial copy of pointer\n`);
  if (src.type === SCALAR_VALUE) {
    const fits = off === 0 ? fls64(src.umaxLo, src.umaxHi) <= 32 : u64(src.umaxLo, src.umaxHi) < 2 ** (off - 1);
    if (fits && env.has.scalarIds) assignScalarIdBeforeMov(env, src);
    if (src !== dst) dst.copyFrom(src);
    if (!fits || !env.has.scalarIds) clearScalarId(dst);
    if (off !== 0) coerceSubregToSizeSx(dst, off >> 3);
  } else markRegUnknown(dst, env.bpfCapable);
  zextSubreg(dst);
  regBoundsSync(dst);
}

function checkMov(env: Env, i: number): void {
  const code = env.code[i]!;
  const off = env.off[i]!;
  const imm = env.imm[i]!;
  const reserved = (): never => reject(env, EINVAL, "BPF_MOV uses reserved fields\n");
  if (sourceOf(code) === BPF_X) {
    if (!env.has.isaV4) {
      if (off !== 0 || imm !== 0) reserved();
    } else if (classOf(code) === BPF_ALU) {
      if ((off !== 0 && off !== 8 && off !== 16) || imm !== 0) reserved();
    } else if (off === BPF_ADDR_SPACE_CAST && env.has.mayGoto) {
      if (imm !== 1 && imm !== 1 << 16) {
        reject(env, EINVAL, "addr_space_cast insn can only convert between address space 1 and 0\n");
      }
      if (env.usesArena === null) {
        reject(env, EINVAL, "addr_space_cast insn can only be used in a program that has an associated arena\n");
      }
    } else if ((off !== 0 && off !== 8 && off !== 16 && off !== 32) || imm !== 0) reserved();
    checkRegArg(env, env.src[i]!, SRC_OP);
  } else if (env.src[i] !== 0 || off !== 0) reserved();
  checkRegArg(env, env.dst[i]!, DST_OP_NO_MARK);
  if (sourceOf(code) === BPF_X) {
    moveReg(env, i);
    return;
  }
  const dst = env.regs[env.dst[i]!]!;
  markRegUnknown(dst, env.bpfCapable);
  markRegKnown(dst, imm, classOf(code) === BPF_ALU64 ? imm >> 31 : 0);
}

/** check_alu_op */
export function checkAluOp(env: Env, i: number): void {
  const code = env.code[i]!;
  const op = codeOf(code);
  const off = env.off[i]!;
  const imm = env.imm[i]!;
  const dstRegno = env.dst[i]!;
  if (op === BPF_END || op === BPF_NEG) {
    if (op === BPF_NEG) {
      if (sourceOf(code) !== BPF_K || env.src[i] !== 0 || off !== 0 || imm !== 0) {
        reject(env, EINVAL, "BPF_NEG uses reserved fields\n");
      }
    } else if (
      env.src[i] !== 0 ||
      off !== 0 ||
      (imm !== 16 && imm !== 32 && imm !== 64) ||
      (classOf(code) === BPF_ALU64 && sourceOf(code) !== BPF_TO_LE)
    ) {
      reject(env, EINVAL, "BPF_END uses reserved fields\n");
    }
    checkRegArg(env, dstRegno, SRC_OP);
    const dst = env.regs[dstRegno]!;
    if (isPointerValue(env, dst)) reject(env, EACCES, `R${dstRegno} pointer arithmetic prohibited\n`);
    if (dst.type === SCALAR_VALUE) {
      checkRegArg(env, dstRegno, DST_OP_NO_MARK);
      srcCopy.copyFrom(dst);
      adjustScalarMinMaxVals(env, i, dst, srcCopy);
    } else checkRegArg(env, dstRegno, DST_OP);
  } else if (op === BPF_MOV) {
    checkMov(env, i);
  } else if (op > BPF_END) {
    reject(env, EINVAL, `invalid BPF_ALU opcode ${op.toString(16)}\n`);
  } else {
    const badOff = (off !== 0 && off !== 1) || (off === 1 && ((op !== BPF_MOD && op !== BPF_DIV) || !env.has.isaV4));
    if (sourceOf(code) === BPF_X) {
      if (imm !== 0 || badOff) reject(env, EINVAL, "BPF_ALU uses reserved fields\n");
      checkRegArg(env, env.src[i]!, SRC_OP);
    } else if (env.src[i] !== 0 || badOff) reject(env, EINVAL, "BPF_ALU uses reserved fields\n");
    checkRegArg(env, dstRegno, SRC_OP);
    if ((op === BPF_MOD || op === BPF_DIV) && sourceOf(code) === BPF_K && imm === 0)
      reject(env, EINVAL, "div by zero\n");
    if ((op === BPF_LSH || op === BPF_RSH || op === BPF_ARSH) && sourceOf(code) === BPF_K) {
      const size = classOf(code) === BPF_ALU64 ? 64 : 32;
      if (imm < 0 || imm >= size) reject(env, EINVAL, `invalid shift ${imm}\n`);
    }
    checkRegArg(env, dstRegno, DST_OP_NO_MARK);
    adjustReg(env, i);
  }
  regBoundsSanity(env, env.regs[dstRegno]!, "alu");
}
