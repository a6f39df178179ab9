/** Typed map handles: what a program body may do with each kind of map. */
import type { Handle } from "./handle.ts";
import type { Body, KernelManaged, Input, IntSchema, EnumSchema, Schema } from "./schema-types.ts";
import type { AnyProgram } from "./program-types.ts";

/** Map types by their kernel names, `BPF_MAP_TYPE_*` in lower case. */
export type MapTypeName =
  | "hash"
  | "array"
  | "prog_array"
  | "perf_event_array"
  | "percpu_hash"
  | "percpu_array"
  | "stack_trace"
  | "cgroup_array"
  | "lru_hash"
  | "lru_percpu_hash"
  | "lpm_trie"
  | "array_of_maps"
  | "hash_of_maps"
  | "devmap"
  | "sockmap"
  | "cpumap"
  | "xskmap"
  | "sockhash"
  | "cgroup_storage"
  | "reuseport_sockarray"
  | "percpu_cgroup_storage"
  | "queue"
  | "stack"
  | "sk_storage"
  | "devmap_hash"
  | "struct_ops"
  | "ringbuf"
  | "inode_storage"
  | "task_storage"
  | "bloom_filter"
  | "user_ringbuf"
  | "cgrp_storage"
  | "arena";

/** What the compiler and the loader read of every map. */
export interface MapHandle extends Handle {
  readonly kind: "map";
  readonly type: MapTypeName;
  /** undefined where the kernel fixes the key (ring buffers, queues) . */
  readonly key: Schema | undefined;
  readonly value: Schema | undefined;
  /** Entries; bytes for ring buffers; 0 lets the loader choose (one slot per CPU). */
  readonly maxEntries: number;
  /** `BPF_F_*` of map creation. */
  readonly flags: number;
  /** `map_extra` of the kernel: number of hash functions of a Bloom filter. */
  readonly mapExtra: number;
  /** Template of the inner maps of a map of maps. */
  readonly inner: MapHandle | undefined;
  /** Initial slots: programs of a program array, maps of a map of maps. */
  readonly slots: readonly (MapHandle | AnyProgram)[];
  /** Whether samples that find a ring buffer full are counted. */
  readonly countLost: boolean;
  /** Keep the map in bpffs under its name, and reuse it when it is already there. */
  readonly pinned: boolean;
  /** Name given in the options; else the export key or the constant's name is used. */
  readonly name: string | undefined;
  /** Buckets, when this map is a histogram. */
  readonly histogram: Buckets | undefined;
}

/** How a histogram sorts values: by power of two, or in steps of `step` from `min` (included) to `max` (excluded). */
export type Buckets =
  | { readonly scale: "log2" }
  | { readonly scale: "linear"; readonly min: number; readonly max: number; readonly step: number };

/** Options of every map. */
export interface MapOptions {
  /** Entries that fit; the default is 10240. */
  readonly maxEntries?: number;
  /** `BPF_F_*` flags of map creation, added to those the map needs. */
  readonly flags?: number;
  /** The name in the kernel (at most 15 characters there); default: the name of the constant. */
  readonly name?: string;
  /** Keep the map in bpffs under its name, and reuse it when it is already there. */
  readonly pinned?: boolean;
}

type Counter<V> = V extends IntSchema<unknown> | EnumSchema<unknown> ? unknown : never;

/** An integer in the map itself: writing `.value` changes the entry. */
export interface Ref<B> {
  value: B;
}

/** Counting, on maps whose value is an integer. */
export interface Counting<K extends Schema> {
  /** Atomically adds `delta` to the entry, which is created when it is missing. */
  add(key: Input<K>, delta: number | bigint): void;
}
type CountingOf<K extends Schema, V extends Schema> = [Counter<V>] extends [never] ? unknown : Counting<K>;

interface Keyed<K extends Schema, V extends Schema> extends MapHandle {
  readonly key: K;
  readonly value: V;
  /** The entry, or undefined: check it. A struct is a live reference: writing a field changes the entry. */
  get(key: Input<K>): Body<V> | undefined;
  /** The entry as a place to change, or undefined: `const n = map.ref(key); if (n) n.value += 1`. */
  ref(key: Input<K>): Ref<Body<V>> | undefined;
  has(key: Input<K>): boolean;
  /** Creates or replaces the entry; false when the kernel refused it (the map is full). */
  set(key: Input<K>, value: Input<V>): boolean;
  /** Visits every entry; `callback` returns true to stop. Kernel 5.13+. */
  forEach(callback: (value: Body<V>, key: Body<K>) => boolean | void): void;
  /** `for (const [key, value] of map)`. Kernel 5.13+. */
  [Symbol.iterator](): IterableIterator<[Body<K>, Body<V>]>;
}

interface Deletable<K extends Schema> {
  /** Removes the entry; false when there was none. */
  delete(key: Input<K>): boolean;
}

interface Timed<K extends Schema, V extends Schema> {
  /**
   * Starts the `timer` of an entry: after `nanoseconds`, `callback` runs once, unless the entry is gone by then. It sees
   * the entry, maps and globals, no variables. False when it could not be started. Kernel 5.15+.
   */
  startTimer(
    timer: KernelManaged,
    nanoseconds: number | bigint,
    callback: (value: Body<V>, key: Body<K>) => void,
  ): boolean;
}

interface Insertable<K extends Schema, V extends Schema> {
  /** The entry, created with `value` when it is missing; undefined when the map is full. */
  getOrInsert(key: Input<K>, value: Input<V>): Body<V> | undefined;
  /** Creates the entry; false when it was there already (or the map is full). */
  insert(key: Input<K>, value: Input<V>): boolean;
}

/** `percpuHash` and `lruPercpuHash`. */
export type PerCpuHashMap<K extends Schema, V extends Schema> = Keyed<K, V> &
  Deletable<K> &
  Insertable<K, V> &
  CountingOf<K, V>;

/** `hash` and `lruHash`. */
export type HashMap<K extends Schema, V extends Schema> = PerCpuHashMap<K, V> & Timed<K, V>;

/** `percpuArray`: keys from 0 to `maxEntries - 1`, all present from the start. */
export type PerCpuArrayMap<V extends Schema> = Keyed<IntSchema<number>, V> & CountingOf<IntSchema<number>, V>;

/** `arrayMap`: keys from 0 to `maxEntries - 1`, all present from the start. */
export type ArrayMap<V extends Schema> = PerCpuArrayMap<V> & Timed<IntSchema<number>, V>;

/** Longest-prefix match; the key is a struct whose first field is the prefix length in bits, a `u32`. Kernel 4.11+. */
export type LpmTrie<K extends Schema, V extends Schema> = Omit<Keyed<K, V>, "forEach" | typeof Symbol.iterator> &
  Deletable<K>;

/** A ring buffer of samples for user space. Kernel 5.8+. */
export interface RingBuf<V extends Schema> extends MapHandle {
  readonly type: "ringbuf";
  readonly value: V;
  /** Reserves, fills and submits one sample; false when the buffer was full (counted: see `EventReader.lost`). */
  emit(sample: Input<V>): boolean;
  /** Room for one sample to fill field by field, then `submit` or `discard`; undefined when the buffer is full. */
  reserve(): Body<V> | undefined;
  submit(sample: Body<V>): void;
  discard(sample: Body<V>): void;
}

/** One buffer per CPU; for kernels before 5.8 and for samples with a stack of unknown size. */
export interface PerfEventArray<V extends Schema> extends MapHandle {
  readonly type: "perf_event_array";
  readonly value: V;
  /** Sends one sample to this CPU's buffer; false when it was full. */
  emit(sample: Input<V>): boolean;
}

/** Distinct stacks by id: `bpf.kernelStack(stacks)`, `bpf.userStack(stacks)`. */
export interface StackTrace extends MapHandle {
  readonly type: "stack_trace";
}

/** Programs to jump to. */
export interface ProgArray extends MapHandle {
  readonly type: "prog_array";
  /** Goes on in the program of slot `index` and does not return; returns when the slot is empty. */
  tailCall(ctx: object, index: number): void;
}

/** First in, first out (`queue`) or last in, first out (`stack`). Kernel 4.20+. */
export interface Queue<V extends Schema> extends MapHandle {
  readonly type: "queue" | "stack";
  readonly value: V;
  /** False when full; with `overwrite` the oldest value makes room. */
  push(value: Input<V>, options?: { readonly overwrite: boolean }): boolean;
  pop(): Body<V> | undefined;
  peek(): Body<V> | undefined;
}

/** A set that may say yes wrongly and never says no wrongly. Kernel 5.16+. */
export interface BloomFilter<V extends Schema> extends MapHandle {
  readonly type: "bloom_filter";
  readonly value: V;
  add(value: Input<V>): boolean;
  has(value: Input<V>): boolean;
}

/** A value attached to a task, cgroup, socket or inode, freed with it. */
export interface Storage<V extends Schema> extends MapHandle {
  readonly type: "task_storage" | "cgrp_storage" | "sk_storage" | "inode_storage";
  readonly value: V;
  /** The owner's value as a live reference, or undefined. */
  get(owner: object): Body<V> | undefined;
  ref(owner: object): Ref<Body<V>> | undefined;
  /** The owner's value, created (with `value`, else zeros) when it has none; undefined when that failed. */
  getOrInsert(owner: object, value?: Input<V>): Body<V> | undefined;
  delete(owner: object): boolean;
}

/** A map of maps: `get` gives the inner map. */
export interface MapOfMaps<K extends Schema, M extends MapHandle> extends MapHandle {
  readonly type: "hash_of_maps" | "array_of_maps";
  readonly key: K;
  readonly inner: M;
  get(key: Input<K>): M | undefined;
}

/** Counts of values in buckets. Without a key schema there is one histogram, with one there is one per key. */
export interface Histogram<K extends Schema | undefined = undefined> extends MapHandle {
  readonly histogram: Buckets;
  /** Counts `value` in its bucket: `increment(value)`, or `increment(key, value)` with a key schema. */
  increment(...args: K extends Schema ? [key: Input<K>, value: number | bigint] : [value: number | bigint]): void;
}

/** Devices, CPUs or AF_XDP sockets to redirect a packet to. */
export interface RedirectMap<K extends Schema> extends MapHandle {
  readonly type: "devmap" | "devmap_hash" | "cpumap" | "xskmap";
  readonly key: K;
  /** The XDP action to return; the low bits of `flags` are the action when the slot is empty. */
  redirect(key: Input<K>, flags?: number): number;
}

/** Sockets by index (`sockmap`) or key (`sockhash`). */
export interface SockMap<K extends Schema> extends MapHandle {
  readonly type: "sockmap" | "sockhash";
  readonly key: K;
  /** Sends the packet or message of `ctx` to that socket; the verdict to return. */
  redirect(ctx: object, key: Input<K>, flags?: number): number;
  /** Adds the socket of `ctx` (a `sockOps` program). */
  set(ctx: object, key: Input<K>, flags?: number): boolean;
}

/** Cgroups by index, filled by user space. */
export interface CgroupArray extends MapHandle {
  readonly type: "cgroup_array";
  /** Is the current task below the cgroup of slot `index`? */
  hasCurrentTask(index: number): boolean;
}

/** Listening sockets of a SO_REUSEPORT group by index. Kernel 4.19+. */
export interface ReuseportSockArray extends MapHandle {
  readonly type: "reuseport_sockarray";
  /** Picks the socket of slot `index`; false when there is none. */
  select(ctx: object, index: number): boolean;
}

/** Samples from user space. Kernel 6.1+. */
export interface UserRingBuf<V extends Schema> extends MapHandle {
  readonly type: "user_ringbuf";
  readonly value: V;
  /** Takes every waiting sample; `callback` returns true to stop. The number taken. */
  drain(callback: (sample: Body<V>) => boolean | void): number;
}

/** Memory shared with user space. Kernel 6.9+. `maxEntries` is its size in pages. */
export interface Arena extends MapHandle {
  readonly type: "arena";
}
