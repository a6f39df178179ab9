/**
 * Compares the simulator with the recorded verdicts of a kernel.
 *
 *   npm run conformance -- --corpus DIR [--kernel VERSION] [--suite S] [--filter TEXT] [--limit N] [--every N] [--mininsns N]
 *       [--maxinsns N] [--logs [--level1] [--diff]] [--show N] [--time]
 *
 * DIR holds the verdicts of one kernel, recorded with its own types (vmlinux.btf); --kernel says whose rules to apply.
 * --logs compares logs of level 2 (or 1) line by line too; --show prints the first N differing programs of each cause;
 * By the rules of 6.18 a difference that known-differences.ts does not list fails the run, and so does one that it lists and that is gone.
 * --every N takes every Nth program; --diff prints the first differing log lines.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { parseArgs } from "node:util";
import { verify, type Verdict } from "../../src/verifier/verify.ts";
import { Corpus, type Truth } from "./corpus.ts";
import { KNOWN_DIFFERENCES } from "./known-differences.ts";

const { values: args } = parseArgs({
  options: {
    kernel: { type: "string", default: "6.18" },
    corpus: { type: "string", default: process.env["CORPUS"] ?? "" },
    suite: { type: "string" },
    filter: { type: "string" },
    limit: { type: "string" },
    every: { type: "string", default: "1" },
    logs: { type: "boolean", default: false },
    level1: { type: "boolean", default: false },
    diff: { type: "boolean", default: false },
    show: { type: "string", default: "3" },
    time: { type: "boolean", default: false },
    maxinsns: { type: "string" },
    mininsns: { type: "string", default: "0" },
  },
});

const mask = (s: string): string =>
  s.replace(/(\(18\) r\d+ = )0x[0-9a-f]{16}/g, "$1ADDR").replace(/verification time \d+ usec/, "verification time");

const key = (t: Truth): string => `${t.suite}/${t.object}/${t.program}`;

/** Message without numbers that hide a common cause. */
const causeOf = (s: string): string =>
  s
    .replace(/0x[0-9a-f]+/g, "X")
    .replace(/-?\d+/g, "N")
    .replace(/'[^']*'/g, "'_'")
    .slice(0, 90);

function logLines(text: string): string[] {
  return mask(text).trimEnd().split("\n");
}

function firstDifference(a: string[], b: string[]): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) if (a[i] !== b[i]) return i;
  return a.length === b.length ? -1 : n;
}

/** Programs that are known to differ, by what differs and why; see known-differences.ts. */
const differing = new Set<string>();

class Tally {
  readonly causes = new Map<string, string[]>();
  add(cause: string, program: string): void {
    differing.add(program.replace(/ \S+ != .*$| total \d.*$|:\d+$/, ""));
    const list = this.causes.get(cause);
    if (list === undefined) this.causes.set(cause, [program]);
    else list.push(program);
  }
  print(title: string, show: number): void {
    const rows = [...this.causes].sort((x, y) => y[1].length - x[1].length);
    const total = rows.reduce((n, r) => n + r[1].length, 0);
    console.log(`\n${title}: ${total}`);
    for (const [cause, list] of rows.slice(0, 25))
      console.log(
        `  ${String(list.length).padStart(4)}  ${cause}\n          ${list.slice(0, show).join("\n          ")}`,
      );
  }
}

const corpus = new Corpus(args.corpus);
let programs = corpus.truth.filter(
  (t) => t.verifier_ran && t.load_path !== null && (t.verdict !== "env" || t.env_reason === "missing_kfunc"),
);
programs = programs.filter((t) => t.verdict !== "env");
if (args.suite !== undefined) programs = programs.filter((t) => t.suite === args.suite);
if (args.filter !== undefined) programs = programs.filter((t) => key(t).includes(args.filter!));
if (args.maxinsns !== undefined) programs = programs.filter((t) => (t.insns_processed ?? 0) <= Number(args.maxinsns));
programs = programs.filter((t) => (t.insns_processed ?? 0) >= Number(args.mininsns));
programs = programs.filter((_, i) => i % Number(args.every) === 0);
if (args.limit !== undefined) programs = programs.slice(0, Number(args.limit));

const show = Number(args.show);
const falseAccepts = new Tally();
const falseRejects = new Tally();
const crashes = new Tally();
const messages = new Tally();
const counts = new Tally();
const states = new Tally();
const depths = new Tally();
const logs = new Tally();
let accepted = 0;
let rejected = 0;
let sameCount = 0;
let sameStates = 0;
let sameMessage = 0;
let sameLog = 0;
let ownMs = 0;
let kernelMs = 0;
const started = performance.now();

for (const t of programs) {
  const name = key(t);
  let v: Verdict;
  const t0 = performance.now();
  try {
    v = verify(corpus.load(t), { logLevel: args.level1 ? 5 : args.logs ? 6 : 4, kernel: args.kernel });
  } catch (e) {
    const stack =
      e instanceof Error
        ? `${e.message} ${(e.stack ?? "")
            .split("\n")
            .slice(1, 3)
            .map((l) => l.trim().replace(/.*\/src\//, ""))
            .join(" < ")}`
        : String(e);
    crashes.add(stack.slice(0, 200), name);
    continue;
  }
  const ms = performance.now() - t0;
  ownMs += ms;
  kernelMs += (t.verification_us ?? 0) / 1000;
  if (args.time)
    console.log(
      `${ms.toFixed(1).padStart(9)} ms  ${((t.verification_us ?? 0) / 1000).toFixed(1).padStart(8)} kernel  ${String(v.insnsProcessed).padStart(8)}  ${name}`,
    );
  if (t.verdict === "accept") accepted++;
  else rejected++;
  if (v.verdict !== t.verdict) {
    if (v.verdict === "accept") falseAccepts.add(causeOf(t.msg_last), name);
    else falseRejects.add(causeOf(v.message), name);
  } else if (t.verdict === "accept") {
    if (v.insnsProcessed === t.insns_processed) sameCount++;
    else
      counts.add(
        v.insnsProcessed > (t.insns_processed ?? 0) ? "more" : "fewer",
        `${name} ${v.insnsProcessed} != ${t.insns_processed}`,
      );
    if (
      v.totalStates === t.total_states &&
      v.peakStates === t.peak_states &&
      v.maxStatesPerInsn === t.max_states_per_insn
    )
      sameStates++;
    else if (v.insnsProcessed === t.insns_processed) {
      states.add(
        "states",
        `${name} total ${v.totalStates}/${t.total_states} peak ${v.peakStates}/${t.peak_states} per insn ${v.maxStatesPerInsn}/${t.max_states_per_insn}`,
      );
    }
    if (t.stack_depth !== null && v.stackDepth !== t.stack_depth)
      depths.add("depth", `${name} ${v.stackDepth} != ${t.stack_depth}`);
  } else if (v.message === t.msg_last || (args.logs && logLines(v.log).some((l) => l === t.msg_last))) sameMessage++;
  else messages.add(`${causeOf(t.msg_last)}  <>  ${causeOf(v.message)}`, name);
  const file: string | null | undefined = args.level1 ? t.log_level1_path : t.log_level2_path;
  if (!args.logs || file === null || file === undefined || (args.level1 ? t.log1_truncated : t.log2_truncated) === true)
    continue;
  const path = join(corpus.dir, file);
  if (!existsSync(path)) continue;
  const theirs = logLines(gunzipSync(readFileSync(path)).toString("utf8"));
  const ours = logLines(v.log);
  const at = firstDifference(theirs, ours);
  if (at < 0) sameLog++;
  else {
    logs.add(causeOf(theirs[at] ?? "<end>"), `${name}:${at + 1}`);
    if (args.diff) {
      console.log(`--- ${name} line ${at + 1}`);
      for (let k = Math.max(0, at - 6); k < at; k++) console.log(`    ${theirs[k]!}`);
      for (let k = at; k < at + 4; k++) console.log(`  K ${theirs[k] ?? "<end>"}`);
      for (let k = at; k < at + 4; k++) console.log(`  O ${ours[k] ?? "<end>"}`);
    }
  }
}

const pct = (n: number, of: number): string => (of === 0 ? "-" : `${((100 * n) / of).toFixed(2)} %`);
const bad = [...falseAccepts.causes.values()].flat().length;
const wrong = [...falseRejects.causes.values()].flat().length;
crashes.print("CRASHES", show);
falseAccepts.print("FALSE ACCEPTS (what the kernel says)", show);
falseRejects.print("FALSE REJECTS (what we say)", show);
messages.print("MESSAGES kernel <> ours", show);
counts.print("PROCESSED COUNTS", show);
states.print("STATE COUNTS (same processed)", show);
depths.print("STACK DEPTHS", show);
if (args.logs) logs.print("LOGS (first differing kernel line)", show);
console.log(
  `\n${programs.length} programs (${accepted} accepted, ${rejected} rejected by the kernel) in ${((performance.now() - started) / 1000).toFixed(1)} s` +
    `\nverdicts right ${pct(accepted + rejected - bad - wrong, programs.length)}, false accepts ${bad}, false rejects ${wrong}, crashes ${programs.length - accepted - rejected}` +
    `\nprocessed count equal ${pct(sameCount, accepted)} of accepted, state counts ${pct(sameStates, accepted)}` +
    `\nfinal message equal ${pct(sameMessage, rejected)} of rejected` +
    (args.logs ? `\nlog identical ${pct(sameLog, programs.length)}` : "") +
    `\nown ${(ownMs / 1000).toFixed(2)} s, kernel ${(kernelMs / 1000).toFixed(2)} s`,
);

const ran = new Set(programs.map(key));
// Kernels before 6.12 differ in ways that docs/verifier.md tells; the list is of the reference.
const listed = args.kernel === "6.18";
const gone = KNOWN_DIFFERENCES.filter((d) => ran.has(d.program) && !differing.has(d.program));
const known = new Set(KNOWN_DIFFERENCES.map((d) => d.program));
const fresh = [...differing].filter((name) => !known.has(name));
if (listed)
  for (const d of gone)
    console.log(`no longer different, to be struck from known-differences.ts: ${d.program} (${d.why})`);
if (listed) for (const name of fresh) console.log(`different, and not in known-differences.ts: ${name}`);
if (listed && (gone.length > 0 || fresh.length > 0)) process.exitCode = 1;
