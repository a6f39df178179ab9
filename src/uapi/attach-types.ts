/**
 * Attach types: `enum bpf_attach_type`. Ids from include/uapi/linux/bpf.h of 6.18;
 * `since` is the release whose bpf.h first has the name; `progTypes` are those that may
 * carry it as expected_attach_type or be attached with it (kernel/bpf/syscall.c:
 * attach_type_to_prog_type, bpf_prog_load_check_attach, bpf_prog_attach_check_attach_type).
 */
import type { ProgTypeName } from "./prog-types.ts";

/** `BPF_*` of `enum bpf_attach_type` without `BPF_`, by name. */
export const BPF_ATTACH_TYPE = {
  CGROUP_INET_INGRESS: 0,
  CGROUP_INET_EGRESS: 1,
  CGROUP_INET_SOCK_CREATE: 2,
  CGROUP_SOCK_OPS: 3,
  SK_SKB_STREAM_PARSER: 4,
  SK_SKB_STREAM_VERDICT: 5,
  CGROUP_DEVICE: 6,
  SK_MSG_VERDICT: 7,
  CGROUP_INET4_BIND: 8,
  CGROUP_INET6_BIND: 9,
  CGROUP_INET4_CONNECT: 10,
  CGROUP_INET6_CONNECT: 11,
  CGROUP_INET4_POST_BIND: 12,
  CGROUP_INET6_POST_BIND: 13,
  CGROUP_UDP4_SENDMSG: 14,
  CGROUP_UDP6_SENDMSG: 15,
  LIRC_MODE2: 16,
  FLOW_DISSECTOR: 17,
  CGROUP_SYSCTL: 18,
  CGROUP_UDP4_RECVMSG: 19,
  CGROUP_UDP6_RECVMSG: 20,
  CGROUP_GETSOCKOPT: 21,
  CGROUP_SETSOCKOPT: 22,
  TRACE_RAW_TP: 23,
  TRACE_FENTRY: 24,
  TRACE_FEXIT: 25,
  MODIFY_RETURN: 26,
  LSM_MAC: 27,
  TRACE_ITER: 28,
  CGROUP_INET4_GETPEERNAME: 29,
  CGROUP_INET6_GETPEERNAME: 30,
  CGROUP_INET4_GETSOCKNAME: 31,
  CGROUP_INET6_GETSOCKNAME: 32,
  XDP_DEVMAP: 33,
  CGROUP_INET_SOCK_RELEASE: 34,
  XDP_CPUMAP: 35,
  SK_LOOKUP: 36,
  XDP: 37,
  SK_SKB_VERDICT: 38,
  SK_REUSEPORT_SELECT: 39,
  SK_REUSEPORT_SELECT_OR_MIGRATE: 40,
  PERF_EVENT: 41,
  TRACE_KPROBE_MULTI: 42,
  LSM_CGROUP: 43,
  STRUCT_OPS: 44,
  NETFILTER: 45,
  TCX_INGRESS: 46,
  TCX_EGRESS: 47,
  TRACE_UPROBE_MULTI: 48,
  CGROUP_UNIX_CONNECT: 49,
  CGROUP_UNIX_SENDMSG: 50,
  CGROUP_UNIX_RECVMSG: 51,
  CGROUP_UNIX_GETPEERNAME: 52,
  CGROUP_UNIX_GETSOCKNAME: 53,
  NETKIT_PRIMARY: 54,
  NETKIT_PEER: 55,
  TRACE_KPROBE_SESSION: 56,
  TRACE_UPROBE_SESSION: 57,
} as const;

export type AttachTypeName = keyof typeof BPF_ATTACH_TYPE;

/** One attach type. `since` is a kernel release such as "5.5". */
export interface AttachTypeRow {
  readonly id: number;
  readonly name: AttachTypeName;
  readonly since: string;
  readonly progTypes: readonly ProgTypeName[];
}

/** Every attach type of 6.18, by id. */
export const ATTACH_TYPES: readonly AttachTypeRow[] = [
  { id: 0, name: "CGROUP_INET_INGRESS", since: "4.10", progTypes: ["CGROUP_SKB"] },
  { id: 1, name: "CGROUP_INET_EGRESS", since: "4.10", progTypes: ["CGROUP_SKB"] },
  { id: 2, name: "CGROUP_INET_SOCK_CREATE", since: "4.10", progTypes: ["CGROUP_SOCK"] },
  { id: 3, name: "CGROUP_SOCK_OPS", since: "4.13", progTypes: ["SOCK_OPS"] },
  { id: 4, name: "SK_SKB_STREAM_PARSER", since: "4.14", progTypes: ["SK_SKB"] },
  { id: 5, name: "SK_SKB_STREAM_VERDICT", since: "4.14", progTypes: ["SK_SKB"] },
  { id: 6, name: "CGROUP_DEVICE", since: "4.15", progTypes: ["CGROUP_DEVICE"] },
  { id: 7, name: "SK_MSG_VERDICT", since: "4.17", progTypes: ["SK_MSG"] },
  { id: 8, name: "CGROUP_INET4_BIND", since: "4.17", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 9, name: "CGROUP_INET6_BIND", since: "4.17", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 10, name: "CGROUP_INET4_CONNECT", since: "4.17", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 11, name: "CGROUP_INET6_CONNECT", since: "4.17", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 12, name: "CGROUP_INET4_POST_BIND", since: "4.17", progTypes: ["CGROUP_SOCK"] },
  { id: 13, name: "CGROUP_INET6_POST_BIND", since: "4.17", progTypes: ["CGROUP_SOCK"] },
  { id: 14, name: "CGROUP_UDP4_SENDMSG", since: "4.18", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 15, name: "CGROUP_UDP6_SENDMSG", since: "4.18", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 16, name: "LIRC_MODE2", since: "4.18", progTypes: ["LIRC_MODE2"] },
  { id: 17, name: "FLOW_DISSECTOR", since: "4.20", progTypes: ["FLOW_DISSECTOR"] },
  { id: 18, name: "CGROUP_SYSCTL", since: "5.2", progTypes: ["CGROUP_SYSCTL"] },
  { id: 19, name: "CGROUP_UDP4_RECVMSG", since: "5.2", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 20, name: "CGROUP_UDP6_RECVMSG", since: "5.2", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 21, name: "CGROUP_GETSOCKOPT", since: "5.3", progTypes: ["CGROUP_SOCKOPT"] },
  { id: 22, name: "CGROUP_SETSOCKOPT", since: "5.3", progTypes: ["CGROUP_SOCKOPT"] },
  { id: 23, name: "TRACE_RAW_TP", since: "5.5", progTypes: ["TRACING"] },
  { id: 24, name: "TRACE_FENTRY", since: "5.5", progTypes: ["TRACING"] },
  { id: 25, name: "TRACE_FEXIT", since: "5.5", progTypes: ["TRACING"] },
  { id: 26, name: "MODIFY_RETURN", since: "5.7", progTypes: ["TRACING"] },
  { id: 27, name: "LSM_MAC", since: "5.7", progTypes: ["LSM"] },
  { id: 28, name: "TRACE_ITER", since: "5.8", progTypes: ["TRACING"] },
  { id: 29, name: "CGROUP_INET4_GETPEERNAME", since: "5.8", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 30, name: "CGROUP_INET6_GETPEERNAME", since: "5.8", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 31, name: "CGROUP_INET4_GETSOCKNAME", since: "5.8", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 32, name: "CGROUP_INET6_GETSOCKNAME", since: "5.8", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 33, name: "XDP_DEVMAP", since: "5.8", progTypes: ["XDP"] },
  { id: 34, name: "CGROUP_INET_SOCK_RELEASE", since: "5.9", progTypes: ["CGROUP_SOCK"] },
  { id: 35, name: "XDP_CPUMAP", since: "5.9", progTypes: ["XDP"] },
  { id: 36, name: "SK_LOOKUP", since: "5.9", progTypes: ["SK_LOOKUP"] },
  { id: 37, name: "XDP", since: "5.9", progTypes: ["XDP"] },
  { id: 38, name: "SK_SKB_VERDICT", since: "5.13", progTypes: ["SK_SKB"] },
  { id: 39, name: "SK_REUSEPORT_SELECT", since: "5.14", progTypes: ["SK_REUSEPORT"] },
  { id: 40, name: "SK_REUSEPORT_SELECT_OR_MIGRATE", since: "5.14", progTypes: ["SK_REUSEPORT"] },
  { id: 41, name: "PERF_EVENT", since: "5.15", progTypes: ["PERF_EVENT", "KPROBE", "TRACEPOINT"] },
  { id: 42, name: "TRACE_KPROBE_MULTI", since: "5.18", progTypes: ["KPROBE"] },
  { id: 43, name: "LSM_CGROUP", since: "6.0", progTypes: ["LSM"] },
  { id: 44, name: "STRUCT_OPS", since: "6.4", progTypes: ["STRUCT_OPS"] },
  { id: 45, name: "NETFILTER", since: "6.4", progTypes: ["NETFILTER"] },
  { id: 46, name: "TCX_INGRESS", since: "6.6", progTypes: ["SCHED_CLS"] },
  { id: 47, name: "TCX_EGRESS", since: "6.6", progTypes: ["SCHED_CLS"] },
  { id: 48, name: "TRACE_UPROBE_MULTI", since: "6.6", progTypes: ["KPROBE"] },
  { id: 49, name: "CGROUP_UNIX_CONNECT", since: "6.7", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 50, name: "CGROUP_UNIX_SENDMSG", since: "6.7", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 51, name: "CGROUP_UNIX_RECVMSG", since: "6.7", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 52, name: "CGROUP_UNIX_GETPEERNAME", since: "6.7", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 53, name: "CGROUP_UNIX_GETSOCKNAME", since: "6.7", progTypes: ["CGROUP_SOCK_ADDR"] },
  { id: 54, name: "NETKIT_PRIMARY", since: "6.7", progTypes: ["SCHED_CLS"] },
  { id: 55, name: "NETKIT_PEER", since: "6.7", progTypes: ["SCHED_CLS"] },
  { id: 56, name: "TRACE_KPROBE_SESSION", since: "6.10", progTypes: ["KPROBE"] },
  { id: 57, name: "TRACE_UPROBE_SESSION", since: "6.13", progTypes: ["KPROBE"] },
];

/** Name of attach type `id` without `BPF_` ("TRACE_RAW_TP"), or undefined when 6.18 has none. */
export function attachTypeName(id: number): AttachTypeName | undefined {
  return ATTACH_TYPES[id]?.name;
}
