/** Random programs that the kernel accepts: the same result, context and map contents here. `FUZZ_RUNS` sets how many. */
import { disassemble } from "../../src/asm/index.ts";
import { Vm, collectionOf } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import {
  createMap,
  kernel,
  kernelDelete,
  kernelLookup,
  kernelUpdate,
  loadProg,
  testRun,
  withFds,
} from "./kernel-run.ts";
import { Random } from "./random.ts";
import { CTX_SIZE, TABLE, VALUES, VALUE_SIZE, randomProgram } from "./random-programs.ts";

const test = suite("vm differential");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 400);
const SEED = Number(process.env["FUZZ_SEED"] ?? 1);
/** Programs that share a VM and the kernel's maps: what a VM costs is three times what a program does. */
const BATCH = 50;
const INPUTS = 3;
const KEYS = 6;
const MAX_FAILURES = 10;

const hex = (bytes: Uint8Array | number | undefined): string =>
  bytes instanceof Uint8Array ? Buffer.from(bytes).toString("hex") : String(bytes);
const u64Key = (n: number): Uint8Array => {
  const key = new Uint8Array(8);
  key[0] = n;
  return key;
};
const ZERO = new Uint8Array(4);

interface Case {
  readonly seed: number;
  readonly random: Random;
  readonly prog: ReturnType<typeof randomProgram>;
  readonly fd: number;
}

function compare({ seed, random, prog, fd }: Case, vms: readonly Vm[], fds: Readonly<Record<string, number>>): void {
  for (let n = 0; n < KEYS; n++) {
    kernelDelete(fds[TABLE.name]!, u64Key(n));
    for (const vm of vms) vm.map(TABLE.name).delete(u64Key(n));
  }
  for (let k = 0; k < INPUTS; k++) {
    const ctx = new Uint8Array(CTX_SIZE);
    const view = new DataView(ctx.buffer);
    for (let off = 0; off < CTX_SIZE; off += 8) view.setBigUint64(off, random.u64(), true);
    const value = new Uint8Array(VALUE_SIZE).map(() => random.below(256));
    kernelUpdate(fds[VALUES.name]!, ZERO, value);
    const expected = testRun(fd, prog.type, { ctx });
    const values = hex(kernelLookup(fds[VALUES.name]!, ZERO, VALUE_SIZE));
    const table = Array.from({ length: KEYS }, (_, n) => kernelLookup(fds[TABLE.name]!, u64Key(n), 8));
    for (const vm of vms) {
      const same = (have: string | number, want: string | number, what: string): void => {
        if (have !== want)
          assert.is(have, want, `seed ${seed}, ${vm.engine}, ${what}\n${disassemble(withFds(prog, fds))}`);
      };
      vm.map(VALUES.name).update(ZERO, value);
      let got: ReturnType<Vm["run"]>;
      try {
        got = vm.run(prog.name, { ctx });
      } catch (error) {
        throw new Error(`seed ${seed}, ${vm.engine}, ${(error as Error).message}\n${disassemble(withFds(prog, fds))}`, {
          cause: error,
        });
      }
      same(got.returnValue, expected.returnValue, "return value");
      same(hex(got.ctx), hex(expected.ctx), "context");
      same(hex(vm.map(VALUES.name).lookup(ZERO)), values, "map value");
      table.forEach((want, n) =>
        same(
          hex(vm.map(TABLE.name).lookup(u64Key(n))),
          typeof want === "number" ? "undefined" : hex(want),
          `entry ${n}`,
        ),
      );
    }
  }
}

test(
  "random programs",
  () => {
    requires({ root: true, kernel: "6.6" });
    const verbose = process.env["FUZZ_RUNS"] !== undefined;
    const fds = { [VALUES.name]: createMap(VALUES), [TABLE.name]: createMap(TABLE) };
    const reasons = new Map<string, number>();
    const failures: string[] = [];
    let accepted = 0;
    for (let from = 0; from < RUNS; from += BATCH) {
      const cases: Case[] = [];
      try {
        for (let i = from; i < Math.min(from + BATCH, RUNS); i++) {
          const seed = SEED * 1_000_003 + i;
          const random = new Random(seed);
          const prog = { ...randomProgram(random, 10 + random.below(70)), name: `random${i - from}` };
          const { fd } = loadProg(prog, fds);
          if (fd >= 0) cases.push({ seed, random, prog, fd });
          else {
            const { log } = loadProg(prog, fds, 1);
            const reason = log.trim().split("\n").at(-2)?.replace(/\d+/g, "N") ?? String(fd);
            reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
          }
        }
        const spec = collectionOf(
          cases.map((c) => c.prog),
          [VALUES, TABLE],
        );
        const vms = (["interp", "jit"] as const).map((engine) => new Vm(spec, { engine }));
        for (const c of cases) {
          try {
            compare(c, vms, fds);
          } catch (error) {
            failures.push((error as Error).message);
            if (verbose) console.log((error as Error).message);
          }
        }
        accepted += cases.length;
        if (failures.length >= MAX_FAILURES) break;
      } finally {
        for (const { fd } of cases) kernel.close(fd);
      }
      if (verbose && (from / BATCH) % 200 === 199) console.log(`seed ${SEED}: ${accepted} of ${from + BATCH}`);
    }
    for (const fd of Object.values(fds)) kernel.close(fd);
    if (verbose) console.log(`accepted ${accepted} of ${RUNS}`, reasons);
    assert.is(failures.length, 0, failures[0]);
    assert.ok(accepted / RUNS > 0.8, `the kernel accepts only ${accepted} of ${RUNS}: ${JSON.stringify([...reasons])}`);
  },
  { timeoutMs: 60_000 + RUNS * 20 },
);
