/**
 * Map types: `enum bpf_map_type`. Ids from include/uapi/linux/bpf.h of 6.18 (INSN_ARRAY:
 * 6.19); `since` is the release whose bpf.h first has the name.
 */

/** `BPF_MAP_TYPE_*` without the prefix, by name. */
export const BPF_MAP_TYPE = {
  UNSPEC: 0,
  HASH: 1,
  ARRAY: 2,
  PROG_ARRAY: 3,
  PERF_EVENT_ARRAY: 4,
  PERCPU_HASH: 5,
  PERCPU_ARRAY: 6,
  STACK_TRACE: 7,
  CGROUP_ARRAY: 8,
  LRU_HASH: 9,
  LRU_PERCPU_HASH: 10,
  LPM_TRIE: 11,
  ARRAY_OF_MAPS: 12,
  HASH_OF_MAPS: 13,
  DEVMAP: 14,
  SOCKMAP: 15,
  CPUMAP: 16,
  XSKMAP: 17,
  SOCKHASH: 18,
  CGROUP_STORAGE: 19,
  REUSEPORT_SOCKARRAY: 20,
  PERCPU_CGROUP_STORAGE: 21,
  QUEUE: 22,
  STACK: 23,
  SK_STORAGE: 24,
  DEVMAP_HASH: 25,
  STRUCT_OPS: 26,
  RINGBUF: 27,
  INODE_STORAGE: 28,
  TASK_STORAGE: 29,
  BLOOM_FILTER: 30,
  USER_RINGBUF: 31,
  CGRP_STORAGE: 32,
  ARENA: 33,
  INSN_ARRAY: 34,
} as const;

export type MapTypeName = keyof typeof BPF_MAP_TYPE;

/** One map type. `since` is a kernel release such as "5.8". */
export interface MapTypeRow {
  readonly id: number;
  readonly name: MapTypeName;
  readonly since: string;
}

/** Every map type, by id. */
export const MAP_TYPES: readonly MapTypeRow[] = [
  { id: 0, name: "UNSPEC", since: "3.18" },
  { id: 1, name: "HASH", since: "3.19" },
  { id: 2, name: "ARRAY", since: "3.19" },
  { id: 3, name: "PROG_ARRAY", since: "4.2" },
  { id: 4, name: "PERF_EVENT_ARRAY", since: "4.3" },
  { id: 5, name: "PERCPU_HASH", since: "4.6" },
  { id: 6, name: "PERCPU_ARRAY", since: "4.6" },
  { id: 7, name: "STACK_TRACE", since: "4.6" },
  { id: 8, name: "CGROUP_ARRAY", since: "4.8" },
  { id: 9, name: "LRU_HASH", since: "4.10" },
  { id: 10, name: "LRU_PERCPU_HASH", since: "4.10" },
  { id: 11, name: "LPM_TRIE", since: "4.11" },
  { id: 12, name: "ARRAY_OF_MAPS", since: "4.12" },
  { id: 13, name: "HASH_OF_MAPS", since: "4.12" },
  { id: 14, name: "DEVMAP", since: "4.14" },
  { id: 15, name: "SOCKMAP", since: "4.14" },
  { id: 16, name: "CPUMAP", since: "4.15" },
  { id: 17, name: "XSKMAP", since: "4.18" },
  { id: 18, name: "SOCKHASH", since: "4.18" },
  { id: 19, name: "CGROUP_STORAGE", since: "4.19" },
  { id: 20, name: "REUSEPORT_SOCKARRAY", since: "4.19" },
  { id: 21, name: "PERCPU_CGROUP_STORAGE", since: "4.20" },
  { id: 22, name: "QUEUE", since: "4.20" },
  { id: 23, name: "STACK", since: "4.20" },
  { id: 24, name: "SK_STORAGE", since: "5.2" },
  { id: 25, name: "DEVMAP_HASH", since: "5.4" },
  { id: 26, name: "STRUCT_OPS", since: "5.6" },
  { id: 27, name: "RINGBUF", since: "5.8" },
  { id: 28, name: "INODE_STORAGE", since: "5.10" },
  { id: 29, name: "TASK_STORAGE", since: "5.11" },
  { id: 30, name: "BLOOM_FILTER", since: "5.16" },
  { id: 31, name: "USER_RINGBUF", since: "6.1" },
  { id: 32, name: "CGRP_STORAGE", since: "6.2" },
  { id: 33, name: "ARENA", since: "6.9" },
  { id: 34, name: "INSN_ARRAY", since: "6.19" },
];

/** Name of map type `id` without its prefix ("HASH"), or undefined when there is none. */
export function mapTypeName(id: number): MapTypeName | undefined {
  return MAP_TYPES[id]?.name;
}
