/** Ranges compared, for pruning (range_within). */
import type { RegState } from "../reg-state.ts";
import { s64lt, u64lt } from "./words.ts";

/** range_within: all four ranges of `cur` lie within those of `old`. */
export function rangeWithin(old: RegState, cur: RegState): boolean {
  return (
    !u64lt(cur.uminLo, cur.uminHi, old.uminLo, old.uminHi) &&
    !u64lt(old.umaxLo, old.umaxHi, cur.umaxLo, cur.umaxHi) &&
    !s64lt(cur.sminLo, cur.sminHi, old.sminLo, old.sminHi) &&
    !s64lt(old.smaxLo, old.smaxHi, cur.smaxLo, cur.smaxHi) &&
    old.u32Min >>> 0 <= cur.u32Min >>> 0 &&
    old.u32Max >>> 0 >= cur.u32Max >>> 0 &&
    old.s32Min <= cur.s32Min &&
    old.s32Max >= cur.s32Max
  );
}
