/** Everything that one module or object defines, alive in the kernel. */
import { BpfkitError } from "../core/errors.ts";
import { lostCounterName } from "../elf/data-maps.ts";
import type { EventReader, SampleWriter } from "./ring/index.ts";
import type { Schema } from "../probe/schema-types.ts";
import type { VariableSpec } from "../elf/spec.ts";
import type { Owned } from "../syscall/fd.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { type DataSection, GlobalVariable } from "./global.ts";
import type { Link } from "./link.ts";
import { type BpfMap, KvMap, PerCpuMap } from "./map.ts";
import { FdMap, PerfEventMap, RingBufMap, StackTraceMap, UserRingBufMap } from "./map-kinds.ts";
import type { AttachOptions, Program } from "./program.ts";

/** A map that is made into its typed object when it is first asked for. */
export interface LazyMap {
  readonly name: string;
  make(): BpfMap;
}
export interface VariableHome {
  readonly map: string;
  readonly spec: VariableSpec;
  readonly section: () => DataSection;
  readonly schema: () => Schema | undefined;
}

/** @internal */
export interface CollectionParts {
  readonly name: string;
  readonly kernel: Kernel;
  readonly owned: Owned;
  readonly maps: ReadonlyMap<string, LazyMap>;
  readonly progs: ReadonlyMap<string, Program>;
  readonly variables: ReadonlyMap<string, VariableHome>;
  readonly notes: readonly string[];
  readonly logs: ReadonlyMap<string, string>;
}

/**
 * Loaded maps and programs, and the links made from here. `close()` (or `using`) gives
 * everything back: programs are detached and gone unless something was pinned.
 *
 * @example
 * using collection = load(spec);
 * collection.attach();
 * console.log(collection.map("counts").toArray());
 */
export class Collection {
  readonly name: string;
  readonly kernel: Kernel;
  /** What this kernel lacked and was done without. */
  readonly notes: readonly string[];
  /** Verifier logs by program, when asked for with `logLevel`. */
  readonly logs: ReadonlyMap<string, string>;
  readonly programs: ReadonlyMap<string, Program>;
  readonly #parts: CollectionParts;
  readonly #maps = new Map<string, BpfMap>();
  readonly #links: Link[] = [];
  #open = true;

  /** @internal use `load()` */
  constructor(parts: CollectionParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.kernel = parts.kernel;
    this.notes = parts.notes;
    this.logs = parts.logs;
    this.programs = parts.progs;
  }

  get closed(): boolean {
    return !this.#open;
  }
  /** Links that `attach()` made. */
  get links(): readonly Link[] {
    return this.#links;
  }
  get mapNames(): readonly string[] {
    return [...this.#parts.maps.keys()];
  }
  get variableNames(): readonly string[] {
    // Those of bpfkit's own are nobody's business.
    return [...this.#parts.variables.keys()].filter((name) => !name.startsWith("__"));
  }

  /** Any map by name. Throws code "NO_MAP". */
  anyMap(name: string): BpfMap {
    let map = this.#maps.get(name);
    if (map === undefined) {
      const lazy = this.#parts.maps.get(name);
      if (lazy === undefined)
        throw new BpfkitError("NO_MAP", `there is no map ${name}; there are ${this.mapNames.join(", ") || "none"}`);
      map = lazy.make();
      this.#maps.set(name, map);
    }
    return map;
  }

  /** A map of keys and values by name (hash, array, LRU, LPM). Throws code "NO_MAP" or "MAP_TYPE". */
  map<K = unknown, V = unknown>(name: string): KvMap<K, V> {
    return this.#as(name, KvMap, "a table of keys and values") as KvMap<K, V>;
  }
  /** A per-CPU map by name: values are arrays with one element per possible CPU. */
  perCpu<K = unknown, V = unknown>(name: string): PerCpuMap<K, V> {
    return this.#as(name, PerCpuMap, "a per-CPU map") as PerCpuMap<K, V>;
  }
  stackTraces(name: string): StackTraceMap {
    return this.#as(name, StackTraceMap, "a stack-trace map");
  }
  /** A program array, map of maps or cgroup array. */
  fds(name: string): FdMap {
    return this.#as(name, FdMap, "a map of programs or maps");
  }

  /** Opens a reader of a ring buffer or perf event array. Close it before the collection, or let the collection do it. */
  events<T = unknown>(name: string): EventReader<T> {
    const map = this.anyMap(name);
    if (!(map instanceof RingBufMap) && !(map instanceof PerfEventMap)) {
      throw new BpfkitError("MAP_TYPE", `map ${name} is ${map.typeName}, not a ring buffer or perf event array`);
    }
    const counter = this.#parts.variables.get(lostCounterName(name));
    const lost = counter === undefined ? undefined : (): bigint => this.variable<bigint>(counter.spec.name).value;
    const reader = map instanceof RingBufMap && lost !== undefined ? map.open({ lost }) : map.open();
    this.#parts.owned.own(reader);
    return reader as EventReader<T>;
  }

  /** Opens a writer of a user ring buffer: `send(sample)`. Throws code "NO_MAP" or "MAP_TYPE". */
  sender<T = unknown>(name: string): SampleWriter<T> {
    return this.#parts.owned.own(
      (this.#as(name, UserRingBufMap, "a user ring buffer with a schema") as UserRingBufMap<T>).open(),
    );
  }

  #as<T extends BpfMap>(name: string, type: abstract new (...args: never[]) => T, what: string): T {
    const map = this.anyMap(name);
    if (!(map instanceof type)) throw new BpfkitError("MAP_TYPE", `map ${name} is ${map.typeName}, not ${what}`);
    return map;
  }

  /** A program by name. Throws code "NO_PROGRAM". */
  prog(name: string): Program {
    const prog = this.programs.get(name);
    if (prog === undefined)
      throw new BpfkitError(
        "NO_PROGRAM",
        `there is no loaded program ${name}; there are ${[...this.programs.keys()].join(", ") || "none"}`,
      );
    return prog;
  }

  /** A global variable by name. Throws code "NO_VARIABLE". */
  variable<T = unknown>(name: string): GlobalVariable<T> {
    const home = this.#parts.variables.get(name);
    if (home === undefined)
      throw new BpfkitError(
        "NO_VARIABLE",
        `there is no global variable ${name}; there are ${this.variableNames.join(", ") || "none"}`,
      );
    return new GlobalVariable<T>(home.section(), home.spec, home.schema());
  }

  /**
   * Attaches every program (or those named in `only`) where its section says. All or
   * nothing: one that fails detaches those attached in this call.
   */
  attach(options: AttachOptions & { readonly only?: readonly string[] } = {}): readonly Link[] {
    const made: Link[] = [];
    try {
      for (const prog of options.only === undefined
        ? this.programs.values()
        : options.only.map((name) => this.prog(name))) {
        made.push(prog.attach(options));
      }
    } catch (error) {
      for (const link of made.reverse()) link.close();
      throw error;
    }
    for (const link of made) this.adopt(link);
    return made;
  }

  /** Lets this collection close a link that was made elsewhere. */
  adopt(link: Link): Link {
    this.#links.push(link);
    return link;
  }

  /** Detaches every program; maps and buffers stay, to be read. */
  detach(): void {
    for (const link of this.#links.splice(0).reverse()) link.close();
  }

  /** Detaches, unloads and unmaps. Closing twice is harmless. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.detach();
    this.#parts.owned.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
