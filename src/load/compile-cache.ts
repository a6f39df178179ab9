/**
 * A second start of an unchanged probe file does not compile: types are blanked and
 * programs compiled and relocated already, in one file per probe.
 *
 * An entry is used only if everything it was made from is the same: the text of every
 * module, the captured values, the exports, the layouts of its tracepoints, the kernel
 * (its build id), and bpfkit's version. It is stored twice against damage, and read only from a directory
 * that nobody else can write to: its contents are loaded into the kernel.
 */
import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { PreparedModule } from "../compiler/capture/prepare.ts";
import type { LoadedModule } from "../compiler/capture/types.ts";
import type { GlobalHandle } from "../probe/globals.ts";
import type { MapHandle } from "../probe/map-types.ts";
import type { AnyProgram } from "../probe/program-types.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { kernelRelease } from "../syscall/kernel-real.ts";
import { tracepointFormat } from "../syscall/tracefs.ts";
import { decodeEntry, type Where } from "./compile-cache-file.ts";
import { fingerprint } from "./fingerprint.ts";
import type { PrepareCache } from "./module-loader.ts";
import type { Startable } from "./start.ts";
import { readTwice } from "./twice.ts";

type Found = NonNullable<ReturnType<typeof decodeEntry>>;

export interface CacheOptions {
  /** Directory of the entries; `cacheDirectory()` by default. */
  readonly directory?: string | undefined;
  /** Of bpfkit, with the build's hash: another build made other code. */
  readonly version: string;
}

/** The cache of one probe file. `compileForCache` fills it. */
export class CompileCache implements PrepareCache {
  readonly file: string | undefined;
  readonly identity: string;
  readonly #entry: Found | undefined;
  readonly #prepared = new Map<string, PreparedModule>();

  /** @param path absolute path of the probe file */
  constructor(path: string, options: CacheOptions) {
    this.identity = `${options.version} ${process.arch} ${kernelRelease()} ${buildId()}`;
    const directory = options.directory ?? cacheDirectory();
    this.file = directory === undefined ? undefined : join(directory, `${hashOf(path)}.probe`);
    this.#entry = this.file === undefined ? undefined : readEntry(this.file, this.identity);
    for (const m of this.#entry?.modules ?? []) this.#prepared.set(m.text, m.prepared);
  }

  get(text: string): PreparedModule | undefined {
    return this.#prepared.get(text);
  }
  set(text: string, prepared: PreparedModule): void {
    this.#prepared.set(text, prepared);
  }

  /** What was compiled before, when nothing has changed since. */
  lookup(
    exports: Readonly<Record<string, unknown>>,
    modules: ReadonlyMap<string, LoadedModule>,
    kernel: Kernel,
  ): Startable | undefined {
    const entry = this.#entry;
    if (entry === undefined || entry.modules.length !== modules.size) return undefined;
    if (entry.modules.some((m) => modules.get(m.url)?.text !== m.text)) return undefined;
    const find = finder(exports, modules);
    const exported = entry.values.filter((v) => v.where[0] === "export").length;
    if (exported !== handlesOf(exports).length) return undefined;
    if (entry.values.some(({ where, print }) => fingerprint(find(where)) !== print)) return undefined;
    try {
      if (entry.tracepoints.some(({ name, print }) => fingerprint(formatOf(kernel, name)) !== print)) return undefined;
    } catch {
      return undefined; // The compiler says what is wrong with it.
    }
    const handles = <H>(list: readonly { name: string; where: Where }[]): Map<string, H> =>
      new Map(list.map(({ name, where }) => [name, find(where) as H]));
    return {
      spec: entry.spec(),
      schemas: new Map(
        [...handles<MapHandle>(entry.maps)].map(([name, handle]) => [
          name,
          { key: handle.key, value: handle.value, handle },
        ]),
      ),
      globals: handles<GlobalHandle>(entry.globals),
      programs: handles<AnyProgram>(entry.programs),
    };
  }
}

export function handlesOf(exports: Readonly<Record<string, unknown>>): [string, unknown][] {
  // Functions (the default export) run as they are; what programs use of them is recorded by name.
  return Object.entries(exports).filter(([, value]) => typeof value === "object" && value !== null);
}

function finder(
  exports: Readonly<Record<string, unknown>>,
  modules: ReadonlyMap<string, LoadedModule>,
): (where: Where) => unknown {
  return (where) => {
    if (where[0] === "export") return exports[where[1]];
    try {
      return modules.get(where[1])?.lookup(where[2])?.value;
    } catch {
      return undefined; // In the temporal dead zone.
    }
  };
}

/** `~/.cache/bpfkit`, or `/var/cache/bpfkit` for root: under sudo the home directory may be another user's. */
export function cacheDirectory(): string | undefined {
  if (process.geteuid?.() === 0) return "/var/cache/bpfkit";
  const base = process.env["XDG_CACHE_HOME"];
  try {
    return join(
      base === undefined || base === "" ? join(process.getBuiltinModule("node:os").homedir(), ".cache") : base,
      "bpfkit",
    );
  } catch {
    return undefined; // No home directory.
  }
}

/** Build id of the running kernel, from its notes. */
function buildId(): string {
  try {
    return readFileSync("/sys/kernel/notes").toString("base64");
  } catch {
    return "";
  }
}

/** Two 32-bit hashes: enough to tell the files of one user apart; the contents are compared anyway. */
function hashOf(path: string): string {
  let a = 0x811c9dc5;
  let b = 0;
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i);
    a = Math.imul(a ^ c, 0x01000193);
    b = (Math.imul(b, 31) + c) | 0;
  }
  return (a >>> 0).toString(16).padStart(8, "0") + (b >>> 0).toString(16).padStart(8, "0");
}

/** Nobody but us (or root) may have written it. */
export function isPrivate(path: string): boolean {
  const s = lstatSync(path);
  return (s.uid === process.geteuid?.() || s.uid === 0) && (s.mode & 0o022) === 0 && !s.isSymbolicLink();
}

function readEntry(file: string, identity: string): Found | undefined {
  try {
    if (!isPrivate(join(file, "..")) || !isPrivate(file)) return undefined;
    const bytes = readTwice(file);
    const entry = bytes === undefined ? undefined : decodeEntry(bytes);
    return entry?.identity === identity ? entry : undefined;
  } catch {
    return undefined; // Missing or damaged: compile.
  }
}

function formatOf(kernel: Kernel, name: string): unknown {
  const [category = "", event = ""] = name.split(":");
  return tracepointFormat(kernel, category, event);
}
