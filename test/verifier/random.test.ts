/** Random programs: verdict and level-2 log against the running kernel's, line by line. `FUZZ_RUNS` sets how many. */
import fc from "fast-check";
import type { Insn } from "../../src/asm/index.ts";
import { verify } from "../../src/verifier/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { arrayMap, bare } from "./bare.ts";
import { Comparison } from "./campaign/compare.ts";
import { closeFd, createMap, kernelVerdict, logDifference } from "./kernel-load.ts";
import { mutated, programs, xdpPrograms } from "./programs.ts";

const test = suite("verifier random");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 250);
const SEED = process.env["FUZZ_SEED"] === undefined ? {} : { seed: Number(process.env["FUZZ_SEED"]) };
const XDP = 6;
const options = { timeoutMs: 60_000 + RUNS * 60 };
const MAPS = [arrayMap(2, 4, 64, 1), arrayMap(1, 4, 64, 8)];

/** Compares one program; returns whether the kernel accepts it. */
function same(insns: readonly Insn[], progType: number, flags: number, fds: readonly number[]): boolean {
  const kernel = kernelVerdict(insns, { progType, flags, fds });
  // A log that did not fit says nothing.
  if (kernel.errno === -28) return false;
  const ours = verify(
    { ...bare(insns, progType), progFlags: flags, maps: fds.length === 0 ? [] : MAPS },
    { logLevel: 2 },
  );
  assert.is(logDifference(kernel.log, ours.log) ?? "same", "same");
  assert.is(-ours.errno, kernel.errno);
  return kernel.errno === 0;
}

function property(runs: number, arbitrary: fc.Arbitrary<Insn[]>, check: (insns: Insn[]) => boolean): number {
  let accepted = 0;
  fc.assert(
    fc.property(arbitrary, (insns) => {
      if (check(insns)) accepted++;
    }),
    { numRuns: runs, ...SEED },
  );
  return accepted;
}

test(
  "arithmetic, stack, loops and subprograms",
  () => {
    requires({ root: true, kernel: "6.18" });
    const accepted = property(RUNS, programs(40), (insns) => same(insns, 1, 0, []));
    assert.ok(accepted * 3 > RUNS, `only ${accepted} of ${RUNS} programs were accepted`);
  },
  options,
);

test(
  "the same with a state saved at every chance, and strict alignment",
  () => {
    requires({ root: true, kernel: "6.18" });
    property(Math.ceil(RUNS / 4), programs(24), (insns) => same(insns, 1, 8, []));
    property(Math.ceil(RUNS / 4), programs(24), (insns) => same(insns, 1, 1, []));
  },
  options,
);

test(
  "helpers, map values and packets",
  () => {
    requires({ root: true, kernel: "6.18" });
    const fds = [createMap(2, 4, 64, 1), createMap(1, 4, 64, 8)];
    try {
      const accepted = property(RUNS, xdpPrograms(24), (insns) => same(insns, XDP, 0, fds));
      assert.ok(accepted * 8 > RUNS, `only ${accepted} of ${RUNS} programs were accepted`);
    } finally {
      fds.forEach(closeFd);
    }
  },
  options,
);

test(
  "programs with fields changed at random",
  () => {
    requires({ root: true, kernel: "6.18" });
    const fds = [createMap(2, 4, 64, 1), createMap(1, 4, 64, 8)];
    try {
      property(RUNS, mutated(programs(16)), (insns) => same(insns, 1, 0, []));
      property(RUNS, mutated(xdpPrograms(12)), (insns) => same(insns, XDP, 0, fds));
    } finally {
      fds.forEach(closeFd);
    }
  },
  options,
);

test(
  "twenty program types: calls, loops, packets, callbacks, iterators, dynptrs, BTF pointers",
  () => {
    requires({ root: true, kernel: "6.18" });
    const comparison = new Comparison();
    try {
      let accepted = 0;
      const first = Number(process.env["FUZZ_SEED"] ?? 1) * 0x100_0000;
      for (let i = 0; i < RUNS; i++) {
        const outcome = comparison.compare(comparison.make(first + i), i % 16 === 0, 30_000);
        assert.is(outcome.difference ?? "same", "same", `seed ${first + i}`);
        if (outcome.accepted) accepted++;
      }
      assert.ok(accepted * 5 > RUNS, `only ${accepted} of ${RUNS} programs were accepted`);
    } finally {
      comparison.close();
    }
  },
  options,
);
