/** Two-word arithmetic against BigInt. */
import fc from "fast-check";
import {
  add64,
  addCarries,
  addOverflows,
  resHi,
  resLo,
  s64lt,
  sar64,
  shl64,
  shr64,
  smul64,
  sub64,
  subBorrows,
  subOverflows,
  u64lt,
  umul64,
} from "../../../src/verifier/scalar/words.ts";
import { assert, suite } from "../../harness.ts";
import { M64, hi, join, lo, number64, s64, u64 } from "./members.ts";

const test = suite("verifier scalar words");
const numRuns = Number(process.env["FUZZ_RUNS"] ?? 3000);
const fitsS64 = (x: bigint): boolean => s64(x) === x;

test("add, subtract, compare", () => {
  fc.assert(
    fc.property(number64, number64, (a, b) => {
      add64(lo(a), hi(a), lo(b), hi(b));
      assert.is(join(resLo, resHi), u64(a + b));
      assert.is(addCarries(hi(a), hi(b), resHi), a + b > M64);
      assert.is(addOverflows(hi(a), hi(b), resHi), !fitsS64(s64(a) + s64(b)));
      sub64(lo(a), hi(a), lo(b), hi(b));
      assert.is(join(resLo, resHi), u64(a - b));
      assert.is(subBorrows(hi(a), hi(b), resHi), a < b);
      assert.is(subOverflows(hi(a), hi(b), resHi), !fitsS64(s64(a) - s64(b)));
      assert.is(u64lt(lo(a), hi(a), lo(b), hi(b)), a < b);
      assert.is(s64lt(lo(a), hi(a), lo(b), hi(b)), s64(a) < s64(b));
    }),
    { numRuns },
  );
});

test("multiply, with overflow", () => {
  const factor = fc.oneof(
    number64,
    fc.bigInt({ min: 0n, max: 1n << 33n }),
    fc.bigInt({ min: -(1n << 20n), max: 1n << 20n }).map(u64),
  );
  fc.assert(
    fc.property(factor, factor, (a, b) => {
      const over = umul64(lo(a), hi(a), lo(b), hi(b));
      assert.is(over, a * b > M64);
      if (!over) assert.is(join(resLo, resHi), a * b);
      const sover = smul64(lo(a), hi(a), lo(b), hi(b));
      assert.is(sover, !fitsS64(s64(a) * s64(b)), `${s64(a)} * ${s64(b)}`);
      if (!sover) assert.is(s64(join(resLo, resHi)), s64(a) * s64(b));
    }),
    { numRuns: numRuns * 2 },
  );
});

test("shift", () => {
  fc.assert(
    fc.property(number64, fc.integer({ min: 0, max: 63 }), (a, n) => {
      shl64(lo(a), hi(a), n);
      assert.is(join(resLo, resHi), u64(a << BigInt(n)));
      shr64(lo(a), hi(a), n);
      assert.is(join(resLo, resHi), a >> BigInt(n));
      sar64(lo(a), hi(a), n);
      assert.is(join(resLo, resHi), u64(s64(a) >> BigInt(n)));
    }),
    { numRuns },
  );
});
