import fc from "fast-check";
import type { Cond } from "../../../src/compiler/ir/index.ts";
import { CONDS, Func } from "../../../src/compiler/ir/index.ts";
import { implies } from "../../../src/compiler/opt/facts.ts";
import { foldCond } from "../../../src/compiler/opt/fold.ts";
import { assert, suite } from "../../harness.ts";

const test = suite("compiler opt facts");
const f = new Func("f", "entry");
const x = f.param("int");
const y = f.param("int");
const constant = (v: bigint) => {
  const i = f.inst("const", "int");
  i.value = v;
  return i;
};
const cond = fc.constantFrom<Cond>(...CONDS);
const width = fc.constantFrom<32 | 64>(32, 64);
const edge = fc.constantFrom(
  0n,
  1n,
  2n,
  -1n,
  -2n,
  5n,
  0x7fff_ffffn,
  -0x8000_0000n,
  (1n << 63n) - 1n,
  -(1n << 63n),
  0xffff_ffffn,
);
const value = fc.oneof(edge, fc.bigInt({ min: -8n, max: 8n }), fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }));

test("what a branch implies holds for every value that takes it", () => {
  let decided = 0;
  fc.assert(
    fc.property(
      cond,
      value,
      cond,
      value,
      width,
      fc.array(value, { minLength: 20, maxLength: 20 }),
      (known, c, asked, d, w, samples) => {
        const r = implies({ cond: known, a: x, b: constant(c), width: w }, asked, x, constant(d), w);
        if (r === undefined) return;
        decided++;
        for (const v of [...samples, c, d, c + 1n, c - 1n, d + 1n, d - 1n]) {
          if (foldCond(known, v, c, w))
            assert.is(foldCond(asked, v, d, w), r, `${v} ${known} ${c} => ${asked} ${d} (${w})`);
        }
      },
    ),
    { numRuns: 3000 },
  );
  assert.ok(decided > 100, `only ${decided} decided`);
});

test("and for every pair of values", () => {
  for (const known of CONDS) {
    for (const asked of CONDS) {
      for (const w of [32, 64] as const) {
        const r = implies({ cond: known, a: x, b: y, width: w }, asked, x, y, w);
        if (r === undefined) continue;
        for (const a of [-2n, -1n, 0n, 1n, 2n, 7n]) {
          for (const b of [-2n, -1n, 0n, 1n, 2n, 7n])
            if (foldCond(known, a, b, w)) assert.is(foldCond(asked, a, b, w), r, `${a} ${known} ${b} => ${asked}`);
        }
      }
    }
  }
});
