/**
 * What a register's tnum and four ranges tell about each other (reg_bounds_sync). The ranges may
 * each know something the others do not; a sync moves that knowledge around in the kernel's
 * order, which matters: the result is printed and compared.
 */
import { type RegState, setKnownNumber } from "../reg-state.ts";
import { has } from "./rules.ts";
import { stepHi, stepLo, tnumIntersectRange, tnumIntersectRange32, tnumStep } from "./tnum.ts";
import { setUnbounded32 } from "./unbounded.ts";
import { S32_MAX, S32_MIN, s64lt, u32max, u32min, u64lt } from "./words.ts";

/** Set by every function here that tightens something: a deduction that tightens nothing need not be repeated. */
let changed = false;

function raiseU32Min(r: RegState, x: number): void {
  if (x >>> 0 > r.u32Min >>> 0) {
    r.u32Min = x;
    changed = true;
  }
}
function lowerU32Max(r: RegState, x: number): void {
  if (x >>> 0 < r.u32Max >>> 0) {
    r.u32Max = x;
    changed = true;
  }
}
function raiseS32Min(r: RegState, x: number): void {
  if (x > r.s32Min) {
    r.s32Min = x;
    changed = true;
  }
}
function lowerS32Max(r: RegState, x: number): void {
  if (x < r.s32Max) {
    r.s32Max = x;
    changed = true;
  }
}
function raiseUmin(r: RegState, lo: number, hi: number): void {
  if (u64lt(r.uminLo, r.uminHi, lo, hi)) {
    r.uminLo = lo;
    r.uminHi = hi;
    changed = true;
  }
}
function lowerUmax(r: RegState, lo: number, hi: number): void {
  if (u64lt(lo, hi, r.umaxLo, r.umaxHi)) {
    r.umaxLo = lo;
    r.umaxHi = hi;
    changed = true;
  }
}
function raiseSmin(r: RegState, lo: number, hi: number): void {
  if (s64lt(r.sminLo, r.sminHi, lo, hi)) {
    r.sminLo = lo;
    r.sminHi = hi;
    changed = true;
  }
}
function lowerSmax(r: RegState, lo: number, hi: number): void {
  if (s64lt(lo, hi, r.smaxLo, r.smaxHi)) {
    r.smaxLo = lo;
    r.smaxHi = hi;
    changed = true;
  }
}

/** __update_reg32_bounds: 32-bit ranges from the low word's bits. */
export function updateReg32Bounds(r: RegState): void {
  const v = r.valLo;
  const m = r.maskLo;
  raiseS32Min(r, v | (m & S32_MIN));
  lowerS32Max(r, v | (m & S32_MAX));
  raiseU32Min(r, v);
  lowerU32Max(r, v | m);
}

function updateReg64Bounds(r: RegState): void {
  raiseSmin(r, r.valLo, r.valHi | (r.maskHi & S32_MIN));
  lowerSmax(r, r.valLo | r.maskLo, r.valHi | (r.maskHi & S32_MAX));
  raiseUmin(r, r.valLo, r.valHi);
  lowerUmax(r, r.valLo | r.maskLo, r.valHi | r.maskHi);
  if (has.tnumSingleMember && !isKnown(r)) findSingleMember(r);
}

const isKnown = (r: RegState): boolean =>
  (r.maskLo | r.maskHi | (r.uminLo ^ r.valLo) | (r.uminHi ^ r.valHi) | (r.umaxLo ^ r.valLo) | (r.umaxHi ^ r.valHi)) ===
  0;

/** Only one member of the tnum may lie in the unsigned range (7.0, and the stable kernels before it). */
function findSingleMember(r: RegState): void {
  const { uminLo, uminHi } = r;
  tnumStep(r, uminLo, uminHi);
  const lo = stepLo;
  const hi = stepHi;
  const pastMax = u64lt(r.umaxLo, r.umaxHi, lo, hi);
  if ((((uminLo & ~r.maskLo) ^ r.valLo) | ((uminHi & ~r.maskHi) ^ r.valHi)) === 0) {
    if (pastMax) setKnownNumber(r, uminLo, uminHi);
    return;
  }
  if (lo === (r.valLo | r.maskLo) && hi === (r.valHi | r.maskHi)) setKnownNumber(r, lo, hi);
  else if (!pastMax) {
    tnumStep(r, lo, hi);
    if (u64lt(r.umaxLo, r.umaxHi, stepLo, stepHi)) setKnownNumber(r, lo, hi);
  }
}

/** __update_reg_bounds: ranges from the tnum. */
export function updateRegBounds(r: RegState): void {
  updateReg32Bounds(r);
  updateReg64Bounds(r);
}

/** __reg32_deduce_bounds: 32-bit ranges from the 64-bit ones, then from each other. */
function deduce32(r: RegState): void {
  const { uminLo, uminHi, umaxLo, umaxHi, sminLo, sminHi, smaxLo, smaxHi } = r;
  // While the high word stays the same, the low words are a range of their own.
  if (uminHi === umaxHi) {
    raiseU32Min(r, uminLo);
    lowerU32Max(r, umaxLo);
    if (uminLo <= umaxLo) {
      raiseS32Min(r, uminLo);
      lowerS32Max(r, umaxLo);
    }
  }
  if (sminHi === smaxHi) {
    if (sminLo >>> 0 <= smaxLo >>> 0) {
      raiseU32Min(r, sminLo);
      lowerU32Max(r, smaxLo);
    }
    if (sminLo <= smaxLo) {
      raiseS32Min(r, sminLo);
      lowerS32Max(r, smaxLo);
    }
  }
  // The high word steps by one while the low word goes from negative to positive: a signed range.
  if (((uminHi + 1) | 0) === umaxHi && uminLo < 0 && umaxLo >= 0) {
    raiseS32Min(r, uminLo);
    lowerS32Max(r, umaxLo);
  }
  if (((sminHi + 1) | 0) === smaxHi && sminLo < 0 && smaxLo >= 0) {
    raiseS32Min(r, sminLo);
    lowerS32Max(r, smaxLo);
  }
  if (r.u32Min <= r.u32Max) {
    raiseS32Min(r, r.u32Min);
    lowerS32Max(r, r.u32Max);
  }
  if (r.s32Min >>> 0 <= r.s32Max >>> 0) {
    raiseU32Min(r, r.s32Min);
    lowerU32Max(r, r.s32Max);
  } else if (r.u32Max >>> 0 < r.s32Min >>> 0) {
    // Unsigned, the signed range is [0, s32Max] and [s32Min, max]; only the first is possible.
    r.s32Min = r.u32Min;
    changed = true;
    lowerU32Max(r, r.s32Max);
  } else if (r.s32Max >>> 0 < r.u32Min >>> 0) {
    r.s32Max = r.u32Max;
    changed = true;
    raiseU32Min(r, r.s32Min);
  }
}

/** __reg64_deduce_bounds: signed from unsigned and back, where neither crosses the sign boundary or they overlap at one end only. */
function deduce64(r: RegState): void {
  if (!s64lt(r.umaxLo, r.umaxHi, r.uminLo, r.uminHi)) {
    raiseSmin(r, r.uminLo, r.uminHi);
    lowerSmax(r, r.umaxLo, r.umaxHi);
  }
  if (!u64lt(r.smaxLo, r.smaxHi, r.sminLo, r.sminHi)) {
    raiseUmin(r, r.sminLo, r.sminHi);
    lowerUmax(r, r.smaxLo, r.smaxHi);
  } else if (u64lt(r.umaxLo, r.umaxHi, r.sminLo, r.sminHi)) {
    // As in deduce32.
    r.sminLo = r.uminLo;
    r.sminHi = r.uminHi;
    changed = true;
    lowerUmax(r, r.smaxLo, r.smaxHi);
  } else if (u64lt(r.smaxLo, r.smaxHi, r.uminLo, r.uminHi)) {
    r.smaxLo = r.umaxLo;
    r.smaxHi = r.umaxHi;
    changed = true;
    raiseUmin(r, r.sminLo, r.sminHi);
  }
}

/** __reg_deduce_mixed_bounds: low words of the 64-bit bounds from the 32-bit range. */
function deduceMixed(r: RegState): void {
  raiseUmin(r, r.u32Min, r.uminHi);
  lowerUmax(r, r.u32Max, r.umaxHi);
  raiseSmin(r, r.u32Min, r.sminHi);
  lowerSmax(r, r.u32Max, r.smaxHi);
  // After a sign-extending load: within s32, and the low word is not negative.
  if (
    r.s32Min >= 0 &&
    (r.sminHi > -1 || (r.sminHi === -1 && r.sminLo < 0)) &&
    (r.smaxHi < 0 || (r.smaxHi === 0 && r.smaxLo >= 0))
  ) {
    const min = r.s32Min;
    const max = r.s32Max;
    const maxHi = max >> 31;
    changed ||=
      ((r.sminLo ^ min) |
        r.sminHi |
        (r.uminLo ^ min) |
        r.uminHi |
        (r.smaxLo ^ max) |
        (r.smaxHi ^ maxHi) |
        (r.umaxLo ^ max) |
        (r.umaxHi ^ maxHi)) !==
      0;
    r.sminLo = r.uminLo = min;
    r.sminHi = r.uminHi = 0;
    r.smaxLo = r.umaxLo = max;
    r.smaxHi = r.umaxHi = maxHi;
    tnumIntersectRange(r, min, 0, max, maxHi);
  }
}

/** __reg32_deduce_bounds before 6.8: only a sign that is sure carries over. */
function deduceSign32(r: RegState): void {
  if (r.s32Min >= 0 || r.s32Max < 0) {
    r.s32Min = r.u32Min = u32max(r.s32Min, r.u32Min);
    r.s32Max = r.u32Max = u32min(r.s32Max, r.u32Max);
  } else if (r.u32Max >= 0) {
    r.s32Min = r.u32Min;
    r.s32Max = r.u32Max = u32min(r.s32Max, r.u32Max);
  } else if (r.u32Min < 0) {
    r.s32Min = r.u32Min = u32max(r.s32Min, r.u32Min);
    r.s32Max = r.u32Max;
  }
}

/** smin = umin = the larger of the two, unsigned. */
function joinMin64(r: RegState): void {
  raiseUmin(r, r.sminLo, r.sminHi);
  r.sminLo = r.uminLo;
  r.sminHi = r.uminHi;
}

function joinMax64(r: RegState): void {
  lowerUmax(r, r.smaxLo, r.smaxHi);
  r.smaxLo = r.umaxLo;
  r.smaxHi = r.umaxHi;
}

/** The same in 64 bits. */
function deduceSign64(r: RegState): void {
  if (r.sminHi >= 0 || r.smaxHi < 0) {
    joinMin64(r);
    joinMax64(r);
  } else if (r.umaxHi >= 0) {
    r.sminLo = r.uminLo;
    r.sminHi = r.uminHi;
    joinMax64(r);
  } else if (r.uminHi < 0) {
    joinMin64(r);
    r.smaxLo = r.umaxLo;
    r.smaxHi = r.umaxHi;
  }
}

const fitsS32 = (lo: number, hi: number): boolean => hi === lo >> 31;

/** 32-bit ranges from the 64-bit ones, where these fit. (Before 5.7 the low word has no others.) */
function forgetSubreg(r: RegState): void {
  setUnbounded32(r);
  if (fitsS32(r.sminLo, r.sminHi) && fitsS32(r.smaxLo, r.smaxHi)) {
    r.s32Min = r.sminLo;
    r.s32Max = r.smaxLo;
  }
  if ((r.uminHi | r.umaxHi) === 0) {
    r.u32Min = r.uminLo;
    r.u32Max = r.umaxLo;
  }
}

/** reg_bounds_sync before 6.8. */
function syncOnce(r: RegState): void {
  if (!has.subregRanges) forgetSubreg(r);
  updateRegBounds(r);
  deduceSign32(r);
  deduceSign64(r);
  tnumIntersectRange(r, r.uminLo, r.uminHi, r.umaxLo, r.umaxHi);
  tnumIntersectRange32(r, r.u32Min, r.u32Max);
  updateRegBounds(r);
}

/** __reg_combine_64_into_32, before 6.8: the 32-bit ranges are those of 64 bits where these fit. */
export function combine64Into32(r: RegState): void {
  forgetSubreg(r);
  syncOnce(r);
}

/** A constant whose ranges all say so: nothing to learn. */
function isExact(r: RegState): boolean {
  const lo = r.valLo;
  return (
    isKnown(r) &&
    ((r.sminLo ^ lo) |
      (r.sminHi ^ r.valHi) |
      (r.smaxLo ^ lo) |
      (r.smaxHi ^ r.valHi) |
      (r.s32Min ^ lo) |
      (r.s32Max ^ lo) |
      (r.u32Min ^ lo) |
      (r.u32Max ^ lo)) ===
      0
  );
}

/** reg_bounds_sync: brings tnum and ranges of `r` to what they imply for each other. */
export function regBoundsSync(r: RegState): void {
  if (!has.rangeDeductions) {
    syncOnce(r);
    return;
  }
  if (isExact(r)) return;
  updateRegBounds(r);
  const { valLo, valHi, maskLo, maskHi } = r;
  let rounds = 0;
  // The kernel always goes round three times; one that changes nothing is the last.
  do {
    changed = false;
    deduce32(r);
    deduce64(r);
    deduceMixed(r);
    rounds++;
  } while (changed && rounds < 3);
  tnumIntersectRange(r, r.uminLo, r.uminHi, r.umaxLo, r.umaxHi);
  tnumIntersectRange32(r, r.u32Min, r.u32Max);
  if (
    changed ||
    rounds > 1 ||
    ((valLo ^ r.valLo) | (valHi ^ r.valHi) | (maskLo ^ r.maskLo) | (maskHi ^ r.maskHi)) !== 0
  )
    updateRegBounds(r);
}
