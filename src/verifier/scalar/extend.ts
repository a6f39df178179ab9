/** Truncation, zero and sign extension of a register's number. */
import type { RegState } from "../reg-state.ts";
import { has } from "./rules.ts";
import { combine64Into32, regBoundsSync } from "./sync.ts";
import { setUnbounded32 } from "./unbounded.ts";
import { tnumCastReg, tnumSetRange } from "./tnum.ts";

/** zext_32_to_64: the high word is 0 from here on. No sync. */
export function zextSubreg(r: RegState): void {
  r.valHi = 0;
  r.maskHi = 0;
  zextBounds(r);
}

/** __reg_assign_32_into_64: the 64-bit ranges are those of the low word. */
export function zextBounds(r: RegState): void {
  r.uminLo = r.u32Min;
  r.umaxLo = r.u32Max;
  r.uminHi = r.umaxHi = r.sminHi = r.smaxHi = 0;
  if (r.s32Min >= 0 && r.s32Max >= 0) {
    r.sminLo = r.s32Min;
    r.smaxLo = r.s32Max;
  } else {
    r.sminLo = 0;
    r.smaxLo = -1;
  }
}

/** coerce_reg_to_size: keeps the low 1, 2 or 4 bytes, the rest becomes 0. */
export function coerceRegToSize(r: RegState, bytes: number): void {
  tnumCastReg(r, bytes);
  const mask = bytes === 4 ? -1 : (1 << (bytes * 8)) - 1;
  if (((r.uminLo ^ r.umaxLo) & ~mask) === 0 && r.uminHi === r.umaxHi) {
    r.uminLo &= mask;
    r.umaxLo &= mask;
  } else {
    r.uminLo = 0;
    r.umaxLo = mask;
  }
  r.uminHi = r.umaxHi = r.sminHi = r.smaxHi = 0;
  r.sminLo = r.uminLo;
  r.smaxLo = r.umaxLo;
  if (!has.rangeDeductions) {
    if (bytes < 4) combine64Into32(r);
    return;
  }
  if (bytes < 4) setUnbounded32(r);
  regBoundsSync(r);
}

/** The low 1, 2 or 4 bytes of x, sign-extended to 32 bits. */
const signExtend = (x: number, bytes: number): number =>
  bytes === 4 ? x : (x << (32 - bytes * 8)) >> (32 - bytes * 8);

/** coerce_reg_to_size_sx: sign-extends the low 1, 2 or 4 bytes to 64 bits. */
export function coerceRegToSizeSx(r: RegState, bytes: number): void {
  const shift = bytes * 8;
  if ((r.maskLo | r.maskHi) === 0) {
    const v = signExtend(r.valLo, bytes);
    const sign = v >> 31;
    r.valLo = r.sminLo = r.smaxLo = r.uminLo = r.umaxLo = v;
    r.valHi = r.sminHi = r.smaxHi = r.uminHi = r.umaxHi = sign;
    r.s32Min = r.s32Max = r.u32Min = r.u32Max = v;
    return;
  }
  const sameTop = r.sminHi === r.smaxHi && (bytes === 4 || (r.sminLo ^ r.smaxLo) >>> shift === 0);
  if (sameTop) {
    const a = signExtend(r.smaxLo, bytes);
    const b = signExtend(r.sminLo, bytes);
    if (a >= 0 === b >= 0) {
      const max = a > b ? a : b;
      const min = a > b ? b : a;
      r.s32Min = r.u32Min = r.sminLo = r.uminLo = min;
      r.s32Max = r.u32Max = r.smaxLo = r.umaxLo = max;
      r.sminHi = r.uminHi = min >> 31;
      r.smaxHi = r.umaxHi = max >> 31;
      tnumSetRange(r, min, min >> 31, max, max >> 31);
      return;
    }
  }
  const min = -1 << (shift - 1);
  r.s32Min = r.sminLo = min;
  r.s32Max = r.smaxLo = ~min;
  r.sminHi = -1;
  r.smaxHi = 0;
  r.uminLo = r.uminHi = r.u32Min = 0;
  r.umaxLo = r.umaxHi = r.u32Max = -1;
  r.valLo = r.valHi = 0;
  r.maskLo = r.maskHi = -1;
}

/** coerce_subreg_to_size_sx: sign-extends the low 1 or 2 bytes to 32 bits. The 64-bit ranges are left stale: the caller zero-extends. */
export function coerceSubregToSizeSx(r: RegState, bytes: number): void {
  const shift = bytes * 8;
  if ((r.maskLo | r.maskHi) === 0) {
    const v = signExtend(r.valLo, bytes);
    r.valLo = r.s32Min = r.s32Max = r.u32Min = r.u32Max = v;
    r.valHi = v >> 31;
    return;
  }
  if ((r.s32Min ^ r.s32Max) >>> shift === 0) {
    const a = signExtend(r.s32Max, bytes);
    const b = signExtend(r.s32Min, bytes);
    if (a >= 0 === b >= 0) {
      const max = a > b ? a : b;
      const min = a > b ? b : a;
      r.s32Min = r.u32Min = min;
      r.s32Max = r.u32Max = max;
      tnumSetRange(r, min, 0, max, 0);
      return;
    }
  }
  const min = -1 << (shift - 1);
  r.s32Min = min;
  r.s32Max = ~min;
  r.u32Min = 0;
  r.u32Max = -1;
  r.valLo = r.valHi = r.maskHi = 0;
  r.maskLo = -1;
}
