/** Random programs give the same result on the kernel as by the reference evaluator. `FUZZ_RUNS` sets how many. */
import fc from "fast-check";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { INPUTS, NARROW, inputs, programs } from "./arbitraries.ts";
import { loaded } from "./compile-text.ts";

const test = suite("compiler differential");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 160);
/** Programs in one module: loading is most of the cost. */
const BATCH = 8;
const SEED = process.env["FUZZ_SEED"] === undefined ? undefined : Number(process.env["FUZZ_SEED"]);

const literal = (v: bigint): string => `${v}n`;

test(
  "random programs compute what the reference computes",
  () => {
    requires({ root: true, capability: ["CAP_BPF", "CAP_NET_ADMIN"], kernel: "5.8" });
    const details = fc.check(
      fc.property(inputs, programs(BATCH), (given, list) => {
        const names = NARROW.map(([, schema]) => schema).join(", ");
        const text = [
          `import { ${names}, global, range, xdp } from "bpfkit";`,
          ...INPUTS.map(([name, schema]) => `export const ${name} = global(${schema}, ${literal(given[name]!)});`),
          ...NARROW.map(([name, schema]) => `export const ${name} = global(${schema}, 0);`),
          ...list.map(
            (p, i) =>
              `export const out${i} = global(u64, 1n);\nexport const p${i} = xdp(() => {\n  ${p.body}\n  out${i}.value = r;\n  return 2;\n});`,
          ),
        ].join("\n");
        let collection: ReturnType<typeof loaded>;
        try {
          collection = loaded(text);
        } catch (error) {
          // A verifier that gives up on nested loops says nothing about the result.
          if (/too large|too complex/.test((error as Error).message)) return;
          throw new Error(
            `${(error as Error).message}\n${(error as { log?: string }).log?.split("\n").slice(-12).join("\n") ?? ""}\n${text}`,
            { cause: error },
          );
        }
        try {
          list.forEach((p, i) => {
            collection.prog(`p${i}`).testRun({ data: new Uint8Array(64) });
            const got = collection.variable<bigint>(`out${i}`).value;
            const expected = p.expected(given);
            assert.is(
              got,
              expected,
              `program p${i} gives ${got}, expected ${expected}\ninputs ${JSON.stringify(given, (_, v: unknown) => (typeof v === "bigint" ? String(v) : v))}\n${p.body}`,
            );
          });
        } finally {
          collection.close();
        }
      }),
      { numRuns: Math.ceil(RUNS / BATCH), ...(SEED === undefined ? {} : { seed: SEED }), endOnFailure: true },
    );
    // The failing program itself says more than the generator's state.
    if (details.failed) {
      const error = details.errorInstance as Error;
      throw new Error(`seed ${details.seed}, run ${details.numRuns}: ${error.message}`, { cause: error });
    }
  },
  { timeoutMs: 50_000 + RUNS * 100 },
);
