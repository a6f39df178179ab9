/** `bpfkit test`: runs test files that use `bpfkit/testing`, and says what they covered of the probes. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { BpfkitError } from "../../core/errors.ts";
import { loadedModules } from "../../host/loaded-modules.ts";
import { loadModule } from "../../load/module-loader.ts";
import * as testing from "../../testing/index.ts";
import { type FileCoverage, Coverage, coverage } from "../../testing/coverage.ts";
import { type ParsedArgs, UsageError } from "../args.ts";
import type { Command, Host } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeOutput } from "../input.ts";
import { table, toJson } from "../output.ts";
import { own, resolveOwn } from "../own-module.ts";

const spec = {
  name: "test",
  positionals: "FILE.ts|DIRECTORY …",
  summary: "run tests of probes without privilege, and show what they covered",
  arity: [1, Number.POSITIVE_INFINITY],
  options: [
    { name: "lcov", value: "FILE", help: "write coverage as an lcov tracefile" },
    { name: "listing", help: "print the source with counts in front of its lines" },
    { name: "lines", value: "PERCENT", help: "fail when fewer of the lines are covered" },
    { name: "branches", value: "PERCENT", help: "fail when fewer of the ways are taken" },
    { name: "no-coverage", help: "run the tests only" },
    { name: "json", help: "the summary as one JSON object a line" },
  ],
  details: `Runs each file in a process of its own, as \`node FILE\` would, TypeScript included: with node:test, uvu,
or asserts alone. In a directory, files called *.test.ts (or .mts, .js, .mjs) are the tests. Coverage is of the
programs that were simulated.

Exit codes: 0 all passed · 1 a test failed, or less is covered than asked for · 2 wrong arguments`,
} as const;

/** Set in the process of one file: where its coverage goes. */
const CHILD = "BPFKIT_TEST_COVERAGE";

export const testCommand: Command = {
  spec,
  async run(args, host) {
    const lines = percent(args, "lines");
    const branches = percent(args, "branches");
    const files = args.positionals.flatMap((path) => testFiles(path));
    const child = process.env[CHILD];
    if (child !== undefined) {
      delete process.env[CHILD];
      await runHere(files[0] ?? "", host, () => writeFileSync(child, JSON.stringify(coverage().files.map(plain))));
      return Number(process.exitCode ?? 0);
    }
    const finish = (all: Coverage, failed: boolean): number => {
      if (!args.flags.has("no-coverage")) report(all, args);
      const enough = all.lines.percent >= (lines ?? 0) && all.branches.percent >= (branches ?? 0);
      if (!enough) process.stderr.write(`less is covered than asked for\n`);
      return failed || !enough ? EXIT.FAILED : EXIT.OK;
    };
    const [only = ""] = files;
    if (files.length === 1) {
      // Only when the process ends it is known how the tests ended.
      await runHere(only, host, () => {
        process.exitCode = finish(coverage(), Number(process.exitCode ?? 0) !== 0);
      });
      return Number(process.exitCode ?? 0);
    }
    const { all, failed } = await runEach(files);
    return finish(all, failed);
  },
};

/** Loads the file; `atExit` is called when nothing is left to do, or when the file cannot be loaded. */
async function runHere(path: string, host: Host, atExit: () => void): Promise<void> {
  process.once("exit", atExit);
  (globalThis as Record<symbol, unknown>)[OWN_TESTING] = testing;
  await loadModule(resolve(path), {
    own,
    modules: loadedModules(),
    resolveOwn: (specifier) => (specifier === "bpfkit/testing" ? testingUrl() : resolveOwn(specifier)),
    importModule: (url) => host.importModule(url),
  });
  host.saveCache();
}

const OWN_TESTING = Symbol.for("bpfkit.testing");

/** What "bpfkit/testing" means in a test file: this command's own copy, whose code is cached and counts for it. */
function testingUrl(): string {
  const names = Object.keys(testing).join(", ");
  return `data:text/javascript,export const { ${names} } = globalThis[Symbol.for("bpfkit.testing")];`;
}

/** Every file in a process of its own, as many at a time as there are CPUs; what they print comes in the order of the files. */
async function runEach(files: readonly string[]): Promise<{ all: Coverage; failed: boolean }> {
  const directory = mkdtempSync(join(tmpdir(), "bpfkit-test-"));
  try {
    const results: Promise<{ output: Buffer; code: number }>[] = [];
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let i = next++; i < files.length; i = next++) {
        const result = runChild(files[i] ?? "", join(directory, String(i)));
        started[i]?.(result);
        await result;
      }
    };
    const started: ((result: Promise<{ output: Buffer; code: number }>) => void)[] = [];
    for (const _ of files) results.push(new Promise((take) => started.push(take)));
    const workers = Array.from({ length: Math.min(availableParallelism(), files.length) }, worker);
    let failed = false;
    let all = new Coverage([]);
    for (const [i, file] of files.entries()) {
      const { output, code } = await results[i]!;
      process.stdout.write(`${file}: ${code === 0 ? "passed" : `failed (exit code ${code})`}\n`);
      process.stdout.write(output);
      failed ||= code !== 0;
      all = all.merge(read(join(directory, String(i))));
    }
    await Promise.all(workers);
    return { all, failed };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function runChild(file: string, to: string): Promise<{ output: Buffer; code: number }> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [...process.execArgv, process.argv[1] ?? "", "test", file], {
      env: { ...process.env, [CHILD]: to },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const output: Buffer[] = [];
    child.stdout.on("data", (data: Buffer) => output.push(data));
    child.stderr.on("data", (data: Buffer) => output.push(data));
    child.on("error", (error) => done({ output: Buffer.from(`${error.message}\n`), code: 1 }));
    child.on("close", (code, signal) => {
      if (signal !== null) output.push(Buffer.from(`ended by ${signal}\n`));
      done({ output: Buffer.concat(output), code: code ?? 1 });
    });
  });
}

type PlainFile = Omit<FileCoverage, "lines"> & { readonly lines: readonly (readonly [number, number])[] };
const plain = (file: FileCoverage): PlainFile => ({ ...file, lines: [...file.lines] });

/** What a child left; nothing when it ended before it could. */
function read(path: string): Coverage {
  try {
    const files = JSON.parse(readFileSync(path, "utf8")) as readonly PlainFile[];
    return new Coverage(files.map((f) => ({ ...f, lines: new Map(f.lines) })));
  } catch {
    return new Coverage([]);
  }
}

function report(all: Coverage, args: ParsedArgs): void {
  const lcov = args.value("lcov");
  if (lcov !== undefined) writeOutput(lcov, all.lcov());
  if (args.flags.has("listing")) process.stdout.write(`${all.listing()}\n`);
  if (all.files.length === 0) {
    if (!args.flags.has("json")) process.stdout.write("no program was simulated\n");
    return;
  }
  const files = all.files.map((f) => new Coverage([f]));
  if (args.flags.has("json")) {
    for (const file of files) {
      process.stdout.write(
        `${toJson({ file: file.files[0]?.file, lines: file.lines, branches: file.branches, functions: file.functions, missed: [...(file.files[0]?.lines ?? [])].filter(([, n]) => n === 0).map(([line]) => line) })}\n`,
      );
    }
    return;
  }
  const row = (name: string, c: Coverage): string[] => [
    name,
    ...[c.lines, c.branches, c.functions].map((t) => `${t.percent} % (${t.hit}/${t.found})`),
    ranges(c),
  ];
  const rows = files.map((f) => row(f.files[0]?.file ?? "", f));
  if (files.length > 1) rows.push([...row("all", all).slice(0, -1), ""]);
  process.stdout.write(`\n${table(["FILE", "LINES", "WAYS", "FUNCTIONS", "NOT COVERED"], rows)}`);
}

/** Lines that never ran: "12 15-17". */
function ranges(c: Coverage): string {
  const missed = c.files.flatMap((f) => [...f.lines].filter(([, n]) => n === 0).map(([line]) => line));
  const out: [number, number][] = [];
  for (const line of missed) {
    const last = out.at(-1);
    if (last !== undefined && last[1] === line - 1) last[1] = line;
    else out.push([line, line]);
  }
  return out.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(" ");
}

function testFiles(path: string): string[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new BpfkitError("FILE", `${path}: there is no such file`);
  if (!stat.isDirectory()) return [path];
  const found = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && /\.test\.m?[jt]s$/.test(e.name) && !/(?:^|\/)node_modules(?:\/|$)/.test(e.parentPath))
    .map((e) => join(e.parentPath, e.name))
    .sort();
  if (found.length === 0) throw new BpfkitError("FILE", `${path}: no file below it is called *.test.ts`);
  return found;
}

function percent(args: ParsedArgs, name: "lines" | "branches"): number | undefined {
  const text = args.value(name);
  if (text === undefined) return undefined;
  const n = Number(text.replace(/%$/, ""));
  if (text.trim() === "" || !(n >= 0 && n <= 100))
    throw new UsageError(`--${name} ${text}: expected a percentage from 0 to 100`, spec);
  return n;
}
