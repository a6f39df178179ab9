/**
 * Capabilities and what needs them. Numbers: include/uapi/linux/capability.h. Who needs what: kernel/bpf/syscall.c
 * (is_net_admin_prog_type, is_perfmon_prog_type, map_create, bpf_prog_load, the *_BY_ID and GET_NEXT_ID commands), kernel/bpf/token.c
 * (CAP_SYS_ADMIN stands for every other one) and kernel/events/core.c of 6.12.
 */
import { PROG_TYPES } from "./prog-types.ts";
import type { MapTypeName } from "./map-types.ts";
import type { ProgTypeName } from "./prog-types.ts";

/** Capability numbers by name. */
export const CAP = {
  NET_ADMIN: 12,
  SYS_PTRACE: 19,
  SYS_ADMIN: 21,
  SYS_BOOT: 22,
  SYS_RESOURCE: 24,
  PERFMON: 38,
  BPF: 39,
} as const;

export type CapabilityName = keyof typeof CAP;

/** One capability. Before `since`, CAP_SYS_ADMIN was needed in its place. */
export interface CapabilityRow {
  readonly name: CapabilityName;
  readonly number: number;
  readonly since: string;
  /** What needs it, in BPF and perf. */
  readonly needs: readonly string[];
}

export const CAPABILITIES: readonly CapabilityRow[] = [
  { name: "NET_ADMIN", number: 12, since: "2.2", needs: ["loading network and cgroup program types", "attaching to network devices, cgroups and sockets", "maps of type DEVMAP, DEVMAP_HASH, XSKMAP, SOCKMAP, SOCKHASH"] },
  { name: "SYS_PTRACE", number: 19, since: "2.2", needs: ["perf events and uprobes on tasks of another user"] },
  { name: "SYS_ADMIN", number: 21, since: "2.2", needs: ["everything, on kernels without BPF and PERFMON", "*_GET_NEXT_ID and *_GET_FD_BY_ID", "BPF_ENABLE_STATS", "probe_write_user", "mounting bpffs or tracefs", "raising sysctls"] },
  { name: "SYS_BOOT", number: 22, since: "2.2", needs: ["kfuncs marked KF_DESTRUCTIVE"] },
  { name: "SYS_RESOURCE", number: 24, since: "2.2", needs: ["raising RLIMIT_MEMLOCK (kernels before 5.11)"] },
  { name: "PERFMON", number: 38, since: "5.8", needs: ["loading tracing program types", "perf_event_open when kernel.perf_event_paranoid is 2 or more", "reading kernel memory", "pointer arithmetic and leaks the verifier would refuse", "trace_printk"] },
  { name: "BPF", number: 39, since: "5.8", needs: ["loading any program but SOCKET_FILTER and CGROUP_SKB", "most map types", "loading BTF", "bpf-to-bpf calls, bounded loops, kfuncs, 1 million instructions"] },
];

const NET_ADMIN: readonly ProgTypeName[] = ["SCHED_CLS", "SCHED_ACT", "XDP", "LWT_IN", "LWT_OUT", "LWT_XMIT", "LWT_SEG6LOCAL", "SK_SKB", "SK_MSG", "FLOW_DISSECTOR", "CGROUP_DEVICE", "CGROUP_SOCK", "CGROUP_SOCK_ADDR", "CGROUP_SOCKOPT", "CGROUP_SYSCTL", "SOCK_OPS", "EXT", "NETFILTER"];
const PERFMON: readonly ProgTypeName[] = ["KPROBE", "TRACEPOINT", "PERF_EVENT", "RAW_TRACEPOINT", "RAW_TRACEPOINT_WRITABLE", "TRACING", "LSM", "STRUCT_OPS", "EXT"];
const UNPRIVILEGED: readonly ProgTypeName[] = ["SOCKET_FILTER", "CGROUP_SKB"];

/** Capabilities that PROG_LOAD asks for, by program type (none for two types while kernel.unprivileged_bpf_disabled is 0). */
export const PROG_CAPABILITIES: readonly { readonly progType: ProgTypeName; readonly needs: readonly CapabilityName[] }[] = /* @__PURE__ */ (/* @__PURE__ */ PROG_TYPES.filter((row) => row.name !== "UNSPEC")).map(({ name }) => ({
  progType: name,
  needs: [
    ...(UNPRIVILEGED.includes(name) ? [] : (["BPF"] as const)),
    ...(NET_ADMIN.includes(name) ? (["NET_ADMIN"] as const) : []),
    ...(PERFMON.includes(name) ? (["PERFMON"] as const) : []),
  ],
}));

/** Map types that need more than nothing; the others are open to all while kernel.unprivileged_bpf_disabled is 0. */
export const MAP_CAPABILITIES: readonly { readonly mapTypes: readonly MapTypeName[]; readonly needs: CapabilityName }[] = [
  { mapTypes: ["SK_STORAGE", "INODE_STORAGE", "TASK_STORAGE", "CGRP_STORAGE", "BLOOM_FILTER", "LPM_TRIE", "REUSEPORT_SOCKARRAY", "STACK_TRACE", "QUEUE", "STACK", "LRU_HASH", "LRU_PERCPU_HASH", "STRUCT_OPS", "CPUMAP", "ARENA"], needs: "BPF" },
  { mapTypes: ["SOCKMAP", "SOCKHASH", "DEVMAP", "DEVMAP_HASH", "XSKMAP"], needs: "NET_ADMIN" },
];
