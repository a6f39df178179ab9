/**
 * Filling the compile cache: compiles, notes everything that the result depends on, and
 * keeps it when all of that can be asked for again cheaply.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Btf } from "../btf/btf.ts";
import { createCapture } from "../compiler/capture/index.ts";
import type { PreparedModule } from "../compiler/capture/prepare.ts";
import type { CaptureHost, LoadedModule } from "../compiler/capture/types.ts";
import type { CollectionSpec } from "../elf/spec.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { nodeCaptureHost } from "../host/capture-host.ts";
import { type CompileCache, handlesOf, isPrivate } from "./compile-cache.ts";
import { encodeEntry, type Entry, type Where } from "./compile-cache-file.ts";
import { type CompiledModule, type CompileModuleOptions, compileWith } from "./compile-module.ts";
import { fingerprint } from "./fingerprint.ts";
import { kernelBtf } from "./kernel-btf.ts";
import { writeTwice } from "./twice.ts";

export interface CompiledForCache {
  readonly compiled: CompiledModule;
  /** Keeps the result when everything it depends on can be told: called when the programs are attached, which it would delay. */
  keep(): void;
}

/** Compiles, and notes what the result depends on. */
export function compileForCache(
  cache: CompileCache,
  exports: Readonly<Record<string, unknown>>,
  options: CompileModuleOptions & { readonly kernel: Kernel },
): CompiledForCache {
  const modules = options.modules ?? new Map<string, LoadedModule>();
  const recorder = new Recorder(modules);
  const compiled = compileWith(exports, options, createCapture(recorder.host), (name, format) =>
    recorder.tracepoints.set(name, format),
  );
  const keep = (): void => {
    try {
      const entry = makeEntry(cache, exports, modules, compiled, recorder, options.kernel);
      if (entry !== undefined && cache.file !== undefined) writeEntry(cache.file, entry);
    } catch {
      // A cache that cannot be written must not fail a start.
    }
  };
  return { compiled, keep };
}

function makeEntry(
  cache: CompileCache,
  exports: Readonly<Record<string, unknown>>,
  modules: ReadonlyMap<string, LoadedModule>,
  compiled: CompiledModule,
  recorder: Recorder,
  kernel: Kernel,
): Entry | undefined {
  if (recorder.beyondModules || compiled.diagnostics.length > 0) return undefined;
  const spec = relocated(compiled, kernel);
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
  const sources = [...modules.values()].map(({ url, text }) => ({ url, text, prepared: cache.get(text) }));
  const tracepoints = [...recorder.tracepoints].map(([name, format]) => ({ name, print: fingerprint(format) }));
  if (
    !sources.every(isComplete) ||
    !tracepoints.every((t): t is { name: string; print: string } => t.print !== undefined)
  )
    return undefined;
  return { identity: cache.identity, modules: sources, values, tracepoints, spec, maps, globals, programs };
}

function isComplete(m: {
  url: string;
  text: string;
  prepared: PreparedModule | undefined;
}): m is Entry["modules"][number] {
  return m.prepared !== undefined;
}

/** Notes what a compilation asks for. */
class Recorder {
  readonly host: CaptureHost;
  readonly names = new Map<string, Map<string, unknown>>();
  readonly tracepoints = new Map<string, unknown>();
  /** Something came from the inspector or another file: it cannot be asked for again cheaply. */
  beyondModules = false;

  constructor(modules: ReadonlyMap<string, LoadedModule>) {
    const recorded = new Map(
      [...modules].map(([url, m]) => [url, { ...m, lookup: (name: string) => this.#lookup(url, m, name) }]),
    );
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
function relocated({ spec, madeFor }: CompiledModule, kernel: Kernel): CollectionSpec | undefined {
  const local = spec.btf === undefined ? undefined : Btf.parse(spec.btf);
  let failed = false;
  const progs = spec.progs.map((prog) => {
    if (prog.coreRelos.length === 0 || local === undefined) return prog;
    const target = kernelBtf(kernel);
    if (madeFor === target.vmlinux) target.resolver.madeFrom(local);
    const { insns, results } = target.resolver.relocate({ insns: prog.insns, relos: prog.coreRelos, local });
    failed ||= results.some((r) => r.status !== "ok");
    return { ...prog, coreRelos: [], insns };
  });
  return failed ? undefined : { ...spec, progs };
}

function writeEntry(file: string, entry: Entry): void {
  const directory = join(file, "..");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (isPrivate(directory)) writeTwice(file, encodeEntry(entry), 0o600);
}
