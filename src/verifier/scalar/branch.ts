/** Conditional jumps on two scalars: which way they go (is_scalar_branch_taken) and what either way teaches (regs_refine_cond_op). */
import {
  BPF_JEQ,
  BPF_JGE,
  BPF_JGT,
  BPF_JLE,
  BPF_JLT,
  BPF_JNE,
  BPF_JSET,
  BPF_JSGE,
  BPF_JSGT,
  BPF_JSLE,
  BPF_JSLT,
  BPF_X,
} from "../../asm/opcode.ts";
import { SCALAR_VALUE } from "../constants.ts";
import { type RegState, setUnbounded } from "../reg-state.ts";
import { has } from "./rules.ts";
import { regBoundsSync } from "./sync.ts";
import { tnumOverlap } from "./tnum.ts";
import { add64, resHi, resLo, s64lt, sub64, u32max, u32min, u64lt } from "./words.ts";

/** The jump's condition negated is no opcode for JSET; the kernel marks it with BPF_X. */
const NOT_JSET = BPF_JSET | BPF_X;

/** flip_opcode: `a op b` is `b flip(op) a`. */
export function flipOpcode(op: number): number {
  switch (op) {
    case BPF_JGE:
      return BPF_JLE;
    case BPF_JGT:
      return BPF_JLT;
    case BPF_JLE:
      return BPF_JGE;
    case BPF_JLT:
      return BPF_JGT;
    case BPF_JSGE:
      return BPF_JSLE;
    case BPF_JSGT:
      return BPF_JSLT;
    case BPF_JSLE:
      return BPF_JSGE;
    case BPF_JSLT:
      return BPF_JSGT;
    default:
      return op;
  }
}

/** rev_opcode: the condition that holds when `op` does not. */
export function revOpcode(op: number): number {
  switch (op) {
    case BPF_JEQ:
      return BPF_JNE;
    case BPF_JNE:
      return BPF_JEQ;
    case BPF_JSET:
      return NOT_JSET;
    case NOT_JSET:
      return BPF_JSET;
    case BPF_JGE:
      return BPF_JLT;
    case BPF_JGT:
      return BPF_JLE;
    case BPF_JLE:
      return BPF_JGT;
    case BPF_JLT:
      return BPF_JGE;
    case BPF_JSGE:
      return BPF_JSLT;
    case BPF_JSGT:
      return BPF_JSLE;
    case BPF_JSLE:
      return BPF_JSGT;
    case BPF_JSLT:
      return BPF_JSGE;
    default:
      return 0;
  }
}

const constLow = (r: RegState): boolean => r.type === SCALAR_VALUE && r.maskLo === 0;
const constWhole = (r: RegState): boolean => r.type === SCALAR_VALUE && (r.maskLo | r.maskHi) === 0;

const disjoint32 = (a: RegState, b: RegState): boolean =>
  a.u32Min >>> 0 > b.u32Max >>> 0 || a.u32Max >>> 0 < b.u32Min >>> 0 || a.s32Min > b.s32Max || a.s32Max < b.s32Min;

const disjoint64 = (a: RegState, b: RegState): boolean =>
  u64lt(b.umaxLo, b.umaxHi, a.uminLo, a.uminHi) ||
  u64lt(a.umaxLo, a.umaxHi, b.uminLo, b.uminHi) ||
  s64lt(b.smaxLo, b.smaxHi, a.sminLo, a.sminHi) ||
  s64lt(a.smaxLo, a.smaxHi, b.sminLo, b.sminHi);

/** 1: equal, 0: not equal, -1: unknown. */
function knownEqual(a: RegState, b: RegState, is32: boolean): number {
  if (is32) {
    if ((a.maskLo | b.maskLo) === 0) return a.valLo === b.valLo ? 1 : 0;
    return has.rangesCompared && (!tnumOverlap(a, b, true) || disjoint32(a, b)) ? 0 : -1;
  }
  if ((a.maskLo | a.maskHi | b.maskLo | b.maskHi) === 0) return a.valLo === b.valLo && a.valHi === b.valHi ? 1 : 0;
  return has.rangesCompared && (!tnumOverlap(a, b, false) || disjoint64(a, b) || disjoint32(a, b)) ? 0 : -1;
}

/** 1: a < b, 0: a >= b, -1: unknown; unsigned. */
function knownLtU(a: RegState, b: RegState, is32: boolean): number {
  if (is32) {
    if (a.u32Max >>> 0 < b.u32Min >>> 0) return 1;
    return a.u32Min >>> 0 >= b.u32Max >>> 0 ? 0 : -1;
  }
  if (u64lt(a.umaxLo, a.umaxHi, b.uminLo, b.uminHi)) return 1;
  return u64lt(a.uminLo, a.uminHi, b.umaxLo, b.umaxHi) ? -1 : 0;
}

function knownLtS(a: RegState, b: RegState, is32: boolean): number {
  if (is32) {
    if (a.s32Max < b.s32Min) return 1;
    return a.s32Min >= b.s32Max ? 0 : -1;
  }
  if (s64lt(a.smaxLo, a.smaxHi, b.sminLo, b.sminHi)) return 1;
  return s64lt(a.sminLo, a.sminHi, b.smaxLo, b.smaxHi) ? -1 : 0;
}

function knownBits(a: RegState, b: RegState, is32: boolean): number {
  const isConst = is32 ? constLow : constWhole;
  const mask = isConst(b) ? b : a;
  const r = mask === b ? a : b;
  if (!isConst(mask)) return -1;
  const sure = (r.valLo & mask.valLo) | (is32 ? 0 : r.valHi & mask.valHi);
  if (sure !== 0) return 1;
  const may = ((r.valLo | r.maskLo) & mask.valLo) | (is32 ? 0 : (r.valHi | r.maskHi) & mask.valHi);
  return may === 0 ? 0 : -1;
}

const not = (known: number): number => (known < 0 ? -1 : 1 - known);

/**
 * Which way `if r1 op r2` goes for two scalars: 1 taken, 0 not taken, -1 unknown.
 * `op` is the jump's operation (BPF_JEQ…); `is32` for JMP32.
 */
export function isBranchTaken(r1: RegState, r2: RegState, op: number, is32: boolean): number {
  switch (op) {
    case BPF_JEQ:
      return knownEqual(r1, r2, is32);
    case BPF_JNE:
      return not(knownEqual(r1, r2, is32));
    case BPF_JSET:
      return knownBits(r1, r2, is32);
    case BPF_JLT:
      return knownLtU(r1, r2, is32);
    case BPF_JGE:
      return not(knownLtU(r1, r2, is32));
    case BPF_JGT:
      return knownLtU(r2, r1, is32);
    case BPF_JLE:
      return not(knownLtU(r2, r1, is32));
    case BPF_JSLT:
      return knownLtS(r1, r2, is32);
    case BPF_JSGE:
      return not(knownLtS(r1, r2, is32));
    case BPF_JSGT:
      return knownLtS(r2, r1, is32);
    case BPF_JSLE:
      return not(knownLtS(r2, r1, is32));
    default:
      return -1;
  }
}

function refineEqual32(a: RegState, b: RegState): void {
  a.u32Min = b.u32Min = u32max(a.u32Min, b.u32Min);
  a.u32Max = b.u32Max = u32min(a.u32Max, b.u32Max);
  a.s32Min = b.s32Min = a.s32Min > b.s32Min ? a.s32Min : b.s32Min;
  a.s32Max = b.s32Max = a.s32Max < b.s32Max ? a.s32Max : b.s32Max;
  const mask = a.maskLo & b.maskLo;
  a.valLo = b.valLo = (a.valLo | b.valLo) & ~mask;
  a.maskLo = b.maskLo = mask;
}

function refineEqual64(a: RegState, b: RegState): void {
  lowerUmaxTo(a, b.umaxLo, b.umaxHi);
  raiseUminTo(a, b.uminLo, b.uminHi);
  lowerSmaxTo(a, b.smaxLo, b.smaxHi);
  raiseSminTo(a, b.sminLo, b.sminHi);
  b.uminLo = a.uminLo;
  b.uminHi = a.uminHi;
  b.umaxLo = a.umaxLo;
  b.umaxHi = a.umaxHi;
  b.sminLo = a.sminLo;
  b.sminHi = a.sminHi;
  b.smaxLo = a.smaxLo;
  b.smaxHi = a.smaxHi;
  const maskLo = a.maskLo & b.maskLo;
  const maskHi = a.maskHi & b.maskHi;
  a.valLo = b.valLo = (a.valLo | b.valLo) & ~maskLo;
  a.valHi = b.valHi = (a.valHi | b.valHi) & ~maskHi;
  a.maskLo = b.maskLo = maskLo;
  a.maskHi = b.maskHi = maskHi;
}

function raiseUminTo(r: RegState, lo: number, hi: number): void {
  if (u64lt(r.uminLo, r.uminHi, lo, hi)) {
    r.uminLo = lo;
    r.uminHi = hi;
  }
}
function lowerUmaxTo(r: RegState, lo: number, hi: number): void {
  if (u64lt(lo, hi, r.umaxLo, r.umaxHi)) {
    r.umaxLo = lo;
    r.umaxHi = hi;
  }
}
function raiseSminTo(r: RegState, lo: number, hi: number): void {
  if (s64lt(r.sminLo, r.sminHi, lo, hi)) {
    r.sminLo = lo;
    r.sminHi = hi;
  }
}
function lowerSmaxTo(r: RegState, lo: number, hi: number): void {
  if (s64lt(lo, hi, r.smaxLo, r.smaxHi)) {
    r.smaxLo = lo;
    r.smaxHi = hi;
  }
}

/** r is not the constant x: an end of a range that is x moves by one. */
function refineNotEqual(r: RegState, x: RegState, is32: boolean): void {
  const lo = x.valLo;
  if (is32) {
    if (r.u32Min === lo) r.u32Min = (r.u32Min + 1) | 0;
    if (r.u32Max === lo) r.u32Max = (r.u32Max - 1) | 0;
    if (r.s32Min === lo) r.s32Min = (r.s32Min + 1) | 0;
    if (r.s32Max === lo) r.s32Max = (r.s32Max - 1) | 0;
    return;
  }
  const hi = x.valHi;
  if (r.uminLo === lo && r.uminHi === hi) {
    add64(lo, hi, 1, 0);
    r.uminLo = resLo;
    r.uminHi = resHi;
  }
  if (r.umaxLo === lo && r.umaxHi === hi) {
    sub64(lo, hi, 1, 0);
    r.umaxLo = resLo;
    r.umaxHi = resHi;
  }
  if (r.sminLo === lo && r.sminHi === hi) {
    add64(lo, hi, 1, 0);
    r.sminLo = resLo;
    r.sminHi = resHi;
  }
  if (r.smaxLo === lo && r.smaxHi === hi) {
    sub64(lo, hi, 1, 0);
    r.smaxLo = resLo;
    r.smaxHi = resHi;
  }
}

/** r & x is not zero: that says which bit only when x is a single one. */
function refineBitSet(r: RegState, x: RegState, is32: boolean): void {
  const lo = x.valLo;
  const hi = is32 ? 0 : x.valHi;
  const single = hi === 0 ? (lo & (lo - 1)) === 0 && lo !== 0 : lo === 0 && (hi & (hi - 1)) === 0;
  if (!single) return;
  r.valLo |= lo;
  r.maskLo &= ~lo;
  r.valHi |= hi;
  r.maskHi &= ~hi;
}

/** r & x is zero. The kernel forgets the ranges first, lest a dead branch break invariants. */
function refineBitsClear(r: RegState, x: RegState, is32: boolean): void {
  setUnbounded(r);
  r.valLo &= ~x.valLo;
  r.maskLo &= ~x.valLo;
  if (is32) return;
  r.valHi &= ~x.valHi;
  r.maskHi &= ~x.valHi;
}

/** a <= b (strict: a < b), unsigned. */
function refineLessU(a: RegState, b: RegState, strict: boolean, is32: boolean): void {
  const d = strict ? 1 : 0;
  if (is32) {
    const max = u32min(a.u32Max, (b.u32Max - d) | 0);
    b.u32Min = u32max((a.u32Min + d) | 0, b.u32Min);
    a.u32Max = max;
    return;
  }
  sub64(b.umaxLo, b.umaxHi, d, 0);
  lowerUmaxTo(a, resLo, resHi);
  add64(a.uminLo, a.uminHi, d, 0);
  raiseUminTo(b, resLo, resHi);
}

/** a <= b (strict: a < b), signed. */
function refineLessS(a: RegState, b: RegState, strict: boolean, is32: boolean): void {
  const d = strict ? 1 : 0;
  if (is32) {
    const bMax = (b.s32Max - d) | 0;
    const aMin = (a.s32Min + d) | 0;
    if (bMax < a.s32Max) a.s32Max = bMax;
    if (aMin > b.s32Min) b.s32Min = aMin;
    return;
  }
  sub64(b.smaxLo, b.smaxHi, d, 0);
  lowerSmaxTo(a, resLo, resHi);
  add64(a.sminLo, a.sminHi, d, 0);
  raiseSminTo(b, resLo, resHi);
}

/**
 * regs_refine_cond_op: what `r1 op r2` being true teaches about both. `op` as for
 * isBranchTaken, or revOpcode of one. The registers are not synced.
 */
export function regsRefine(r1: RegState, r2: RegState, op: number, is32: boolean): void {
  switch (op) {
    case BPF_JEQ:
      if (is32) refineEqual32(r1, r2);
      else refineEqual64(r1, r2);
      return;
    case BPF_JNE:
    case BPF_JSET:
    case NOT_JSET: {
      const isConst = is32 ? constLow : constWhole;
      const x = isConst(r2) ? r2 : r1;
      if (!isConst(x)) return;
      const r = x === r2 ? r1 : r2;
      if (op === BPF_JNE) refineNotEqual(r, x, is32);
      else if (op === BPF_JSET) refineBitSet(r, x, is32);
      else refineBitsClear(r, x, is32);
      return;
    }
    case BPF_JLE:
    case BPF_JLT:
      refineLessU(r1, r2, op === BPF_JLT, is32);
      return;
    case BPF_JGE:
    case BPF_JGT:
      refineLessU(r2, r1, op === BPF_JGT, is32);
      return;
    case BPF_JSLE:
    case BPF_JSLT:
      refineLessS(r1, r2, op === BPF_JSLT, is32);
      return;
    case BPF_JSGE:
    case BPF_JSGT:
      refineLessS(r2, r1, op === BPF_JSGT, is32);
      return;
    default:
  }
}

/** The refining part of reg_set_min_max: both paths of `if r1 op r2`, all four registers synced. */
export function refinePaths(
  true1: RegState,
  true2: RegState,
  false1: RegState,
  false2: RegState,
  op: number,
  is32: boolean,
): void {
  regsRefine(false1, false2, revOpcode(op), is32);
  regBoundsSync(false1);
  regBoundsSync(false2);
  regsRefine(true1, true2, op, is32);
  regBoundsSync(true1);
  regBoundsSync(true2);
}
