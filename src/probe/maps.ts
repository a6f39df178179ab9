/** Map constructors. Every one is inert: it gives a handle that the compiler and the loader read. */
import { ArgumentError } from "../core/errors.ts";
import { outsideProgram, seal } from "./handle.ts";
import type {
  Arena,
  ArrayMap,
  BloomFilter,
  Buckets,
  CgroupArray,
  HashMap,
  Histogram,
  LpmTrie,
  MapHandle,
  MapOfMaps,
  MapOptions,
  MapTypeName,
  PerCpuArrayMap,
  PerCpuHashMap,
  PerfEventArray,
  ProgArray,
  Queue,
  RedirectMap,
  ReuseportSockArray,
  RingBuf,
  SockMap,
  StackTrace,
  Storage,
  UserRingBuf,
} from "./map-types.ts";
import { checkOptions } from "./options.ts";
import type { AnyProgram } from "./program-types.ts";
import type { Schema } from "./schema-types.ts";
import { array, isSchema, s32, struct, type U32, u32, u64 } from "./schema.ts";
import { callSite, type DeclaredBy, declarer } from "./site.ts";

const DEFAULT_ENTRIES = 10_240;
/** `BPF_F_NO_PREALLOC`: what LPM tries and the storages demand. */
const NO_PREALLOC = 1;
/** `BPF_F_MMAPABLE`: what arenas demand. */
const MMAPABLE = 1 << 10;

const METHODS = [
  "get",
  "ref",
  "has",
  "set",
  "delete",
  "add",
  "getOrInsert",
  "insert",
  "forEach",
  "emit",
  "reserve",
  "submit",
  "discard",
  "tailCall",
  "push",
  "pop",
  "peek",
  "increment",
  "redirect",
  "hasCurrentTask",
  "select",
  "drain",
  "startTimer",
] as const;

/** Every method of every kind of map, for a clear error when one is called as JavaScript. */
const outside: object = (() => {
  const methods: Record<string | symbol, () => never> = {};
  for (const name of METHODS) {
    methods[name] = () => outsideProgram(`${name}() of a map`, "use the loaded collection: `app.map(handle)`");
  }
  methods[Symbol.iterator] = () => outsideProgram("iterating a map", "use the loaded collection: `app.map(handle)`");
  return methods;
})();

interface Extra {
  readonly key?: Schema;
  readonly value?: Schema;
  readonly entries?: number;
  readonly flags?: number;
  readonly mapExtra?: number;
  readonly inner?: MapHandle;
  readonly slots?: readonly (MapHandle | AnyProgram)[];
  readonly histogram?: Buckets;
  readonly countLost?: boolean;
}

function map(type: MapTypeName, options: MapOptions, extra: Extra, declaredBy: DeclaredBy): unknown {
  checkOptions(declarer(declaredBy), "map", options);
  for (const part of ["key", "value"] as const) {
    if (part in extra && !isSchema(extra[part])) {
      throw new ArgumentError(
        `${declarer(declaredBy)}(${part})`,
        `expected a schema such as u32 or struct({…}), got ${String(extra[part])}`,
      );
    }
  }
  const maxEntries = options.maxEntries ?? extra.entries ?? DEFAULT_ENTRIES;
  if (!Number.isInteger(maxEntries) || maxEntries < 0 || maxEntries > 0xffff_ffff) {
    throw new ArgumentError(
      `${declarer(declaredBy)}(maxEntries)`,
      `expected a whole number up to 4294967295, got ${String(maxEntries)}`,
    );
  }
  const site = callSite(declaredBy);
  return seal({
    __proto__: outside,
    kind: "map",
    type,
    key: extra.key,
    value: extra.value,
    maxEntries,
    flags: (options.flags ?? 0) | (extra.flags ?? 0),
    mapExtra: extra.mapExtra ?? 0,
    inner: extra.inner,
    slots: extra.slots ?? [],
    countLost: extra.countLost ?? false,
    pinned: options.pinned ?? false,
    name: options.name,
    histogram: extra.histogram,
    get site() {
      return site();
    },
  });
}

/** A hash table. @example import { hash, u32, u64 } from "bpfkit"; export const bytesByPid = hash(u32, u64, { maxEntries: 1024 }); */
export function hash<K extends Schema, V extends Schema>(key: K, value: V, options: MapOptions = {}): HashMap<K, V> {
  return map("hash", options, { key, value }, { hash }) as HashMap<K, V>;
}
/** A hash table that drops the least recently used entry instead of refusing a new one. Kernel 4.10+. */
export function lruHash<K extends Schema, V extends Schema>(key: K, value: V, options: MapOptions = {}): HashMap<K, V> {
  return map("lru_hash", options, { key, value }, { lruHash }) as HashMap<K, V>;
}
/** A hash table with one value per CPU: counting needs no atomics. Kernel 4.6+. */
export function percpuHash<K extends Schema, V extends Schema>(
  key: K,
  value: V,
  options: MapOptions = {},
): PerCpuHashMap<K, V> & { readonly type: "percpu_hash" } {
  return map("percpu_hash", options, { key, value }, { percpuHash }) as ReturnType<typeof percpuHash<K, V>>;
}
/** {@link lruHash} with one value per CPU. Kernel 4.10+. */
export function lruPercpuHash<K extends Schema, V extends Schema>(
  key: K,
  value: V,
  options: MapOptions = {},
): PerCpuHashMap<K, V> & { readonly type: "lru_percpu_hash" } {
  return map("lru_percpu_hash", options, { key, value }, { lruPercpuHash }) as ReturnType<typeof lruPercpuHash<K, V>>;
}
/** `length` values with keys 0 to `length - 1`, all zero at first. (An array inside a struct is `array(schema, n)`.) */
export function arrayMap<V extends Schema>(
  value: V,
  length: number,
  options: Omit<MapOptions, "maxEntries"> = {},
): ArrayMap<V> {
  return map("array", options, { key: u32, value, entries: length }, { arrayMap }) as ArrayMap<V>;
}
/** {@link arrayMap} with one value per CPU. Kernel 4.6+. */
export function percpuArray<V extends Schema>(
  value: V,
  length: number,
  options: Omit<MapOptions, "maxEntries"> = {},
): PerCpuArrayMap<V> & { readonly type: "percpu_array" } {
  return map("percpu_array", options, { key: u32, value, entries: length }, { percpuArray }) as ReturnType<
    typeof percpuArray<V>
  >;
}
/** Longest-prefix match; `key` is a struct whose first field is the prefix length in bits, a `u32`. Kernel 4.11+. */
export function lpmTrie<K extends Schema, V extends Schema>(key: K, value: V, options: MapOptions = {}): LpmTrie<K, V> {
  return map("lpm_trie", options, { key, value, flags: NO_PREALLOC }, { lpmTrie }) as LpmTrie<K, V>;
}

/** Options of a buffer: `size` in bytes, rounded up to a power of two of at least a page by the loader. */
export interface BufferOptions extends Omit<MapOptions, "maxEntries"> {
  readonly size?: number;
}
/** Options of {@link ringbuf}. */
export interface RingBufOptions extends BufferOptions {
  /** Whether samples that find the buffer full are counted, for the reader's `lost`; default true. */
  readonly countLost?: boolean;
}
/**
 * A ring buffer of samples for user space, shared by all CPUs. Kernel 5.8+.
 * @param options `size` in bytes; default 256 KiB
 */
export function ringbuf<V extends Schema>(value: V, options: RingBufOptions = {}): RingBuf<V> {
  const { size = 256 * 1024, countLost = true } = options;
  return map("ringbuf", options, { value, entries: size, countLost }, { ringbuf }) as RingBuf<V>;
}
/** Samples from user space. Kernel 6.1+. See {@link ringbuf}. */
export function userRingbuf<V extends Schema>(value: V, options: BufferOptions = {}): UserRingBuf<V> {
  return map(
    "user_ringbuf",
    options,
    { value, entries: options.size ?? 256 * 1024 },
    { userRingbuf },
  ) as UserRingBuf<V>;
}
/** One buffer of samples per CPU. Kernel 4.3+. */
export function perfEventArray<V extends Schema>(value: V, options: MapOptions = {}): PerfEventArray<V> {
  return map("perf_event_array", options, { value, entries: 0 }, { perfEventArray }) as PerfEventArray<V>;
}
/**
 * Distinct stacks by id.
 * @param options `depth`: frames kept of each stack, 1 to 127 (the default)
 */
export function stackTrace(options: MapOptions & { readonly depth?: number } = {}): StackTrace {
  const depth = options.depth ?? 127;
  if (!Number.isInteger(depth) || depth < 1 || depth > 127) {
    throw new ArgumentError("stackTrace(depth)", `expected a whole number from 1 to 127, got ${String(depth)}`);
  }
  return map("stack_trace", options, { key: u32, value: array(u64, depth) }, { stackTrace }) as StackTrace;
}
/** Programs for tail calls; `slots` are the programs of slots 0, 1, … */
export function progArray(slots: readonly AnyProgram[] = [], options: MapOptions = {}): ProgArray {
  return map(
    "prog_array",
    options,
    { key: u32, value: u32, slots, entries: Math.max(slots.length, 1) },
    { progArray },
  ) as ProgArray;
}
/** First in, first out. Kernel 4.20+. */
export function queue<V extends Schema>(value: V, options: MapOptions = {}): Queue<V> {
  return map("queue", options, { value }, { queue }) as Queue<V>;
}
/** Last in, first out. Kernel 4.20+. */
export function stack<V extends Schema>(value: V, options: MapOptions = {}): Queue<V> {
  return map("stack", options, { value }, { stack }) as Queue<V>;
}
/**
 * A set that may say yes wrongly and never says no wrongly. Kernel 5.16+.
 * @param options `hashes`: hash functions, 1 to 15 (default 5)
 */
export function bloomFilter<V extends Schema>(
  value: V,
  options: MapOptions & { readonly hashes?: number } = {},
): BloomFilter<V> {
  const hashes = options.hashes ?? 5;
  if (!Number.isInteger(hashes) || hashes < 1 || hashes > 15) {
    throw new ArgumentError("bloomFilter(hashes)", `expected a whole number from 1 to 15, got ${String(hashes)}`);
  }
  return map("bloom_filter", options, { value, mapExtra: hashes }, { bloomFilter }) as BloomFilter<V>;
}
type StorageOptions = Omit<MapOptions, "maxEntries">;
/** A value per task, freed with it. Kernel 5.11+. */
export function taskStorage<V extends Schema>(value: V, options: StorageOptions = {}): Storage<V> {
  return map(
    "task_storage",
    options,
    { key: s32, value, entries: 0, flags: NO_PREALLOC },
    { taskStorage },
  ) as Storage<V>;
}
/** A value per cgroup. Kernel 6.2+. */
export function cgrpStorage<V extends Schema>(value: V, options: StorageOptions = {}): Storage<V> {
  return map(
    "cgrp_storage",
    options,
    { key: s32, value, entries: 0, flags: NO_PREALLOC },
    { cgrpStorage },
  ) as Storage<V>;
}
/** A value per socket. Kernel 5.2+. */
export function skStorage<V extends Schema>(value: V, options: StorageOptions = {}): Storage<V> {
  return map("sk_storage", options, { key: s32, value, entries: 0, flags: NO_PREALLOC }, { skStorage }) as Storage<V>;
}
/** A value per inode. Kernel 5.10+. */
export function inodeStorage<V extends Schema>(value: V, options: StorageOptions = {}): Storage<V> {
  return map(
    "inode_storage",
    options,
    { key: s32, value, entries: 0, flags: NO_PREALLOC },
    { inodeStorage },
  ) as Storage<V>;
}
/** Maps by key; `inner` is the template that every inner map must match. Kernel 4.12+. */
export function hashOfMaps<K extends Schema, M extends MapHandle>(
  key: K,
  inner: M,
  options: MapOptions = {},
): MapOfMaps<K, M> {
  return map("hash_of_maps", options, { key, value: u32, inner }, { hashOfMaps }) as MapOfMaps<K, M>;
}
/** Maps by index; `slots` are the maps of slots 0, 1, … Kernel 4.12+. */
export function arrayOfMaps<M extends MapHandle>(
  inner: M,
  options: MapOptions & { readonly slots?: readonly NoInfer<M>[] } = {},
): MapOfMaps<U32, M> {
  const slots = options.slots ?? [];
  return map(
    "array_of_maps",
    options,
    { key: u32, value: u32, inner, slots, entries: Math.max(slots.length, 1) },
    { arrayOfMaps },
  ) as MapOfMaps<U32, M>;
}

/** Linear buckets: `step` wide from `min` to `max`; without them, powers of two. */
export interface HistogramOptions extends MapOptions {
  readonly min?: number;
  readonly max?: number;
  readonly step?: number;
}
/**
 * Counts of values in buckets: powers of two, or linear with `{ min, max, step }`.
 * Per-CPU underneath, so counting is cheap and exact.
 *
 * @param key schema of the key for one histogram per key; left out, there is one
 * @throws ArgumentError if `step` does not divide a range of 1 to 1024 buckets.
 * @example
 * import { histogram, tpBtf, u32 } from "bpfkit";
 * export const latency = histogram();                        // latency.increment(ns)
 * export const byCpu = histogram(u32, { min: 0, max: 100, step: 10 });
 */
export function histogram(options?: HistogramOptions): Histogram;
export function histogram<K extends Schema>(key: K, options?: HistogramOptions): Histogram<K>;
export function histogram(first?: Schema | HistogramOptions, second?: HistogramOptions): Histogram<Schema | undefined> {
  const key = isSchema(first) ? first : undefined;
  const options = (isSchema(first) ? second : first) ?? {};
  const histogramBuckets = buckets(options);
  // A linear histogram has a bucket below `min` and one from `max` up.
  const length =
    histogramBuckets.scale === "log2" ? 65 : (histogramBuckets.max - histogramBuckets.min) / histogramBuckets.step + 2;
  if (key === undefined) {
    const extra = { key: u32, value: u64, entries: length, histogram: histogramBuckets };
    return map("percpu_array", options, extra, { histogram }) as Histogram;
  }
  const extra = { key: struct({ key, bucket: u32 }), value: u64, histogram: histogramBuckets };
  return map("percpu_hash", options, extra, { histogram }) as Histogram<Schema>;
}

function buckets({ min, max, step }: HistogramOptions): Buckets {
  if (min === undefined && max === undefined && step === undefined) return { scale: "log2" };
  const range = (max ?? Number.NaN) - (min ?? 0);
  const n = range / (step ?? 1);
  if (![min ?? 0, max, step ?? 1].every(Number.isSafeInteger) || !(n >= 1 && n <= 1024) || !Number.isInteger(n)) {
    throw new ArgumentError(
      "histogram({ min, max, step })",
      `expected whole numbers with 1 to 1024 steps between min and max, got ${min}, ${max}, ${step}`,
    );
  }
  return { scale: "linear", min: min ?? 0, max: max as number, step: step ?? 1 };
}

/** Network devices by index, to redirect packets to. Kernel 4.14+. */
export function devmap(options: MapOptions = {}): RedirectMap<U32> {
  return map("devmap", options, { key: u32, value: u32 }, { devmap }) as RedirectMap<U32>;
}
/** Network devices by key. Kernel 5.4+. */
export function devmapHash(options: MapOptions = {}): RedirectMap<U32> {
  return map("devmap_hash", options, { key: u32, value: u32 }, { devmapHash }) as RedirectMap<U32>;
}
/** CPUs by index, to hand packets to. Kernel 4.15+. */
export function cpumap(options: MapOptions = {}): RedirectMap<U32> {
  return map("cpumap", options, { key: u32, value: u32 }, { cpumap }) as RedirectMap<U32>;
}
/** AF_XDP sockets by queue. Kernel 4.18+. */
export function xskmap(options: MapOptions = {}): RedirectMap<U32> {
  return map("xskmap", options, { key: u32, value: u32 }, { xskmap }) as RedirectMap<U32>;
}
/** Sockets by index. Kernel 4.14+. */
export function sockmap(options: MapOptions = {}): SockMap<U32> {
  return map("sockmap", options, { key: u32, value: u32 }, { sockmap }) as SockMap<U32>;
}
/** Sockets by key. Kernel 4.18+. */
export function sockhash<K extends Schema>(key: K, options: MapOptions = {}): SockMap<K> {
  return map("sockhash", options, { key, value: u32 }, { sockhash }) as SockMap<K>;
}
/** Cgroups by index. Kernel 4.8+. */
export function cgroupArray(options: MapOptions = {}): CgroupArray {
  return map("cgroup_array", options, { key: u32, value: u32 }, { cgroupArray }) as CgroupArray;
}
/** Listening sockets of a SO_REUSEPORT group. Kernel 4.19+. */
export function reuseportSockarray(options: MapOptions = {}): ReuseportSockArray {
  return map("reuseport_sockarray", options, { key: u32, value: u64 }, { reuseportSockarray }) as ReuseportSockArray;
}
/** Memory shared with user space, `pages` pages of it. Kernel 6.9+. */
export function arena(pages: number, options: Omit<MapOptions, "maxEntries"> = {}): Arena {
  return map("arena", options, { entries: pages, flags: MMAPABLE }, { arena }) as Arena;
}
