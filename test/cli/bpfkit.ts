/** Running the real command, as a user does: `node dist/bpfkit.cjs …`. */
import { type ChildProcess, type SpawnOptions, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const root = resolve(import.meta.dirname, "../..");
export const example = (name: string): string => join(root, "examples", `${name}.ts`);

function newest(directory: string): number {
  let time = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) time = Math.max(time, statSync(join(entry.parentPath, entry.name)).mtimeMs);
  }
  return time;
}

let built: string | undefined;

/** The command's file, built anew when a source is newer. `BPFKIT_BIN` names another one to test. */
export function command(): string {
  if (built !== undefined) return built;
  const given = process.env["BPFKIT_BIN"];
  if (given !== undefined && given !== "") return (built = given);
  const file = join(root, "dist/bpfkit.cjs");
  const time = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (time < Math.max(newest(join(root, "src")), newest(join(root, "scripts")))) {
    execFileSync(process.execPath, ["scripts/build.mjs"], { cwd: root, stdio: "inherit" });
  }
  return (built = file);
}

const home = mkdtempSync(join(tmpdir(), "bpfkit-test-"));
process.on("exit", () => rmSync(home, { recursive: true, force: true }));

/** A directory for files of tests, removed at the end. Others than root may read it. */
export function scratch(name: string): string {
  const directory = mkdtempSync(join(tmpdir(), `bpfkit-${name}-`));
  process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export interface Result {
  /** Exit code, or the name of the signal that ended it. */
  readonly code: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Written to standard input, which is empty otherwise. */
  readonly input?: string | Uint8Array;
  /** As this user, without capabilities. */
  readonly uid?: number;
  /** Another `node` to run it with. */
  readonly node?: string;
}

/** A command that runs: what it has printed so far, and waiting for more. */
export class Running {
  readonly child: ChildProcess;
  readonly done: Promise<Result>;
  stdout = "";
  stderr = "";
  #waiting: (() => void)[] = [];

  constructor(file: string, args: readonly string[], options: SpawnOptions & { readonly input?: string | Uint8Array }) {
    const { input, ...rest } = options;
    this.child = spawn(file, args, { ...rest, stdio: ["pipe", "pipe", "pipe"] });
    this.child.stdin?.on("error", () => undefined);
    if (input !== undefined) this.child.stdin?.end(input);
    const collect = (stream: "stdout" | "stderr"): void => {
      this.child[stream]?.setEncoding("utf8").on("data", (text: string) => {
        this[stream] += text;
        for (const wake of this.#waiting.splice(0)) wake();
      });
    };
    collect("stdout");
    collect("stderr");
    this.done = new Promise((resolve, reject) => {
      this.child.on("error", reject);
      this.child.on("close", (code, signal) => {
        for (const wake of this.#waiting.splice(0)) wake();
        resolve({ code: code ?? signal ?? 0, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  /** Resolves when `stream` contains `pattern`; throws with all output when the command ends before. */
  async until(stream: "stdout" | "stderr", pattern: RegExp): Promise<void> {
    while (!pattern.test(this[stream])) {
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`ended before printing ${pattern}:\n${this.stdout}\n${this.stderr}`);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
}

/** Starts `bpfkit ARGS`. */
export function start(args: readonly string[], options: RunOptions = {}): Running {
  const node = options.node ?? process.execPath;
  const argv = [command(), ...args];
  const drop =
    options.uid === undefined
      ? undefined
      : ["--reuid", String(options.uid), "--regid", String(options.uid), "--clear-groups", "--inh-caps=-all"];
  const env: NodeJS.ProcessEnv = { ...process.env, XDG_CACHE_HOME: home, NO_COLOR: "1", ...options.env };
  delete env["NODE_OPTIONS"];
  const common = { cwd: options.cwd ?? root, env, ...(options.input === undefined ? {} : { input: options.input }) };
  return drop === undefined
    ? new Running(node, argv, common)
    : new Running("setpriv", [...drop, node, ...argv], common);
}

/** Runs `bpfkit ARGS` to its end. */
export async function bpfkit(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  const running = start(args, { input: "", ...options });
  return running.done;
}

/** The objects of JSON lines; other lines (the traced command prints too) are left out. */
export function jsonLines<T = Record<string, unknown>>(text: string): T[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as T);
}
