/**
 * Scalars that share an id: equal, or apart by a known constant (BPF_ADD_CONST64 after a 64-bit
 * addition, BPF_ADD_CONST32 after a 32-bit one; the constant is in `off`). What a branch teaches about
 * one of them holds for all.
 */
import { BPF_ADD_CONST, BPF_ADD_CONST32, BPF_ADD_CONST64 } from "../constants.ts";
import { RegState, setKnownNumber } from "../reg-state.ts";
import { scalar32MinMaxAdd, scalarMinMaxAdd } from "./arith.ts";
import { zextSubreg } from "./extend.ts";
import { has } from "./rules.ts";
import { regBoundsSync } from "./sync.ts";
import { tnumAddReg } from "./tnum.ts";
import { S32_MIN } from "./words.ts";

export function clearScalarId(r: RegState): void {
  r.id = 0;
  r.off = 0;
}

/**
 * `dst`, which has an id, had the constant (hi, lo) added or subtracted: keeps the link
 * with the constant noted, or drops it. A second constant is not accumulated. `fits32`: before the operation,
 * dst was at most U32_MAX (a 32-bit sum says nothing of the others' high words otherwise).
 */
export function linkByConst(
  dst: RegState,
  lo: number,
  hi: number,
  isSub: boolean,
  is32: boolean,
  fits32: boolean,
): void {
  const fits = has.widerLinks ? (is32 ? fits32 : hi === lo >> 31) : !is32 && !isSub && hi === 0 && lo >= 0;
  if (!fits || (isSub && lo === S32_MIN) || (dst.id & BPF_ADD_CONST) !== 0) {
    clearScalarId(dst);
    return;
  }
  dst.id |= is32 ? BPF_ADD_CONST32 : BPF_ADD_CONST64;
  dst.off = isSub ? (0 - lo) | 0 : lo;
}

const delta = new RegState();

/** The part of sync_linked_regs for one register: `r` becomes what `known`, of the same base id, says of it. */
export function syncLinkedReg(r: RegState, known: RegState): void {
  // Sums of different width are not a constant apart.
  if (((r.id ^ known.id) & BPF_ADD_CONST) === BPF_ADD_CONST) return;
  const { off, id, subregDef } = r;
  const same = ((r.id | known.id) & BPF_ADD_CONST) === 0 || off === known.off;
  r.copyFrom(known);
  r.subregDef = subregDef;
  if (same) return;
  const d = off - known.off;
  setKnownNumber(delta, d | 0, d < 0 ? -1 : 0);
  r.off = off;
  r.id = id;
  scalar32MinMaxAdd(r, delta);
  scalarMinMaxAdd(r, delta);
  tnumAddReg(r, delta);
  if (!has.widerLinks) return;
  if (((id | known.id) & BPF_ADD_CONST32) !== 0) zextSubreg(r);
  regBoundsSync(r);
}
