/** What a probe file's `export default` gets under `run --simulate`: the face of `App`, over a simulation. */
import type { GlobalHandle } from "../probe/globals.ts";
import type { Histogram, MapHandle, PerfEventArray, RingBuf } from "../probe/map-types.ts";
import type { AnyProgram } from "../probe/program-types.ts";
import type { Schema } from "../probe/schema-types.ts";
import { SYMBOLS } from "../testing/story/happenings.ts";
import type { Simulation } from "../testing/simulation.ts";

type Sample = (sample: unknown) => void;

/** Samples of one buffer: as `EventReader`, but nothing can be lost while the story waits for its readers. */
class SimulatedReader {
  readonly #sim: Simulation;
  readonly #handle: RingBuf<Schema>;
  #queue: unknown[] = [];
  #listener: Sample | undefined;
  #wake: (() => void) | undefined;
  #ended = false;
  readonly lost = 0n;

  constructor(sim: Simulation, handle: RingBuf<Schema>) {
    this.#sim = sim;
    this.#handle = handle;
  }

  get closed(): boolean {
    return this.#ended;
  }

  /** Takes what the programs have sent. */
  take(): void {
    this.#queue.push(...this.#sim.drain(this.#handle));
    if (this.#listener !== undefined) this.drain(this.#listener);
    if (this.#queue.length > 0) this.#wake?.();
  }
  drain(fn: Sample, max = Infinity): number {
    const taken = this.#queue.splice(0, max);
    for (const sample of taken) fn(sample);
    return taken.length;
  }
  drainCursor(fn: Sample, max = Infinity): number {
    return this.drain((s) => fn(Object.defineProperty({ ...(s as object) }, "toObject", { value: () => s })), max);
  }
  on(fn: Sample): { stop(): void; [Symbol.dispose](): void } {
    this.#listener = fn;
    this.take();
    const stop = (): void => {
      if (this.#listener === fn) this.#listener = undefined;
    };
    return { stop, [Symbol.dispose]: stop };
  }
  end(): void {
    this.take();
    this.#ended = true;
    this.#wake?.();
  }
  close(): void {
    this.#queue = [];
    this.#ended = true;
    this.#wake?.();
  }
  [Symbol.dispose](): void {
    this.close();
  }
  async *[Symbol.asyncIterator](): AsyncGenerator {
    this.take();
    for (;;) {
      if (this.#queue.length > 0) yield this.#queue.shift();
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** A map: as `KvMap`. */
class SimulatedMap {
  readonly #sim: Simulation;
  readonly #handle: MapHandle;
  readonly name: string;

  constructor(sim: Simulation, handle: MapHandle) {
    this.#sim = sim;
    this.#handle = handle;
    this.name = handle.name ?? handle.type;
  }
  get(key: unknown): unknown {
    return this.#sim.get(this.#handle, key);
  }
  has(key: unknown): boolean {
    return this.#sim.has(this.#handle, key);
  }
  set(key: unknown, value: unknown, mode?: "any" | "create" | "exist"): boolean {
    return this.#sim.set(this.#handle, key, value, mode);
  }
  delete(key: unknown): boolean {
    return this.#sim.delete(this.#handle, key);
  }
  lookupAndDelete(key: unknown): unknown {
    const value = this.get(key);
    if (value !== undefined) this.delete(key);
    return value;
  }
  toArray(): [unknown, unknown][] {
    return this.#sim.entries(this.#handle);
  }
  *entries(): Generator<[unknown, unknown]> {
    yield* this.toArray();
  }
  [Symbol.iterator](): Generator<[unknown, unknown]> {
    return this.entries();
  }
  *keys(): Generator {
    for (const [key] of this.toArray()) yield key;
  }
  *values(): Generator {
    for (const [, value] of this.toArray()) yield value;
  }
  forEach(callback: (value: unknown, key: unknown) => void): void {
    for (const [key, value] of this.toArray()) callback(value, key);
  }
  get size(): number {
    return this.toArray().length;
  }
  update(entries: Iterable<readonly [unknown, unknown]>): void {
    for (const [key, value] of entries) this.set(key, value);
  }
  deleteMany(keys: Iterable<unknown>): number {
    return [...keys].filter((key) => this.delete(key)).length;
  }
  drain(): [unknown, unknown][] {
    const all = this.toArray();
    this.deleteMany(all.map(([key]) => key));
    return all;
  }
  clear(): void {
    this.drain();
  }
}

export interface SimulatedAppOptions {
  readonly signal: AbortSignal;
  readonly args: readonly string[];
  readonly json: boolean;
  /** Programs and what they are attached to. */
  readonly links: readonly { readonly program: string; readonly target: string }[];
}

interface Sleeper {
  readonly until: bigint;
  readonly wake: () => void;
}

export class SimulatedApp {
  readonly signal: AbortSignal;
  readonly args: readonly string[];
  readonly json: boolean;
  readonly collection: {
    readonly links: SimulatedAppOptions["links"];
    readonly mapNames: readonly string[];
    readonly notes: readonly string[];
  };
  readonly #sim: Simulation;
  readonly #readers = new Map<object, SimulatedReader>();
  #sleepers: Sleeper[] = [];

  constructor(sim: Simulation, options: SimulatedAppOptions) {
    this.#sim = sim;
    this.signal = options.signal;
    this.args = options.args;
    this.json = options.json;
    this.collection = { links: options.links, mapNames: sim.mapNames, notes: [] };
  }

  /** Hands out what was sent, and wakes who slept long enough. */
  moved(): void {
    for (const reader of this.#readers.values()) reader.take();
    const due = this.#sleepers.filter((s) => s.until <= this.#sim.now);
    this.#sleepers = this.#sleepers.filter((s) => s.until > this.#sim.now);
    for (const { wake } of due) wake();
  }
  /** The story is over. */
  end(): void {
    for (const reader of this.#readers.values()) reader.end();
    for (const { wake } of this.#sleepers.splice(0)) wake();
  }

  stream(handle: RingBuf<Schema> | PerfEventArray<Schema>): SimulatedReader {
    let reader = this.#readers.get(handle);
    if (reader === undefined || reader.closed) {
      reader = new SimulatedReader(this.#sim, handle as RingBuf<Schema>);
      this.#readers.set(handle, reader);
      if (this.signal.aborted) reader.end();
    }
    return reader;
  }
  get lost(): ReadonlyMap<string, bigint> {
    return new Map();
  }
  map(handle: MapHandle): SimulatedMap {
    return new SimulatedMap(this.#sim, handle);
  }
  perCpu(handle: MapHandle): SimulatedMap {
    return this.map(handle);
  }
  histogram(handle: Histogram): unknown {
    return this.#sim.histogram(handle);
  }
  stackTraces(handle: MapHandle): { get(id: number): bigint[] | undefined } {
    return { get: (id) => this.#sim.stack(handle, id) };
  }
  global(handle: GlobalHandle): { value: unknown } {
    return this.#sim.global(handle);
  }
  program(handle: AnyProgram): object {
    return {
      testRun: ({ data, ctx, repeat = 1 }: { data?: Uint8Array; ctx?: Uint8Array; repeat?: number } = {}) => {
        const input = data ?? ctx ?? {};
        let outcome = this.#sim.run(handle, input);
        for (let i = 1; i < repeat; i++) outcome = this.#sim.run(handle, input);
        return { returnValue: outcome.returnValue >>> 0, data: outcome.packet, ctx: new Uint8Array(0), durationNs: 0 };
      },
    };
  }
  get symbols(): object {
    const frame = (address: bigint): object => ({ address, name: SYMBOLS.get(address), module: "", offset: 0 });
    return {
      kernelStack: (addresses: readonly bigint[]) => addresses.map(frame),
      userStack: (_pid: number, addresses: readonly bigint[]) => addresses.map(frame),
      kernelSymbol: frame,
      userSymbol: (_pid: number, address: bigint) => frame(address),
    };
  }
  get kernelSymbols(): object {
    return { lookup: (address: bigint) => SYMBOLS.get(address) };
  }
  /** By the clock of the story. */
  sleep(ms: number): Promise<void> {
    if (this.signal.aborted) return Promise.resolve();
    return new Promise((wake) => this.#sleepers.push({ until: this.#sim.now + BigInt(Math.ceil(ms * 1e6)), wake }));
  }
  async untilEnd(): Promise<void> {
    if (this.signal.aborted) return;
    await new Promise((resolve) => this.signal.addEventListener("abort", resolve, { once: true }));
  }
  close(): void {
    this.end();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}
