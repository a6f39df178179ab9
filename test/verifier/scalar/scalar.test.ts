/** Scalars are sound: no operation or branch loses a number that can really occur; on constants they are exact. */
import fc from "fast-check";
import {
  BPF_ADD,
  BPF_AND,
  BPF_ARSH,
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
  BPF_LSH,
  BPF_MUL,
  BPF_NEG,
  BPF_OR,
  BPF_RSH,
  BPF_SUB,
  BPF_XOR,
} from "../../../src/asm/opcode.ts";
import { BPF_ADD_CONST32, BPF_ADD_CONST64 } from "../../../src/verifier/constants.ts";
import { RegState, markRegKnown, markRegUnknown } from "../../../src/verifier/reg-state.ts";
import { scalarAlu, scalarByteSwap } from "../../../src/verifier/scalar/alu.ts";
import { flipOpcode, isBranchTaken, refinePaths, revOpcode } from "../../../src/verifier/scalar/branch.ts";
import {
  coerceRegToSize,
  coerceRegToSizeSx,
  coerceSubregToSizeSx,
  zextSubreg,
} from "../../../src/verifier/scalar/extend.ts";
import { boundsViolation, violationText } from "../../../src/verifier/scalar/invariants.ts";
import { linkByConst, syncLinkedReg } from "../../../src/verifier/scalar/linked.ts";
import { regBoundsSync } from "../../../src/verifier/scalar/sync.ts";
import {
  stepHi,
  stepLo,
  tnumIn,
  tnumMulReg,
  tnumOverlap,
  tnumSetRange,
  tnumStep,
} from "../../../src/verifier/scalar/tnum.ts";
import { rangeWithin } from "../../../src/verifier/scalar/within.ts";
import { assert, suite } from "../../harness.ts";
import {
  type Sample,
  M32,
  compute,
  constant,
  hi,
  holds,
  join,
  lo,
  missing,
  number64,
  s64,
  sample,
  u64,
  unsynced,
} from "./members.ts";

const test = suite("verifier scalar");
const numRuns = Number(process.env["FUZZ_RUNS"] ?? 1500);

const ALU: Readonly<Record<string, number>> = {
  add: BPF_ADD,
  sub: BPF_SUB,
  mul: BPF_MUL,
  and: BPF_AND,
  or: BPF_OR,
  xor: BPF_XOR,
  lsh: BPF_LSH,
  rsh: BPF_RSH,
  arsh: BPF_ARSH,
  neg: BPF_NEG,
};
const JUMPS: Readonly<Record<string, number>> = {
  jeq: BPF_JEQ,
  jne: BPF_JNE,
  jgt: BPF_JGT,
  jge: BPF_JGE,
  jlt: BPF_JLT,
  jle: BPF_JLE,
  jsgt: BPF_JSGT,
  jsge: BPF_JSGE,
  jslt: BPF_JSLT,
  jsle: BPF_JSLE,
  jset: BPF_JSET,
};
const aluName = fc.constantFrom(...Object.keys(ALU));
const jumpName = fc.constantFrom(...Object.keys(JUMPS));

function has(r: RegState, x: bigint, what: string): void {
  const domain = missing(r, x);
  if (domain !== null)
    throw new Error(`${what}: ${String(s64(x))} is lost in ${domain}: ${violationText(r, "test", "state")}`);
}
const hasAll = (r: RegState, xs: readonly bigint[], what: string): void => xs.forEach((x) => has(r, x, what));

const shiftOf = (op: string, b: Sample, is32: boolean): Sample => {
  if (op !== "lsh" && op !== "rsh" && op !== "arsh") return b;
  const n = b.members[0]! % (is32 ? 32n : 64n);
  return { reg: constant(n), members: [n] };
};

test("a sync loses no member and never widens", () => {
  fc.assert(
    fc.property(unsynced, ({ reg, members }) => {
      const before = reg.clone();
      regBoundsSync(reg);
      hasAll(reg, members, "sync");
      assert.ok(rangeWithin(before, reg) && tnumIn(before, reg), "wider than before");
      assert.is(boundsViolation(reg), null);
      const once = reg.clone();
      regBoundsSync(reg);
      hasAll(reg, members, "second sync");
      assert.ok(rangeWithin(once, reg) && tnumIn(once, reg), "the second sync widened");
    }),
    { numRuns: numRuns * 2 },
  );
});

test("arithmetic keeps every result that can occur", () => {
  fc.assert(
    fc.property(aluName, fc.boolean(), sample, sample, (op, is32, a, b0) => {
      const b = shiftOf(op, b0, is32);
      const r = a.reg.clone();
      if (!scalarAlu(ALU[op]!, is32, r, b.reg)) throw new Error(`${op} is not followed`);
      for (const x of a.members)
        for (const y of b.members) has(r, compute(op, is32, x, y)!, `${op}${is32 ? 32 : 64} ${x} ${y}`);
      assert.is(boundsViolation(r), null);
    }),
    { numRuns: numRuns * 4 },
  );
});

test("arithmetic on constants is exact", () => {
  fc.assert(
    fc.property(aluName, fc.boolean(), number64, number64, (op, is32, x, y0) => {
      const y = shiftOf(op, { reg: constant(y0), members: [y0] }, is32).members[0]!;
      const r = constant(x);
      scalarAlu(ALU[op]!, is32, r, constant(y));
      assert.ok(r.isConst(), `${op} ${x} ${y} is not a constant`);
      has(r, compute(op, is32, x, y)!, op);
    }),
    { numRuns: numRuns * 2 },
  );
});

test("shifts by something unknown or too far, and divisions, are not followed", () => {
  const r = constant(100n);
  const unknown = new RegState();
  markRegUnknown(unknown, true);
  for (const op of [BPF_LSH, BPF_RSH, BPF_ARSH]) {
    assert.is(scalarAlu(op, false, r.clone(), unknown), false);
    assert.is(scalarAlu(op, false, r.clone(), constant(64n)), false);
    assert.is(scalarAlu(op, true, r.clone(), constant(32n)), false);
    assert.is(scalarAlu(op, false, r.clone(), constant(63n)), true);
  }
  assert.is(scalarAlu(0x30, false, r.clone(), constant(5n)), false);
  assert.is(scalarAlu(0x90, true, r.clone(), constant(5n)), false);
});

test("truncation and extension keep every result", () => {
  const sx = (x: bigint, n: number, to: number): bigint => BigInt.asUintN(to, BigInt.asIntN(n, x));
  fc.assert(
    fc.property(sample, fc.constantFrom(1, 2, 4), ({ reg, members }, bytes) => {
      const cut = reg.clone();
      coerceRegToSize(cut, bytes);
      const wide = reg.clone();
      coerceRegToSizeSx(wide, bytes);
      const zero = reg.clone();
      zextSubreg(zero);
      for (const x of members) {
        has(cut, BigInt.asUintN(bytes * 8, x), `truncated to ${bytes}`);
        has(wide, sx(x, bytes * 8, 64), `sign-extended from ${bytes}`);
        has(zero, x & M32, "zero-extended");
      }
      if (bytes === 4) return;
      const sub = reg.clone();
      coerceSubregToSizeSx(sub, bytes);
      zextSubreg(sub);
      regBoundsSync(sub);
      for (const x of members) has(sub, sx(x, bytes * 8, 32), `sign-extended from ${bytes} to 4`);
    }),
    { numRuns },
  );
});

test("byte swaps keep every result and known bits", () => {
  const swap = (x: bigint, bytes: number): bigint => {
    let out = 0n;
    for (let i = 0; i < bytes; i++) out = (out << 8n) | ((x >> BigInt(8 * i)) & 0xffn);
    return out;
  };
  fc.assert(
    fc.property(
      sample,
      fc.constantFrom(16, 32, 64),
      fc.constantFrom("bswap", "be", "le"),
      ({ reg, members }, width, kind) => {
        scalarByteSwap(reg, width, kind === "bswap", kind !== "be");
        for (const x of members) has(reg, kind === "le" ? BigInt.asUintN(width, x) : swap(x, width / 8), kind + width);
        if (members.length === 1 && kind !== "le") assert.is(boundsViolation(reg), null);
      },
    ),
    { numRuns },
  );
  const r = constant(0x1234n);
  scalarByteSwap(r, 32, true, true);
  assert.equal([r.valLo, r.valHi, r.isConst()], [0x3412_0000, 0, true]);
});

test("a branch foretold goes that way for every pair", () => {
  fc.assert(
    fc.property(jumpName, fc.boolean(), sample, sample, (op, is32, a, b) => {
      const taken = isBranchTaken(a.reg, b.reg, JUMPS[op]!, is32);
      if (taken < 0) return;
      for (const x of a.members)
        for (const y of b.members) assert.is(holds(op, is32, x, y), taken === 1, `${op} ${x} ${y}`);
    }),
    { numRuns: numRuns * 4 },
  );
});

test("constants are always decided", () => {
  fc.assert(
    fc.property(jumpName, fc.boolean(), number64, number64, (op, is32, x, y) => {
      assert.is(isBranchTaken(constant(x), constant(y), JUMPS[op]!, is32), holds(op, is32, x, y) ? 1 : 0);
    }),
    { numRuns },
  );
});

test("each side of a branch keeps the pairs that go there", () => {
  fc.assert(
    fc.property(jumpName, fc.boolean(), sample, sample, (op, is32, a, b) => {
      if (isBranchTaken(a.reg, b.reg, JUMPS[op]!, is32) >= 0) return;
      const t1 = a.reg.clone();
      const t2 = b.reg.clone();
      const f1 = a.reg.clone();
      const f2 = b.reg.clone();
      refinePaths(t1, t2, f1, f2, JUMPS[op]!, is32);
      for (const x of a.members) {
        for (const y of b.members) {
          const side = holds(op, is32, x, y);
          has(side ? t1 : f1, x, `${op}${is32 ? 32 : 64} ${x} ${y}`);
          has(side ? t2 : f2, y, `${op}${is32 ? 32 : 64} ${x} ${y}`);
        }
      }
    }),
    { numRuns: numRuns * 4 },
  );
});

test("comparing with a constant teaches its bound", () => {
  const a = new RegState();
  markRegUnknown(a, true);
  const f = a.clone();
  refinePaths(a, constant(10n), f, constant(10n), BPF_JLT, false);
  assert.equal([a.umaxLo, a.umaxHi, a.maskLo, a.maskHi], [9, 0, 15, 0]);
  assert.equal([f.uminLo, f.uminHi, f.umaxLo, f.umaxHi], [10, 0, -1, -1]);
  const bit = new RegState();
  markRegUnknown(bit, true);
  const clear = bit.clone();
  refinePaths(bit, constant(4n), clear, constant(4n), BPF_JSET, false);
  assert.equal([bit.valLo, bit.maskLo], [4, ~4]);
  assert.equal([clear.valLo, clear.maskLo], [0, ~4]);
});

test("an opcode flipped or reversed twice is itself", () => {
  for (const op of Object.values(JUMPS)) {
    assert.is(flipOpcode(flipOpcode(op)), op);
    assert.is(revOpcode(revOpcode(op)), op);
  }
});

test("linked registers keep their distance", () => {
  fc.assert(
    fc.property(
      sample,
      fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
      fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
      (k, c1, c2) => {
        // base + c1 is what we know of; base + c2 is to be synced.
        const known = k.reg;
        known.id = 7;
        known.type = 1;
        linkByConst(known, c1, c1 >> 31, false, false, true);
        const other = new RegState();
        markRegUnknown(other, true);
        other.id = 7;
        linkByConst(other, c2, c2 >> 31, true, false, true);
        if (other.id === 0) return assert.is(c2, -0x8000_0000);
        assert.equal([other.id, other.off], [7 | BPF_ADD_CONST64, (0 - c2) | 0]);
        syncLinkedReg(other, known);
        for (const x of k.members) has(other, u64(x - BigInt(c1) - BigInt(c2)), "linked");
        assert.equal([other.id, other.off], [7 | BPF_ADD_CONST64, (0 - c2) | 0]);
      },
    ),
    { numRuns },
  );
});

test("links of different widths say nothing of each other; a second constant breaks a link", () => {
  const a = constant(5n);
  a.id = 3 | BPF_ADD_CONST64;
  a.off = 1;
  const b = new RegState();
  markRegUnknown(b, true);
  b.id = 3 | BPF_ADD_CONST32;
  b.off = 1;
  syncLinkedReg(b, a);
  assert.is(b.isConst(), false);
  linkByConst(a, 1, 0, false, false, true);
  assert.equal([a.id, a.off], [0, 0]);
  // A 32-bit sum of a number that may be larger than U32_MAX does not link.
  b.id = 3;
  linkByConst(b, 1, 0, false, true, false);
  assert.is(b.id, 0);
});

test("a 32-bit link zero-extends", () => {
  const known = new RegState();
  markRegUnknown(known, true);
  const f = known.clone();
  refinePaths(f, constant(7n), known, constant(7n), BPF_JGT, false);
  known.id = 2;
  const r = known.clone();
  r.id = 2 | BPF_ADD_CONST32;
  r.off = -1;
  syncLinkedReg(r, known);
  for (let x = 0n; x <= 7n; x++) has(r, (x - 1n) & M32, "w -= 1");
});

const tnum = fc.tuple(number64, number64).map(([v, m]) => {
  const r = new RegState();
  r.valLo = lo(v & ~m);
  r.valHi = hi(v & ~m);
  r.maskLo = lo(m);
  r.maskHi = hi(m);
  return r;
});
const inTnum = (r: RegState, x: bigint): boolean => (x & u64(~join(r.maskLo, r.maskHi))) === join(r.valLo, r.valHi);
const member = (r: RegState, x: bigint): bigint => join(r.valLo, r.valHi) | (x & join(r.maskLo, r.maskHi));

test("products of tracked numbers hold all products", () => {
  fc.assert(
    fc.property(tnum, tnum, number64, number64, (a, b, x, y) => {
      const p = u64(member(a, x) * member(b, y));
      tnumMulReg(a, b);
      assert.ok(inTnum(a, p));
      assert.is((a.valLo & a.maskLo) | (a.valHi & a.maskHi), 0);
    }),
    { numRuns: numRuns * 2 },
  );
});

test("the next member of a tracked number", () => {
  // All of the tracked numbers of 6 bits, at both ends of a 64-bit word.
  for (const shift of [0n, 28n, 58n]) {
    for (let mask = 0n; mask < 64n; mask++) {
      for (let value = 0n; value < 64n; value++) {
        if ((value & mask) !== 0n) continue;
        const r = new RegState();
        r.valLo = lo(value << shift);
        r.valHi = hi(value << shift);
        r.maskLo = lo(mask << shift);
        r.maskHi = hi(mask << shift);
        for (let z = 0n; z < 64n; z++) {
          let want = value | mask;
          for (let x = z + 1n; x < 64n; x++) {
            if ((x & ~mask) === value) {
              want = x;
              break;
            }
          }
          tnumStep(r, lo(z << shift), hi(z << shift));
          if (join(stepLo, stepHi) !== want << shift)
            throw new Error(`step(${value}; ${mask}, ${z}) << ${shift}: ${join(stepLo, stepHi)}`);
        }
      }
    }
  }
});

test("ranges as tracked numbers, containment and overlap", () => {
  fc.assert(
    fc.property(number64, number64, number64, tnum, (a, b, x, t) => {
      const [from, to] = a < b ? [a, b] : [b, a];
      const r = new RegState();
      tnumSetRange(r, lo(from), hi(from), lo(to), hi(to));
      assert.ok(inTnum(r, from) && inTnum(r, to));
      if (x >= from && x <= to) assert.ok(inTnum(r, x));
      const m = member(r, x);
      if (tnumIn(t, r)) assert.ok(inTnum(t, m));
      if (inTnum(t, m)) {
        assert.ok(tnumOverlap(t, r, false));
        assert.ok(tnumOverlap(t, r, true));
      }
      markRegKnown(r, lo(x), hi(x));
      assert.is(tnumIn(t, r), inTnum(t, x));
    }),
    { numRuns },
  );
});

test("range_within holds exactly when all ends are inside", () => {
  fc.assert(
    fc.property(sample, sample, (a, b) => {
      if (rangeWithin(a.reg, b.reg) && tnumIn(a.reg, b.reg)) hasAll(a.reg, b.members, "within");
      assert.ok(rangeWithin(a.reg, a.reg) && tnumIn(a.reg, a.reg));
      const wider = a.reg.clone();
      markRegUnknown(wider, true);
      assert.ok(rangeWithin(wider, a.reg) && tnumIn(wider, a.reg));
    }),
    { numRuns },
  );
});

test("a broken invariant is found and told as the kernel does", () => {
  const r = constant(5n);
  r.uminLo = 6;
  assert.is(boundsViolation(r), "range bounds violation");
  assert.is(
    violationText(r, "alu", "range bounds violation"),
    "verifier bug: REG INVARIANTS VIOLATION (alu): range bounds violation u64=[0x6, 0x5] s64=[0x5, 0x5] u32=[0x5, 0x5] s32=[0x5, 0x5] var_off=(0x5, 0x0)\n",
  );
  r.uminLo = 4;
  assert.is(boundsViolation(r), "const tnum out of sync with range bounds");
  const s = constant(5n);
  s.maskHi = 1;
  s.s32Min = 4;
  assert.is(boundsViolation(s), "const subreg tnum out of sync with range bounds");
});
