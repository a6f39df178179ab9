/**
 * What each map type asks of its creator and which helpers take it. Sizes in bytes. Flags and sizes: asked of a
 * running 6.18 with MAP_CREATE. Helpers: check_map_func_compatibility of kernel/bpf/verifier.c (6.12), asked of 6.18 too. STRUCT_OPS
 * has no row: its sizes are those of the kernel's struct, and no helper takes it. Kfuncs are not listed.
 */
import type { FlagName } from "./flags.ts";
import type { HelperName } from "./helpers.ts";
import type { MapTypeName } from "./map-types.ts";

/**
 * A size or count: "any" is 1 and more (array-like types have a key of 4 bytes, an index), a number just that. "power-of-two pages": bytes, a
 * power of two and a multiple of the page size. LPM_TRIE keys: a u32 prefix length and 1 to 256 bytes of data.
 */
export type MapSizeRule = "any" | "4 or 8" | "8 or 16" | "5 to 260" | "multiple of 8" | "power-of-two pages" | number;

export interface MapRuleRow {
  readonly mapType: MapTypeName;
  readonly keySize: MapSizeRule;
  /** Of the storage types: any size that BTF describes; map-in-map: the fd of an inner map. */
  readonly valueSize: MapSizeRule;
  readonly maxEntries: MapSizeRule;
  /** map_flags it accepts, without `BPF_F_`. */
  readonly flags: readonly FlagName[];
  /** map_flags it does not do without. */
  readonly required?: readonly FlagName[];
  /** Helpers that take such a map in a program. */
  readonly helpers: readonly HelperName[];
}

export const MAP_RULES: readonly MapRuleRow[] = [
  { mapType: "HASH", keySize: "any", valueSize: "any", maxEntries: "any", flags: ["NO_PREALLOC", "NUMA_NODE", "RDONLY", "WRONLY", "ZERO_SEED", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["map_lookup_elem", "map_update_elem", "map_delete_elem", "for_each_map_elem"] },
  { mapType: "ARRAY", keySize: 4, valueSize: "any", maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY", "RDONLY_PROG", "WRONLY_PROG", "MMAPABLE", "INNER_MAP"], helpers: ["map_lookup_elem", "map_update_elem", "map_delete_elem", "for_each_map_elem"] },
  { mapType: "PROG_ARRAY", keySize: 4, valueSize: 4, maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY"], helpers: ["tail_call"] },
  { mapType: "PERF_EVENT_ARRAY", keySize: 4, valueSize: 4, maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY", "PRESERVE_ELEMS"], helpers: ["perf_event_read", "perf_event_output", "perf_event_read_value", "skb_output", "xdp_output"] },
  { mapType: "PERCPU_HASH", keySize: "any", valueSize: "any", maxEntries: "any", flags: ["NO_PREALLOC", "RDONLY", "WRONLY", "ZERO_SEED", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["map_lookup_elem", "map_update_elem", "map_delete_elem", "for_each_map_elem", "map_lookup_percpu_elem"] },
  { mapType: "PERCPU_ARRAY", keySize: 4, valueSize: "any", maxEntries: "any", flags: ["RDONLY", "WRONLY", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["map_lookup_elem", "map_update_elem", "map_delete_elem", "for_each_map_elem", "map_lookup_percpu_elem"] },
  { mapType: "STACK_TRACE", keySize: 4, valueSize: "multiple of 8", maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY"], helpers: ["get_stackid"] },
  { mapType: "CGROUP_ARRAY", keySize: 4, valueSize: 4, maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY"], helpers: ["skb_under_cgroup", "current_task_under_cgroup"] },
  { mapType: "LRU_HASH", keySize: "any", valueSize: "any", maxEntries: "any", flags: ["NO_COMMON_LRU", "NUMA_NODE", "RDONLY", "WRONLY", "ZERO_SEED", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["map_lookup_elem", "map_update_elem", "map_delete_elem", "for_each_map_elem"] },
  { mapType: "LRU_PERCPU_HASH", keySize: "any", valueSize: "any", maxEntries: "any", flags: ["NO_COMMON_LRU", "RDONLY", "WRONLY", "ZERO_SEED", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["map_lookup_elem", "map_update_elem", "map_delete_elem", "for_each_map_elem", "map_lookup_percpu_elem"] },
  { mapType: "LPM_TRIE", keySize: "5 to 260", valueSize: "any", maxEntries: "any", flags: ["NO_PREALLOC", "NUMA_NODE", "RDONLY", "WRONLY", "RDONLY_PROG", "WRONLY_PROG"], required: ["NO_PREALLOC"], helpers: ["map_lookup_elem", "map_update_elem", "map_delete_elem"] },
  { mapType: "ARRAY_OF_MAPS", keySize: 4, valueSize: 4, maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY"], helpers: ["map_lookup_elem"] },
  { mapType: "HASH_OF_MAPS", keySize: "any", valueSize: 4, maxEntries: "any", flags: ["NO_PREALLOC", "NUMA_NODE", "RDONLY", "WRONLY", "ZERO_SEED", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["map_lookup_elem"] },
  { mapType: "DEVMAP", keySize: 4, valueSize: "4 or 8", maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY"], helpers: ["redirect_map", "map_lookup_elem"] },
  { mapType: "SOCKMAP", keySize: 4, valueSize: "4 or 8", maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY"], helpers: ["sk_redirect_map", "sock_map_update", "msg_redirect_map", "sk_select_reuseport", "map_lookup_elem", "map_update_elem", "map_delete_elem"] },
  { mapType: "CPUMAP", keySize: 4, valueSize: "4 or 8", maxEntries: "any", flags: ["NUMA_NODE"], helpers: ["redirect_map"] },
  { mapType: "XSKMAP", keySize: 4, valueSize: 4, maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY"], helpers: ["redirect_map", "map_lookup_elem"] },
  { mapType: "SOCKHASH", keySize: "any", valueSize: "4 or 8", maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY"], helpers: ["sk_redirect_hash", "sock_hash_update", "msg_redirect_hash", "sk_select_reuseport", "map_lookup_elem", "map_update_elem", "map_delete_elem"] },
  { mapType: "CGROUP_STORAGE", keySize: "8 or 16", valueSize: "any", maxEntries: 0, flags: ["NUMA_NODE", "RDONLY", "WRONLY", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["get_local_storage"] },
  { mapType: "REUSEPORT_SOCKARRAY", keySize: 4, valueSize: "4 or 8", maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["sk_select_reuseport"] },
  { mapType: "PERCPU_CGROUP_STORAGE", keySize: "8 or 16", valueSize: "any", maxEntries: 0, flags: ["NUMA_NODE", "RDONLY", "WRONLY", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["get_local_storage"] },
  { mapType: "QUEUE", keySize: 0, valueSize: "any", maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["map_push_elem", "map_pop_elem", "map_peek_elem"] },
  { mapType: "STACK", keySize: 0, valueSize: "any", maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["map_push_elem", "map_pop_elem", "map_peek_elem"] },
  { mapType: "SK_STORAGE", keySize: 4, valueSize: "any", maxEntries: 0, flags: ["NO_PREALLOC", "CLONE"], required: ["NO_PREALLOC"], helpers: ["sk_storage_get", "sk_storage_delete"] },
  { mapType: "DEVMAP_HASH", keySize: 4, valueSize: "4 or 8", maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY"], helpers: ["redirect_map", "map_lookup_elem"] },
  { mapType: "RINGBUF", keySize: 0, valueSize: 0, maxEntries: "power-of-two pages", flags: ["NUMA_NODE"], helpers: ["ringbuf_output", "ringbuf_reserve", "ringbuf_query", "ringbuf_reserve_dynptr"] },
  { mapType: "INODE_STORAGE", keySize: 4, valueSize: "any", maxEntries: 0, flags: ["NO_PREALLOC", "CLONE"], required: ["NO_PREALLOC"], helpers: ["inode_storage_get", "inode_storage_delete"] },
  { mapType: "TASK_STORAGE", keySize: 4, valueSize: "any", maxEntries: 0, flags: ["NO_PREALLOC", "CLONE"], required: ["NO_PREALLOC"], helpers: ["task_storage_get", "task_storage_delete"] },
  { mapType: "BLOOM_FILTER", keySize: 0, valueSize: "any", maxEntries: "any", flags: ["NUMA_NODE", "RDONLY", "WRONLY", "ZERO_SEED", "RDONLY_PROG", "WRONLY_PROG"], helpers: ["map_push_elem", "map_peek_elem"] },
  { mapType: "USER_RINGBUF", keySize: 0, valueSize: 0, maxEntries: "power-of-two pages", flags: ["NUMA_NODE"], helpers: ["user_ringbuf_drain"] },
  { mapType: "CGRP_STORAGE", keySize: 4, valueSize: "any", maxEntries: 0, flags: ["NO_PREALLOC", "CLONE"], required: ["NO_PREALLOC"], helpers: ["cgrp_storage_get", "cgrp_storage_delete"] },
  { mapType: "ARENA", keySize: 0, valueSize: 0, maxEntries: "any", flags: ["MMAPABLE", "SEGV_ON_FAULT", "NO_USER_CONV"], required: ["MMAPABLE"], helpers: [] },
];

/** The rules of a map type; undefined for UNSPEC, STRUCT_OPS and types newer than 6.18. */
export function mapRules(mapType: MapTypeName): MapRuleRow | undefined {
  return MAP_RULES.find((row) => row.mapType === mapType);
}
