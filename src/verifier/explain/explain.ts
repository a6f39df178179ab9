/** A rejection as a Diagnostic: where, what was required, what is known, how it came to that, and what to do (tried on a copy). */
import type { Diagnostic, Label } from "../../core/diagnostic.ts";
import { BpfkitError } from "../../core/errors.ts";
import type { ProgLoad } from "../capture.ts";
import type { Env } from "../env.ts";
import { Profile } from "../profile.ts";
import { type Verdict, type VerifyOptions, runVerifier, verify } from "../verify.ts";
import type { Account, Failure, Fix } from "./failure.ts";
import { rules } from "./rules.ts";
import { type Cause, causes } from "./slice.ts";
import { type SourceLine, functionsOf, lineAt, sameLine, sourceLines, spanOf } from "./source.ts";
import { readTrace } from "./trace.ts";

export interface ExplainOptions extends Pick<VerifyOptions, "signal" | "unprivileged" | "kernel"> {
  /** The compiler's own line records, with exact spans; the load's line_info by default. */
  readonly lines?: readonly SourceLine[];
  /** Instructions whose CO-RE relocation found nothing, and why. */
  readonly poisoned?: ReadonlyMap<number, Diagnostic>;
  /** Try fixes on a copy; default true. */
  readonly fixes?: boolean;
}

/** One instruction of the causal path. */
export interface CauseStep {
  readonly insn: number;
  /** "r1 = *(u64 *)(r10 -8)" */
  readonly text: string;
  /** "R1", "fp-8" */
  readonly place: string;
  /** What the place holds afterwards; "" when the log does not say. */
  readonly value: string;
  readonly how: Cause["how"];
}

export interface Explanation {
  readonly diagnostic: Diagnostic;
  readonly verdict: Verdict;
  /** Where the verifier stopped; undefined when it looked at no path. */
  readonly insn: number | undefined;
  readonly required: string | undefined;
  readonly known: string | undefined;
  /** Oldest first. */
  readonly path: readonly CauseStep[];
  /** A change that the verifier accepted (`complete`), or that takes it past this place to another fault. */
  readonly fix: { readonly text: string; readonly complete: boolean; readonly load: ProgLoad } | undefined;
}

/** Programs that take more are explained by where the work went, not by the path: its log would take minutes. */
const MAX_TRACED = 100_000;
/** Longest log that a path is read from, in characters; the end of it counts. */
const LOG_LIMIT = 1024 * 1024;
/** Instructions that trying a fix may cost. */
const FIX_BUDGET = 250_000;
/** A loop repeats its lines. */
const MAX_LABELS = 5;

/**
 * Why `load` is rejected, in the user's terms; null when it is accepted.
 *
 * @throws VerifierAborted when `signal` ends it; DecodeError for malformed BTF
 * @example
 * import { explain } from "bpfkit/verifier";
 * // const found = explain(load); if (found !== null) console.log(renderDiagnostics([found.diagnostic]));
 */
export function explain(load: ProgLoad, options: ExplainOptions = {}): Explanation | null {
  const profile = new Profile();
  const silent = runVerifier(load, { logLevel: 0, profile, ...limits(options) });
  if (silent.verdict.verdict === "accept") return null;
  const traced = silent.verdict.insnsProcessed <= MAX_TRACED;
  const { verdict, env } = traced
    ? runVerifier(load, { logLevel: 1, logLimit: LOG_LIMIT, ...limits(options) })
    : silent;
  const failure = failureOf(load, env, verdict, traced ? undefined : total(profile, load.insns.length));
  const account = accountOf(failure);
  const core = failure.insn === undefined ? undefined : options.poisoned?.get(failure.insn);
  const wanted = (account.registers ?? []).map((r) => `${failure.frame}:R${r}`);
  const path = causes(load.insns, failure.steps, wanted);
  const fix =
    options.fixes === false || core !== undefined ? undefined : checkedFix(failure, account, verdict, options);
  const lines = sourceLines(load, options.lines);
  const diagnostic =
    core === undefined
      ? describe(failure, account, path, fix, lines)
      : { ...core, labels: labels(failure, account, [], lines) };
  return {
    diagnostic,
    verdict,
    insn: failure.insn,
    required: account.required === "" ? undefined : account.required,
    known: account.known,
    path: path.map((c) => ({
      insn: c.step.insn,
      text: c.step.text,
      place: placeName(c.place, failure.frame),
      value: c.value,
      how: c.how,
    })),
    fix,
  };
}

function limits(options: ExplainOptions): VerifyOptions {
  return {
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.unprivileged === undefined ? {} : { unprivileged: options.unprivileged }),
    ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
  };
}

function total(profile: Profile, length: number): Uint32Array {
  const counts = new Uint32Array(length);
  for (const frame of profile.frames) frame.insns.forEach((n, i) => (counts[i]! += n));
  return counts;
}

function failureOf(load: ProgLoad, env: Env, verdict: Verdict, counts: Uint32Array | undefined): Failure {
  const { steps, reason } = readTrace(verdict.log);
  const last = steps.at(-1);
  const text = reason.length === 0 ? verdict.message : reason.join("\n");
  // The state belongs to the last step; after do_check (stack depths) there is none that says anything.
  const live =
    counts !== undefined
      ? env.state !== undefined
      : last !== undefined && env.state !== undefined && env.insnIdx === last.insn;
  const loop = /infinite loop detected at insn (\d+)/.exec(text);
  return {
    load,
    env,
    insn: loop !== null ? Number(loop[1]) : counts === undefined ? last?.insn : env.insnIdx,
    counts,
    steps,
    reason: text,
    regs: live ? env.regs : [],
    frame: last?.frame ?? 0,
  };
}

function accountOf(f: Failure): Account & { readonly code: string } {
  for (const rule of rules) {
    const m = rule.pattern.exec(f.reason);
    if (m !== null) return { code: rule.code, ...rule.account(f, m) };
  }
  const named = [...f.reason.matchAll(/\bR(\d+)\b/g)].map((m) => Number(m[1])).filter((r) => r <= 10);
  return {
    code: "BPF3100",
    title: f.reason.split("\n").at(-1) || "the verifier rejects the program without a word",
    required: "",
    registers: [...new Set(named)],
    help: "",
  };
}

/** The first of the account's fixes that the verifier accepts, else the first that takes it further. */
function checkedFix(f: Failure, account: Account, before: Verdict, options: ExplainOptions): Explanation["fix"] {
  let partial: Explanation["fix"];
  for (const { text, load } of account.fixes?.() ?? []) {
    if (load === null) continue;
    const after = attempt(load, options);
    if (after === undefined) continue;
    if (after.verdict === "accept") return { text, complete: true, load };
    if (
      partial === undefined &&
      after.insnsProcessed > before.insnsProcessed &&
      kind(after.message) !== kind(before.message)
    )
      partial = { text, complete: false, load };
  }
  return partial;
}

/** A message without its numbers. */
const kind = (message: string): string => message.replace(/-?\d+/g, "#");

function attempt(load: NonNullable<Fix["load"]>, options: ExplainOptions): Verdict | undefined {
  try {
    return verify(load, { logLevel: 0, budget: FIX_BUDGET, ...limits(options) });
  } catch (error) {
    // What the change broke (malformed BTF records, say) is no fix.
    if (error instanceof BpfkitError) return undefined;
    throw error;
  }
}

function describe(
  f: Failure,
  account: Account & { readonly code: string },
  path: readonly Cause[],
  fix: Explanation["fix"],
  lines: readonly SourceLine[],
): Diagnostic {
  const notes = [`the verifier says: ${f.reason}`];
  const text = f.steps.findLast((s) => s.insn === f.insn)?.text;
  if (f.insn !== undefined && text !== undefined) notes.push(`at instruction ${f.insn}: ${text}${functionName(f)}`);
  if (account.required !== "") notes.push(`required: ${account.required}`);
  if (account.known !== undefined) notes.push(`known: ${account.known}`);
  if (path.length > 0) notes.push(`how it came to that:\n${path.map((c) => pathLine(c, f, lines)).join("\n")}`);
  const help =
    fix === undefined
      ? account.help
      : `${fix.text}\n${fix.complete ? "(tried: with this change the verifier accepts the program)" : "(tried: this takes the verifier further, to another fault)"}`;
  return {
    code: account.code,
    severity: "error",
    message: account.title,
    labels: labels(f, account, path, lines),
    notes,
    ...(help === "" ? {} : { help }),
  };
}

function functionName(f: Failure): string {
  const functions = functionsOf(f.load);
  if (functions.length < 2 || f.insn === undefined) return "";
  const name = functions.findLast((x) => x.insn <= (f.insn ?? 0))?.name;
  return name === undefined ? "" : `, in ${name}()`;
}

const HOW: Readonly<Record<Cause["how"], string>> = {
  set: "",
  narrowed: " (narrowed)",
  passed: " (passed on)",
  clobbered: " (clobbered by the call)",
};

/** "R1" in the failing function, "R1 of caller" elsewhere. */
function placeName(place: string, frame: number): string {
  const [at = "0", name = ""] = place.split(":");
  return Number(at) === frame ? name : `${name} of frame ${at}`;
}

function pathLine(c: Cause, f: Failure, lines: readonly SourceLine[]): string {
  const at = lineAt(lines, c.step.insn);
  const where = at === undefined ? "" : `   ; ${at.file.slice(at.file.lastIndexOf("/") + 1)}:${at.line}`;
  const value = c.value === "" ? "" : ` → ${placeName(c.place, f.frame)} = ${c.value}`;
  return `${String(c.step.insn).padStart(4)}: ${c.step.text}${value}${HOW[c.how]}${where}`;
}

function labels(f: Failure, account: Account, path: readonly Cause[], lines: readonly SourceLine[]): Label[] {
  const out: Label[] = [];
  const used: SourceLine[] = [];
  const addLabel = (insn: number | undefined, message: string): void => {
    const line = insn === undefined ? undefined : lineAt(lines, insn);
    if (line === undefined || line.line === 0 || out.length >= MAX_LABELS || used.some((u) => sameLine(u, line)))
      return;
    used.push(line);
    out.push({ span: spanOf(line), message });
  };
  const also = account.also ?? [];
  if (f.insn !== undefined) addLabel(f.insn, account.title);
  for (const { insn, message } of also) addLabel(insn, message);
  for (const c of [...path].reverse()) {
    const place = placeName(c.place, f.frame);
    addLabel(
      c.step.insn,
      c.how === "clobbered"
        ? `this call clobbers ${place}`
        : c.value === ""
          ? `${place} is set here`
          : `${place} ${c.how === "narrowed" ? "is known to be" : "becomes"} ${c.value}`,
    );
  }
  return out;
}
