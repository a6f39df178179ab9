/**
 * Random programs give the same results on the kernel as by the reference evaluator: `FUZZ_RUNS` of them, from
 * `FUZZ_SEED` on (one seed makes a batch of 16 programs).
 */
import { assert, suite } from "../harness.ts";
import { kernelAtLeast, requires } from "../kernel.ts";
import { BATCH, type Report, runBatch } from "./random/batch.ts";

const test = suite("compiler differential");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 160);
const SEED = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

test(
  "random programs compute what the reference computes",
  () => {
    requires({ root: true, capability: ["CAP_BPF", "CAP_NET_ADMIN"], kernel: "5.17" });
    const report: Report = { ran: 0, dropped: 0 };
    for (let seed = SEED; report.ran < RUNS; seed++) {
      runBatch(seed, report, kernelAtLeast("6.6") ? 4 : 3);
      assert.ok(report.dropped <= report.ran / 10 + BATCH, `${report.dropped} of ${report.ran} programs are too large`);
    }
    if (RUNS > 1000) console.log(`${report.ran} programs from seed ${SEED}, ${report.dropped} too large`);
  },
  { timeoutMs: 50_000 + RUNS * 200 },
);
