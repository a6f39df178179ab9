/** The programs and maps of a module in a world of the test's own. */
import { ArgumentError, BpfkitError } from "../core/errors.ts";
import { closest } from "../core/edit-distance.ts";
import type { MapSpec, ProgSpec, VariableSpec } from "../elf/spec.ts";
import type { GlobalHandle } from "../probe/globals.ts";
import type { Histogram, MapHandle, PerfEventArray, RingBuf, UserRingBuf } from "../probe/map-types.ts";
import type { AnyProgram } from "../probe/program-types.ts";
import type { Infer, Schema } from "../probe/schema-types.ts";
import { codecOf } from "../values/codec.ts";
import { type Bucket, histogramBuckets } from "../values/histogram.ts";
import type { Verdict } from "../verifier/verify.ts";
import { VmFault } from "../vm/fault.ts";
import type { History } from "../vm/history.ts";
import type { Interp } from "../vm/interp.ts";
import { ArrayMap, ArrayOfMaps } from "../vm/maps/array.ts";
import { HashOfMaps, ProgArrayMap, StackTraceMap } from "../vm/maps/objects.ts";
import type { VmMap } from "../vm/maps/map.ts";
import type { Vm } from "../vm/vm.ts";
import type { Action } from "../vm/world.ts";
import type { Subject } from "./compile-probe.ts";
import { type Coverage, type CoverageTotal, coverageOf } from "./coverage.ts";
import { FaultError } from "./errors.ts";
import type { RunInput, SimTask, SimWorld, TaskFields } from "./sim-world.ts";
import { TypedMap, type UpdateMode } from "./typed-map.ts";
import type { FileSpec } from "./world/files.ts";
import type { DeviceSpec, MadeSocket, RouteSpec, SocketSpec } from "./world/net.ts";
import type { FieldValue, KernelObject, MadeContext, Space } from "./world/types.ts";
import type { SysctlSpec } from "./world/world.ts";
import { shown } from "./world/values.ts";

/** Runs whose contexts' memory is kept: a million runs must not fill the VM's 2 GiB. */
const KEPT_CONTEXTS = 4096;

type KeyOf<M> = M extends { readonly key: infer K extends Schema } ? Infer<K> : unknown;
type PerCpu = "percpu_hash" | "percpu_array" | "lru_percpu_hash";
type SampleOf<M> = M extends { readonly value: infer V extends Schema } ? Infer<V> : unknown;
type ValueOf<M> = M extends { readonly type: PerCpu } ? SampleOf<M>[] : SampleOf<M>;
/** 64-bit integers may be given as numbers. */
export type Given<T> = T extends bigint
  ? bigint | number
  : T extends string | number | boolean | Uint8Array
    ? T
    : T extends readonly (infer E)[]
      ? readonly Given<E>[]
      : T extends object
        ? { readonly [K in keyof T]: Given<T[K]> }
        : T;

/** What one run did. */
export interface Outcome {
  /** r0 as an int, which is what the kernel takes a result for. */
  readonly returnValue: number;
  /** All 64 bits of r0, unsigned. */
  readonly r0: bigint;
  /** The packet afterwards; empty without one. */
  readonly packet: Uint8Array;
  /** Fields of the context as the run left them. */
  readonly ctx: Readonly<Record<string, unknown>>;
  /** Lines that the run printed (`bpf.printk`). */
  readonly printed: readonly string[];
  /** What it asked the kernel to do: signals, redirects. */
  readonly actions: readonly Action[];
  /** Instructions executed; 0 by the JIT, which does not count them. */
  readonly executed: number;
}

/** A global variable of the programs. */
export interface SimVariable<T> {
  value: T;
}

/** @internal what `simulate` hands over */
export interface SimulationParts {
  readonly kernel: string;
  readonly subject: Subject;
  readonly verdicts: ReadonlyMap<string, Verdict>;
  readonly vm: Vm;
  readonly world: SimWorld;
  readonly total: CoverageTotal | undefined;
}

/**
 * A module's programs, verified, with maps of their own. Maps, globals and programs are named by the handles that the
 * module exports or uses; those of an object by their names.
 */
export class Simulation {
  /** As the test chose it: "6.1". */
  readonly kernel: string;
  /** What that kernel's verifier says of each program, by name. */
  readonly verdicts: ReadonlyMap<string, Verdict>;
  readonly #subject: Subject;
  readonly #vm: Vm;
  readonly #world: SimWorld;
  readonly #maps = new Map<string, TypedMap>();
  readonly #variables = new Map<string, { readonly map: MapSpec; readonly spec: VariableSpec }>();
  readonly #total: CoverageTotal | undefined;
  readonly #counters: Float64Array;
  readonly #made: (MadeContext | undefined)[] = [];
  #runs = 0;

  /** @internal use `simulate()` */
  constructor(parts: SimulationParts) {
    this.kernel = parts.kernel;
    this.verdicts = parts.verdicts;
    this.#subject = parts.subject;
    this.#vm = parts.vm;
    this.#world = parts.world;
    this.#total = parts.total;
    this.#counters = new Float64Array(parts.total?.counters.length ?? 0);
    for (const map of this.#vm.spec.maps)
      for (const spec of map.variables) this.#variables.set(spec.name, { map, spec });
  }

  // Programs

  /**
   * Runs a program once. `input` is its context by the names of its fields: those of a tracepoint's record, of `__sk_buff`,
   * arguments of a function; programs that see a packet take it as `packet`. Bytes are that packet, or a whole context.
   *
   * @throws FaultError when the program misbehaves, with its line
   * @throws ArgumentError for a context that the kernel would not make
   */
  run(program: AnyProgram | string, input: RunInput = {}): Outcome {
    const prog = this.#prog(program);
    const { world } = this.#vm;
    const printed = world.printed.length;
    const actions = world.actions.length;
    const made = this.#context(prog, input);
    this.#vm.funcArgs = made.args;
    const result = this.#guarded(() => this.#vm.run(prog.name, made));
    return {
      returnValue: result.returnValue | 0,
      r0: result.r0,
      packet: result.data,
      ctx: made.read(result.ctx),
      printed: world.printed.slice(printed),
      actions: world.actions.slice(actions),
      executed: result.executed,
    };
  }

  #guarded<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (error instanceof VmFault) throw new FaultError(error, this.#vm.spec.sources);
      throw error;
    } finally {
      this.#collect();
    }
  }

  /**
   * The same run in the interpreter, stopped before its first instruction: `step()`, `breakAt(file, line)`, `exec(limit)`, `reg(n)`.
   */
  debug(program: AnyProgram | string, input: RunInput = {}): Interp {
    const prog = this.#prog(program);
    return this.#vm.interpret(prog.name, this.#context(prog, input));
  }

  /**
   * The same, with a way back: `forward()`, `back()`, `watch({ reg: 0 })`. The last `limit` steps are kept (default 1,048,576).
   */
  history(program: AnyProgram | string, input: RunInput = {}, limit?: number): History {
    const prog = this.#prog(program);
    return this.#vm.history(prog.name, this.#context(prog, input), limit);
  }

  /** Programs keep addresses from one run for another: what contexts pointed to stays for `KEPT_CONTEXTS` runs. */
  #context(prog: ProgSpec, input: RunInput): MadeContext {
    const made = this.#world.context(prog, input);
    this.#made[this.#runs % KEPT_CONTEXTS]?.release();
    this.#made[this.#runs++ % KEPT_CONTEXTS] = made;
    return made;
  }

  /** Names of the programs. */
  get programs(): readonly string[] {
    return this.#subject.spec.progs.map((p) => p.name);
  }
  /** What the compiler, or the object, says of each program. */
  get progs(): readonly ProgSpec[] {
    return this.#subject.spec.progs;
  }
  /** The handle of a map; undefined for those of objects. */
  handle(map: string): MapHandle | undefined {
    return this.#subject.handles.get(map);
  }
  get mapNames(): readonly string[] {
    return this.#subject.spec.maps.map((m) => m.name);
  }

  #prog(program: AnyProgram | string): ProgSpec {
    const name = this.#name(program, "program");
    const found = this.#vm.spec.progs.find((p) => p.name === name);
    if (found !== undefined) return found;
    throw new BpfkitError("NO_PROGRAM", `there is no program ${name}${near(name, this.programs)}`);
  }

  #name(handle: object | string, what: string): string {
    if (typeof handle === "string") return handle;
    const name = typeof handle === "object" && handle !== null ? this.#subject.names.get(handle) : undefined;
    if (name !== undefined) return name;
    throw new BpfkitError(
      "NO_HANDLE",
      `this ${what} belongs to no program of the module: export it, or use it in a program`,
    );
  }

  // The world

  /**
   * The task that programs run in from now on: `{ pid, tgid, uid, comm, parent: { pid: 1 } }`. What is not named is as the
   * world made it up.
   */
  task(fields: TaskFields = {}): SimTask {
    return this.#world.task(fields);
  }
  /**
   * A kernel object laid out by this kernel's types, to be given in contexts: `sim.struct("task_struct", { pid: 42 })`.
   *
   * @throws ArgumentError when the kernel has no such type or member
   */
  struct(type: string, fields: FieldValue = {}): KernelObject {
    if (typeof type !== "string")
      throw new ArgumentError("type", `expected a name such as "task_struct", got ${shown(type)}`);
    return this.#world.objects.struct(type, fields);
  }
  /** A `struct file` with inode and path, to be given in contexts: `sim.file("/etc/passwd")`. */
  file(spec: FileSpec | string): KernelObject {
    return this.#world.kernel.file(spec);
  }
  /** A socket that the look-up helpers find; its `address` is what `ctx.sk` takes: `sim.socket({ local: "10.0.0.1", localPort: 80 })`. */
  socket(spec: SocketSpec): MadeSocket {
    return this.#world.kernel.socket(spec);
  }
  /** A network device: `sim.device({ ifindex: 2, name: "eth0" })`. */
  device(spec: DeviceSpec): KernelObject {
    return this.#world.kernel.device(spec);
  }
  /** A route that `bpf.fibLookup` follows: `sim.route({ to: "0.0.0.0/0", ifindex: 2, via: "10.0.0.254", dmac: "02:00:00:00:00:fe" })`. */
  route(spec: RouteSpec): void {
    this.#world.kernel.route(spec);
  }
  /** The sysctl that is read, or written when there is `next`, while cgroup/sysctl programs run; undefined: none is known. */
  get sysctl(): SysctlSpec | undefined {
    return this.#world.kernel.sysctl;
  }
  set sysctl(spec: SysctlSpec | undefined) {
    this.#world.kernel.sysctl = spec;
  }
  /** Bytes or NUL-terminated text in the memory of the process (or of the kernel): its address, to be given in contexts and structs. */
  memory(contents: Uint8Array | string, space: Space = "user"): bigint {
    return this.#world.memory(contents, space);
  }
  /** Nanoseconds since boot, as `bpf.nsecs()` gives them. It stands still unless the test moves it. */
  get now(): bigint {
    return this.#vm.world.now;
  }
  /**
   * Lets time pass, and runs the callbacks of timers that are due, in their order.
   *
   * @throws FaultError when a callback misbehaves
   */
  advance(nanoseconds: bigint | number): void {
    const delta =
      typeof nanoseconds === "number" && Number.isSafeInteger(nanoseconds) ? BigInt(nanoseconds) : nanoseconds;
    if (typeof delta !== "bigint" || delta < 0n)
      throw new ArgumentError("nanoseconds", `expected an integer from 0 on, got ${shown(nanoseconds)}`);
    this.#guarded(() => this.#vm.advance(delta));
  }
  /** The CPU that programs run on. */
  get cpu(): number {
    return this.#vm.world.cpu;
  }
  set cpu(cpu: number) {
    const { cpus } = this.#vm.world;
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= cpus)
      throw new ArgumentError(
        "cpu",
        `expected 0 to ${cpus - 1}, got ${shown(cpu)} (simulate's option cpus says how many there are)`,
      );
    this.#vm.world.cpu = cpu;
  }
  /** Every line that programs printed. */
  get printed(): readonly string[] {
    return this.#vm.world.printed;
  }
  /** Everything that programs asked the kernel to do. */
  get actions(): readonly Action[] {
    return this.#vm.world.actions;
  }

  // Maps

  #map(handle: MapHandle | string): TypedMap {
    const name = this.#name(handle, "map");
    let typed = this.#maps.get(name);
    if (typed === undefined) {
      if (!this.mapNames.includes(name))
        throw new BpfkitError("NO_MAP", `there is no map ${name}${near(name, this.mapNames)}`);
      const schemas = this.#subject.schemas.get(name);
      typed = new TypedMap(this.#vm.map(name), schemas?.key, schemas?.value);
      this.#maps.set(name, typed);
    }
    return typed;
  }

  /** The value of a key, or undefined; of per-CPU maps an array with one for each CPU. */
  get<M extends MapHandle>(map: M | string, key: Given<KeyOf<M>>): ValueOf<M> | undefined {
    return this.#map(map).get(key) as ValueOf<M> | undefined;
  }
  has<M extends MapHandle>(map: M | string, key: Given<KeyOf<M>>): boolean {
    return this.#map(map).has(key);
  }
  /**
   * Writes an entry; false when `mode` forbids it ("create" and it is there, "exist" and it is not).
   *
   * @throws BpfkitError with the kernel's errno as code: "E2BIG" when the map is full
   */
  set<M extends MapHandle>(
    map: M | string,
    key: Given<KeyOf<M>>,
    value: Given<ValueOf<M>>,
    mode: UpdateMode = "any",
  ): boolean {
    return this.#map(map).set(key, value, mode);
  }
  /** Removes an entry; false when there was none. */
  delete<M extends MapHandle>(map: M | string, key: Given<KeyOf<M>>): boolean {
    return this.#map(map).delete(key);
  }
  /** Every entry, in the map's own order; of arrays every index. */
  entries<M extends MapHandle>(map: M | string): [KeyOf<M>, ValueOf<M>][] {
    return this.#map(map).entries() as [KeyOf<M>, ValueOf<M>][];
  }
  /**
   * What is in the maps, by their names: entries of those that have keys, samples of ring buffers and perf event arrays
   * (which are taken out), buckets of histograms. Maps of programs and maps are left out.
   */
  snapshot(): Readonly<Record<string, readonly unknown[]>> {
    const out: Record<string, readonly unknown[]> = {};
    for (const name of this.mapNames) {
      const typed = this.#map(name);
      if (this.#subject.spec.maps.some((m) => m.name === name && m.variables.length > 0)) continue;
      const handle = this.#subject.handles.get(name);
      if (handle?.histogram !== undefined) {
        const buckets = this.histogram(handle as Histogram<Schema | undefined>) as Bucket[] | Map<unknown, Bucket[]>;
        out[name] = Array.isArray(buckets) ? buckets : [...buckets].map(([key, list]) => ({ key, buckets: list }));
      } else if (typed.isBuffer) out[name] = typed.drain();
      else if (typed.hasEntries) out[name] = typed.entries();
    }
    return out;
  }
  /** Samples of a ring buffer or perf event array since the last time, oldest first. */
  drain<V extends Schema>(map: RingBuf<V> | PerfEventArray<V>): Infer<V>[];
  drain(map: string): unknown[];
  drain(map: MapHandle | string): unknown[] {
    return this.#map(map).drain();
  }
  /** Puts a sample into a user ring buffer, for programs to take with `handle.drain(…)`; false when it is full. */
  send<V extends Schema>(map: UserRingBuf<V> | string, sample: Given<Infer<V>>): boolean {
    return this.#map(map).send(sample);
  }
  /** Adds to a queue, stack or Bloom filter; `replace` throws the oldest out when it is full. */
  push<M extends MapHandle>(map: M | string, value: Given<SampleOf<M>>, replace = false): void {
    this.#map(map).push(value, replace);
  }
  /** Takes the next out of a queue or stack; undefined when it is empty. */
  pop<M extends MapHandle>(map: M | string): SampleOf<M> | undefined {
    return this.#map(map).pop() as SampleOf<M> | undefined;
  }
  /** The next of a queue or stack, which stays there. */
  peek<M extends MapHandle>(map: M | string): SampleOf<M> | undefined {
    return this.#map(map).peek() as SampleOf<M> | undefined;
  }
  /** Bloom filter: may the value be in it? */
  mayHave<M extends MapHandle>(map: M | string, value: Given<SampleOf<M>>): boolean {
    return this.#map(map).mayHave(value);
  }
  /** The buckets of a histogram that were hit, or of each key's histogram. */
  histogram<K extends Schema | undefined>(map: Histogram<K>): K extends Schema ? Map<Infer<K>, Bucket[]> : Bucket[] {
    return histogramBuckets(this.#map(map).entries(), map.histogram) as never;
  }
  /** The addresses of a stack trace, innermost first; undefined when there is none of this id. */
  stack(map: MapHandle | string, id: number): bigint[] | undefined {
    const { map: stacks } = this.#map(map);
    if (!(stacks instanceof StackTraceMap))
      throw new BpfkitError("MAP_TYPE", `map ${stacks.name} is ${stacks.typeName}, not a stack trace map`);
    const key = new Uint8Array(4);
    new DataView(key.buffer).setInt32(0, id, true);
    const value = stacks.lookup(key);
    if (value === undefined) return undefined;
    const addresses = [...new BigUint64Array(value.buffer, value.byteOffset, value.length / 8)];
    const end = addresses.indexOf(0n);
    return end < 0 ? addresses : addresses.slice(0, end);
  }

  /** Puts a program into a program array, or a map into a map of maps; undefined empties the slot. */
  setSlot<M extends MapHandle>(
    map: M | string,
    key: Given<KeyOf<M>> | number,
    target: AnyProgram | MapHandle | string | undefined,
  ): void {
    const typed = this.#map(map);
    const { map: slots } = typed;
    const full = (result: number): void => {
      if (result !== 0) throw new BpfkitError("E2BIG", `map ${slots.name} has no slot ${shown(key)}`);
    };
    if (slots instanceof HashOfMaps) {
      if (target === undefined) return void slots.delete(typed.key(key));
      return full(slots.set(typed.key(key), this.#inner(target)));
    }
    if (!(slots instanceof ProgArrayMap) && !(slots instanceof ArrayOfMaps))
      throw new BpfkitError("MAP_TYPE", `map ${slots.name} is ${slots.typeName}: it has no slots for programs or maps`);
    if (typeof key !== "number" || !Number.isInteger(key) || key < 0)
      throw new ArgumentError("key", `expected an index from 0 on, got ${shown(key)}`);
    if (slots instanceof ProgArrayMap)
      return full(
        slots.set(key, target === undefined ? undefined : this.#vm.image(this.#prog(target as AnyProgram).name)),
      );
    return full(slots.set(key, target === undefined ? undefined : this.#inner(target)));
  }
  #inner(target: AnyProgram | MapHandle | string): VmMap {
    return this.#map(target as MapHandle).map;
  }

  // Globals

  /** A global variable: `sim.global(count).value`. Constants (`config`) are read only: they are `simulate`'s option. */
  global<G extends GlobalHandle>(handle: G | string): SimVariable<SampleOf<{ readonly value: G["schema"] }>> {
    const name = this.#name(handle, "global");
    const home = this.#variables.get(name);
    if (home === undefined) {
      const known = [...this.#variables.keys()].filter((n) => !n.startsWith("__"));
      throw new BpfkitError("NO_VARIABLE", `there is no global variable ${name}${near(name, known)}`);
    }
    const map = this.#vm.map(home.map.name);
    if (!(map instanceof ArrayMap)) throw new BpfkitError("MAP_TYPE", `${home.map.name} holds no variables`);
    const { offset, size } = home.spec;
    const schema: Schema = this.#subject.globals.get(name) ?? { kind: "bytes", length: size, size, align: 1 };
    const { memory } = this.#vm;
    const address = map.addressOf(0) + offset;
    return {
      get value(): never {
        return codecOf(schema).decoder(memory.copy(address, size).buffer)(0) as never;
      },
      set value(value: unknown) {
        if (home.map.frozen)
          throw new BpfkitError(
            "READ_ONLY",
            `${name} is a constant: give it as simulate(module, { config: { ${name}: … } })`,
          );
        const bytes = new Uint8Array(size);
        codecOf(schema).encoder(bytes.buffer, name)(value as never, 0);
        memory.u8.set(bytes, address);
      },
    };
  }

  // Coverage

  /**
   * What ran of the source by all runs so far: by line, way and function.
   *
   * @throws BpfkitError code "NO_COVERAGE" for objects, and where it was turned off
   */
  coverage(): Coverage {
    if (this.#total === undefined) {
      throw new BpfkitError(
        "NO_COVERAGE",
        "nothing was counted: simulate() of a module counts by default, but not with `coverage: false` or `unverified: true`, and not for objects",
      );
    }
    return coverageOf(this.#total.table, this.#counters, this.#total.sources);
  }

  /** Takes the counters out of the VM's memory. */
  #collect(): void {
    if (this.#total === undefined) return;
    const { counters, table } = this.#total;
    const map = this.#vm.map(table.map);
    if (!(map instanceof ArrayMap)) return;
    const at = map.addressOf(0);
    const words = new Uint32Array(this.#vm.memory.memory.buffer, at, table.counters * 2);
    for (let i = 0; i < table.counters; i++) {
      const count = words[i * 2]! + words[i * 2 + 1]! * 0x1_0000_0000;
      if (count === 0) continue;
      this.#counters[i]! += count;
      counters[i]! += count;
    }
    words.fill(0);
  }
}

function near(name: string, names: readonly string[]): string {
  const found = closest(name, names);
  if (found !== undefined) return `; did you mean ${found}?`;
  return `; there are ${names.join(", ") || "none"}`;
}
