/** Bitwise operations and shifts on scalars: ranges (scalar_min_max_and and relatives). `dst`'s tnum is updated first by the caller, except for shifts. */
import { type RegState, markRegKnown } from "../reg-state.ts";
import { setUnbounded32, setUnbounded64 } from "./unbounded.ts";
import { has } from "./rules.ts";
import { updateReg32Bounds, updateRegBounds } from "./sync.ts";
import { tnumSarReg, tnumShlReg, tnumShrReg } from "./tnum.ts";
import { S32_MAX, S32_MIN, resHi, resLo, s64lt, sar64, shl64, shr64, u32max, u32min, u64lt } from "./words.ts";

/** __mark_reg32_known: the low word is `x`; the high word's bits and the 64-bit ranges stay. */
export function markReg32Known(r: RegState, x: number): void {
  r.valLo = x;
  r.maskLo = 0;
  r.s32Min = r.s32Max = r.u32Min = r.u32Max = x;
}

/** The signed range is the unsigned one where that does not cross the sign boundary (before 6.10: where no operand may be negative), else unknown. */
function signedFromUnsigned32(r: RegState, src: RegState): void {
  const crosses = has.signsOfBitOps ? r.u32Min > r.u32Max : r.s32Min < 0 || src.s32Min < 0;
  r.s32Min = crosses ? S32_MIN : r.u32Min;
  r.s32Max = crosses ? S32_MAX : r.u32Max;
}

function signedFromUnsigned64(r: RegState, src: RegState): void {
  const crosses = has.signsOfBitOps ? s64lt(r.umaxLo, r.umaxHi, r.uminLo, r.uminHi) : r.sminHi < 0 || src.sminHi < 0;
  if (crosses) {
    r.sminLo = 0;
    r.sminHi = S32_MIN;
    r.smaxLo = -1;
    r.smaxHi = S32_MAX;
  } else {
    r.sminLo = r.uminLo;
    r.sminHi = r.uminHi;
    r.smaxLo = r.umaxLo;
    r.smaxHi = r.umaxHi;
  }
}

/** The source is a constant and so is the result, which `dst`'s tnum already holds. */
const bothConst32 = (dst: RegState, src: RegState): boolean => (dst.maskLo | src.maskLo) === 0;
const bothConst64 = (dst: RegState, src: RegState): boolean =>
  (dst.maskLo | dst.maskHi | src.maskLo | src.maskHi) === 0;

export function scalar32MinMaxAnd(dst: RegState, src: RegState): void {
  if (bothConst32(dst, src)) {
    markReg32Known(dst, dst.valLo);
    return;
  }
  dst.u32Min = dst.valLo;
  dst.u32Max = u32min(dst.u32Max, src.u32Max);
  signedFromUnsigned32(dst, src);
}

export function scalarMinMaxAnd(dst: RegState, src: RegState): void {
  if (bothConst64(dst, src)) {
    markRegKnown(dst, dst.valLo, dst.valHi);
    return;
  }
  dst.uminLo = dst.valLo;
  dst.uminHi = dst.valHi;
  if (u64lt(src.umaxLo, src.umaxHi, dst.umaxLo, dst.umaxHi)) {
    dst.umaxLo = src.umaxLo;
    dst.umaxHi = src.umaxHi;
  }
  signedFromUnsigned64(dst, src);
  updateRegBounds(dst);
}

export function scalar32MinMaxOr(dst: RegState, src: RegState): void {
  if (bothConst32(dst, src)) {
    markReg32Known(dst, dst.valLo);
    return;
  }
  dst.u32Min = u32max(dst.u32Min, src.u32Min);
  dst.u32Max = dst.valLo | dst.maskLo;
  signedFromUnsigned32(dst, src);
}

export function scalarMinMaxOr(dst: RegState, src: RegState): void {
  if (bothConst64(dst, src)) {
    markRegKnown(dst, dst.valLo, dst.valHi);
    return;
  }
  if (u64lt(dst.uminLo, dst.uminHi, src.uminLo, src.uminHi)) {
    dst.uminLo = src.uminLo;
    dst.uminHi = src.uminHi;
  }
  dst.umaxLo = dst.valLo | dst.maskLo;
  dst.umaxHi = dst.valHi | dst.maskHi;
  signedFromUnsigned64(dst, src);
  updateRegBounds(dst);
}

export function scalar32MinMaxXor(dst: RegState, src: RegState): void {
  if (bothConst32(dst, src)) {
    markReg32Known(dst, dst.valLo);
    return;
  }
  dst.u32Min = dst.valLo;
  dst.u32Max = dst.valLo | dst.maskLo;
  signedFromUnsigned32(dst, src);
}

export function scalarMinMaxXor(dst: RegState, src: RegState): void {
  if (bothConst64(dst, src)) {
    markRegKnown(dst, dst.valLo, dst.valHi);
    return;
  }
  dst.uminLo = dst.valLo;
  dst.uminHi = dst.valHi;
  dst.umaxLo = dst.valLo | dst.maskLo;
  dst.umaxHi = dst.valHi | dst.maskHi;
  signedFromUnsigned64(dst, src);
  updateRegBounds(dst);
}

/** __scalar32_min_max_lsh; `n` may be 32…63 in a 64-bit shift. */
function shl32Ranges(dst: RegState, n: number): void {
  dst.s32Min = S32_MIN;
  dst.s32Max = S32_MAX;
  if (n > 31 || dst.u32Max >>> 0 > 2 ** (31 - n)) {
    dst.u32Min = 0;
    dst.u32Max = -1;
  } else {
    dst.u32Min <<= n;
    dst.u32Max <<= n;
  }
}

/** scalar32_min_max_lsh by a constant below 32 */
export function scalar32Lsh(dst: RegState, n: number): void {
  shl32Ranges(dst, n);
  dst.valLo <<= n;
  dst.maskLo <<= n;
  dst.valHi = 0;
  dst.maskHi = 0;
  setUnbounded64(dst);
  updateReg32Bounds(dst);
}

/** scalar_min_max_lsh by a constant below 64 */
export function scalarLsh(dst: RegState, n: number): void {
  // A shift by 32 (half of a sign extension) keeps the order of s32 values.
  if (n === 32) {
    dst.smaxHi = dst.s32Max;
    dst.sminHi = dst.s32Min;
    dst.smaxLo = 0;
    dst.sminLo = 0;
  } else {
    dst.smaxLo = -1;
    dst.smaxHi = S32_MAX;
    dst.sminLo = 0;
    dst.sminHi = S32_MIN;
  }
  shl64(1, 0, 63 - n);
  if (u64lt(resLo, resHi, dst.umaxLo, dst.umaxHi)) {
    dst.uminLo = 0;
    dst.uminHi = 0;
    dst.umaxLo = -1;
    dst.umaxHi = -1;
  } else {
    shl64(dst.uminLo, dst.uminHi, n);
    dst.uminLo = resLo;
    dst.uminHi = resHi;
    shl64(dst.umaxLo, dst.umaxHi, n);
    dst.umaxLo = resLo;
    dst.umaxHi = resHi;
  }
  shl32Ranges(dst, n);
  tnumShlReg(dst, n);
  updateRegBounds(dst);
}

/** scalar32_min_max_rsh by a constant below 32 */
export function scalar32Rsh(dst: RegState, n: number): void {
  dst.s32Min = S32_MIN;
  dst.s32Max = S32_MAX;
  dst.valLo = (dst.valLo >>> n) | 0;
  dst.maskLo = (dst.maskLo >>> n) | 0;
  dst.valHi = 0;
  dst.maskHi = 0;
  dst.u32Min = (dst.u32Min >>> n) | 0;
  dst.u32Max = (dst.u32Max >>> n) | 0;
  setUnbounded64(dst);
  updateReg32Bounds(dst);
}

/** scalar_min_max_rsh by a constant below 64 */
export function scalarRsh(dst: RegState, n: number): void {
  dst.sminLo = 0;
  dst.sminHi = S32_MIN;
  dst.smaxLo = -1;
  dst.smaxHi = S32_MAX;
  tnumShrReg(dst, n);
  shr64(dst.uminLo, dst.uminHi, n);
  dst.uminLo = resLo;
  dst.uminHi = resHi;
  shr64(dst.umaxLo, dst.umaxHi, n);
  dst.umaxLo = resLo;
  dst.umaxHi = resHi;
  setUnbounded32(dst);
  updateRegBounds(dst);
}

/** scalar32_min_max_arsh by a constant below 32 */
export function scalar32Arsh(dst: RegState, n: number): void {
  dst.s32Min >>= n;
  dst.s32Max >>= n;
  dst.valLo >>= n;
  dst.maskLo >>= n;
  dst.valHi = 0;
  dst.maskHi = 0;
  dst.u32Min = 0;
  dst.u32Max = -1;
  setUnbounded64(dst);
  updateReg32Bounds(dst);
}

/** scalar_min_max_arsh by a constant below 64 */
export function scalarArsh(dst: RegState, n: number): void {
  sar64(dst.sminLo, dst.sminHi, n);
  dst.sminLo = resLo;
  dst.sminHi = resHi;
  sar64(dst.smaxLo, dst.smaxHi, n);
  dst.smaxLo = resLo;
  dst.smaxHi = resHi;
  tnumSarReg(dst, n);
  dst.uminLo = 0;
  dst.uminHi = 0;
  dst.umaxLo = -1;
  dst.umaxHi = -1;
  setUnbounded32(dst);
  updateRegBounds(dst);
}
