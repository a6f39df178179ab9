/**
 * Random programs against the running kernel: verdict, errno, messages, counts of insns and states, stack depth; of one
 * program in 64 the whole log of level 2.
 *
 *   node --import tsx test/verifier/campaign/main.ts [--programs N] [--seed S] [--every N] [--show N] [--program SEED [--minimize] [--log]]
 *
 * Prints one JSON object at the end, and each difference with the seed that makes the program again.
 */
import { parseArgs } from "node:util";
import { printInsn } from "../../../src/asm/print.ts";
import { verify } from "../../../src/verifier/verify.ts";
import { Comparison } from "./compare.ts";

const { values: args } = parseArgs({
  options: {
    programs: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    every: { type: "string", default: "64" },
    show: { type: "string", default: "10" },
    program: { type: "string" },
    log: { type: "boolean", default: false },
    minimize: { type: "boolean", default: false },
  },
});

const BUDGET = 30_000;
const comparison = new Comparison();
if (args.program !== undefined) {
  const whole = comparison.make(Number(args.program));
  const made = args.minimize ? comparison.minimize(whole) : whole;
  const outcome = comparison.compare(made, args.log);
  console.log(made.target.name, made.program.flags, { ...outcome, kernelLog: undefined });
  if (args.log) console.log(`KERNEL\n${outcome.kernelLog}OURS\n${verify(made.load, { logLevel: 2 }).log}`);
  const { insns } = made.program;
  const shown = insns.map(
    (x, i) => `${i}: ${printInsn(insns, i)} [${x.opcode.toString(16)} ${x.dst} ${x.src} ${x.off} ${x.imm}]`,
  );
  console.log(shown.filter((_, i) => insns[i]!.opcode !== 0x05 || insns[i]!.off !== 0).join("\n"));
} else {
  const count = Number(args.programs);
  const first = Number(args.seed) * 0x100_0000;
  const every = Number(args.every);
  const byTarget = new Map<string, { programs: number; accepted: number }>();
  let accepted = 0;
  let falseAccepts = 0;
  let passedOver = 0;
  let differences = 0;
  let insns = 0;
  let processed = 0;
  const started = performance.now();
  for (let i = 0; i < count; i++) {
    const made = comparison.make(first + i);
    let difference: string | null;
    let ok = false;
    try {
      // One of a hundred may take all the million insns that the kernel allows: a second or more.
      const outcome = comparison.compare(made, i % every === every - 1, i % 100 === 0 ? 0 : BUDGET);
      if (outcome.passedOver) passedOver++;
      ok = outcome.accepted;
      processed += outcome.processed;
      difference = outcome.difference;
      if (outcome.falseAccept) falseAccepts++;
    } catch (error) {
      difference = error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
    insns += made.program.insns.length;
    if (ok) accepted++;
    const row = byTarget.get(made.target.name) ?? { programs: 0, accepted: 0 };
    row.programs++;
    if (ok) row.accepted++;
    byTarget.set(made.target.name, row);
    if (difference !== null && ++differences <= Number(args.show))
      console.log(`seed ${first + i} (${made.target.name}, flags ${made.program.flags}): ${difference}`);
    if (i % 50_000 === 49_999) console.error(`${i + 1} programs, ${accepted} accepted, ${differences} differ`);
  }
  console.log(
    JSON.stringify({
      programs: count,
      accepted,
      insns,
      processed,
      differences,
      falseAccepts,
      passedOver,
      seconds: Math.round((performance.now() - started) / 1000),
      byTarget: Object.fromEntries(byTarget),
    }),
  );
}
comparison.close();
