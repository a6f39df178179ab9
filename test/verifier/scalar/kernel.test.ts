/** Our scalars against the running kernel: its level-2 log of random arithmetic and branches. */
import fc from "fast-check";
import { requires } from "../../kernel.ts";
import { close, load } from "../../asm/kernel-oracle.ts";
import type { Insn } from "../../../src/asm/index.ts";
import { type ProgLoad, VerifierAborted, verify } from "../../../src/verifier/index.ts";
import { assert, suite } from "../../harness.ts";
import { follow } from "./follow.ts";
import { scalarProgram, stackProgram } from "./programs.ts";

const test = suite("verifier scalar kernel");
const numRuns = Number(process.env["FUZZ_RUNS"] ?? 600);

test("registers print alike after every instruction of random programs", () => {
  requires({ root: true, kernel: "6.18" });
  fc.assert(
    fc.property(scalarProgram(16), (insns) => {
      const { fd, log } = load(insns);
      if (fd >= 0) close(fd);
      const differs = follow(insns, log);
      if (differs !== null) throw new Error(`${JSON.stringify(differs)}\n${log}`);
    }),
    { numRuns },
  );
});

/** The socket filter that the oracle loads, as `verify` takes it. */
const progLoad = (insns: readonly Insn[]): ProgLoad => ({
  name: "",
  progType: 1,
  expectedAttachType: 0,
  attachBtfId: 0,
  attachProg: null,
  progFlags: 0,
  progIfindex: 0,
  license: "GPL",
  insns,
  maps: [],
  badMapFds: new Map(),
  btf: null,
  vmlinuxBtf: null,
  moduleBtfs: new Map(),
  funcInfoRecSize: 0,
  funcInfo: new Uint8Array(0),
  lineInfoRecSize: 0,
  lineInfo: new Uint8Array(0),
  ksyms: [],
});

const ENOSPC = 28;
const BUDGET = 2000;

for (const [what, back] of [
  ["branches, links and spills", 0],
  ["loops", 3],
] as const) {
  test(`the whole level-2 log of random programs with ${what} is the kernel's`, () => {
    requires({ root: true, kernel: "6.18" });
    fc.assert(
      fc.property(stackProgram(16, back), (insns) => {
        const input = progLoad(insns);
        try {
          verify(input, { logLevel: 0, budget: BUDGET });
        } catch (error) {
          // A loop so long that the kernel's log would not fit.
          if (error instanceof VerifierAborted) return;
          throw error;
        }
        const { fd, log } = load(insns);
        if (fd >= 0) close(fd);
        if (fd === -ENOSPC) return;
        const ours = verify(input, { logLevel: 2 });
        assert.is(ours.log, log);
        assert.is(ours.errno, fd < 0 ? -fd : 0);
      }),
      { numRuns: Math.ceil(numRuns / 2) },
    );
  });
}
