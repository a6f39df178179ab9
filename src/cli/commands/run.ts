/** `bpfkit run`: loads, attaches and prints. */
import { existsSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { BpfkitError } from "../../core/errors.ts";
import type { CaptureSink } from "../../load/prog-capture.ts";
import type { App } from "../../load/app.ts";
import { CompileCache } from "../../load/compile-cache.ts";
import { realKernel } from "../../syscall/kernel-real.ts";
import { startCompiled, type Startable } from "../../load/start.ts";
import { type ParsedArgs, UsageError } from "../args.ts";
import type { Command, Host } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeOutput } from "../input.ts";
import { type ModuleFile, moduleOfFile } from "../module-of-file.ts";
import { requirePrivilege } from "../privilege.ts";

declare const BPFKIT_VERSION: string;

const spec = {
  name: "run",
  positionals: "FILE.ts [-- CMD …]",
  summary: "load a TypeScript file's programs, attach them and print what they report",
  arity: [1, 1],
  options: [
    { name: "duration", short: "d", value: "SECONDS", help: "end after so many seconds" },
    { name: "set", value: "NAME=VALUE", repeat: true, help: "value of a config() or global() (may be repeated)" },
    { name: "device", value: "NAME", help: "network interface of xdp and tc programs" },
    { name: "cgroup", value: "DIR", help: "cgroup v2 directory of cgroup programs" },
    { name: "json", help: "one JSON object a line instead of tables" },
    {
      name: "capture",
      value: "FILE.json",
      help: "write what the kernel is given for each program: for bug reports, and for bpfkit verify",
    },
    { name: "simulate", help: "without a kernel and privilege: in a small built-in world" },
    { name: "no-cache", help: "compile anew, and keep nothing for the next start" },
    { name: "verbose", short: "v", help: "say what was attached, and what this kernel lacks" },
  ],
  details: `Calls the file's default export with the running app; without one, prints the samples of its
ring buffers as they come and its maps at the end. With CMD, runs it once everything is attached and
ends when it ends. Ctrl-C detaches everything and exits with 0.

Exit codes: 0 done · 1 the program or its file is at fault · 2 wrong arguments · 3 a privilege is missing
            4 this kernel or platform lacks something · with CMD, its exit code`,
} as const;

export const runCommand: Command = {
  spec,
  async run(args, host) {
    const [path = ""] = args.positionals;
    const duration = seconds(args.value("duration"));
    const config = settings(args.values.get("set") ?? []);
    if (args.flags.has("simulate")) {
      const { simulatedRun } = await import("../simulated-run.ts");
      const flag = (name: string): boolean => args.flags.has(name);
      return simulatedRun(path, host, { config, json: flag("json"), verbose: flag("verbose"), args: args.rest ?? [] });
    }
    requireCommand(args.rest?.[0]);
    const { app: begun, module, compiled, keep } = await begin(path, args, host);
    using app = begun;
    if (app.collection.links.length === 0 && typeof module.exports["default"] !== "function") {
      throw new UsageError(
        "nothing is attached: xdp and tc programs need --device NAME, cgroup programs --cgroup DIR",
        spec,
      );
    }
    if (args.flags.has("verbose")) describe(app);
    keep?.();
    host.saveCache();
    const end = new AbortController();
    app.endWith(end.signal);
    return await untilDone(app, module, compiled, { end, duration, command: args.rest, host });
  },
};

interface Begun {
  readonly app: App;
  readonly module: ModuleFile;
  readonly compiled: Startable;
  readonly keep?: (() => void) | undefined;
}

/** Loads the file, compiles, loads and attaches its programs. */
async function begin(path: string, args: ParsedArgs, host: Host): Promise<Begun> {
  const config = settings(args.values.get("set") ?? []);
  // root may be without capabilities in a container: that is looked at (0.4 ms) when something fails.
  const root = process.platform === "linux" && process.geteuid?.() === 0;
  if (!root) requirePrivilege(`run ${path}`);
  try {
    const cache = args.flags.has("no-cache")
      ? undefined
      : new CompileCache(resolve(path), { version: `${BPFKIT_VERSION} ${host.build}` });
    const module = await moduleOfFile(path, host, cache);
    const found = cache?.lookup(module.exports, module.modules, realKernel());
    const { compiled, keep } =
      found === undefined
        ? (await import("../compile-file.ts")).compileFile(module, cache)
        : { compiled: found, keep: undefined };
    const app = startCompiled(compiled, {
      json: args.flags.has("json"),
      args: args.rest ?? [],
      config,
      attach: attachOptions(args),
      ...(await captureOption(args)),
    });
    return { app, module, compiled, keep };
  } catch (error) {
    if (root) requirePrivilege(`run ${path}`);
    throw error;
  }
}

interface Running {
  readonly end: AbortController;
  readonly duration: number | undefined;
  readonly command: readonly string[] | undefined;
  readonly host: Host;
}

/** How long a main function may go on after `--duration` or the traced command's end, for its last words. */
const GRACE_MS = 3000;

/** Runs the module's own main function, or the tables, until something ends it. */
async function untilDone(
  app: App,
  module: ModuleFile,
  compiled: Startable,
  { end, duration, command }: Running,
): Promise<number> {
  let code: number = EXIT.OK;
  const stop = (): void => end.abort();
  const interrupt = (signal: NodeJS.Signals): void => {
    // Whoever asks twice has a main function that does not end by itself; the kernel detaches then.
    if (end.signal.aborted) process.exit(128 + signalNumber(signal));
    stop();
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  // The reader of a pipe may leave: that ends it as Ctrl-C does.
  process.stdout.on("error", stop);
  let stopFor = (): void => {};
  const overdue = new Promise<false>((resolve) => {
    stopFor = () => {
      stop();
      setTimeout(resolve, GRACE_MS, false).unref();
    };
  });
  const timer = duration === undefined ? undefined : setTimeout(stopFor, duration * 1000);
  try {
    const main = module.exports["default"];
    const work =
      typeof main === "function"
        ? Promise.resolve((main as (app: App) => unknown)(app))
        : import("../print-app.ts").then(({ printApp }) => printApp(app, compiled, module.exports));
    const ended = Promise.race([work.then(() => true), overdue]);
    if (command !== undefined && command.length > 0) {
      try {
        code = await runChild(command, end.signal);
      } finally {
        stopFor();
        await ended;
      }
    }
    if (!(await ended)) {
      process.stderr.write(`the main function went on after it was told to end (app.signal), and is left\n`);
      app.close();
      process.exit(code);
    }
    for (const [name, lost] of app.lost)
      process.stderr.write(`${lost} samples of ${name} were lost: its buffer was full\n`);
  } finally {
    clearTimeout(timer);
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    end.abort();
  }
  return code;
}

function signalNumber(name: NodeJS.Signals): number {
  return process.getBuiltinModule("node:os").constants.signals[name];
}

async function runChild([file = "", ...args]: readonly string[], signal: AbortSignal): Promise<number> {
  const { spawn } = await import("node:child_process");
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: "inherit" });
    const kill = (): void => void child.kill("SIGTERM");
    signal.addEventListener("abort", kill, { once: true });
    child.on("error", (error: NodeJS.ErrnoException) =>
      reject(new BpfkitError("COMMAND", `${file} cannot be run: ${error.message}`, { cause: error })),
    );
    child.on("exit", (code, name) => {
      signal.removeEventListener("abort", kill);
      resolve(name === null ? (code ?? 0) : 128 + signalNumber(name));
    });
  });
}

/** Before anything is loaded: a mistyped command must not leave half an output. */
function requireCommand(file: string | undefined): void {
  if (file === undefined) return;
  const directories = file.includes("/") ? [""] : (process.env["PATH"] ?? "").split(delimiter);
  if (!directories.some((directory) => existsSync(join(directory, file))))
    throw new UsageError(`${file}: there is no such command`, spec);
}

function attachOptions(args: ParsedArgs): { device?: string; cgroup?: string } {
  const device = args.value("device");
  const cgroup = args.value("cgroup");
  return { ...(device === undefined ? {} : { device }), ...(cgroup === undefined ? {} : { cgroup }) };
}

/** The captures so far are in the file before the kernel has a program: a rejection leaves them there. */
async function captureOption(args: ParsedArgs): Promise<{ capture?: CaptureSink }> {
  const path = args.value("capture");
  if (path === undefined) return {};
  const { captureTo } = await import("../../load/prog-capture.ts");
  const all: Record<string, unknown>[] = [];
  return {
    capture: captureTo((_program, capture) => {
      all.push(capture);
      writeOutput(path, `${JSON.stringify(all.length === 1 ? capture : all)}\n`);
    }),
  };
}

function describe(app: App): void {
  for (const link of app.collection.links) process.stderr.write(`attached ${link.program} to ${link.target}\n`);
  for (const note of app.collection.notes) process.stderr.write(`note: ${note}\n`);
}

function seconds(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const n = Number(text.replace(/s$/, ""));
  if (!Number.isFinite(n) || n <= 0 || text.trim() === "")
    throw new UsageError(`--duration ${text}: expected a number of seconds`, spec);
  return n;
}

function settings(items: readonly string[]): Record<string, string> {
  const out: Record<string, string> = {};
  for (const item of items) {
    const at = item.indexOf("=");
    if (at <= 0) throw new UsageError(`--set ${item}: expected NAME=VALUE`, spec);
    out[item.slice(0, at)] = item.slice(at + 1);
  }
  return out;
}
