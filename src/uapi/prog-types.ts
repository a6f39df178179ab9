/**
 * Program types: `enum bpf_prog_type`. Ids from include/uapi/linux/bpf.h of 6.18;
 * `since` is the release whose bpf.h first has the name (git history of that file).
 */

/** `BPF_PROG_TYPE_*` without the prefix, by name. */
export const BPF_PROG_TYPE = {
  UNSPEC: 0,
  SOCKET_FILTER: 1,
  KPROBE: 2,
  SCHED_CLS: 3,
  SCHED_ACT: 4,
  TRACEPOINT: 5,
  XDP: 6,
  PERF_EVENT: 7,
  CGROUP_SKB: 8,
  CGROUP_SOCK: 9,
  LWT_IN: 10,
  LWT_OUT: 11,
  LWT_XMIT: 12,
  SOCK_OPS: 13,
  SK_SKB: 14,
  CGROUP_DEVICE: 15,
  SK_MSG: 16,
  RAW_TRACEPOINT: 17,
  CGROUP_SOCK_ADDR: 18,
  LWT_SEG6LOCAL: 19,
  LIRC_MODE2: 20,
  SK_REUSEPORT: 21,
  FLOW_DISSECTOR: 22,
  CGROUP_SYSCTL: 23,
  RAW_TRACEPOINT_WRITABLE: 24,
  CGROUP_SOCKOPT: 25,
  TRACING: 26,
  STRUCT_OPS: 27,
  EXT: 28,
  LSM: 29,
  SK_LOOKUP: 30,
  SYSCALL: 31,
  NETFILTER: 32,
} as const;

export type ProgTypeName = keyof typeof BPF_PROG_TYPE;

/** One program type. `since` is a kernel release such as "4.8". */
export interface ProgTypeRow {
  readonly id: number;
  readonly name: ProgTypeName;
  readonly since: string;
}

/** Every program type of 6.18, by id. */
export const PROG_TYPES: readonly ProgTypeRow[] = [
  { id: 0, name: "UNSPEC", since: "3.18" },
  { id: 1, name: "SOCKET_FILTER", since: "3.19" },
  { id: 2, name: "KPROBE", since: "4.1" },
  { id: 3, name: "SCHED_CLS", since: "4.1" },
  { id: 4, name: "SCHED_ACT", since: "4.1" },
  { id: 5, name: "TRACEPOINT", since: "4.7" },
  { id: 6, name: "XDP", since: "4.8" },
  { id: 7, name: "PERF_EVENT", since: "4.9" },
  { id: 8, name: "CGROUP_SKB", since: "4.10" },
  { id: 9, name: "CGROUP_SOCK", since: "4.10" },
  { id: 10, name: "LWT_IN", since: "4.10" },
  { id: 11, name: "LWT_OUT", since: "4.10" },
  { id: 12, name: "LWT_XMIT", since: "4.10" },
  { id: 13, name: "SOCK_OPS", since: "4.13" },
  { id: 14, name: "SK_SKB", since: "4.14" },
  { id: 15, name: "CGROUP_DEVICE", since: "4.15" },
  { id: 16, name: "SK_MSG", since: "4.17" },
  { id: 17, name: "RAW_TRACEPOINT", since: "4.17" },
  { id: 18, name: "CGROUP_SOCK_ADDR", since: "4.17" },
  { id: 19, name: "LWT_SEG6LOCAL", since: "4.18" },
  { id: 20, name: "LIRC_MODE2", since: "4.18" },
  { id: 21, name: "SK_REUSEPORT", since: "4.19" },
  { id: 22, name: "FLOW_DISSECTOR", since: "4.20" },
  { id: 23, name: "CGROUP_SYSCTL", since: "5.2" },
  { id: 24, name: "RAW_TRACEPOINT_WRITABLE", since: "5.2" },
  { id: 25, name: "CGROUP_SOCKOPT", since: "5.3" },
  { id: 26, name: "TRACING", since: "5.5" },
  { id: 27, name: "STRUCT_OPS", since: "5.6" },
  { id: 28, name: "EXT", since: "5.6" },
  { id: 29, name: "LSM", since: "5.7" },
  { id: 30, name: "SK_LOOKUP", since: "5.9" },
  { id: 31, name: "SYSCALL", since: "5.14" },
  { id: 32, name: "NETFILTER", since: "6.4" },
];

/** Name of program type `id` without its prefix ("XDP"), or undefined when 6.18 has none. */
export function progTypeName(id: number): ProgTypeName | undefined {
  return PROG_TYPES[id]?.name;
}
