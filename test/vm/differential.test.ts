/** Random programs that the kernel accepts: the same result, context and map contents here. `FUZZ_RUNS` sets how many. */
import { disassemble } from "../../src/asm/index.ts";
import { Vm, collectionOf } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { createMap, kernel, kernelLookup, kernelUpdate, loadProg, testRun, withFds } from "./kernel-run.ts";
import { Random } from "./random.ts";
import { CTX_SIZE, TABLE, VALUES, VALUE_SIZE, randomProgram } from "./random-programs.ts";

const test = suite("vm differential");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 400);
const SEED = Number(process.env["FUZZ_SEED"] ?? 1);

const hex = (bytes: Uint8Array | number | undefined): string =>
  bytes instanceof Uint8Array ? Buffer.from(bytes).toString("hex") : String(bytes);
const u64Key = (n: number): Uint8Array => {
  const key = new Uint8Array(8);
  key[0] = n;
  return key;
};

test(
  "random programs",
  () => {
    requires({ root: true, kernel: "6.6" });
    let accepted = 0;
    const reasons = new Map<string, number>();
    for (let i = 0; i < RUNS; i++) {
      const seed = SEED * 1_000_003 + i;
      const random = new Random(seed);
      const prog = randomProgram(random, 10 + random.below(70));
      const fds = { [VALUES.name]: createMap(VALUES), [TABLE.name]: createMap(TABLE) };
      const { fd } = loadProg(prog, fds);
      try {
        if (fd < 0) {
          const { log } = loadProg(prog, fds, 1);
          const reason = log.trim().split("\n").at(-2)?.replace(/\d+/g, "N") ?? String(fd);
          reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
          continue;
        }
        accepted++;
        const vms = (["interp", "jit"] as const).map(
          (engine) => new Vm(collectionOf([prog], [VALUES, TABLE]), { engine }),
        );
        for (let k = 0; k < 3; k++) {
          const ctx = new Uint8Array(CTX_SIZE);
          const view = new DataView(ctx.buffer);
          for (let off = 0; off < CTX_SIZE; off += 8) view.setBigUint64(off, random.u64(), true);
          const value = new Uint8Array(VALUE_SIZE).map(() => random.below(256));
          kernelUpdate(fds[VALUES.name]!, new Uint8Array(4), value);
          const expected = testRun(fd, prog.type, { ctx });
          for (const vm of vms) {
            const explain = (what: string): string =>
              `seed ${seed}, ${vm.engine}, ${what}\n${disassemble(withFds(prog, fds))}`;
            vm.map(VALUES.name).update(new Uint8Array(4), value);
            let got: ReturnType<Vm["run"]>;
            try {
              got = vm.run(prog.name, { ctx });
            } catch (error) {
              throw new Error(explain((error as Error).message), { cause: error });
            }
            assert.is(got.returnValue, expected.returnValue, explain("return value"));
            assert.is(hex(got.ctx), hex(expected.ctx), explain("context"));
            assert.is(
              hex(vm.map(VALUES.name).lookup(new Uint8Array(4))),
              hex(kernelLookup(fds[VALUES.name]!, new Uint8Array(4), VALUE_SIZE)),
              explain("map value"),
            );
            for (let n = 0; n < 6; n++) {
              const want = kernelLookup(fds[TABLE.name]!, u64Key(n), 8);
              assert.is(
                hex(vm.map(TABLE.name).lookup(u64Key(n))),
                typeof want === "number" ? "undefined" : hex(want),
                explain(`entry ${n}`),
              );
            }
          }
        }
      } finally {
        if (fd >= 0) kernel.close(fd);
        for (const map of Object.values(fds)) kernel.close(map);
      }
    }
    const share = accepted / RUNS;
    if (process.env["FUZZ_RUNS"] !== undefined) console.log(`accepted ${accepted} of ${RUNS}`, reasons);
    assert.ok(share > 0.8, `the kernel accepts only ${accepted} of ${RUNS}: ${JSON.stringify([...reasons])}`);
  },
  { timeoutMs: 60_000 + RUNS * 20 },
);
