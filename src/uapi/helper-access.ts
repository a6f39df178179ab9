/**
 * What `progs` of a helper row cannot say: helpers that depend on the attach type, and program types
 * that got a helper later than the helper came. Measured by loading a program per helper, program type and attach type on 6.1
 * and 6.12 (Debian) and 6.18; conditions read in kernel/bpf/bpf_lsm.c, cgroup.c, kernel/trace/bpf_trace.c and
 * net/core/filter.c. Exact releases: "allow some trace helpers for all prog types" (6.16),
 * "allow helper bpf_get_[ns_]current_pid_tgid() for all prog types" (6.10), bpf_get_netns_cookie for skb programs (6.15).
 */
import { BPF_FUNC, helperById, type HelperName } from "./helpers.ts";
import type { AttachTypeName } from "./attach-types.ts";
import type { HelperArg, HelperLater, HelperLimit, HelperRet, HelperRow } from "./helper-types.ts";
import type { ProgTypeName } from "./prog-types.ts";

/** Attach types with which a program type may call a helper; a pair without a row may with all. */
export const HELPER_LIMITS: readonly HelperLimit[] = [
  { helper: "bind", progType: "CGROUP_SOCK_ADDR", attachTypes: ["CGROUP_INET4_CONNECT", "CGROUP_INET6_CONNECT"] },
  { helper: "setsockopt", progType: "CGROUP_SOCKOPT", attachTypes: ["CGROUP_SETSOCKOPT"] },
  { helper: "getsockopt", progType: "CGROUP_SOCKOPT", attachTypes: ["CGROUP_SETSOCKOPT"] },
  { helper: "setsockopt", progType: "TRACING", attachTypes: ["TRACE_ITER"], note: "iterators over sockets: tcp, unix" },
  { helper: "getsockopt", progType: "TRACING", attachTypes: ["TRACE_ITER"], note: "iterators over sockets: tcp, unix" },
  { helper: "setsockopt", progType: "LSM", attachTypes: ["LSM_CGROUP"], note: "hooks whose argument is a locked or unlocked socket: socket_post_create, inet_conn_established, …" },
  { helper: "getsockopt", progType: "LSM", attachTypes: ["LSM_CGROUP"], note: "hooks whose argument is a locked or unlocked socket: socket_post_create, inet_conn_established, …" },
  { helper: "get_local_storage", progType: "LSM", attachTypes: ["LSM_CGROUP"] },
  { helper: "get_retval", progType: "LSM", attachTypes: ["LSM_CGROUP"] },
  { helper: "set_retval", progType: "LSM", attachTypes: ["LSM_CGROUP"] },
  { helper: "seq_printf", progType: "TRACING", attachTypes: ["TRACE_ITER"] },
  { helper: "seq_write", progType: "TRACING", attachTypes: ["TRACE_ITER"] },
  { helper: "seq_printf_btf", progType: "TRACING", attachTypes: ["TRACE_ITER"] },
  { helper: "get_attach_cookie", progType: "TRACING", attachTypes: ["TRACE_RAW_TP", "TRACE_FENTRY", "TRACE_FEXIT", "MODIFY_RETURN"] },
  { helper: "get_attach_cookie", progType: "LSM", attachTypes: ["LSM_MAC"] },
  { helper: "get_func_arg", progType: "TRACING", attachTypes: ["TRACE_FENTRY", "TRACE_FEXIT", "MODIFY_RETURN"], note: "the program runs on a trampoline" },
  { helper: "get_func_arg", progType: "LSM", attachTypes: ["LSM_MAC"], note: "the program runs on a trampoline" },
  { helper: "get_func_ret", progType: "TRACING", attachTypes: ["TRACE_FENTRY", "TRACE_FEXIT", "MODIFY_RETURN"], note: "the program runs on a trampoline" },
  { helper: "get_func_ret", progType: "LSM", attachTypes: ["LSM_MAC"], note: "the program runs on a trampoline" },
  { helper: "get_func_arg_cnt", progType: "TRACING", attachTypes: ["TRACE_FENTRY", "TRACE_FEXIT", "MODIFY_RETURN"], note: "the program runs on a trampoline" },
  { helper: "get_func_arg_cnt", progType: "LSM", attachTypes: ["LSM_MAC"], note: "the program runs on a trampoline" },
  { helper: "get_func_ip", progType: "TRACING", attachTypes: ["TRACE_FENTRY", "TRACE_FEXIT", "MODIFY_RETURN"], note: "asked after the prototype (verifier.c: check_get_func_ip)" },
  { helper: "get_retval", progType: "CGROUP_SOCK_ADDR", attachTypes: ["CGROUP_INET4_BIND", "CGROUP_INET6_BIND", "CGROUP_INET4_CONNECT", "CGROUP_INET6_CONNECT", "CGROUP_UDP4_SENDMSG", "CGROUP_UDP6_SENDMSG", "CGROUP_UNIX_CONNECT", "CGROUP_UNIX_SENDMSG"] },
  { helper: "set_retval", progType: "CGROUP_SOCK_ADDR", attachTypes: ["CGROUP_INET4_BIND", "CGROUP_INET6_BIND", "CGROUP_INET4_CONNECT", "CGROUP_INET6_CONNECT", "CGROUP_UDP4_SENDMSG", "CGROUP_UDP6_SENDMSG", "CGROUP_UNIX_CONNECT", "CGROUP_UNIX_SENDMSG"] },
];

/** Program types that got a helper later than `HelperRow.since` and their own. */
export const HELPER_LATER: readonly HelperLater[] = [
  { helper: "get_current_pid_tgid", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "STRUCT_OPS", "SK_LOOKUP"], since: "6.10", exact: true },
  { helper: "get_current_uid_gid", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "get_current_comm", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "SK_MSG", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "get_cgroup_classid", progTypes: ["SOCKET_FILTER", "KPROBE", "TRACEPOINT", "XDP", "PERF_EVENT", "CGROUP_SKB", "SOCK_OPS", "SK_SKB", "RAW_TRACEPOINT", "SK_REUSEPORT", "FLOW_DISSECTOR", "RAW_TRACEPOINT_WRITABLE", "STRUCT_OPS", "SK_LOOKUP", "SYSCALL", "NETFILTER", "TRACING", "LSM"], since: "6.16", exact: true },
  { helper: "perf_event_read", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "current_task_under_cgroup", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "SK_MSG", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "current_task_under_cgroup", progTypes: ["CGROUP_SOCK", "CGROUP_DEVICE", "CGROUP_SOCK_ADDR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT"], since: "6.12", exact: false },
  { helper: "skb_pull_data", progTypes: ["LWT_SEG6LOCAL"], since: "6.18", exact: false },
  { helper: "perf_event_read_value", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "get_current_cgroup_id", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "STRUCT_OPS", "SK_LOOKUP"], since: "6.10", exact: true },
  { helper: "send_signal", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "send_signal_thread", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "get_ns_current_pid_tgid", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP"], since: "6.10", exact: true },
  { helper: "get_netns_cookie", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "CGROUP_SKB"], since: "6.15", exact: true },
  { helper: "get_current_ancestor_cgroup_id", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "STRUCT_OPS", "SK_LOOKUP"], since: "6.10", exact: true },
  { helper: "get_task_stack", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "copy_from_user", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "task_storage_get", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "task_storage_delete", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "get_attach_cookie", progTypes: ["RAW_TRACEPOINT", "RAW_TRACEPOINT_WRITABLE"], since: "6.10", exact: true },
  { helper: "get_branch_snapshot", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "find_vma", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "copy_from_user_task", progTypes: ["SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT", "XDP", "CGROUP_SKB", "CGROUP_SOCK", "LWT_IN", "LWT_OUT", "LWT_XMIT", "SOCK_OPS", "SK_SKB", "CGROUP_DEVICE", "SK_MSG", "CGROUP_SOCK_ADDR", "LWT_SEG6LOCAL", "SK_REUSEPORT", "FLOW_DISSECTOR", "CGROUP_SYSCTL", "CGROUP_SOCKOPT", "STRUCT_OPS", "SK_LOOKUP", "NETFILTER"], since: "6.16", exact: true },
  { helper: "setsockopt", progTypes: ["CGROUP_SOCK_ADDR"], attachTypes: ["CGROUP_UNIX_GETPEERNAME", "CGROUP_UNIX_GETSOCKNAME"], since: "6.18", exact: false },
  { helper: "getsockopt", progTypes: ["CGROUP_SOCK_ADDR"], attachTypes: ["CGROUP_UNIX_GETPEERNAME", "CGROUP_UNIX_GETSOCKNAME"], since: "6.18", exact: false },
  { helper: "get_attach_cookie", progTypes: ["TRACING"], attachTypes: ["TRACE_RAW_TP"], since: "6.10", exact: true },
];

/** The row of the helper called `name`, with or without `bpf_`; undefined when there is none. */
export function helperByName(name: string): HelperRow | undefined {
  const plain = Object.hasOwn(BPF_FUNC, name) || !name.startsWith("bpf_") ? name : name.slice(4);
  return Object.hasOwn(BPF_FUNC, plain) ? helperById(BPF_FUNC[plain as HelperName]) : undefined;
}

/**
 * True when a program of this type (and, when given, expected attach type) may call the helper on 6.18.
 *
 * @example
 * import { helperAllowed, helperByName } from "bpfkit/uapi";
 * helperAllowed(helperByName("xdp_adjust_head")!, "XDP"); // true
 */
export function helperAllowed(helper: HelperRow, progType: ProgTypeName, attachType?: AttachTypeName): boolean {
  if (!helper.progs.includes(progType)) return false;
  if (attachType === undefined) return true;
  const limit = HELPER_LIMITS.find((row) => row.helper === helper.name && row.progType === progType);
  return limit === undefined || limit.attachTypes.includes(attachType);
}

/** Release from which programs of this type (and expected attach type) may call the helper, if they may at all; not before the type's own. */
export function helperSince(helper: HelperRow, progType: ProgTypeName, attachType?: AttachTypeName): string {
  const later = HELPER_LATER.find(
    (row) =>
      row.helper === helper.name &&
      row.progTypes.includes(progType) &&
      (row.attachTypes === undefined || (attachType !== undefined && row.attachTypes.includes(attachType))),
  );
  return later?.since ?? helper.since;
}

/** A helper's prototype as one kind of program sees it. */
export interface HelperProto {
  readonly ret: HelperRet;
  readonly args: readonly HelperArg[];
  readonly gpl: boolean;
  readonly pktAccess: boolean;
}

/** The prototype of `helper` in programs of this type and expected attach type. */
export function helperProto(helper: HelperRow, progType: ProgTypeName, attachType?: AttachTypeName): HelperProto {
  const variant = helper.variants?.find(
    (row) =>
      row.progTypes.includes(progType) &&
      (row.attachTypes === undefined || (attachType !== undefined && row.attachTypes.includes(attachType))),
  );
  return {
    ret: variant?.ret ?? helper.ret,
    args: variant?.args ?? helper.args,
    gpl: variant?.gpl ?? helper.gpl ?? false,
    pktAccess: variant?.pktAccess ?? helper.pktAccess ?? false,
  };
}
