/** Abstract scalars together with some numbers they stand for, and the meaning of instructions on numbers. */
import fc from "fast-check";
import { SCALAR_VALUE } from "../../../src/verifier/constants.ts";
import { RegState } from "../../../src/verifier/reg-state.ts";
import { regBoundsSync } from "../../../src/verifier/scalar/sync.ts";

export const M64 = (1n << 64n) - 1n;
export const M32 = (1n << 32n) - 1n;
export const lo = (x: bigint): number => Number(BigInt.asIntN(32, x));
export const hi = (x: bigint): number => Number(BigInt.asIntN(32, x >> 32n));
export const s64 = (x: bigint): bigint => BigInt.asIntN(64, x);
export const s32 = (x: bigint): bigint => BigInt.asIntN(32, x);
export const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);
export const u32 = (x: bigint): bigint => BigInt.asUintN(32, x);
export const join = (l: number, h: number): bigint => (BigInt(h >>> 0) << 32n) | BigInt(l >>> 0);

const edge = fc.constantFrom(
  0n,
  1n,
  -1n,
  2n,
  -2n,
  1n << 31n,
  (1n << 31n) - 1n,
  -(1n << 31n),
  M32,
  1n << 32n,
  (1n << 63n) - 1n,
  -(1n << 63n),
  1n << 63n,
);
/** A 64-bit number (unsigned form), often near where a range wraps. */
export const number64: fc.Arbitrary<bigint> = fc
  .oneof(
    edge,
    fc.tuple(edge, fc.bigInt({ min: -20n, max: 20n })).map(([a, b]) => a + b),
    fc.bigInt({ min: 0n, max: M64 }),
    fc.bigInt({ min: 0n, max: M32 }),
    fc.bigInt({ min: -300n, max: 300n }),
  )
  .map(u64);

/** An abstract scalar and numbers among those it stands for. */
export interface Sample {
  readonly reg: RegState;
  readonly members: readonly bigint[];
}

const min = (xs: readonly bigint[]): bigint => xs.reduce((a, b) => (a < b ? a : b));
const max = (xs: readonly bigint[]): bigint => xs.reduce((a, b) => (a > b ? a : b));

/** A register with exactly these ends and this tnum; nothing synced. */
function build(members: readonly bigint[], unknown: bigint, drop: readonly boolean[]): RegState {
  const r = new RegState();
  r.type = SCALAR_VALUE;
  const first = members[0]!;
  const mask = drop[0] ? M64 : members.reduce((m, x) => m | (x ^ first), unknown);
  const value = first & ~mask & M64;
  r.valLo = lo(value);
  r.valHi = hi(value);
  r.maskLo = lo(mask);
  r.maskHi = hi(mask);
  const ends = (f: (x: bigint) => bigint, full: readonly [bigint, bigint], i: number): [bigint, bigint] => {
    const xs = members.map(f);
    return drop[i] ? [full[0], full[1]] : [min(xs), max(xs)];
  };
  const [umin, umax] = ends(u64, [0n, M64], 1);
  const [smin, smax] = ends(s64, [-(1n << 63n), (1n << 63n) - 1n], 2);
  const [u32min, u32max] = ends(u32, [0n, M32], 3);
  const [s32min, s32max] = ends(s32, [-(1n << 31n), (1n << 31n) - 1n], 4);
  r.uminLo = lo(umin);
  r.uminHi = hi(umin);
  r.umaxLo = lo(umax);
  r.umaxHi = hi(umax);
  r.sminLo = lo(smin);
  r.sminHi = hi(smin);
  r.smaxLo = lo(smax);
  r.smaxHi = hi(smax);
  r.u32Min = lo(u32min);
  r.u32Max = lo(u32max);
  r.s32Min = lo(s32min);
  r.s32Max = lo(s32max);
  return r;
}

const parts = fc.tuple(
  fc.array(number64, { minLength: 1, maxLength: 4 }),
  fc.oneof(fc.constant(0n), number64),
  fc.tuple(fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean()),
);

/** Some domains know the members' exact hull, others nothing. */
export const unsynced: fc.Arbitrary<Sample> = parts.map(([members, unknown, drop]) => ({
  members,
  reg: build(members, unknown, drop),
}));

export const sample: fc.Arbitrary<Sample> = unsynced.map(({ members, reg }) => {
  regBoundsSync(reg);
  return { members, reg };
});

export function constant(x: bigint): RegState {
  return build([x], 0n, [false, false, false, false, false]);
}

/** Why `x` is not among the numbers `r` stands for; null when it is. */
export function missing(r: RegState, x: bigint): string | null {
  const mask = join(r.maskLo, r.maskHi);
  if ((u64(x) & ~mask & M64) !== join(r.valLo, r.valHi)) return "var_off";
  if (u64(x) < join(r.uminLo, r.uminHi)) return "umin";
  if (u64(x) > join(r.umaxLo, r.umaxHi)) return "umax";
  if (s64(x) < s64(join(r.sminLo, r.sminHi))) return "smin";
  if (s64(x) > s64(join(r.smaxLo, r.smaxHi))) return "smax";
  if (u32(x) < BigInt(r.u32Min >>> 0)) return "umin32";
  if (u32(x) > BigInt(r.u32Max >>> 0)) return "umax32";
  if (s32(x) < BigInt(r.s32Min)) return "smin32";
  if (s32(x) > BigInt(r.s32Max)) return "smax32";
  return null;
}

const bits = (x: bigint, width: bigint): bigint => BigInt.asUintN(Number(width), x);

/** `a op b` as the machine computes it, of 32 or 64 bits; undefined where a shift distance is not below the width. */
export function compute(op: string, is32: boolean, a: bigint, b: bigint): bigint | undefined {
  const width = is32 ? 32n : 64n;
  const x = bits(a, width);
  const y = bits(b, width);
  switch (op) {
    case "add":
      return bits(x + y, width);
    case "sub":
      return bits(x - y, width);
    case "mul":
      return bits(x * y, width);
    case "and":
      return x & y;
    case "or":
      return x | y;
    case "xor":
      return x ^ y;
    case "neg":
      return bits(-x, width);
    case "lsh":
      return y < width ? bits(x << y, width) : undefined;
    case "rsh":
      return y < width ? x >> y : undefined;
    case "arsh":
      return y < width ? bits(BigInt.asIntN(Number(width), x) >> y, width) : undefined;
    default:
      throw new Error(op);
  }
}

/** Is `a op b` true? */
export function holds(op: string, is32: boolean, a: bigint, b: bigint): boolean {
  const n = is32 ? 32 : 64;
  const ua = BigInt.asUintN(n, a);
  const ub = BigInt.asUintN(n, b);
  const sa = BigInt.asIntN(n, a);
  const sb = BigInt.asIntN(n, b);
  switch (op) {
    case "jeq":
      return ua === ub;
    case "jne":
      return ua !== ub;
    case "jgt":
      return ua > ub;
    case "jge":
      return ua >= ub;
    case "jlt":
      return ua < ub;
    case "jle":
      return ua <= ub;
    case "jsgt":
      return sa > sb;
    case "jsge":
      return sa >= sb;
    case "jslt":
      return sa < sb;
    case "jsle":
      return sa <= sb;
    case "jset":
      return (ua & ub) !== 0n;
    default:
      throw new Error(op);
  }
}
