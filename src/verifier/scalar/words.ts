/**
 * 64-bit integers as two signed 32-bit words. Operations with a 64-bit result leave
 * it in `resLo`, `resHi`: a pair would have to be allocated.
 */

/** Result of the last operation here that has a 64-bit result. */
export let resLo = 0;
export let resHi = 0;

export const S32_MIN = -0x8000_0000;
export const S32_MAX = 0x7fff_ffff;

export const u32lt = (a: number, b: number): boolean => a >>> 0 < b >>> 0;
export const u32max = (a: number, b: number): number => (a >>> 0 > b >>> 0 ? a : b);
export const u32min = (a: number, b: number): number => (a >>> 0 < b >>> 0 ? a : b);

/** a < b, unsigned */
export function u64lt(aLo: number, aHi: number, bLo: number, bHi: number): boolean {
  return aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi >>> 0 < bHi >>> 0;
}

/** a < b, signed */
export function s64lt(aLo: number, aHi: number, bLo: number, bHi: number): boolean {
  return aHi === bHi ? aLo >>> 0 < bLo >>> 0 : aHi < bHi;
}

export function add64(aLo: number, aHi: number, bLo: number, bHi: number): void {
  const lo = (aLo + bLo) | 0;
  resHi = (aHi + bHi + (lo >>> 0 < aLo >>> 0 ? 1 : 0)) | 0;
  resLo = lo;
}

export function sub64(aLo: number, aHi: number, bLo: number, bHi: number): void {
  resHi = (aHi - bHi - (aLo >>> 0 < bLo >>> 0 ? 1 : 0)) | 0;
  resLo = (aLo - bLo) | 0;
}

/** Did the addition a + b = r (high words given) carry out of bit 63? */
export const addCarries = (aHi: number, bHi: number, rHi: number): boolean => ((aHi & bHi) | ((aHi | bHi) & ~rHi)) < 0;
/** Did a + b = r overflow as signed? */
export const addOverflows = (aHi: number, bHi: number, rHi: number): boolean => ((aHi ^ rHi) & (bHi ^ rHi)) < 0;
/** Did a - b = r borrow, i.e. a < b unsigned? */
export const subBorrows = (aHi: number, bHi: number, rHi: number): boolean => ((~aHi & bHi) | ((~aHi | bHi) & rHi)) < 0;
/** Did a - b = r overflow as signed? */
export const subOverflows = (aHi: number, bHi: number, rHi: number): boolean => ((aHi ^ bHi) & (aHi ^ rHi)) < 0;

/** Left shift by 0…63. */
export function shl64(lo: number, hi: number, n: number): void {
  if (n === 0) {
    resLo = lo;
    resHi = hi;
  } else if (n < 32) {
    resHi = (hi << n) | (lo >>> (32 - n));
    resLo = lo << n;
  } else {
    resHi = lo << (n - 32);
    resLo = 0;
  }
}

/** Logical right shift by 0…63. */
export function shr64(lo: number, hi: number, n: number): void {
  if (n === 0) {
    resLo = lo;
    resHi = hi;
  } else if (n < 32) {
    resLo = (lo >>> n) | (hi << (32 - n));
    resHi = (hi >>> n) | 0;
  } else {
    resLo = (hi >>> (n - 32)) | 0;
    resHi = 0;
  }
}

/** Arithmetic right shift by 0…63. */
export function sar64(lo: number, hi: number, n: number): void {
  if (n === 0) {
    resLo = lo;
    resHi = hi;
  } else if (n < 32) {
    resLo = (lo >>> n) | (hi << (32 - n));
    resHi = hi >> n;
  } else {
    resLo = hi >> (n - 32);
    resHi = hi >> 31;
  }
}

/** High word of the 64-bit product of two unsigned words. */
function mulHigh(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const mid = a1 * b0 + ((a0 * b0) >>> 16);
  const mid2 = a0 * b1 + (mid & 0xffff);
  return (a1 * b1 + (mid >>> 16) + (mid2 >>> 16)) | 0;
}

/** Unsigned product; true if it does not fit 64 bits (the result is then undefined). */
export function umul64(aLo: number, aHi: number, bLo: number, bHi: number): boolean {
  if (aHi !== 0 && bHi !== 0) return true;
  // At most one of the two has a high word, so the cross product is one multiplication.
  const cross = (aHi >>> 0) * (bLo >>> 0) + (bHi >>> 0) * (aLo >>> 0);
  if (cross > 0xffff_ffff) return true;
  const hi = cross + (mulHigh(aLo, bLo) >>> 0);
  if (hi > 0xffff_ffff) return true;
  resLo = Math.imul(aLo, bLo);
  resHi = hi | 0;
  return false;
}

/** Signed product; true if it does not fit 64 bits (the result is then undefined). */
export function smul64(aLo: number, aHi: number, bLo: number, bHi: number): boolean {
  const negative = (aHi ^ bHi) < 0;
  if (aHi < 0) {
    sub64(0, 0, aLo, aHi);
    aLo = resLo;
    aHi = resHi;
  }
  if (bHi < 0) {
    sub64(0, 0, bLo, bHi);
    bLo = resLo;
    bHi = resHi;
  }
  if (umul64(aLo, aHi, bLo, bHi)) return true;
  if (resHi < 0) return !(negative && resHi === S32_MIN && resLo === 0);
  if (negative) sub64(0, 0, resLo, resHi);
  return false;
}
