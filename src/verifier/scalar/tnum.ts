/**
 * Tracked numbers (kernel/bpf/tnum.c): which bits of a value are known. A register's
 * tnum is val (known bits) and mask (unknown bits, whose val bits are 0). All functions change
 * the tnum of `dst` only; ranges stay.
 */
import type { RegState } from "../reg-state.ts";
import { has } from "./rules.ts";
import { add64, resHi, resLo, sar64, shl64, shr64, sub64, u64lt } from "./words.ts";

const addend = { valLo: 0, valHi: 0, maskLo: 0, maskHi: 0 };
const src64 = (lo: number, hi: number): bigint => (BigInt(hi) << 32n) | BigInt(lo >>> 0);

/** tnum_add */
export function tnumAddReg(dst: RegState, src: Pick<RegState, "valLo" | "valHi" | "maskLo" | "maskHi">): void {
  add64(dst.maskLo, dst.maskHi, src.maskLo, src.maskHi);
  const smLo = resLo;
  const smHi = resHi;
  add64(dst.valLo, dst.valHi, src.valLo, src.valHi);
  const svLo = resLo;
  const svHi = resHi;
  // A carry out of an unknown bit shows where the largest sum differs from the smallest.
  add64(smLo, smHi, svLo, svHi);
  const muLo = (resLo ^ svLo) | dst.maskLo | src.maskLo;
  const muHi = (resHi ^ svHi) | dst.maskHi | src.maskHi;
  dst.valLo = svLo & ~muLo;
  dst.valHi = svHi & ~muHi;
  dst.maskLo = muLo;
  dst.maskHi = muHi;
}

/** tnum_sub */
export function tnumSubReg(dst: RegState, src: RegState): void {
  sub64(dst.valLo, dst.valHi, src.valLo, src.valHi);
  const dvLo = resLo;
  const dvHi = resHi;
  add64(dvLo, dvHi, dst.maskLo, dst.maskHi);
  const alphaLo = resLo;
  const alphaHi = resHi;
  sub64(dvLo, dvHi, src.maskLo, src.maskHi);
  const muLo = (alphaLo ^ resLo) | dst.maskLo | src.maskLo;
  const muHi = (alphaHi ^ resHi) | dst.maskHi | src.maskHi;
  dst.valLo = dvLo & ~muLo;
  dst.valHi = dvHi & ~muHi;
  dst.maskLo = muLo;
  dst.maskHi = muHi;
}

/** tnum_and */
export function tnumAndReg(dst: RegState, src: RegState): void {
  const vLo = dst.valLo & src.valLo;
  const vHi = dst.valHi & src.valHi;
  dst.maskLo = (dst.valLo | dst.maskLo) & (src.valLo | src.maskLo) & ~vLo;
  dst.maskHi = (dst.valHi | dst.maskHi) & (src.valHi | src.maskHi) & ~vHi;
  dst.valLo = vLo;
  dst.valHi = vHi;
}

/** tnum_or */
export function tnumOrReg(dst: RegState, src: RegState): void {
  dst.valLo |= src.valLo;
  dst.valHi |= src.valHi;
  dst.maskLo = (dst.maskLo | src.maskLo) & ~dst.valLo;
  dst.maskHi = (dst.maskHi | src.maskHi) & ~dst.valHi;
}

/** tnum_xor */
export function tnumXorReg(dst: RegState, src: RegState): void {
  dst.maskLo |= src.maskLo;
  dst.maskHi |= src.maskHi;
  dst.valLo = (dst.valLo ^ src.valLo) & ~dst.maskLo;
  dst.valHi = (dst.valHi ^ src.valHi) & ~dst.maskHi;
}

/**
 * tnum_mul as of 6.18: long multiplication over the bits of `dst`; a bit that is unknown takes
 * the union of the sums with and without the partial product.
 */
export function tnumMulReg(dst: RegState, src: RegState): void {
  if (!has.tnumMulUnion) {
    mulByMasks(dst, src);
    return;
  }
  let aVLo = dst.valLo;
  let aVHi = dst.valHi;
  let aMLo = dst.maskLo;
  let aMHi = dst.maskHi;
  let bVLo = src.valLo;
  let bVHi = src.valHi;
  let bMLo = src.maskLo;
  let bMHi = src.maskHi;
  let vLo = 0;
  let vHi = 0;
  let mLo = 0;
  let mHi = 0;
  while ((aVLo | aVHi | aMLo | aMHi) !== 0) {
    if (((aVLo | aMLo) & 1) !== 0) {
      // sum = acc + b, as in tnumAddReg
      const svLo = (vLo + bVLo) | 0;
      const svHi = (vHi + bVHi + (svLo >>> 0 < vLo >>> 0 ? 1 : 0)) | 0;
      const smLo = (mLo + bMLo) | 0;
      const smHi = (mHi + bMHi + (smLo >>> 0 < mLo >>> 0 ? 1 : 0)) | 0;
      const sigmaLo = (smLo + svLo) | 0;
      const sigmaHi = (smHi + svHi + (sigmaLo >>> 0 < smLo >>> 0 ? 1 : 0)) | 0;
      let muLo = (sigmaLo ^ svLo) | mLo | bMLo;
      let muHi = (sigmaHi ^ svHi) | mHi | bMHi;
      let sumLo = svLo & ~muLo;
      let sumHi = svHi & ~muHi;
      if ((aVLo & 1) === 0) {
        muLo |= (sumLo ^ vLo) | mLo;
        muHi |= (sumHi ^ vHi) | mHi;
        sumLo &= vLo & ~muLo;
        sumHi &= vHi & ~muHi;
      }
      vLo = sumLo;
      vHi = sumHi;
      mLo = muLo;
      mHi = muHi;
    }
    aVLo = (aVLo >>> 1) | (aVHi << 31);
    aVHi >>>= 1;
    aMLo = (aMLo >>> 1) | (aMHi << 31);
    aMHi >>>= 1;
    bVHi = (bVHi << 1) | (bVLo >>> 31);
    bVLo <<= 1;
    bMHi = (bMHi << 1) | (bMLo >>> 31);
    bMLo <<= 1;
  }
  dst.valLo = vLo;
  dst.valHi = vHi;
  dst.maskLo = mLo;
  dst.maskHi = mHi;
}

/** tnum_mul before 6.18: the product of the values, and a sum of masks for what is unknown. */
function mulByMasks(dst: RegState, src: RegState): void {
  const a = src64(dst.valLo, dst.valHi);
  const b = src64(src.valLo, src.valHi);
  const product = BigInt.asIntN(64, a * b);
  const accLo = Number(BigInt.asIntN(32, product));
  const accHi = Number(BigInt.asIntN(32, product >> 32n));
  let aVLo = dst.valLo;
  let aVHi = dst.valHi;
  let aMLo = dst.maskLo;
  let aMHi = dst.maskHi;
  let bVLo = src.valLo;
  let bVHi = src.valHi;
  let bMLo = src.maskLo;
  let bMHi = src.maskHi;
  dst.valLo = dst.valHi = dst.maskLo = dst.maskHi = 0;
  while ((aVLo | aVHi | aMLo | aMHi) !== 0) {
    if (((aVLo | aMLo) & 1) !== 0) {
      const certain = (aVLo & 1) !== 0;
      addend.valLo = addend.valHi = 0;
      addend.maskLo = certain ? bMLo : bVLo | bMLo;
      addend.maskHi = certain ? bMHi : bVHi | bMHi;
      tnumAddReg(dst, addend);
    }
    aVLo = (aVLo >>> 1) | (aVHi << 31);
    aVHi >>>= 1;
    aMLo = (aMLo >>> 1) | (aMHi << 31);
    aMHi >>>= 1;
    bVHi = (bVHi << 1) | (bVLo >>> 31);
    bVLo <<= 1;
    bMHi = (bMHi << 1) | (bMLo >>> 31);
    bMLo <<= 1;
  }
  addend.valLo = accLo;
  addend.valHi = accHi;
  addend.maskLo = addend.maskHi = 0;
  tnumAddReg(dst, addend);
}

/** tnum_lshift by 0…63 */
export function tnumShlReg(dst: RegState, n: number): void {
  shl64(dst.valLo, dst.valHi, n);
  dst.valLo = resLo;
  dst.valHi = resHi;
  shl64(dst.maskLo, dst.maskHi, n);
  dst.maskLo = resLo;
  dst.maskHi = resHi;
}

/** tnum_rshift by 0…63 */
export function tnumShrReg(dst: RegState, n: number): void {
  shr64(dst.valLo, dst.valHi, n);
  dst.valLo = resLo;
  dst.valHi = resHi;
  shr64(dst.maskLo, dst.maskHi, n);
  dst.maskLo = resLo;
  dst.maskHi = resHi;
}

/** tnum_arshift by 0…63: a sign bit that is unknown spreads as unknown bits. */
export function tnumSarReg(dst: RegState, n: number): void {
  sar64(dst.valLo, dst.valHi, n);
  dst.valLo = resLo;
  dst.valHi = resHi;
  sar64(dst.maskLo, dst.maskHi, n);
  dst.maskLo = resLo;
  dst.maskHi = resHi;
}

/** tnum_cast to 1, 2 or 4 bytes: bits above are known to be 0. */
export function tnumCastReg(dst: RegState, bytes: number): void {
  dst.valHi = 0;
  dst.maskHi = 0;
  if (bytes < 4) {
    const keep = (1 << (bytes * 8)) - 1;
    dst.valLo &= keep;
    dst.maskLo &= keep;
  }
}

const swab32 = (x: number): number => (x << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | (x >>> 24);

/** tnum_bswap16, 32, 64: the low bytes in reverse order, zero above. */
export function tnumBswapReg(dst: RegState, bits: number): void {
  const vLo = swab32(dst.valLo);
  const mLo = swab32(dst.maskLo);
  if (bits === 64) {
    dst.valLo = swab32(dst.valHi);
    dst.maskLo = swab32(dst.maskHi);
    dst.valHi = vLo;
    dst.maskHi = mLo;
    return;
  }
  dst.valLo = bits === 16 ? vLo >>> 16 : vLo;
  dst.maskLo = bits === 16 ? mLo >>> 16 : mLo;
  dst.valHi = 0;
  dst.maskHi = 0;
}

/** dst's tnum = tnum_range(min, max): the bits above the highest one that differs are known. */
export function tnumSetRange(dst: RegState, minLo: number, minHi: number, maxLo: number, maxHi: number): void {
  const deltaHi = onesBelow(minHi ^ maxHi);
  const deltaLo = deltaHi !== 0 ? -1 : onesBelow(minLo ^ maxLo);
  dst.valLo = minLo & ~deltaLo;
  dst.valHi = minHi & ~deltaHi;
  dst.maskLo = deltaLo;
  dst.maskHi = deltaHi;
}

/** Ones from the highest set bit of x down; 0 for 0. */
const onesBelow = (x: number): number => (x === 0 ? 0 : -1 >>> Math.clz32(x)) | 0;

/** Intersects dst's tnum with tnum_range(min, max) (tnum_intersect: bits known on either side are known). */
export function tnumIntersectRange(dst: RegState, minLo: number, minHi: number, maxLo: number, maxHi: number): void {
  const deltaHi = onesBelow(minHi ^ maxHi);
  const deltaLo = deltaHi !== 0 ? -1 : onesBelow(minLo ^ maxLo);
  const muLo = dst.maskLo & deltaLo;
  const muHi = dst.maskHi & deltaHi;
  dst.valLo = (dst.valLo | (minLo & ~deltaLo)) & ~muLo;
  dst.valHi = (dst.valHi | (minHi & ~deltaHi)) & ~muHi;
  dst.maskLo = muLo;
  dst.maskHi = muHi;
}

/** The same for the low word alone (tnum_with_subreg). */
export function tnumIntersectRange32(dst: RegState, min: number, max: number): void {
  const delta = onesBelow(min ^ max);
  const mu = dst.maskLo & delta;
  dst.valLo = (dst.valLo | (min & ~delta)) & ~mu;
  dst.maskLo = mu;
}

/** Smallest member of r's tnum that is greater than z, in stepLo, stepHi (tnum_step); the largest member when none is. */
export let stepLo = 0;
export let stepHi = 0;

export function tnumStep(r: RegState, zLo: number, zHi: number): void {
  const { valLo, valHi, maskLo, maskHi } = r;
  const maxLo = valLo | maskLo;
  const maxHi = valHi | maskHi;
  if (!u64lt(zLo, zHi, maxLo, maxHi)) {
    stepLo = maxLo;
    stepHi = maxHi;
    return;
  }
  if (u64lt(zLo, zHi, valLo, valHi)) {
    stepLo = valLo;
    stepHi = valHi;
    return;
  }
  // The highest known bit in which z differs decides; the free bits above it are those of z.
  const dHi = (zHi ^ valHi) & ~maskHi;
  const dLo = dHi !== 0 ? 0 : (zLo ^ valLo) & ~maskLo;
  const belowHi = onesBelow(dHi);
  const belowLo = dHi !== 0 ? -1 : onesBelow(dLo);
  const top = dHi !== 0 ? dHi & ~(belowHi >>> 1) & valHi : dLo & ~(belowLo >>> 1) & valLo;
  if (top !== 0) {
    stepLo = (zLo & maskLo & ~belowLo) | valLo;
    stepHi = (zHi & maskHi & ~belowHi) | valHi;
    return;
  }
  // z is larger there, or a member: the free bits above, counted as one number, go up by one.
  add64(zLo | ~maskLo | belowLo, zHi | ~maskHi | belowHi, 1, 0);
  stepLo = (resLo & maskLo) | valLo;
  stepHi = (resHi & maskHi) | valHi;
}

/** tnum_in(old, cur): every value cur allows is one old allows. */
export function tnumIn(old: RegState, cur: RegState): boolean {
  return (
    ((cur.maskLo & ~old.maskLo) | (cur.maskHi & ~old.maskHi)) === 0 &&
    (((cur.valLo & ~old.maskLo) ^ old.valLo) | ((cur.valHi & ~old.maskHi) ^ old.valHi)) === 0
  );
}

/** tnum_overlap: no bit is known to be 1 in one and 0 in the other. `low`: of the low word only. */
export function tnumOverlap(a: RegState, b: RegState, low: boolean): boolean {
  const lo = (a.valLo ^ b.valLo) & ~a.maskLo & ~b.maskLo;
  return low ? lo === 0 : (lo | ((a.valHi ^ b.valHi) & ~a.maskHi & ~b.maskHi)) === 0;
}
