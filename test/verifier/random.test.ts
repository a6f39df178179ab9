/** Random programs: our level-2 log against the running kernel's, line by line. */
import fc from "fast-check";
import { verify } from "../../src/verifier/index.ts";
import { close, load } from "../asm/kernel-oracle.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { bare } from "./bare.ts";
import { programs } from "./programs.ts";

const test = suite("verifier random");
const numRuns = Number(process.env["FUZZ_RUNS"] ?? 300);

test(
  "the whole log of random programs is the kernel's",
  () => {
    requires({ root: true, kernel: "6.18" });
    let accepted = 0;
    fc.assert(
      fc.property(programs(40), (insns) => {
        const kernel = load(insns);
        if (kernel.fd >= 0) {
          accepted++;
          close(kernel.fd);
        }
        // A log that did not fit says nothing.
        if (kernel.fd === -28) return;
        const ours = verify(bare(insns), { logLevel: 2 });
        const theirs = kernel.log.split("\n");
        const lines = ours.log.split("\n");
        const at = theirs.findIndex((l, i) => l !== lines[i]);
        assert.is(
          at < 0 ? "same" : `line ${at + 1}\n${theirs.slice(Math.max(0, at - 5), at).join("\n")}\nkernel ${theirs.slice(at, at + 3).join("\n")}\nours   ${lines.slice(at, at + 3).join("\n")}`,
          "same",
        );
        assert.is(ours.verdict, kernel.fd >= 0 ? "accept" : "reject");
      }),
      { numRuns },
    );
    assert.ok(accepted * 3 > numRuns, `only ${accepted} of ${numRuns} programs were accepted`);
  },
  { timeoutMs: 60_000 + numRuns * 20 },
);
