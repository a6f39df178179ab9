/** Our scalars against the running kernel: its level-2 log of random arithmetic and branches. */
import fc from "fast-check";
import { requires } from "../../kernel.ts";
import { close, load } from "../../asm/kernel-oracle.ts";
import { suite } from "../../harness.ts";
import { follow } from "./follow.ts";
import { scalarProgram } from "./programs.ts";

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
