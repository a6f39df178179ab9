/** Maps that are not tables of keys and values: queues, Bloom filters, stacks, program arrays, maps of maps, buffers. */
import { hostEndian } from "../core/bytes.ts";
import { BpfkitError } from "../core/errors.ts";
import type { Schema } from "../probe/schema-types.ts";
import { type AttrCommand, bpf } from "../syscall/index.ts";
import type { Fd } from "../syscall/fd.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { ERRNO } from "../uapi/errno.ts";
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import { onlineCpus, possibleCpus } from "../syscall/cpus.ts";
import { type Decode, type Encode, codecOf } from "../values/codec.ts";
import { BpfMap, KvMap, type MapFacts, type MapSchemas, PerCpuMap, sized } from "./map.ts";
import { type EventReader, SampleWriter, openPerfBuffer, openRingBuffer } from "./ring/index.ts";

const LITTLE = hostEndian === "little";

/** A map without keys. */
class Keyless<V> extends BpfMap {
  readonly #value: Uint8Array;
  readonly #encode: Encode<V>;
  readonly #decode: Decode<V>;

  constructor(kernel: Kernel, fd: Fd, facts: MapFacts, schemas: MapSchemas) {
    super(kernel, fd, facts);
    this.#value = new Uint8Array(facts.valueSize);
    const codec = codecOf(sized(schemas.value, facts.valueSize, `${facts.name} value`));
    this.#encode = codec.encoder(this.#value.buffer) as Encode<V>;
    this.#decode = codec.decoder(this.#value.buffer) as Decode<V>;
  }

  protected write(value: V, flags: number): number {
    this.#encode(value, 0);
    return bpf(this.kernel, "MAP_UPDATE_ELEM", { map_fd: this.fd, value: this.#value, flags });
  }
  protected take(command: Extract<AttrCommand, "MAP_LOOKUP_ELEM" | "MAP_LOOKUP_AND_DELETE_ELEM">): V | undefined {
    const result = bpf(this.kernel, command, { map_fd: this.fd, value: this.#value });
    if (result === 0) return this.#decode(0);
    return result === -ERRNO.ENOENT ? undefined : this.fail(`BPF_${command}`, result);
  }
  protected lookup(value: V): number {
    this.#encode(value, 0);
    return bpf(this.kernel, "MAP_LOOKUP_ELEM", { map_fd: this.fd, value: this.#value });
  }
}

/** `BPF_EXIST`: a full queue drops its oldest entry. */
const BPF_EXIST = 2;

/** BPF_MAP_TYPE_QUEUE (first in, first out) or BPF_MAP_TYPE_STACK (last in, first out). Linux 4.20. */
export class QueueMap<V = unknown> extends Keyless<V> {
  /** Adds a value; false when the map is full. With `overwrite` the oldest value makes room. */
  push(value: V, options: { overwrite?: boolean } = {}): boolean {
    const result = this.write(value, options.overwrite === true ? BPF_EXIST : 0);
    if (result === 0) return true;
    return result === -ERRNO.E2BIG ? false : this.fail("BPF_MAP_UPDATE_ELEM", result);
  }
  /** Takes the next value, or undefined when the map is empty. */
  pop(): V | undefined {
    return this.take("MAP_LOOKUP_AND_DELETE_ELEM");
  }
  /** The next value without taking it. */
  peek(): V | undefined {
    return this.take("MAP_LOOKUP_ELEM");
  }
}

/** BPF_MAP_TYPE_BLOOM_FILTER: "certainly not" or "perhaps". Linux 5.16. */
export class BloomMap<V = unknown> extends Keyless<V> {
  add(value: V): void {
    const result = this.write(value, 0);
    if (result < 0) this.fail("BPF_MAP_UPDATE_ELEM", result);
  }
  /** False: `value` was never added. True: it probably was. */
  has(value: V): boolean {
    const result = this.lookup(value);
    if (result === 0) return true;
    return result === -ERRNO.ENOENT ? false : this.fail("BPF_MAP_LOOKUP_ELEM", result);
  }
}

/** BPF_MAP_TYPE_STACK_TRACE: what bpf_get_stackid put there. */
export class StackTraceMap extends BpfMap {
  /** Addresses from the innermost frame outwards, or undefined when there is no such stack. */
  get(id: number): bigint[] | undefined {
    const value = new BigUint64Array(this.valueSize / 8);
    const key = new Uint8Array(4);
    new DataView(key.buffer).setUint32(0, id, LITTLE);
    const result = bpf(this.kernel, "MAP_LOOKUP_ELEM", { map_fd: this.fd, key, value: new Uint8Array(value.buffer) });
    if (result === -ERRNO.ENOENT) return undefined;
    if (result < 0) this.fail("BPF_MAP_LOOKUP_ELEM", result);
    const end = value.indexOf(0n);
    return [...(end < 0 ? value : value.subarray(0, end))];
  }
  delete(id: number): boolean {
    const key = new Uint8Array(4);
    new DataView(key.buffer).setUint32(0, id, LITTLE);
    const result = bpf(this.kernel, "MAP_DELETE_ELEM", { map_fd: this.fd, key });
    if (result === 0) return true;
    return result === -ERRNO.ENOENT ? false : this.fail("BPF_MAP_DELETE_ELEM", result);
  }
}

/**
 * A map whose values are kernel objects: programs (BPF_MAP_TYPE_PROG_ARRAY), maps
 * (array_of_maps, hash_of_maps), cgroups. Written as descriptors, read as ids.
 */
export class FdMap extends BpfMap {
  #key(key: number | Uint8Array): Uint8Array {
    if (typeof key !== "number") {
      if (key.length !== this.keySize)
        throw new BpfkitError("ARGUMENT", `key: expected ${this.keySize} bytes, got ${key.length}`);
      return key;
    }
    if (!Number.isInteger(key) || key < 0 || key > 0xffff_ffff)
      throw new BpfkitError("ARGUMENT", `key: expected an index, got ${key}`);
    const bytes = new Uint8Array(this.keySize);
    new DataView(bytes.buffer).setUint32(0, key, LITTLE);
    return bytes;
  }
  /** Puts a program or map (anything with a `fd`) at `key`. */
  set(key: number | Uint8Array, object: { readonly fd: number }): void {
    const value = new Uint8Array(4);
    new DataView(value.buffer).setUint32(0, object.fd, LITTLE);
    const result = bpf(this.kernel, "MAP_UPDATE_ELEM", { map_fd: this.fd, key: this.#key(key), value });
    if (result < 0) this.fail("BPF_MAP_UPDATE_ELEM", result);
  }
  /** Id of the object at `key`, or undefined. */
  get(key: number | Uint8Array): number | undefined {
    const value = new Uint8Array(4);
    const result = bpf(this.kernel, "MAP_LOOKUP_ELEM", { map_fd: this.fd, key: this.#key(key), value });
    if (result === -ERRNO.ENOENT) return undefined;
    if (result < 0) this.fail("BPF_MAP_LOOKUP_ELEM", result);
    return new DataView(value.buffer).getUint32(0, LITTLE);
  }
  delete(key: number | Uint8Array): boolean {
    const result = bpf(this.kernel, "MAP_DELETE_ELEM", { map_fd: this.fd, key: this.#key(key) });
    if (result === 0) return true;
    return result === -ERRNO.ENOENT ? false : this.fail("BPF_MAP_DELETE_ELEM", result);
  }
}

/** BPF_MAP_TYPE_RINGBUF: samples from programs. Linux 5.8. */
export class RingBufMap<V = unknown> extends BpfMap {
  readonly #schema: Schema | undefined;
  constructor(kernel: Kernel, fd: Fd, facts: MapFacts, schemas: MapSchemas) {
    super(kernel, fd, facts);
    this.#schema = schemas.value;
  }
  /** A reader of the samples. A second one would take samples away from the first. */
  open(options: { readonly lost?: () => bigint } = {}): EventReader<V> {
    const o = { kernel: this.kernel, fd: this.fd, size: this.maxEntries, ...options };
    return (
      this.#schema === undefined ? openRingBuffer(o) : openRingBuffer({ ...o, schema: this.#schema })
    ) as EventReader<V>;
  }
}

/** BPF_MAP_TYPE_USER_RINGBUF: samples for programs. Linux 6.1. */
export class UserRingBufMap<V = unknown> extends BpfMap {
  readonly #schema: Schema;
  constructor(kernel: Kernel, fd: Fd, facts: MapFacts, schemas: MapSchemas) {
    super(kernel, fd, facts);
    if (schemas.value === undefined)
      throw new BpfkitError("SCHEMA", `map ${facts.name}: its samples need a schema, which the object does not give`);
    this.#schema = schemas.value;
  }
  /** A writer of samples; one at a time. */
  open(): SampleWriter<V> {
    return new SampleWriter<V>(this.kernel, this.fd, this.maxEntries, this.#schema, this.name);
  }
}

/** BPF_MAP_TYPE_PERF_EVENT_ARRAY: a buffer for each CPU. */
export class PerfEventMap<V = unknown> extends BpfMap {
  readonly #schema: Schema | undefined;
  constructor(kernel: Kernel, fd: Fd, facts: MapFacts, schemas: MapSchemas) {
    super(kernel, fd, facts);
    this.#schema = schemas.value;
  }
  /** Opens a buffer on every online CPU and reads them. */
  open(options: { readonly pages?: number } = {}): EventReader<V> {
    const cpus = onlineCpus(this.kernel);
    const o = { kernel: this.kernel, cpus, setSlot: (cpu: number, fd: number) => this.set(cpu, { fd }), ...options };
    return (
      this.#schema === undefined ? openPerfBuffer(o) : openPerfBuffer({ ...o, schema: this.#schema })
    ) as EventReader<V>;
  }
  /** Puts a perf event (anything with a `fd`) at index `cpu`. */
  set(cpu: number, event: { readonly fd: number }): void {
    const [key, value] = [new Uint8Array(4), new Uint8Array(4)];
    new DataView(key.buffer).setUint32(0, cpu, LITTLE);
    new DataView(value.buffer).setUint32(0, event.fd, LITTLE);
    const result = bpf(this.kernel, "MAP_UPDATE_ELEM", { map_fd: this.fd, key, value });
    if (result < 0) this.fail("BPF_MAP_UPDATE_ELEM", result);
  }
}

const PER_CPU: ReadonlySet<number> = new Set([
  BPF_MAP_TYPE.PERCPU_HASH,
  BPF_MAP_TYPE.PERCPU_ARRAY,
  BPF_MAP_TYPE.LRU_PERCPU_HASH,
  BPF_MAP_TYPE.PERCPU_CGROUP_STORAGE,
]);
const FDS: ReadonlySet<number> = new Set([
  BPF_MAP_TYPE.PROG_ARRAY,
  BPF_MAP_TYPE.ARRAY_OF_MAPS,
  BPF_MAP_TYPE.HASH_OF_MAPS,
  BPF_MAP_TYPE.CGROUP_ARRAY,
]);

/** The object for a live map of this type; it owns `fd` from now on. */
export function mapObject(kernel: Kernel, fd: Fd, facts: MapFacts, schemas: MapSchemas = {}): BpfMap {
  if (PER_CPU.has(facts.type)) return new PerCpuMap(kernel, fd, facts, schemas, possibleCpus(kernel));
  if (FDS.has(facts.type)) return new FdMap(kernel, fd, facts);
  switch (facts.type) {
    case BPF_MAP_TYPE.RINGBUF:
      return new RingBufMap(kernel, fd, facts, schemas);
    case BPF_MAP_TYPE.PERF_EVENT_ARRAY:
      return new PerfEventMap(kernel, fd, facts, schemas);
    case BPF_MAP_TYPE.STACK_TRACE:
      return new StackTraceMap(kernel, fd, facts);
    case BPF_MAP_TYPE.QUEUE:
    case BPF_MAP_TYPE.STACK:
      return new QueueMap(kernel, fd, facts, schemas);
    case BPF_MAP_TYPE.BLOOM_FILTER:
      return new BloomMap(kernel, fd, facts, schemas);
    case BPF_MAP_TYPE.USER_RINGBUF:
      return schemas.value === undefined
        ? new BpfMap(kernel, fd, facts)
        : new UserRingBufMap(kernel, fd, facts, schemas);
    case BPF_MAP_TYPE.STRUCT_OPS:
    case BPF_MAP_TYPE.ARENA:
      return new BpfMap(kernel, fd, facts);
    default:
      return new KvMap(kernel, fd, facts, schemas);
  }
}
