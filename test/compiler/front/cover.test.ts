/** Counters in the code: what they count, and that the program still computes the same. */
import fc from "fast-check";
import type { CompileResult, CoverCount } from "../../../src/compiler/index.ts";
import { Vm } from "../../../src/vm/index.ts";
import { INPUTS, NARROW, inputs, programs } from "../arbitraries.ts";
import { compiled } from "../compile-text.ts";
import { assert, suite } from "../../harness.ts";

const test = suite("compiler cover");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 48);
const BATCH = 8;

/** How often each place was reached. */
function counts({ cover }: CompileResult, vm: Vm): (at: CoverCount) => number {
  const at = (counter: number): number =>
    Number(new DataView(vm.map(cover!.map).lookup(new Uint8Array(4))!.buffer).getBigUint64(counter * 8, true));
  return ({ counter, minus }) => at(counter) - (minus === undefined ? 0 : at(minus));
}

test("statements, ways and functions, however often their code is there", () => {
  const result = compiled(
    `import { array, global, range, u32, u64, xdp } from "bpfkit";
export const n = global(u64, 0);
const twice = (x: number) => x * 2;
export const p = xdp(() => {
  let sum = 0;
  for (const i of range(10)) {
    if (i === 3) continue;
    if (i > 7) {
      sum += 100;
    } else sum += i > 1 && i !== 5 ? twice(i) : twice(1);
  }
  switch (sum) {
    case 1:
      n.value = 1;
      break;
    default:
      n.value = sum;
  }
  if (n.value === 1) return 1;
  return sum > 0 || n.value > 5 ? 2 : 3;
});
`,
    { cover: true },
  );
  const vm = new Vm(result.spec, { engine: "jit" });
  const count = counts(result, vm);
  for (let i = 0; i < 3; i++) assert.is(vm.run("p").returnValue, 2);
  const lines = (list: readonly CoverCount[]): [number, number][] =>
    list.map((p): [number, number] => [p.span.line, count(p)]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  assert.equal(lines(result.cover!.statements), [
    [3, 3 * 7],
    [5, 3],
    [6, 3],
    [7, 3],
    [7, 30],
    [8, 27],
    [9, 6],
    [10, 21],
    [12, 3],
    [14, 0],
    [15, 0],
    [17, 3],
    [19, 0],
    [19, 3],
    [20, 3],
  ]);
  assert.equal(
    result.cover!.branches.map((b) => [b.kind, b.span.line, ...b.arms.map(count)]),
    [
      ["if", 7, 3, 27],
      ["if", 8, 6, 21],
      ["conditional", 10, 12, 9],
      ["logical", 10, 6, 15],
      ["switch", 12, 0, 3],
      ["if", 19, 0, 3],
      ["conditional", 20, 3, 0],
      ["logical", 20, 3, 0],
    ],
  );
  assert.equal(
    result.cover!.functions.map((f) => [f.name, f.span.line, count(f)]),
    [
      ["p", 4, 3],
      ["twice", 3, 21],
    ],
  );
});

test("without the option there are none", () => {
  const { cover, spec } = compiled(`import { xdp } from "bpfkit";\nexport const p = xdp(() => 2);`);
  assert.is(cover, undefined);
  assert.is(spec.maps.length, 0);
});

test(
  "random programs compute the same with counters",
  () => {
    fc.assert(
      fc.property(inputs, programs(BATCH), (given, list) => {
        const text = [
          `import { ${NARROW.map(([, schema]) => schema).join(", ")}, global, range, xdp } from "bpfkit";`,
          ...INPUTS.map(([name, schema]) => `export const ${name} = global(${schema}, ${given[name]!}n);`),
          ...NARROW.map(([name, schema]) => `export const ${name} = global(${schema}, 0);`),
          ...list.map(
            (p, i) =>
              `export const out${i} = global(u64, 1n);\nexport const p${i} = xdp(() => {\n  ${p.body}\n  out${i}.value = r;\n  return 2;\n});`,
          ),
        ].join("\n");
        const result = compiled(text, { cover: true });
        const vm = new Vm(result.spec, { engine: "jit" });
        list.forEach((p, i) => {
          assert.is(vm.run(`p${i}`).returnValue, 2);
          const map = vm.spec.maps.find((m) => m.variables.some((v) => v.name === `out${i}`))!;
          const { offset } = map.variables.find((v) => v.name === `out${i}`)!;
          const value = new DataView(vm.map(map.name).lookup(new Uint8Array(4))!.buffer).getBigUint64(offset, true);
          assert.is(value, BigInt.asUintN(64, p.expected(given)), p.body);
        });
        const count = counts(result, vm);
        for (const branch of result.cover!.branches)
          for (const arm of branch.arms) assert.ok(count(arm) >= 0, JSON.stringify(branch));
      }),
      { numRuns: Math.ceil(RUNS / BATCH), endOnFailure: true },
    );
  },
  { timeoutMs: 60_000 + RUNS * 100 },
);
