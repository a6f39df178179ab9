/** `bpfkit run`: loads, attaches and prints. */
import { resolve } from "node:path";
import type { App } from "../../load/app.ts";
import { CompileCache } from "../../load/compile-cache.ts";
import { realKernel } from "../../syscall/kernel-real.ts";
import { startCompiled, type Startable } from "../../load/start.ts";
import { type ParsedArgs, UsageError } from "../args.ts";
import type { Command, Host } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
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
    requirePrivilege(`run ${path}`);

    const cache = args.flags.has("no-cache") ? undefined : new CompileCache(resolve(path), { version: BPFKIT_VERSION });
    const module = await moduleOfFile(path, host, cache);
    const compiled = cache?.lookup(module.exports, module.modules, realKernel()) ?? (await import("../compile-file.ts")).compileFile(module, cache);
    const end = new AbortController();
    const json = args.flags.has("json");
    using app = startCompiled(compiled, { signal: end.signal, json, args: args.rest ?? [], config, attach: attachOptions(args) });
    if (args.flags.has("verbose")) describe(app);
    host.saveCache();
    return await untilDone(app, module, compiled, { end, duration, command: args.rest, host });
  },
};

interface Running {
  readonly end: AbortController;
  readonly duration: number | undefined;
  readonly command: readonly string[] | undefined;
  readonly host: Host;
}

/** Runs the module's own main function, or the tables, until something ends it. */
async function untilDone(app: App, module: ModuleFile, compiled: Startable, { end, duration, command }: Running): Promise<number> {
  let code: number = EXIT.OK;
  const stop = (): void => end.abort();
  process.on("SIGINT", stop).on("SIGTERM", stop);
  const timer = duration === undefined ? undefined : setTimeout(stop, duration * 1000);
  try {
    const main = module.exports["default"];
    const work =
      typeof main === "function"
        ? Promise.resolve((main as (app: App) => unknown)(app))
        : import("../print-app.ts").then(({ printApp }) => printApp(app, compiled, module.exports));
    if (command !== undefined && command.length > 0) {
      code = await runChild(command, end.signal);
      // What it caused has been submitted; give the readers the turn in which they take it.
      await new Promise((resolve) => setTimeout(resolve, 50));
      stop();
    }
    await work;
  } finally {
    clearTimeout(timer);
    process.off("SIGINT", stop).off("SIGTERM", stop);
    end.abort();
  }
  return code;
}

async function runChild([file = "", ...args]: readonly string[], signal: AbortSignal): Promise<number> {
  const { spawn } = await import("node:child_process");
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: "inherit" });
    const kill = (): void => void child.kill("SIGTERM");
    signal.addEventListener("abort", kill, { once: true });
    child.on("error", (error: NodeJS.ErrnoException) => reject(error.code === "ENOENT" ? new UsageError(`${file}: there is no such command`, spec) : error));
    child.on("exit", (code, name) => {
      signal.removeEventListener("abort", kill);
      resolve(name === null ? (code ?? 0) : 128);
    });
  });
}

function attachOptions(args: ParsedArgs): { device?: string; cgroup?: string } {
  const device = args.value("device");
  const cgroup = args.value("cgroup");
  return { ...(device === undefined ? {} : { device }), ...(cgroup === undefined ? {} : { cgroup }) };
}

function describe(app: App): void {
  for (const link of app.collection.links) process.stderr.write(`attached ${link.program} to ${link.target}\n`);
  for (const note of app.collection.notes) process.stderr.write(`note: ${note}\n`);
}

function seconds(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const n = Number(text.replace(/s$/, ""));
  if (!Number.isFinite(n) || n <= 0 || text.trim() === "") throw new UsageError(`--duration ${text}: expected a number of seconds`, spec);
  return n;
}

function settings(items: readonly string[]): Record<string, string | number | bigint | boolean> {
  const out: Record<string, string | number | bigint | boolean> = {};
  for (const item of items) {
    const at = item.indexOf("=");
    if (at <= 0) throw new UsageError(`--set ${item}: expected NAME=VALUE`, spec);
    out[item.slice(0, at)] = valueOf(item.slice(at + 1));
  }
  return out;
}

function valueOf(text: string): string | number | bigint | boolean {
  if (text === "true" || text === "false") return text === "true";
  if (/^-?(0x[0-9a-f]+|\d+)$/i.test(text)) {
    const n = text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text);
    return Number.isSafeInteger(Number(n)) ? Number(n) : n;
  }
  return text;
}

