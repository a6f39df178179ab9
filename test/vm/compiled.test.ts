/** Programs that our own compiler makes, run here: no kernel, no privilege. */
import fc from "fast-check";
import { specOfFile } from "../../src/cli/spec-of-file.ts";
import { BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { Vm } from "../../src/vm/index.ts";
import { example } from "../cli/bpfkit.ts";
import { INPUTS, NARROW, inputs, programs } from "../compiler/arbitraries.ts";
import { compiled } from "../compiler/compile-text.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("vm compiled");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 48);
const BATCH = 8;

/** A global variable's 64 bits. */
function global(vm: Vm, name: string): bigint {
  for (const spec of vm.spec.maps) {
    const variable = spec.variables.find((v) => v.name === name);
    if (variable === undefined) continue;
    const value = vm.map(spec.name).lookup(new Uint8Array(4))!;
    return new DataView(value.buffer).getBigUint64(variable.offset, true);
  }
  throw new Error(`no variable ${name}`);
}

test(
  "random probe programs compute what the language says, in both engines",
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
        const { spec } = compiled(text);
        for (const engine of ["interp", "jit"] as const) {
          const vm = new Vm(spec, { engine });
          list.forEach((p, i) => {
            assert.is(vm.run(`p${i}`).returnValue, 2);
            assert.is(
              global(vm, `out${i}`),
              BigInt.asUintN(64, p.expected(given)),
              `${engine}: program p${i}\n${p.body}`,
            );
          });
        }
      }),
      { numRuns: Math.ceil(RUNS / BATCH), endOnFailure: true },
    );
  },
  { timeoutMs: 60_000 + RUNS * 100 },
);

const packet = (type: number, at: number, protocol: number): Uint8Array => {
  const data = new Uint8Array(64);
  data.set([type >> 8, type & 0xff], 12);
  data[at] = protocol;
  return data;
};

test("examples/xdpcount counts packets by protocol on the CPU they come in on", async () => {
  // Its compiler asks the running kernel for types.
  requires({ kernel: "5.18" });
  const spec = await specOfFile(example("xdpcount"), {
    build: "test",
    saveCache: () => {},
    importModule: (url) => import(url),
  });
  for (const engine of ["interp", "jit"] as const) {
    const vm = new Vm(spec, { engine, world: { cpus: 2 } });
    const run = (cpu: number, data: Uint8Array): void => {
      vm.world.cpu = cpu;
      assert.is(vm.run("count", { data }).returnValue, 2);
    };
    for (let i = 0; i < 3; i++) run(i & 1, packet(0x0800, 23, 6));
    run(0, packet(0x86dd, 20, 17));
    run(1, packet(0x0806, 0, 0));
    run(1, packet(0x0800, 23, 6).subarray(0, 20));
    const counts = (name: string): [number, bigint[]][] =>
      vm
        .map(name)
        .entries()
        .map(([key, value]): [number, bigint[]] => [
          new DataView(key.buffer).getUint32(0, true),
          [...new BigUint64Array(value.buffer)],
        ])
        .sort(([a], [b]) => a - b);
    assert.equal(counts("packets"), [
      [6, [2n, 1n]],
      [17, [1n, 0n]],
      [256, [0n, 1n]],
      [257, [0n, 1n]],
    ]);
    assert.equal(
      counts("bytes").map(([key]) => key),
      [6, 17, 256, 257],
    );
    assert.is(spec.progs[0]?.type, BPF_PROG_TYPE.XDP);
  }
});
