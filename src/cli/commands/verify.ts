/** `bpfkit verify`: the kernel's verdict without the kernel, and without privilege. */
import { basename } from "node:path";
import type { Btf } from "../../btf/btf.ts";
import type { Diagnostic } from "../../core/diagnostic.ts";
import { BpfkitError } from "../../core/errors.ts";
import { renderDiagnostics } from "../../core/render.ts";
import { progLoadFromJson } from "../../elf/capture.ts";
import type { ProgLoad } from "../../elf/prog-load.ts";
import { LoadMaker } from "../../elf/prog-loads.ts";
import type { ProgSpec } from "../../elf/spec.ts";
import { kernelBtf } from "../../load/kernel-btf.ts";
import { possibleCpus } from "../../syscall/cpus.ts";
import { realKernel } from "../../syscall/kernel-real.ts";
import { progTypeName } from "../../uapi/prog-types.ts";
import { explain } from "../../verifier/explain/index.ts";
import { Profile, type Verdict, verify } from "../../verifier/index.ts";
import { foldedStacks, lineCosts } from "../../verifier/stats/index.ts";
import { UsageError } from "../args.ts";
import type { Command, Host } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { readInput, writeOutput } from "../input.ts";
import { table, toJson, useColor } from "../output.ts";
import { withFiles } from "../report.ts";
import { btfOption, specOfFile } from "../spec-of-file.ts";

const spec = {
  name: "verify",
  positionals: "FILE.ts|FILE.o|FILE.json …",
  summary: "say what the kernel's verifier would say, without loading and without privilege",
  arity: [1, Number.POSITIVE_INFINITY],
  options: [
    { name: "program", short: "p", value: "NAME", repeat: true, help: "only this program (may be repeated)" },
    {
      name: "kernel",
      value: "VERSION",
      help: "6.18 or live (the default): both apply Linux 6.18's rules to the types at hand",
    },
    { name: "btf", value: "FILE", help: "kernel types (default: the running kernel's)" },
    { name: "explain", help: "for each rejection: the source line, what made the value so, and what to do" },
    { name: "stats", help: "which source lines cost how many processed instructions and states" },
    { name: "folded", value: "FILE", help: "the same as folded stacks, for flame graphs (- is standard output)" },
    { name: "log-level", value: "N", help: "print the kernel's log too: 1, 2, 4 or a sum" },
    { name: "json", help: "one JSON object a program and line" },
  ],
  details: `FILE.json is a capture of one BPF_PROG_LOAD (bpfkit run --capture FILE; see docs/verifier.md).

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
  readonly verdict: "accept" | "reject" | "error";
  readonly message: string;
  readonly insnsProcessed: number;
  readonly totalStates: number;
  readonly peakStates: number;
  readonly timeMs: number;
}

export const verifyCommand: Command = {
  spec,
  async run(args, host) {
    requireKernel(args.value("kernel"));
    const level = logLevel(args.value("log-level"));
    const wanted = args.values.get("program");
    const json = args.flags.has("json");
    const btf = typesOf(args.value("btf"));
    // A reader that has seen enough (head) ends it.
    process.stdout.on("error", () => process.exit(EXIT.OK));
    const folded: string[] = [];
    const rows: Row[] = [];
    let failed = false;
    const subjects: Subject[] = [];
    for (const path of args.positionals) subjects.push(...(await subjectsOf(path, host, args.value("btf"), btf)));
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
      const { row, verdict } = judge(subject, level, profile);
      failed ||= row.verdict !== "accept";
      const explanation = args.flags.has("explain") && row.verdict === "reject" ? explained(subject) : undefined;
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
      rows.push(row);
      if (log !== undefined) process.stdout.write(`${subject.file} ${subject.name}:\n${log}\n`);
      if (explanation !== undefined)
        process.stdout.write(
          `${renderDiagnostics([explanation], { sources: withFiles([explanation], subject.sources), color: useColor(process.stdout) })}\n`,
        );
      if (costs !== undefined && args.flags.has("stats")) {
        process.stdout.write(
          `${subject.file} ${subject.name}:\n${table(
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
    const target = args.value("folded");
    if (target !== undefined) writeOutput(target, folded.map((l) => `${l}\n`).join(""));
    if (!json) process.stdout.write(rowTable(rows, args.positionals.length > 1));
    return failed ? EXIT.FAILED : EXIT.OK;
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

function judge(
  subject: Subject,
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
    const verdict = verify(load, { logLevel: level, ...(profile === undefined ? {} : { profile }) });
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

function explained(subject: Subject): Diagnostic | undefined {
  const { load, prog, poisoned } = subject;
  return load === undefined
    ? undefined
    : explain(load, { poisoned, ...(prog === undefined ? {} : { lines: prog.lines }) })?.diagnostic;
}

/** Every program of a file. What cannot be made (a missing kernel symbol, no kernel types) is an error of that program alone. */
async function subjectsOf(
  path: string,
  host: Host,
  btfPath: string | undefined,
  btf: () => Btf | null,
): Promise<Subject[]> {
  if (path.endsWith(".json")) {
    return capturesOf(path).map((json): Subject => {
      const { load, notes } = progLoadFromJson(json, { what: path, vmlinuxBtf: btf(), ...cpus() });
      for (const note of notes) process.stderr.write(`note: ${path}: ${load.name}: ${note}\n`);
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
  const collection = await specOfFile(path, host, { btf: btfPath });
  const maker = new LoadMaker(collection, {
    vmlinux: btf(),
    ...(path.endsWith(".o") ? {} : { madeFor: btf() ?? undefined }),
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

/** Kernel types from a file, else the running kernel's; null where it has none. */
function typesOf(path: string | undefined): () => Btf | null {
  let btf: Btf | null | undefined = btfOption(path).btf;
  return () => {
    if (btf !== undefined) return btf;
    try {
      btf = kernelBtf(realKernel()).vmlinux;
    } catch (error) {
      if (!(error instanceof BpfkitError)) throw error;
      btf = null;
    }
    return btf;
  };
}

function cpus(): { possibleCpus?: number } {
  try {
    return { possibleCpus: possibleCpus(realKernel()) };
  } catch {
    // Not on Linux: the verifier's own default.
    return {};
  }
}

function requireKernel(version: string | undefined): void {
  if (version === undefined || version === "live" || version === "6.18") return;
  throw new UsageError(`--kernel ${version}: the rules of Linux 6.18 are the only ones there are (6.18, live)`, spec);
}

function logLevel(text: string | undefined): number {
  if (text === undefined) return 0;
  const n = Number(text);
  if (!/^\d$/.test(text) || n > 7)
    throw new UsageError(`--log-level ${text}: expected 0 to 7 (1: the last path, 2: all paths, 4: statistics)`, spec);
  return n;
}
