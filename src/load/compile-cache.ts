/**
 * A second start of an unchanged probe file does not compile: types are blanked and
 * programs compiled and relocated already, in one file per probe.
 *
 * An entry is used only if everything it was made from is the same: the text of every
 * module, the captured values, the exports, the layouts of its tracepoints, the kernel
 * (its build id), and bpfkit's version. It carries a CRC, and is read only from a directory
 * that nobody else can write to: its contents are loaded into the kernel.
 */
import { chmodSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir, release } from "node:os";
import { join } from "node:path";
import { deserialize, serialize } from "node:v8";
import { crc32 } from "node:zlib";
import { decodeInsns, encodeInsns } from "../asm/index.ts";
import { Btf } from "../btf/index.ts";
import { type CompileResult, createCapture } from "../compiler/index.ts";
import type { PreparedModule } from "../compiler/capture/prepare.ts";
import type { CaptureHost, LoadedModule } from "../compiler/capture/types.ts";
import type { CollectionSpec, ProgSpec } from "../elf/spec.ts";
import type { GlobalHandle } from "../probe/globals.ts";
import type { MapHandle } from "../probe/map-types.ts";
import type { AnyProgram } from "../probe/program-types.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { nodeCaptureHost } from "./capture-node.ts";
import { type CompileModuleOptions, compileWith, tracepointFormatOf } from "./compile-module.ts";
import { fingerprint } from "./fingerprint.ts";
import { kernelBtf } from "./kernel-btf.ts";
import type { PrepareCache } from "./module-loader.ts";
import type { Startable } from "./start.ts";

/** Where a value is found again: an export, or a module-level name. */
type Where = readonly ["export", string] | readonly ["name", string, string];

interface Entry {
  readonly identity: string;
  /** Texts of all modules by URL, and what parsing them gave. */
  readonly modules: readonly { readonly url: string; readonly text: string; readonly prepared: PreparedModule }[];
  readonly values: readonly { readonly where: Where; readonly print: string }[];
  readonly tracepoints: readonly { readonly name: string; readonly print: string }[];
  readonly spec: Omit<CollectionSpec, "progs"> & { readonly progs: readonly (Omit<ProgSpec, "insns"> & { readonly code: Uint8Array })[] };
  readonly maps: readonly { readonly name: string; readonly where: Where }[];
  readonly globals: readonly { readonly name: string; readonly where: Where }[];
  readonly programs: readonly { readonly name: string; readonly where: Where }[];
}

const MAGIC = "bpfkit compile cache 1\n";

export interface CacheOptions {
  /** Directory of the entries; `cacheDirectory()` by default. */
  readonly directory?: string | undefined;
  /** Of bpfkit: another version made other code. */
  readonly version: string;
}

/** The cache of one probe file. */
export class CompileCache implements PrepareCache {
  readonly #file: string | undefined;
  readonly #identity: string;
  readonly #entry: Entry | undefined;
  readonly #prepared = new Map<string, PreparedModule>();

  /** @param path absolute path of the probe file */
  constructor(path: string, options: CacheOptions) {
    this.#identity = `${options.version} ${process.arch} ${release()} ${buildId()}`;
    const directory = options.directory ?? cacheDirectory();
    this.#file = directory === undefined ? undefined : join(directory, `${hashOf(path)}.probe`);
    this.#entry = this.#file === undefined ? undefined : readEntry(this.#file, this.#identity);
    for (const m of this.#entry?.modules ?? []) this.#prepared.set(m.text, m.prepared);
  }

  get(text: string): PreparedModule | undefined {
    return this.#prepared.get(text);
  }
  set(text: string, prepared: PreparedModule): void {
    this.#prepared.set(text, prepared);
  }

  /** What was compiled before, when nothing has changed since. */
  lookup(exports: Readonly<Record<string, unknown>>, modules: ReadonlyMap<string, LoadedModule>, kernel: Kernel): Startable | undefined {
    const entry = this.#entry;
    if (entry === undefined || entry.modules.length !== modules.size) return undefined;
    if (entry.modules.some((m) => modules.get(m.url)?.text !== m.text)) return undefined;
    const find = finder(exports, modules);
    const exported = entry.values.filter((v) => v.where[0] === "export").length;
    if (exported !== handlesOf(exports).length) return undefined;
    if (entry.values.some(({ where, print }) => fingerprint(find(where)) !== print)) return undefined;
    try {
      if (entry.tracepoints.some(({ name, print }) => fingerprint(tracepointFormatOf(kernel, name)) !== print)) return undefined;
    } catch {
      return undefined; // The compiler says what is wrong with it.
    }
    const handles = <H>(list: readonly { name: string; where: Where }[]): Map<string, H> => new Map(list.map(({ name, where }) => [name, find(where) as H]));
    const spec = { ...entry.spec, progs: entry.spec.progs.map(({ code, ...prog }): ProgSpec => ({ ...prog, insns: decodeInsns(code) })) };
    return {
      spec,
      schemas: new Map([...handles<MapHandle>(entry.maps)].map(([name, handle]) => [name, { key: handle.key, value: handle.value, handle }])),
      globals: handles<GlobalHandle>(entry.globals),
      programs: handles<AnyProgram>(entry.programs),
    };
  }

  /** Compiles, and keeps the result when everything it depends on can be told. */
  compile(exports: Readonly<Record<string, unknown>>, options: CompileModuleOptions & { readonly kernel: Kernel }): CompileResult {
    const modules = options.modules ?? new Map<string, LoadedModule>();
    const recorder = new Recorder(modules);
    const compiled = compileWith(exports, options, createCapture(recorder.host), (name, format) => recorder.tracepoints.set(name, format));
    try {
      const entry = this.#makeEntry(exports, modules, compiled, recorder, options.kernel);
      if (entry !== undefined && this.#file !== undefined) writeEntry(this.#file, entry);
    } catch {
      // A cache that cannot be written must not fail a start.
    }
    return compiled;
  }

  #makeEntry(
    exports: Readonly<Record<string, unknown>>,
    modules: ReadonlyMap<string, LoadedModule>,
    compiled: CompileResult,
    recorder: Recorder,
    kernel: Kernel,
  ): Entry | undefined {
    if (recorder.beyondModules || compiled.diagnostics.length > 0) return undefined;
    const spec = relocated(compiled.spec, kernel);
    if (spec === undefined) return undefined;
    const places = new Map<unknown, Where>();
    const values: { where: Where; print: string }[] = [];
    for (const [key, value] of handlesOf(exports)) {
      const where = ["export", key] as const;
      const print = fingerprint(value);
      if (print === undefined) return undefined;
      values.push({ where, print });
      places.set(value, where);
    }
    for (const [url, names] of recorder.names) {
      for (const [name, value] of names) {
        const where = ["name", url, name] as const;
        const print = fingerprint(value);
        if (print === undefined) return undefined;
        values.push({ where, print });
        if (!places.has(value)) places.set(value, where);
      }
    }
    const placed = (handles: Iterable<readonly [string, unknown]>): { name: string; where: Where }[] | undefined => {
      const out: { name: string; where: Where }[] = [];
      for (const [name, handle] of handles) {
        const where = places.get(handle);
        if (where === undefined) return undefined;
        out.push({ name, where });
      }
      return out;
    };
    const maps = placed([...compiled.schemas].map(([name, s]) => [name, s.handle] as const));
    const globals = placed(compiled.globals);
    const programs = placed(compiled.programs);
    if (maps === undefined || globals === undefined || programs === undefined) return undefined;
    const sources = [...modules.values()].map(({ url, text }) => ({ url, text, prepared: this.#prepared.get(text) }));
    const tracepoints = [...recorder.tracepoints].map(([name, format]) => ({ name, print: fingerprint(format) }));
    if (!sources.every(isComplete) || !tracepoints.every((t): t is { name: string; print: string } => t.print !== undefined)) return undefined;
    return { identity: this.#identity, modules: sources, values, tracepoints, spec, maps, globals, programs };
  }
}

function isComplete(m: { url: string; text: string; prepared: PreparedModule | undefined }): m is Entry["modules"][number] {
  return m.prepared !== undefined;
}

function handlesOf(exports: Readonly<Record<string, unknown>>): [string, unknown][] {
  // Functions (the default export) run as they are; what programs use of them is recorded by name.
  return Object.entries(exports).filter(([, value]) => typeof value === "object" && value !== null);
}

function finder(exports: Readonly<Record<string, unknown>>, modules: ReadonlyMap<string, LoadedModule>): (where: Where) => unknown {
  return (where) => {
    if (where[0] === "export") return exports[where[1]];
    try {
      return modules.get(where[1])?.lookup(where[2])?.value;
    } catch {
      return undefined; // In the temporal dead zone.
    }
  };
}

/** Notes what a compilation asks for. */
class Recorder {
  readonly host: CaptureHost;
  readonly names = new Map<string, Map<string, unknown>>();
  readonly tracepoints = new Map<string, unknown>();
  /** Something came from the inspector or another file: it cannot be asked for again cheaply. */
  beyondModules = false;

  constructor(modules: ReadonlyMap<string, LoadedModule>) {
    const recorded = new Map([...modules].map(([url, m]) => [url, { ...m, lookup: (name: string) => this.#lookup(url, m, name) }]));
    const host = nodeCaptureHost(recorded);
    const note = (): void => {
      this.beyondModules = true;
    };
    this.host = {
      module: (url) => host.module(url),
      modules: () => host.modules(),
      readText: (url) => {
        note();
        return host.readText(url);
      },
      sourceMap: (url) => host.sourceMap(url),
      displayPath: (url) => host.displayPath(url),
      get inspector() {
        note();
        return host.inspector;
      },
    };
  }

  #lookup(url: string, module: LoadedModule, name: string): { readonly value: unknown } | undefined {
    const found = module.lookup(name);
    let names = this.names.get(url);
    if (names === undefined) this.names.set(url, (names = new Map()));
    names.set(name, found?.value);
    return found;
  }
}

/** The spec with its CO-RE relocations applied; undefined when one of them failed. */
function relocated(spec: CollectionSpec, kernel: Kernel): Entry["spec"] | undefined {
  const local = spec.btf === undefined ? undefined : Btf.parse(spec.btf);
  let failed = false;
  const progs = spec.progs.map(({ insns, ...prog }) => {
    if (prog.coreRelos.length === 0 || local === undefined) return { ...prog, code: encodeInsns(insns) };
    const result = kernelBtf(kernel).resolver.relocate({ insns, relos: prog.coreRelos, local });
    failed ||= result.results.some((r) => r.status !== "ok");
    return { ...prog, coreRelos: [], code: encodeInsns(result.insns) };
  });
  return failed ? undefined : { ...spec, progs };
}

/** `~/.cache/bpfkit`, or `/var/cache/bpfkit` for root: under sudo the home directory may be another user's. */
export function cacheDirectory(): string | undefined {
  if (process.geteuid?.() === 0) return "/var/cache/bpfkit";
  const base = process.env["XDG_CACHE_HOME"];
  try {
    return join(base === undefined || base === "" ? join(homedir(), ".cache") : base, "bpfkit");
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
function isPrivate(path: string): boolean {
  const s = lstatSync(path);
  return (s.uid === process.geteuid?.() || s.uid === 0) && (s.mode & 0o022) === 0 && !s.isSymbolicLink();
}

function readEntry(file: string, identity: string): Entry | undefined {
  try {
    if (!isPrivate(join(file, "..")) || !isPrivate(file)) return undefined;
    const bytes = readFileSync(file);
    if (bytes.toString("latin1", 0, MAGIC.length) !== MAGIC) return undefined;
    const body = bytes.subarray(MAGIC.length + 4);
    if (bytes.readUInt32LE(MAGIC.length) !== crc32(body)) return undefined;
    const entry = deserialize(body) as Entry;
    return entry.identity === identity ? entry : undefined;
  } catch {
    return undefined; // Missing or damaged: compile.
  }
}

function writeEntry(file: string, entry: Entry): void {
  const directory = join(file, "..");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (!isPrivate(directory)) return;
  const body = serialize(entry);
  const head = Buffer.alloc(MAGIC.length + 4);
  head.write(MAGIC, "latin1");
  head.writeUInt32LE(crc32(body), MAGIC.length);
  const temporary = `${file}.${process.pid}`;
  try {
    writeFileSync(temporary, Buffer.concat([head, body]), { mode: 0o600 });
    chmodSync(temporary, 0o600);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
