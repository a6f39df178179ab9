/** Ranges of one width forgotten. */
import type { RegState } from "../reg-state.ts";
import { S32_MAX, S32_MIN } from "./words.ts";

/** __mark_reg32_unbounded */
export function setUnbounded32(r: RegState): void {
  r.s32Min = S32_MIN;
  r.s32Max = S32_MAX;
  r.u32Min = 0;
  r.u32Max = -1;
}

/** __mark_reg64_unbounded */
export function setUnbounded64(r: RegState): void {
  r.sminLo = 0;
  r.sminHi = S32_MIN;
  r.smaxLo = -1;
  r.smaxHi = S32_MAX;
  r.uminLo = 0;
  r.uminHi = 0;
  r.umaxLo = -1;
  r.umaxHi = -1;
}
