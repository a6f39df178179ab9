/** Arithmetic on two scalars: which operations are followed, and in which order their parts are computed. */
import {
  BPF_ADD,
  BPF_AND,
  BPF_ARSH,
  BPF_LSH,
  BPF_MUL,
  BPF_NEG,
  BPF_OR,
  BPF_RSH,
  BPF_SUB,
  BPF_XOR,
} from "../../asm/opcode.ts";
import { RegState, markRegKnown, setUnbounded, setUnknownNumber } from "../reg-state.ts";
import {
  scalar32MinMaxAdd,
  scalar32MinMaxMul,
  scalar32MinMaxSub,
  scalarMinMaxAdd,
  scalarMinMaxMul,
  scalarMinMaxSub,
} from "./arith.ts";
import {
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
import { coerceRegToSize, zextSubreg } from "./extend.ts";
import { has } from "./rules.ts";
import { regBoundsSync } from "./sync.ts";
import { tnumAddReg, tnumAndReg, tnumBswapReg, tnumMulReg, tnumOrReg, tnumSubReg, tnumXorReg } from "./tnum.ts";

const negated = new RegState();
/** Operations that ranges were followed through, before 6.10 when the source is known. */
const FOLLOWED: readonly number[] = [BPF_MUL, BPF_OR, BPF_XOR, BPF_LSH, BPF_RSH, BPF_ARSH, BPF_NEG];

/** The shift distance when it is a constant below the width, else -1. */
function shiftDistance(src: RegState, is32: boolean): number {
  const n = src.valLo;
  const width = is32 ? 32 : 64;
  if (src.maskLo !== 0 || src.umaxHi !== 0 || src.umaxLo >>> 0 >= width) return -1;
  if (is32) return src.s32Min === src.s32Max && src.u32Min === src.u32Max ? n : -1;
  const isRange =
    ((src.uminLo ^ src.umaxLo) | (src.uminHi ^ src.umaxHi) | (src.sminLo ^ src.smaxLo) | (src.sminHi ^ src.smaxHi)) !==
    0;
  return src.maskHi !== 0 || isRange ? -1 : n;
}

/**
 * Computes `dst op= src` on scalars (the pure part of adjust_scalar_min_max_vals).
 * `code` is the operation (BPF_ADD…), `is32` whether only the low words take part.
 * False: the kernel does not follow this operation, `dst` is to become unknown.
 */
export function scalarAlu(code: number, is32: boolean, dst: RegState, src: RegState): boolean {
  if (!has.unknownOperands) {
    const srcKnown = (src.maskLo | (is32 ? 0 : src.maskHi)) === 0;
    const anyway = code === BPF_ADD || code === BPF_SUB || code === BPF_AND;
    if (!srcKnown && !anyway) return false;
    // Division and the like: unknown, but in 32 bits known to be below 2^32.
    if (!anyway && FOLLOWED.indexOf(code) < 0) {
      setUnknownNumber(dst);
      dst.id = 0;
      dst.off = 0;
      if (is32) zextSubreg(dst);
      regBoundsSync(dst);
      return true;
    }
  }
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
      if (!has.negRanges) return false;
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

/** Byte order of the machine the verifier runs on; the kernels simulated are little-endian. */
const HOST_BIG_ENDIAN = false;

/**
 * BPF_END on a scalar (scalar_byte_swap): `bits` 16, 32 or 64, `alu64` for bswap, `toLe` for le,
 * else be. A swap keeps the bits that are known and forgets the ranges.
 */
export function scalarByteSwap(dst: RegState, bits: number, alu64: boolean, toLe: boolean): void {
  const swaps = alu64 || toLe === HOST_BIG_ENDIAN;
  if (swaps || bits < 64) {
    dst.id = 0;
    dst.off = 0;
  }
  if (swaps) {
    tnumBswapReg(dst, bits);
    setUnbounded(dst);
  }
  if (bits < 64) coerceRegToSize(dst, bits / 8);
  regBoundsSync(dst);
}
