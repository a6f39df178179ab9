/** What a probe module's `export default` gets: its own maps, globals and programs, alive, by handle. */
import { BpfkitError } from "../core/errors.ts";
import type { GlobalHandle } from "../probe/globals.ts";
import type { Histogram, MapHandle, PerfEventArray, RingBuf, UserRingBuf } from "../probe/map-types.ts";
import type { AnyProgram } from "../probe/program-types.ts";
import type { Infer, Schema } from "../probe/schema-types.ts";
import type { Collection } from "./collection.ts";
import type { GlobalVariable } from "./global.ts";
import { type Bucket, histogramBuckets } from "../values/histogram.ts";
import { type Kallsyms, kallsyms } from "./kallsyms.ts";
import { KvMap, type PerCpuMap } from "./map.ts";
import type { StackTraceMap } from "./map-kinds.ts";
import type { Program } from "./program.ts";
import type { EventReader, SampleWriter } from "./ring/index.ts";
import { Symbolizer } from "./symbolize.ts";

type KeyOf<M> = M extends { readonly key: infer K extends Schema } ? Infer<K> : unknown;
type ValueOf<M> = M extends { readonly value: infer V extends Schema } ? Infer<V> : unknown;

export interface AppOptions {
  /** Aborted when the program is to end: Ctrl-C, `--duration`, the traced command's exit. */
  readonly signal?: AbortSignal;
  /** What follows `--` on the command line. */
  readonly args?: readonly string[];
  /** Output is to be JSON, one object a line. */
  readonly json?: boolean;
}

/**
 * A running probe module. Handles are those that the module exports or uses:
 *
 * @example
 * import { hash, u32, u64 } from "bpfkit";
 * import type { App } from "bpfkit/load";
 * export const byUid = hash(u32, u64);
 * export default (app: App) => {
 *   for (const [uid, count] of app.map(byUid)) console.log(uid, count);
 * };
 */
export class App {
  readonly collection: Collection;
  #signal: AbortSignal | undefined;
  readonly args: readonly string[];
  readonly json: boolean;
  readonly #names: ReadonlyMap<object, string>;
  readonly #readers = new Map<string, EventReader<unknown>>();
  #symbols: Symbolizer | undefined;

  /** @internal use `start()` or `bpfkit run` */
  constructor(collection: Collection, names: ReadonlyMap<object, string>, options: AppOptions = {}) {
    this.collection = collection;
    this.#names = names;
    this.args = options.args ?? [];
    this.json = options.json ?? false;
    if (options.signal !== undefined) this.endWith(options.signal);
  }

  /** Aborted when the program is to end. */
  get signal(): AbortSignal {
    return this.#signal ?? this.endWith(new AbortController().signal);
  }

  /** @internal gives the signal later than `options`: making the first one costs 0.5 ms, which attaching need not wait for */
  endWith(signal: AbortSignal): AbortSignal {
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#end(), { once: true });
    return signal;
  }

  /**
   * The samples of a ring buffer or perf event array: `for await`, `on`, `drain`. The same
   * reader each time. When `signal` says so everything is detached, and a `for await` ends
   * after the last sample that was sent.
   */
  stream<V extends Schema>(handle: RingBuf<V> | PerfEventArray<V>): EventReader<Infer<V>> {
    const name = this.#name(handle);
    let reader = this.#readers.get(name);
    if (reader === undefined || reader.closed) {
      reader = this.collection.events(name);
      this.#readers.set(name, reader);
      if (this.#signal?.aborted === true) reader.end();
    }
    return reader as EventReader<Infer<V>>;
  }

  /** Samples of each stream that found its buffer full, so far; streams that lost none are left out. */
  get lost(): ReadonlyMap<string, bigint> {
    return new Map([...this.#readers].flatMap(([name, r]) => (r.lost > 0n ? [[name, r.lost] as const] : [])));
  }

  /** A writer of samples that programs take with `handle.drain(…)`. Linux 6.1. */
  sender<V extends Schema>(handle: UserRingBuf<V>): SampleWriter<Infer<V>> {
    return this.collection.sender(this.#name(handle));
  }

  /** A hash, array, LRU or LPM map. */
  map<M extends MapHandle>(handle: M): KvMap<KeyOf<M>, ValueOf<M>> {
    return this.collection.map<KeyOf<M>, ValueOf<M>>(this.#name(handle));
  }
  /** A per-CPU map: a value is an array with one element per possible CPU. */
  perCpu<M extends MapHandle>(handle: M): PerCpuMap<KeyOf<M>, ValueOf<M>> {
    return this.collection.perCpu<KeyOf<M>, ValueOf<M>>(this.#name(handle));
  }
  /** The buckets of a histogram that were hit, or of each key's histogram. */
  histogram<K extends Schema | undefined>(handle: Histogram<K>): K extends Schema ? Map<Infer<K>, Bucket[]> : Bucket[] {
    const map = this.collection.anyMap(this.#name(handle));
    return histogramBuckets(map instanceof KvMap ? (map as KvMap) : [], handle.histogram) as never;
  }
  stackTraces(handle: MapHandle): StackTraceMap {
    return this.collection.stackTraces(this.#name(handle));
  }
  /** A global variable, to read and to write. */
  global<G extends GlobalHandle>(handle: G): GlobalVariable<ValueOf<{ value: G["schema"] }>> {
    return this.collection.variable(this.#name(handle));
  }
  program(handle: AnyProgram): Program {
    return this.collection.prog(this.#name(handle));
  }
  /** Names of the addresses in stacks, of the kernel and of processes. */
  get symbols(): Symbolizer {
    return (this.#symbols ??= new Symbolizer(this.collection.kernel));
  }
  /** Names of kernel addresses. */
  get kernelSymbols(): Kallsyms {
    return kallsyms(this.collection.kernel);
  }

  /** Resolves after `ms` milliseconds, or as soon as the program is to end. */
  sleep(ms: number): Promise<void> {
    if (this.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.signal.addEventListener("abort", done, { once: true });
    });
  }

  /** Resolves when the program is to end; the process runs until then. */
  async untilEnd(): Promise<void> {
    if (this.signal.aborted) return;
    // A program that only fills maps has nothing else that keeps the event loop alive.
    const alive = setInterval(() => undefined, 0x7fff_ffff);
    await new Promise((resolve) => this.signal.addEventListener("abort", resolve, { once: true }));
    clearInterval(alive);
  }

  /** Detaches and unloads everything. Closing twice is harmless. */
  close(): void {
    this.#closeReaders();
    this.collection.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }

  #name(handle: object): string {
    const name = this.#names.get(handle);
    if (name !== undefined) return name;
    throw new BpfkitError(
      "NO_HANDLE",
      "this handle belongs to no program of the module: export it, or use it in a program",
    );
  }

  /** Nothing new may come, or a loop over a busy stream would not end; what has come is still handed out. */
  #end(): void {
    this.collection.detach();
    for (const reader of this.#readers.values()) reader.end();
  }

  #closeReaders(): void {
    for (const reader of this.#readers.values()) reader.close();
  }
}
