/** Ranges of sums, differences and products (scalar_min_max_add and relatives). Each changes `dst`'s ranges of one width only. */
import type { RegState } from "../reg-state.ts";
import { setUnbounded32, setUnbounded64 } from "./unbounded.ts";
import { has } from "./rules.ts";
import {
  S32_MAX,
  S32_MIN,
  add64,
  addCarries,
  addOverflows,
  resHi,
  resLo,
  s64lt,
  smul64,
  sub64,
  subBorrows,
  subOverflows,
  umul64,
} from "./words.ts";

function unboundSigned64(r: RegState): void {
  r.sminLo = 0;
  r.sminHi = S32_MIN;
  r.smaxLo = -1;
  r.smaxHi = S32_MAX;
}

function unboundUnsigned64(r: RegState): void {
  r.uminLo = 0;
  r.uminHi = 0;
  r.umaxLo = -1;
  r.umaxHi = -1;
}

function unboundSigned32(r: RegState): void {
  r.s32Min = S32_MIN;
  r.s32Max = S32_MAX;
}

function unboundUnsigned32(r: RegState): void {
  r.u32Min = 0;
  r.u32Max = -1;
}

/** scalar32_min_max_add. Unsigned sums that all wrap still form a range (6.17). */
export function scalar32MinMaxAdd(dst: RegState, src: RegState): void {
  const smin = dst.s32Min + src.s32Min;
  const smax = dst.s32Max + src.s32Max;
  if (smin < S32_MIN || smin > S32_MAX || smax < S32_MIN || smax > S32_MAX) unboundSigned32(dst);
  else {
    dst.s32Min = smin;
    dst.s32Max = smax;
  }
  const umin = (dst.u32Min >>> 0) + (src.u32Min >>> 0);
  const umax = (dst.u32Max >>> 0) + (src.u32Max >>> 0);
  if ((umin <= 0xffff_ffff || !has.wrappingSums) && umax > 0xffff_ffff) unboundUnsigned32(dst);
  else {
    dst.u32Min = umin | 0;
    dst.u32Max = umax | 0;
  }
}

/** scalar_min_max_add */
export function scalarMinMaxAdd(dst: RegState, src: RegState): void {
  add64(dst.sminLo, dst.sminHi, src.sminLo, src.sminHi);
  if (addOverflows(dst.sminHi, src.sminHi, resHi)) unboundSigned64(dst);
  else {
    const lo = resLo;
    const hi = resHi;
    add64(dst.smaxLo, dst.smaxHi, src.smaxLo, src.smaxHi);
    if (addOverflows(dst.smaxHi, src.smaxHi, resHi)) unboundSigned64(dst);
    else {
      dst.sminLo = lo;
      dst.sminHi = hi;
      dst.smaxLo = resLo;
      dst.smaxHi = resHi;
    }
  }
  add64(dst.uminLo, dst.uminHi, src.uminLo, src.uminHi);
  const minLo = resLo;
  const minHi = resHi;
  add64(dst.umaxLo, dst.umaxHi, src.umaxLo, src.umaxHi);
  if ((!addCarries(dst.uminHi, src.uminHi, minHi) || !has.wrappingSums) && addCarries(dst.umaxHi, src.umaxHi, resHi))
    unboundUnsigned64(dst);
  else {
    dst.uminLo = minLo;
    dst.uminHi = minHi;
    dst.umaxLo = resLo;
    dst.umaxHi = resHi;
  }
}

/** scalar32_min_max_sub */
export function scalar32MinMaxSub(dst: RegState, src: RegState): void {
  const smin = dst.s32Min - src.s32Max;
  const smax = dst.s32Max - src.s32Min;
  if (smin < S32_MIN || smin > S32_MAX || smax < S32_MIN || smax > S32_MAX) unboundSigned32(dst);
  else {
    dst.s32Min = smin;
    dst.s32Max = smax;
  }
  const umin = (dst.u32Min >>> 0) - (src.u32Max >>> 0);
  const umax = (dst.u32Max >>> 0) - (src.u32Min >>> 0);
  if (umin < 0 && (umax >= 0 || !has.wrappingSums)) unboundUnsigned32(dst);
  else {
    dst.u32Min = umin | 0;
    dst.u32Max = umax | 0;
  }
}

/** scalar_min_max_sub */
export function scalarMinMaxSub(dst: RegState, src: RegState): void {
  sub64(dst.sminLo, dst.sminHi, src.smaxLo, src.smaxHi);
  if (subOverflows(dst.sminHi, src.smaxHi, resHi)) unboundSigned64(dst);
  else {
    const lo = resLo;
    const hi = resHi;
    sub64(dst.smaxLo, dst.smaxHi, src.sminLo, src.sminHi);
    if (subOverflows(dst.smaxHi, src.sminHi, resHi)) unboundSigned64(dst);
    else {
      dst.sminLo = lo;
      dst.sminHi = hi;
      dst.smaxLo = resLo;
      dst.smaxHi = resHi;
    }
  }
  sub64(dst.uminLo, dst.uminHi, src.umaxLo, src.umaxHi);
  const minLo = resLo;
  const minHi = resHi;
  sub64(dst.umaxLo, dst.umaxHi, src.uminLo, src.uminHi);
  if (subBorrows(dst.uminHi, src.umaxHi, minHi) && (!subBorrows(dst.umaxHi, src.uminHi, resHi) || !has.wrappingSums))
    unboundUnsigned64(dst);
  else {
    dst.uminLo = minLo;
    dst.uminHi = minHi;
    dst.umaxLo = resLo;
    dst.umaxHi = resHi;
  }
}

/** scalar32_min_max_mul: 32-bit products are below 2^64, so doubles tell exactly whether one overflows, and imul what it is. */
export function scalar32MinMaxMul(dst: RegState, src: RegState): void {
  if (!has.productRanges) {
    mulPositive32(dst, src);
    return;
  }
  const { s32Min: a, s32Max: b, u32Min, u32Max } = dst;
  if ((u32Max >>> 0) * (src.u32Max >>> 0) > 0xffff_ffff || (u32Min >>> 0) * (src.u32Min >>> 0) > 0xffff_ffff)
    unboundUnsigned32(dst);
  else {
    dst.u32Min = Math.imul(u32Min, src.u32Min);
    dst.u32Max = Math.imul(u32Max, src.u32Max);
  }
  const p0 = a * src.s32Min;
  const p1 = a * src.s32Max;
  const p2 = b * src.s32Min;
  const p3 = b * src.s32Max;
  const min = Math.min(p0, p1, p2, p3);
  const max = Math.max(p0, p1, p2, p3);
  if (min < S32_MIN || max > S32_MAX) unboundSigned32(dst);
  else {
    dst.s32Min = min | 0;
    dst.s32Max = max | 0;
  }
}

/** scalar_min_max_mul: signed ranges from the four products of the ends (6.16). */
export function scalarMinMaxMul(dst: RegState, src: RegState): void {
  if (!has.productRanges) {
    mulPositive64(dst, src);
    return;
  }
  mulUnsigned(dst, src);
  const { sminLo: aLo, sminHi: aHi, smaxLo: bLo, smaxHi: bHi } = dst;
  if (!firstProduct(dst, aLo, aHi, src.sminLo, src.sminHi)) return;
  if (!nextProduct(dst, aLo, aHi, src.smaxLo, src.smaxHi)) return;
  if (!nextProduct(dst, bLo, bHi, src.sminLo, src.sminHi)) return;
  nextProduct(dst, bLo, bHi, src.smaxLo, src.smaxHi);
}

/** Before 6.16: only factors that are not negative and at most U16_MAX; the ends multiply. */
function mulPositive32(dst: RegState, src: RegState): void {
  if (src.s32Min < 0 || dst.s32Min < 0 || src.u32Max >>> 0 > 0xffff || dst.u32Max >>> 0 > 0xffff) {
    setUnbounded32(dst);
    return;
  }
  dst.u32Min = Math.imul(dst.u32Min, src.u32Min);
  dst.u32Max = Math.imul(dst.u32Max, src.u32Max);
  dst.s32Min = dst.u32Max < 0 ? S32_MIN : dst.u32Min;
  dst.s32Max = dst.u32Max < 0 ? S32_MAX : dst.u32Max;
}

/** The same with factors up to U32_MAX. */
function mulPositive64(dst: RegState, src: RegState): void {
  if (src.sminHi < 0 || dst.sminHi < 0 || src.umaxHi !== 0 || dst.umaxHi !== 0) {
    setUnbounded64(dst);
    return;
  }
  mulUnsigned(dst, src);
  if (dst.umaxHi < 0) unboundSigned64(dst);
  else {
    dst.sminLo = dst.uminLo;
    dst.sminHi = dst.uminHi;
    dst.smaxLo = dst.umaxLo;
    dst.smaxHi = dst.umaxHi;
  }
}

function mulUnsigned(dst: RegState, src: RegState): void {
  if (umul64(dst.umaxLo, dst.umaxHi, src.umaxLo, src.umaxHi)) {
    unboundUnsigned64(dst);
    return;
  }
  const lo = resLo;
  const hi = resHi;
  if (umul64(dst.uminLo, dst.uminHi, src.uminLo, src.uminHi)) {
    unboundUnsigned64(dst);
    return;
  }
  dst.umaxLo = lo;
  dst.umaxHi = hi;
  dst.uminLo = resLo;
  dst.uminHi = resHi;
}

function firstProduct(dst: RegState, aLo: number, aHi: number, bLo: number, bHi: number): boolean {
  if (smul64(aLo, aHi, bLo, bHi)) {
    unboundSigned64(dst);
    return false;
  }
  dst.sminLo = dst.smaxLo = resLo;
  dst.sminHi = dst.smaxHi = resHi;
  return true;
}

function nextProduct(dst: RegState, aLo: number, aHi: number, bLo: number, bHi: number): boolean {
  if (smul64(aLo, aHi, bLo, bHi)) {
    unboundSigned64(dst);
    return false;
  }
  if (s64lt(resLo, resHi, dst.sminLo, dst.sminHi)) {
    dst.sminLo = resLo;
    dst.sminHi = resHi;
  }
  if (s64lt(dst.smaxLo, dst.smaxHi, resLo, resHi)) {
    dst.smaxLo = resLo;
    dst.smaxHi = resHi;
  }
  return true;
}
