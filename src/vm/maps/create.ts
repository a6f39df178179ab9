/** A map of the VM from its spec. */
import { ArgumentError, NotSupportedError } from "../../core/errors.ts";
import type { MapSpec } from "../../elf/spec.ts";
import { BPF_MAP_TYPE, MAP_TYPES, type MapTypeName, mapRules } from "../../uapi/index.ts";
import { ArenaMap } from "./arena.ts";
import { ArrayMap, ArrayOfMaps, PerCpuArrayMap } from "./array.ts";
import { CgroupStorageMap, ReferenceMap } from "./cgroup.ts";
import { HashMap, PerCpuHashMap } from "./hash.ts";
import { LpmTrieMap } from "./lpm.ts";
import { LruHashMap, LruPerCpuHashMap } from "./lru.ts";
import type { MapHost, VmMap } from "./map.ts";
import { HashOfMaps, PerfEventArrayMap, ProgArrayMap, RedirectMap, StackTraceMap, StorageMap } from "./objects.ts";
import { BloomFilterMap, QueueStackMap } from "./queue.ts";
import { RingBufMap } from "./ringbuf.ts";
import { UserRingBufMap } from "./user-ringbuf.ts";

type Make = (host: MapHost, spec: MapSpec, id: number) => VmMap;

const MAKE: Partial<Record<MapTypeName, Make>> = {
  HASH: (h, s, i) => new HashMap(h, s, i),
  ARRAY: (h, s, i) => new ArrayMap(h, s, i),
  PROG_ARRAY: (h, s, i) => new ProgArrayMap(h, s, i),
  PERF_EVENT_ARRAY: (h, s, i) => new PerfEventArrayMap(h, s, i),
  PERCPU_HASH: (h, s, i) => new PerCpuHashMap(h, s, i),
  PERCPU_ARRAY: (h, s, i) => new PerCpuArrayMap(h, s, i),
  STACK_TRACE: (h, s, i) => new StackTraceMap(h, s, i),
  LRU_HASH: (h, s, i) => new LruHashMap(h, s, i),
  LRU_PERCPU_HASH: (h, s, i) => new LruPerCpuHashMap(h, s, i),
  LPM_TRIE: (h, s, i) => new LpmTrieMap(h, s, i),
  ARRAY_OF_MAPS: (h, s, i) => new ArrayOfMaps(h, s, i),
  HASH_OF_MAPS: (h, s, i) => new HashOfMaps(h, s, i),
  DEVMAP: (h, s, i) => new RedirectMap(h, s, i),
  CPUMAP: (h, s, i) => new RedirectMap(h, s, i),
  DEVMAP_HASH: (h, s, i) => new HashMap(h, s, i),
  XSKMAP: (h, s, i) => new RedirectMap(h, s, i),
  QUEUE: (h, s, i) => new QueueStackMap(h, s, i, false),
  STACK: (h, s, i) => new QueueStackMap(h, s, i, true),
  SK_STORAGE: (h, s, i) => new StorageMap(h, s, i),
  RINGBUF: (h, s, i) => new RingBufMap(h, s, i),
  INODE_STORAGE: (h, s, i) => new StorageMap(h, s, i),
  TASK_STORAGE: (h, s, i) => new StorageMap(h, s, i),
  BLOOM_FILTER: (h, s, i) => new BloomFilterMap(h, s, i),
  CGRP_STORAGE: (h, s, i) => new StorageMap(h, s, i),
  CGROUP_ARRAY: (h, s, i) => new ReferenceMap(h, s, i),
  SOCKMAP: (h, s, i) => new ReferenceMap(h, s, i),
  SOCKHASH: (h, s, i) => new HashMap(h, s, i),
  CGROUP_STORAGE: (h, s, i) => new CgroupStorageMap(h, s, i, false),
  PERCPU_CGROUP_STORAGE: (h, s, i) => new CgroupStorageMap(h, s, i, true),
  REUSEPORT_SOCKARRAY: (h, s, i) => new ReferenceMap(h, s, i),
  USER_RINGBUF: (h, s, i) => new UserRingBufMap(h, s, i),
  ARENA: (h, s, i) => new ArenaMap(h, s, i),
};
const STORAGES: readonly number[] = [
  BPF_MAP_TYPE.SK_STORAGE,
  BPF_MAP_TYPE.INODE_STORAGE,
  BPF_MAP_TYPE.TASK_STORAGE,
  BPF_MAP_TYPE.CGRP_STORAGE,
];

const RINGS: readonly number[] = [BPF_MAP_TYPE.RINGBUF, BPF_MAP_TYPE.USER_RINGBUF];
/** Loaders round the size of a ring up to a power of two of pages. */
function ringSize(wanted: number): number {
  let size = 4096;
  while (size < wanted) size *= 2;
  return size;
}

/**
 * @throws NotSupportedError for a type that is not modelled, by its name
 * @throws ArgumentError for sizes that the kernel refuses
 */
export function createVmMap(host: MapHost, given: MapSpec, id: number): VmMap {
  const spec = RINGS.includes(given.type) ? { ...given, maxEntries: ringSize(given.maxEntries) } : given;
  const name = MAP_TYPES.find((row) => row.id === spec.type)?.name;
  const make = name === undefined ? undefined : MAKE[name];
  if (name === undefined || make === undefined) {
    throw new NotSupportedError(
      `map type ${name ?? spec.type}`,
      `map ${spec.name}: maps of type ${name ?? spec.type} are not modelled in the VM`,
    );
  }
  const rules = mapRules(name);
  const sized = (field: "keySize" | "valueSize" | "maxEntries", rule: unknown): void => {
    const value = spec[field];
    const ok =
      rule === "any"
        ? value >= 1
        : rule === "5 to 260"
          ? value >= 5 && value <= 260
          : rule === "4 or 8"
            ? value === 4 || value === 8
            : rule === "multiple of 8"
              ? value >= 8 && value % 8 === 0
              : typeof rule === "number"
                ? value === rule
                : true;
    if (!ok || !Number.isInteger(value) || value > 0xffff_ffff) {
      throw new ArgumentError(field, `map ${spec.name} of type ${name}: expected ${String(rule)}, got ${value}`);
    }
  };
  if (rules !== undefined) {
    sized("keySize", rules.keySize);
    if (name !== "ARRAY_OF_MAPS" && name !== "HASH_OF_MAPS") sized("valueSize", rules.valueSize);
    if (name !== "PERF_EVENT_ARRAY" && !STORAGES.includes(spec.type)) sized("maxEntries", rules.maxEntries);
  }
  return make(host, spec, id);
}
