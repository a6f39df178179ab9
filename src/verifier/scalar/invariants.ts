/** The kernel's check that a register's tnum and ranges agree (reg_bounds_sanity_check). */
import { hex64 } from "../log-num.ts";
import type { RegState } from "../reg-state.ts";
import { has } from "./rules.ts";
import { s64lt, u64lt } from "./words.ts";

/** The first broken invariant of `r`, in the kernel's words; null when it is consistent. */
export function boundsViolation(r: RegState): string | null {
  if (
    u64lt(r.umaxLo, r.umaxHi, r.uminLo, r.uminHi) ||
    s64lt(r.smaxLo, r.smaxHi, r.sminLo, r.sminHi) ||
    r.u32Min >>> 0 > r.u32Max >>> 0 ||
    r.s32Min > r.s32Max
  ) {
    return "range bounds violation";
  }
  if (r.maskLo !== 0) return null;
  const lo = r.valLo;
  if (r.maskHi === 0) {
    const hi = r.valHi;
    const off =
      (r.uminLo ^ lo) |
      (r.uminHi ^ hi) |
      (r.umaxLo ^ lo) |
      (r.umaxHi ^ hi) |
      (r.sminLo ^ lo) |
      (r.sminHi ^ hi) |
      (r.smaxLo ^ lo) |
      (r.smaxHi ^ hi);
    if (off !== 0) return "const tnum out of sync with range bounds";
  }
  return ((r.u32Min ^ lo) | (r.u32Max ^ lo) | (r.s32Min ^ lo) | (r.s32Max ^ lo)) === 0
    ? null
    : "const subreg tnum out of sync with range bounds";
}

/** What the kernel logs about a broken invariant, with the final newline. */
export function violationText(r: RegState, ctx: string, violation: string): string {
  const h32 = (x: number): string => hex64(x, 0);
  return (
    `${has.bugTexts ? "verifier bug: " : ""}REG INVARIANTS VIOLATION (${ctx}): ${violation} ` +
    `u64=[${hex64(r.uminLo, r.uminHi)}, ${hex64(r.umaxLo, r.umaxHi)}] s64=[${hex64(r.sminLo, r.sminHi)}, ${hex64(r.smaxLo, r.smaxHi)}] ` +
    `u32=[${h32(r.u32Min)}, ${h32(r.u32Max)}] s32=[${h32(r.s32Min)}, ${h32(r.s32Max)}] ` +
    `var_off=(${hex64(r.valLo, r.valHi)}, ${hex64(r.maskLo, r.maskHi)})\n`
  );
}
