/**
 * SEC() names. Rows and matching rules are those of libbpf (tools/lib/bpf/libbpf.c: section_defs,
 * sec_def_matches), in its order, up to 1.8. `since` is the oldest kernel that loads such a program: the latest of
 * program type, attach type (unless optional), sleepable and frags support; rows newer than 6.18 are from libbpf's table alone, their
 * release a lower bound.
 */
import type { AttachTypeName } from "./attach-types.ts";
import type { ProgTypeName } from "./prog-types.ts";

/** How libbpf attaches such a program by itself. */
export type AutoAttach =
  | "iter"
  | "kprobe"
  | "kprobe_multi"
  | "kprobe_session"
  | "ksyscall"
  | "lsm"
  | "raw_tp"
  | "tp"
  | "trace"
  | "tracing_multi"
  | "uprobe"
  | "uprobe_multi"
  | "usdt";

/** One section name. */
export interface SectionRow {
  readonly name: string;
  readonly progType: ProgTypeName;
  /** Expected attach type; absent when the kernel needs none. */
  readonly attachType?: AttachTypeName;
  /** An attach type newer than 6.18, which has no number here. */
  readonly attachTypeLater?: string;
  readonly since: string;
  /** `name/target` is accepted too (libbpf's `+`). */
  readonly target?: boolean;
  /** Attached with PROG_ATTACH or LINK_CREATE (libbpf's SEC_ATTACHABLE). */
  readonly attachable?: boolean;
  /** Old kernels without this attach type load the program without it. */
  readonly attachTypeOptional?: boolean;
  /** Loaded with BPF_F_SLEEPABLE. */
  readonly sleepable?: boolean;
  /** Loaded with BPF_F_XDP_HAS_FRAGS. */
  readonly frags?: boolean;
  readonly usdt?: boolean;
  /** The target is found in BTF and given as attach_btf_id. */
  readonly attachBtf?: boolean;
  readonly auto?: AutoAttach;
}

/** Every SEC() name, in libbpf's order. */
export const SECTIONS: readonly SectionRow[] = [
  { name: "socket", progType: "SOCKET_FILTER", since: "3.19" },
  { name: "sk_reuseport/migrate", progType: "SK_REUSEPORT", attachType: "SK_REUSEPORT_SELECT_OR_MIGRATE", since: "5.14", attachable: true },
  { name: "sk_reuseport", progType: "SK_REUSEPORT", attachType: "SK_REUSEPORT_SELECT", since: "5.14", attachable: true },
  { name: "kprobe", progType: "KPROBE", since: "4.1", target: true, auto: "kprobe" },
  { name: "uprobe", progType: "KPROBE", since: "4.1", target: true, auto: "uprobe" },
  { name: "uprobe.s", progType: "KPROBE", since: "6.0", target: true, sleepable: true, auto: "uprobe" },
  { name: "kretprobe", progType: "KPROBE", since: "4.1", target: true, auto: "kprobe" },
  { name: "uretprobe", progType: "KPROBE", since: "4.1", target: true, auto: "uprobe" },
  { name: "uretprobe.s", progType: "KPROBE", since: "6.0", target: true, sleepable: true, auto: "uprobe" },
  { name: "kprobe.multi", progType: "KPROBE", attachType: "TRACE_KPROBE_MULTI", since: "5.18", target: true, auto: "kprobe_multi" },
  { name: "kretprobe.multi", progType: "KPROBE", attachType: "TRACE_KPROBE_MULTI", since: "5.18", target: true, auto: "kprobe_multi" },
  { name: "kprobe.session", progType: "KPROBE", attachType: "TRACE_KPROBE_SESSION", since: "6.10", target: true, auto: "kprobe_session" },
  { name: "uprobe.multi", progType: "KPROBE", attachType: "TRACE_UPROBE_MULTI", since: "6.6", target: true, auto: "uprobe_multi" },
  { name: "uretprobe.multi", progType: "KPROBE", attachType: "TRACE_UPROBE_MULTI", since: "6.6", target: true, auto: "uprobe_multi" },
  { name: "uprobe.session", progType: "KPROBE", attachType: "TRACE_UPROBE_SESSION", since: "6.13", target: true, auto: "uprobe_multi" },
  { name: "uprobe.multi.s", progType: "KPROBE", attachType: "TRACE_UPROBE_MULTI", since: "6.6", target: true, sleepable: true, auto: "uprobe_multi" },
  { name: "uretprobe.multi.s", progType: "KPROBE", attachType: "TRACE_UPROBE_MULTI", since: "6.6", target: true, sleepable: true, auto: "uprobe_multi" },
  { name: "uprobe.session.s", progType: "KPROBE", attachType: "TRACE_UPROBE_SESSION", since: "6.13", target: true, sleepable: true, auto: "uprobe_multi" },
  { name: "ksyscall", progType: "KPROBE", since: "4.1", target: true, auto: "ksyscall" },
  { name: "kretsyscall", progType: "KPROBE", since: "4.1", target: true, auto: "ksyscall" },
  { name: "usdt", progType: "KPROBE", since: "4.1", target: true, usdt: true, auto: "usdt" },
  { name: "usdt.s", progType: "KPROBE", since: "6.0", target: true, sleepable: true, usdt: true, auto: "usdt" },
  { name: "tc/ingress", progType: "SCHED_CLS", attachType: "TCX_INGRESS", since: "6.6" },
  { name: "tc/egress", progType: "SCHED_CLS", attachType: "TCX_EGRESS", since: "6.6" },
  { name: "tcx/ingress", progType: "SCHED_CLS", attachType: "TCX_INGRESS", since: "6.6" },
  { name: "tcx/egress", progType: "SCHED_CLS", attachType: "TCX_EGRESS", since: "6.6" },
  { name: "tc", progType: "SCHED_CLS", since: "4.1" },
  { name: "classifier", progType: "SCHED_CLS", since: "4.1" },
  { name: "netkit/primary", progType: "SCHED_CLS", attachType: "NETKIT_PRIMARY", since: "6.7" },
  { name: "netkit/peer", progType: "SCHED_CLS", attachType: "NETKIT_PEER", since: "6.7" },
  { name: "action", progType: "SCHED_ACT", since: "4.1" },
  { name: "tracepoint", progType: "TRACEPOINT", since: "4.7", target: true, auto: "tp" },
  { name: "tp", progType: "TRACEPOINT", since: "4.7", target: true, auto: "tp" },
  { name: "tracepoint.s", progType: "TRACEPOINT", since: "6.19", target: true, sleepable: true, auto: "tp" },
  { name: "tp.s", progType: "TRACEPOINT", since: "6.19", target: true, sleepable: true, auto: "tp" },
  { name: "raw_tracepoint", progType: "RAW_TRACEPOINT", since: "4.17", target: true, auto: "raw_tp" },
  { name: "raw_tp", progType: "RAW_TRACEPOINT", since: "4.17", target: true, auto: "raw_tp" },
  { name: "raw_tracepoint.s", progType: "RAW_TRACEPOINT", since: "6.19", target: true, sleepable: true, auto: "raw_tp" },
  { name: "raw_tp.s", progType: "RAW_TRACEPOINT", since: "6.19", target: true, sleepable: true, auto: "raw_tp" },
  { name: "raw_tracepoint.w", progType: "RAW_TRACEPOINT_WRITABLE", since: "5.2", target: true, auto: "raw_tp" },
  { name: "raw_tp.w", progType: "RAW_TRACEPOINT_WRITABLE", since: "5.2", target: true, auto: "raw_tp" },
  { name: "tp_btf", progType: "TRACING", attachType: "TRACE_RAW_TP", since: "5.5", target: true, attachBtf: true, auto: "trace" },
  { name: "tp_btf.s", progType: "TRACING", attachType: "TRACE_RAW_TP", since: "6.19", target: true, sleepable: true, attachBtf: true, auto: "trace" },
  { name: "fentry", progType: "TRACING", attachType: "TRACE_FENTRY", since: "5.5", target: true, attachBtf: true, auto: "trace" },
  { name: "fmod_ret", progType: "TRACING", attachType: "MODIFY_RETURN", since: "5.7", target: true, attachBtf: true, auto: "trace" },
  { name: "fexit", progType: "TRACING", attachType: "TRACE_FEXIT", since: "5.5", target: true, attachBtf: true, auto: "trace" },
  { name: "fentry.s", progType: "TRACING", attachType: "TRACE_FENTRY", since: "5.10", target: true, sleepable: true, attachBtf: true, auto: "trace" },
  { name: "fmod_ret.s", progType: "TRACING", attachType: "MODIFY_RETURN", since: "5.10", target: true, sleepable: true, attachBtf: true, auto: "trace" },
  { name: "fexit.s", progType: "TRACING", attachType: "TRACE_FEXIT", since: "5.10", target: true, sleepable: true, attachBtf: true, auto: "trace" },
  { name: "fsession", progType: "TRACING", attachTypeLater: "TRACE_FSESSION", since: "7.0", target: true, attachBtf: true, auto: "trace" },
  { name: "fsession.s", progType: "TRACING", attachTypeLater: "TRACE_FSESSION", since: "7.0", target: true, sleepable: true, attachBtf: true, auto: "trace" },
  { name: "fsession.multi", progType: "TRACING", attachTypeLater: "TRACE_FSESSION_MULTI", since: "7.0", target: true, auto: "tracing_multi" },
  { name: "fsession.multi.s", progType: "TRACING", attachTypeLater: "TRACE_FSESSION_MULTI", since: "7.0", target: true, sleepable: true, auto: "tracing_multi" },
  { name: "fentry.multi", progType: "TRACING", attachTypeLater: "TRACE_FENTRY_MULTI", since: "6.19", target: true, auto: "tracing_multi" },
  { name: "fexit.multi", progType: "TRACING", attachTypeLater: "TRACE_FEXIT_MULTI", since: "6.19", target: true, auto: "tracing_multi" },
  { name: "fentry.multi.s", progType: "TRACING", attachTypeLater: "TRACE_FENTRY_MULTI", since: "6.19", target: true, sleepable: true, auto: "tracing_multi" },
  { name: "fexit.multi.s", progType: "TRACING", attachTypeLater: "TRACE_FEXIT_MULTI", since: "6.19", target: true, sleepable: true, auto: "tracing_multi" },
  { name: "iter", progType: "TRACING", attachType: "TRACE_ITER", since: "5.8", target: true, attachBtf: true, auto: "iter" },
  { name: "iter.s", progType: "TRACING", attachType: "TRACE_ITER", since: "6.0", target: true, sleepable: true, attachBtf: true, auto: "iter" },
  { name: "freplace", progType: "EXT", since: "5.6", target: true, attachBtf: true, auto: "trace" },
  { name: "lsm", progType: "LSM", attachType: "LSM_MAC", since: "5.7", target: true, attachBtf: true, auto: "lsm" },
  { name: "lsm.s", progType: "LSM", attachType: "LSM_MAC", since: "5.10", target: true, sleepable: true, attachBtf: true, auto: "lsm" },
  { name: "lsm_cgroup", progType: "LSM", attachType: "LSM_CGROUP", since: "6.0", target: true, attachBtf: true },
  { name: "syscall", progType: "SYSCALL", since: "5.14", sleepable: true },
  { name: "xdp.frags/devmap", progType: "XDP", attachType: "XDP_DEVMAP", since: "5.18", frags: true },
  { name: "xdp/devmap", progType: "XDP", attachType: "XDP_DEVMAP", since: "5.8", attachable: true },
  { name: "xdp.frags/cpumap", progType: "XDP", attachType: "XDP_CPUMAP", since: "5.18", frags: true },
  { name: "xdp/cpumap", progType: "XDP", attachType: "XDP_CPUMAP", since: "5.9", attachable: true },
  { name: "xdp.frags", progType: "XDP", attachType: "XDP", since: "5.18", frags: true },
  { name: "xdp", progType: "XDP", attachType: "XDP", since: "4.8", attachable: true, attachTypeOptional: true },
  { name: "perf_event", progType: "PERF_EVENT", since: "4.9" },
  { name: "lwt_in", progType: "LWT_IN", since: "4.10" },
  { name: "lwt_out", progType: "LWT_OUT", since: "4.10" },
  { name: "lwt_xmit", progType: "LWT_XMIT", since: "4.10" },
  { name: "lwt_seg6local", progType: "LWT_SEG6LOCAL", since: "4.18" },
  { name: "sockops", progType: "SOCK_OPS", attachType: "CGROUP_SOCK_OPS", since: "4.13", attachable: true, attachTypeOptional: true },
  { name: "sk_skb/stream_parser", progType: "SK_SKB", attachType: "SK_SKB_STREAM_PARSER", since: "4.14", attachable: true, attachTypeOptional: true },
  { name: "sk_skb/stream_verdict", progType: "SK_SKB", attachType: "SK_SKB_STREAM_VERDICT", since: "4.14", attachable: true, attachTypeOptional: true },
  { name: "sk_skb/verdict", progType: "SK_SKB", attachType: "SK_SKB_VERDICT", since: "4.14", attachable: true, attachTypeOptional: true },
  { name: "sk_skb", progType: "SK_SKB", since: "4.14" },
  { name: "sk_msg", progType: "SK_MSG", attachType: "SK_MSG_VERDICT", since: "4.17", attachable: true, attachTypeOptional: true },
  { name: "lirc_mode2", progType: "LIRC_MODE2", attachType: "LIRC_MODE2", since: "4.18", attachable: true, attachTypeOptional: true },
  { name: "flow_dissector", progType: "FLOW_DISSECTOR", attachType: "FLOW_DISSECTOR", since: "4.20", attachable: true, attachTypeOptional: true },
  { name: "cgroup_skb/ingress", progType: "CGROUP_SKB", attachType: "CGROUP_INET_INGRESS", since: "4.10", attachable: true, attachTypeOptional: true },
  { name: "cgroup_skb/egress", progType: "CGROUP_SKB", attachType: "CGROUP_INET_EGRESS", since: "4.10", attachable: true, attachTypeOptional: true },
  { name: "cgroup/skb", progType: "CGROUP_SKB", since: "4.10" },
  { name: "cgroup/sock_create", progType: "CGROUP_SOCK", attachType: "CGROUP_INET_SOCK_CREATE", since: "4.10", attachable: true },
  { name: "cgroup/sock_release", progType: "CGROUP_SOCK", attachType: "CGROUP_INET_SOCK_RELEASE", since: "5.9", attachable: true },
  { name: "cgroup/sock", progType: "CGROUP_SOCK", attachType: "CGROUP_INET_SOCK_CREATE", since: "4.10", attachable: true, attachTypeOptional: true },
  { name: "cgroup/post_bind4", progType: "CGROUP_SOCK", attachType: "CGROUP_INET4_POST_BIND", since: "4.17", attachable: true },
  { name: "cgroup/post_bind6", progType: "CGROUP_SOCK", attachType: "CGROUP_INET6_POST_BIND", since: "4.17", attachable: true },
  { name: "cgroup/bind4", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_INET4_BIND", since: "4.17", attachable: true },
  { name: "cgroup/bind6", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_INET6_BIND", since: "4.17", attachable: true },
  { name: "cgroup/connect4", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_INET4_CONNECT", since: "4.17", attachable: true },
  { name: "cgroup/connect6", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_INET6_CONNECT", since: "4.17", attachable: true },
  { name: "cgroup/connect_unix", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_UNIX_CONNECT", since: "6.7", attachable: true },
  { name: "cgroup/sendmsg4", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_UDP4_SENDMSG", since: "4.18", attachable: true },
  { name: "cgroup/sendmsg6", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_UDP6_SENDMSG", since: "4.18", attachable: true },
  { name: "cgroup/sendmsg_unix", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_UNIX_SENDMSG", since: "6.7", attachable: true },
  { name: "cgroup/recvmsg4", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_UDP4_RECVMSG", since: "5.2", attachable: true },
  { name: "cgroup/recvmsg6", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_UDP6_RECVMSG", since: "5.2", attachable: true },
  { name: "cgroup/recvmsg_unix", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_UNIX_RECVMSG", since: "6.7", attachable: true },
  { name: "cgroup/getpeername4", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_INET4_GETPEERNAME", since: "5.8", attachable: true },
  { name: "cgroup/getpeername6", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_INET6_GETPEERNAME", since: "5.8", attachable: true },
  { name: "cgroup/getpeername_unix", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_UNIX_GETPEERNAME", since: "6.7", attachable: true },
  { name: "cgroup/getsockname4", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_INET4_GETSOCKNAME", since: "5.8", attachable: true },
  { name: "cgroup/getsockname6", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_INET6_GETSOCKNAME", since: "5.8", attachable: true },
  { name: "cgroup/getsockname_unix", progType: "CGROUP_SOCK_ADDR", attachType: "CGROUP_UNIX_GETSOCKNAME", since: "6.7", attachable: true },
  { name: "cgroup/sysctl", progType: "CGROUP_SYSCTL", attachType: "CGROUP_SYSCTL", since: "5.2", attachable: true },
  { name: "cgroup/getsockopt", progType: "CGROUP_SOCKOPT", attachType: "CGROUP_GETSOCKOPT", since: "5.3", attachable: true },
  { name: "cgroup/setsockopt", progType: "CGROUP_SOCKOPT", attachType: "CGROUP_SETSOCKOPT", since: "5.3", attachable: true },
  { name: "cgroup/dev", progType: "CGROUP_DEVICE", attachType: "CGROUP_DEVICE", since: "4.15", attachable: true, attachTypeOptional: true },
  { name: "struct_ops", progType: "STRUCT_OPS", since: "5.6", target: true },
  { name: "struct_ops.s", progType: "STRUCT_OPS", since: "6.3", target: true, sleepable: true },
  { name: "sk_lookup", progType: "SK_LOOKUP", attachType: "SK_LOOKUP", since: "5.9", attachable: true },
  { name: "netfilter", progType: "NETFILTER", attachType: "NETFILTER", since: "6.4" },
];

/** What a section name says. */
export interface SectionMatch {
  readonly row: SectionRow;
  /** Text after the row's name and its `/`; undefined when there is none ("kprobe"), "" for "kprobe/". */
  readonly target: string | undefined;
}

/**
 * The row a SEC() name stands for, by libbpf's rules: a row that takes a target matches `name` and
 * `name/…`, any other only `name`; the first row wins. A leading `?` (not loaded by default) is skipped. Undefined when no
 * row matches.
 *
 * @example
 * import { sectionFor } from "bpfkit/uapi";
 * sectionFor("tracepoint/syscalls/sys_enter_execve")?.target; // "syscalls/sys_enter_execve"
 */
export function sectionFor(section: string): SectionMatch | undefined {
  const name = section.startsWith("?") ? section.slice(1) : section;
  for (const row of SECTIONS) {
    if (name === row.name) return { row, target: undefined };
    if (row.target === true && name.startsWith(row.name) && name[row.name.length] === "/") {
      return { row, target: name.slice(row.name.length + 1) };
    }
  }
  return undefined;
}
