/** `bpfkit verify`: the kernel's verdict without the kernel, and without privilege. */
import { basename } from "node:path";
import type { Diagnostic } from "../../core/diagnostic.ts";
import { BpfkitError } from "../../core/errors.ts";
import { renderDiagnostics } from "../../core/render.ts";
import { progLoadFromJson } from "../../elf/capture.ts";
import type { ProgLoad } from "../../elf/prog-load.ts";
import { LoadMaker } from "../../elf/prog-loads.ts";
import type { CollectionSpec, ProgSpec } from "../../elf/spec.ts";
import { possibleCpus } from "../../syscall/cpus.ts";
import { realKernel } from "../../syscall/kernel-real.ts";
import { progTypeName } from "../../uapi/prog-types.ts";
import { explain } from "../../verifier/explain/index.ts";
import { Profile, type Verdict, verify } from "../../verifier/index.ts";
import { newerThan, requirementText } from "../../verifier/requirements.ts";
import { foldedStacks, lineCosts } from "../../verifier/stats/index.ts";
import { UsageError } from "../args.ts";
import type { Command, Host } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { readInput, writeOutput } from "../input.ts";
import { table, toJson, useColor } from "../output.ts";
import { withFiles } from "../report.ts";
import { specOfFile } from "../spec-of-file.ts";
import { type Target, longTermTargets, targetsOf } from "../verify-kernels.ts";

const spec = {
  name: "verify",
  positionals: "FILE.ts|FILE.o|FILE.json …",
  summary: "say what the kernel's verifier would say, without loading and without privilege",
  arity: [1, Number.POSITIVE_INFINITY],
  options: [
    { name: "program", short: "p", value: "NAME", repeat: true, help: "only this program (may be repeated)" },
    {
      name: "kernel",
      value: "LIST",
      help: "by whose rules: versions such as 5.10,6.1,6.18, or live (the running kernel, the default)",
    },
    { name: "btf", value: "FILE", help: "kernel types (default: those of the kernel, as it runs or from the package)" },
    { name: "explain", help: "for each rejection: the source line, what made the value so, and what to do" },
    { name: "stats", help: "which source lines cost how many processed instructions and states" },
    { name: "folded", value: "FILE", help: "the same as folded stacks, for flame graphs (- is standard output)" },
    { name: "log-level", value: "N", help: "print the kernel's log too: 1, 2, 4 or a sum" },
    { name: "json", help: "one JSON object a program and line" },
  ],
  details: `FILE.json is a capture of one BPF_PROG_LOAD (bpfkit run --capture FILE; see docs/verifier.md).

With several kernels the table has a column for each, then why one rejects and which is the oldest that accepts. The package
has types of 6.1, 6.12 and 6.18; a program that needs those of another kernel is told so (--btf FILE).

Exit codes: 0 all accepted · 1 something is rejected, or a file is at fault · 2 wrong arguments`,
} as const;

/** One program to verify, or why it cannot be. */
interface Subject {
  readonly file: string;
  readonly name: string;
  readonly load: ProgLoad | undefined;
  readonly prog: ProgSpec | undefined;
  readonly error: BpfkitError | undefined;
  readonly poisoned: ReadonlyMap<number, Diagnostic>;
  readonly sources: ReadonlyMap<string, string>;
}

interface Row {
  readonly file: string;
  readonly program: string;
  readonly type: string;
  /** Whose rules, where --kernel named any. */
  readonly kernel?: string;
  readonly verdict: "accept" | "reject" | "error";
  readonly message: string;
  readonly insnsProcessed: number;
  readonly totalStates: number;
  readonly peakStates: number;
  readonly timeMs: number;
  /** What the program needs that this kernel does not have. */
  readonly needs?: readonly string[];
  /** With several kernels, of a program that one rejects: the oldest long-term kernel that accepts it. */
  readonly oldest?: string | null;
}

/** A file as read, before it is made into loads for a kernel. */
type Source =
  | { readonly path: string; readonly captures: readonly unknown[] }
  | { readonly path: string; readonly collection: CollectionSpec };

export const verifyCommand: Command = {
  spec,
  async run(args, host) {
    const btfPath = args.value("btf");
    const targets = targetsOf(args.value("kernel"), btfPath, spec);
    const named = args.value("kernel") !== undefined;
    const level = logLevel(args.value("log-level"));
    const wanted = args.values.get("program");
    const json = args.flags.has("json");
    // A reader that has seen enough (head) ends it.
    process.stdout.on("error", () => process.exit(EXIT.OK));
    const folded: string[] = [];
    const rows: Row[] = [];
    const sources: Source[] = [];
    for (const path of args.positionals) sources.push(await sourceOf(path, host, btfPath));
    const oldest = oldestFinder(sources, btfPath);
    for (const target of targets) {
      const subjects = sources.flatMap((source) => subjectsOf(source, target, true));
      const chosen = wanted === undefined ? subjects : subjects.filter((s) => wanted.includes(s.name));
      for (const name of wanted ?? []) {
        if (!subjects.some((s) => s.name === name))
          throw new BpfkitError(
            "NO_PROGRAM",
            `there is no program ${JSON.stringify(name)}; there are ${subjects.map((s) => s.name).join(", ") || "none"}`,
          );
      }
      for (const subject of chosen) {
        const profile = args.flags.has("stats") || args.value("folded") !== undefined ? new Profile() : undefined;
        const { row: judged, verdict } = judge(subject, target, level, profile);
        const row: Row = {
          ...judged,
          ...(named ? { kernel: target.name } : {}),
          ...(named && judged.verdict === "reject" ? { needs: needsOf(subject, target) } : {}),
          ...(targets.length > 1 && judged.verdict !== "accept" ? { oldest: oldest(subject) } : {}),
        };
        rows.push(row);
        const explanation =
          args.flags.has("explain") && row.verdict === "reject" ? explained(subject, target) : undefined;
        const costs =
          profile === undefined || subject.load === undefined
            ? undefined
            : lineCosts(subject.load, profile, subject.prog?.lines);
        if (profile !== undefined && subject.load !== undefined)
          folded.push(...foldedStacks(subject.load, profile, subject.prog));
        const log = verdict !== undefined && level !== 0 ? verdict.log : undefined;
        if (json) {
          process.stdout.write(
            `${toJson({ ...row, ...(log === undefined ? {} : { log }), ...(explanation === undefined ? {} : { diagnostics: JSON.parse(renderDiagnostics([explanation], { format: "json" })) as unknown }), ...(costs === undefined || !args.flags.has("stats") ? {} : { lines: costs }) })}\n`,
          );
          continue;
        }
        const title = `${subject.file} ${subject.name}${targets.length > 1 ? ` on ${target.name}` : ""}:`;
        if (log !== undefined) process.stdout.write(`${title}\n${log}\n`);
        if (explanation !== undefined) {
          if (targets.length > 1) process.stdout.write(`${title}\n`);
          process.stdout.write(
            `${renderDiagnostics([explanation], { sources: withFiles([explanation], subject.sources), color: useColor(process.stdout) })}\n`,
          );
        }
        if (costs !== undefined && args.flags.has("stats")) {
          process.stdout.write(
            `${title}\n${table(
              ["INSNS", "STATES", "CODE", "LINE", "SOURCE"],
              costs.map((c) => [
                c.insns,
                c.states,
                c.code,
                c.file === "" ? "-" : `${basename(c.file)}:${c.line}`,
                c.text,
              ]),
            )}\n`,
          );
        }
      }
    }
    const foldedPath = args.value("folded");
    if (foldedPath !== undefined) writeOutput(foldedPath, folded.map((l) => `${l}\n`).join(""));
    const files = args.positionals.length > 1;
    if (!json) process.stdout.write(targets.length > 1 ? kernelTable(rows, targets, files) : rowTable(rows, files));
    return rows.some((row) => row.verdict !== "accept") ? EXIT.FAILED : EXIT.OK;
  },
};

function rowTable(rows: readonly Row[], files: boolean): string {
  if (rows.length === 0) return "no programs\n";
  const header = [...(files ? ["FILE"] : []), "PROGRAM", "TYPE", "VERDICT", "INSNS", "STATES", "PEAK", "MS", "MESSAGE"];
  return table(
    header,
    rows.map((r) => [
      ...(files ? [r.file] : []),
      r.program,
      r.type,
      r.verdict,
      r.insnsProcessed,
      r.totalStates,
      r.peakStates,
      r.timeMs,
      r.message,
    ]),
  );
}

/** Program by kernel; below it, why each rejection. */
function kernelTable(rows: readonly Row[], targets: readonly Target[], files: boolean): string {
  if (rows.length === 0) return "no programs\n";
  const programs = [...new Set(rows.map((r) => `${r.file}\0${r.program}`))].map((key) =>
    rows.filter((r) => `${r.file}\0${r.program}` === key),
  );
  const cells = programs.map((of) => [
    ...(files ? [of[0]!.file] : []),
    of[0]!.program,
    of.find((r) => r.type !== "-")?.type ?? "-",
    ...targets.map((t) => of.find((r) => r.kernel === t.name)?.verdict ?? "-"),
    of.map((r) => r.oldest).find((o) => o !== undefined) ?? "-",
  ]);
  const text = table([...(files ? ["FILE"] : []), "PROGRAM", "TYPE", ...targets.map((t) => t.name), "OLDEST"], cells);
  // One line for all kernels that say the same.
  const kernelsOf = new Map<string, string[]>();
  for (const of of programs)
    for (const r of of) {
      if (r.verdict === "accept") continue;
      const needs = r.needs ?? [];
      const reason = needs.includes(r.message) ? needs.join("; ") : [r.message, ...needs].join("; ");
      const key = `${files ? `${r.file} ` : ""}${r.program} on \0: ${reason}\n`;
      kernelsOf.set(key, [...(kernelsOf.get(key) ?? []), r.kernel ?? ""]);
    }
  const why = [...kernelsOf].map(([key, kernels]) => key.replace("\0", kernels.join(", ")));
  return why.length === 0 ? text : `${text}\n${why.join("")}`;
}

const needsOf = (subject: Subject, target: Target): readonly string[] =>
  subject.load === undefined ? [] : newerThan(subject.load, target.kernel).map(requirementText);

/** Says of a program, by name, which long-term kernel is the oldest that accepts it; null: none that has its types. */
function oldestFinder(sources: readonly Source[], btfPath: string | undefined): (subject: Subject) => string | null {
  let targets: Target[] | undefined;
  const made = new Map<string, readonly Subject[]>();
  return (subject) => {
    targets ??= longTermTargets(btfPath, spec);
    const source = sources.find((s) => s.path === subject.file)!;
    for (const target of targets) {
      const key = `${target.name} ${source.path}`;
      let subjects = made.get(key);
      if (subjects === undefined) made.set(key, (subjects = subjectsOf(source, target, false)));
      const there = subjects.find((s) => s.name === subject.name);
      if (there !== undefined && judge(there, target, 0, undefined).row.verdict === "accept") return target.name;
    }
    return null;
  };
}

function judge(
  subject: Subject,
  target: Target,
  level: number,
  profile: Profile | undefined,
): { row: Row; verdict: Verdict | undefined } {
  const { file, name, load, error } = subject;
  const none = { insnsProcessed: 0, totalStates: 0, peakStates: 0, timeMs: 0 };
  if (load === undefined)
    return {
      row: { file, program: name, type: "-", verdict: "error", message: error?.message ?? "", ...none },
      verdict: undefined,
    };
  const type = progTypeName(load.progType)?.toLowerCase() ?? String(load.progType);
  const start = performance.now();
  try {
    const verdict = verify(load, {
      logLevel: level,
      kernel: target.kernel,
      ...(profile === undefined ? {} : { profile }),
    });
    const timeMs = Math.round((performance.now() - start) * 100) / 100;
    const { insnsProcessed, totalStates, peakStates, message } = verdict;
    return {
      row: {
        file,
        program: name,
        type,
        verdict: verdict.verdict,
        message,
        insnsProcessed,
        totalStates,
        peakStates,
        timeMs,
      },
      verdict,
    };
  } catch (e) {
    if (!(e instanceof BpfkitError)) throw e;
    return { row: { file, program: name, type, verdict: "error", message: e.message, ...none }, verdict: undefined };
  }
}

function explained(subject: Subject, target: Target): Diagnostic | undefined {
  const { load, prog, poisoned } = subject;
  return load === undefined
    ? undefined
    : explain(load, { poisoned, kernel: target.kernel, ...(prog === undefined ? {} : { lines: prog.lines }) })
        ?.diagnostic;
}

async function sourceOf(path: string, host: Host, btfPath: string | undefined): Promise<Source> {
  if (path.endsWith(".json")) return { path, captures: capturesOf(path) };
  return { path, collection: await specOfFile(path, host, { btf: btfPath }) };
}

/** Every program of a file, for one kernel. What cannot be made (a missing kernel symbol, no kernel types) is an error of that program alone. */
function subjectsOf(source: Source, target: Target, notes: boolean): Subject[] {
  const { path } = source;
  const btf = target.types();
  if ("captures" in source) {
    return source.captures.map((json): Subject => {
      const read = progLoadFromJson(json, { what: path, vmlinuxBtf: btf, ...cpus() });
      if (notes) for (const note of read.notes) process.stderr.write(`note: ${path}: ${read.load.name}: ${note}\n`);
      const { load } = read;
      return {
        file: path,
        name: load.name,
        load,
        prog: undefined,
        error: undefined,
        poisoned: new Map(),
        sources: new Map(),
      };
    });
  }
  const { collection } = source;
  const maker = new LoadMaker(collection, {
    vmlinux: btf,
    ...(path.endsWith(".o") || target.name !== "live" ? {} : { madeFor: btf ?? undefined }),
    ...cpus(),
  });
  // Also those that an object asks not to load by default.
  return collection.progs.map((prog): Subject => {
    const common = { file: path, name: prog.name, prog, sources: collection.sources };
    try {
      const { load, poisoned } = maker.make(prog);
      return { ...common, load, poisoned, error: undefined };
    } catch (error) {
      if (!(error instanceof BpfkitError)) throw error;
      return { ...common, load: undefined, poisoned: new Map(), error };
    }
  });
}

/** A file has one capture, or a list of them. */
function capturesOf(path: string): readonly unknown[] {
  try {
    const json: unknown = JSON.parse(readInput(path).toString("utf8"));
    return Array.isArray(json) ? json : [json];
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new BpfkitError("FILE", `${path}: not JSON: ${error.message}`, { cause: error });
  }
}

function cpus(): { possibleCpus?: number } {
  try {
    return { possibleCpus: possibleCpus(realKernel()) };
  } catch {
    // Not on Linux: the verifier's own default.
    return {};
  }
}

function logLevel(text: string | undefined): number {
  if (text === undefined) return 0;
  const n = Number(text);
  if (!/^\d$/.test(text) || n > 7)
    throw new UsageError(`--log-level ${text}: expected 0 to 7 (1: the last path, 2: all paths, 4: statistics)`, spec);
  return n;
}
