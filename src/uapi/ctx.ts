/**
 * Program contexts: what r1 points to at entry. Offsets and sizes of the structs: include/uapi/linux/bpf.h of 6.18;
 * `since` of a field is the release that first has it there. `CTX_ACCESS`: asked of a running 6.18 by loading a program per
 * field (a full-size load, a load of half the size, a store of 0). A program reads the struct's fields as the uapi has them; the
 * kernel rewrites each access (net/core/filter.c: *_is_valid_access). `reg` is the verifier's type of what a load gives
 * (info->reg_type there). Return values: check_return_code of kernel/bpf/verifier.c, asked of 6.18 too, but TRACE_FENTRY and
 * TRACE_FEXIT of 6.12. LSM hooks return 0 or -4095 to -1 (bool hooks 0 or 1), LSM_CGROUP hooks 0 or 1.
 */
import type { AttachTypeName } from "./attach-types.ts";
import type { ProgTypeName } from "./prog-types.ts";

/** Type of the register that a load of the field gives; absent: a scalar. */
export type CtxReg =
  | "PTR_TO_BTF_ID"
  | "PTR_TO_FLOW_KEYS"
  | "PTR_TO_PACKET"
  | "PTR_TO_PACKET_END"
  | "PTR_TO_PACKET_META"
  | "PTR_TO_SOCKET"
  | "PTR_TO_SOCKET_OR_NULL"
  | "PTR_TO_SOCK_COMMON_OR_NULL";

/** One field of a context struct. Offsets and sizes in bytes. */
export interface CtxFieldRow {
  readonly name: string;
  readonly offset: number;
  /** Bytes of the whole field; element size of an array is `size` over its length. A 4-byte `data` gives a full pointer. */
  readonly size: number;
  /** "u32", "u32[4]", "u64", "s32", "struct bpf_sock *", "void *", … */
  readonly type: string;
  /** The value is in network byte order; 16: two bytes in that order, zero-extended to the field's four. */
  readonly networkOrder?: true | 16;
  readonly reg?: CtxReg;
  readonly since: string;
}

/** One context struct, or one that a context field points to (bpf_sock, bpf_tcp_sock, bpf_flow_keys). */
export interface CtxRow {
  readonly name: string;
  readonly size: number;
  readonly since: string;
  readonly fields: readonly CtxFieldRow[];
}

/** Which fields a program type reads and writes. A field in neither list may not be touched. */
export interface CtxAccessRow {
  readonly progType: ProgTypeName;
  /** Only with these expected attach types; absent: with all. */
  readonly attachTypes?: readonly AttachTypeName[];
  readonly struct: string;
  readonly read: readonly string[];
  readonly write: readonly string[];
  /** Fields of which a part may be loaded too. */
  readonly narrow: readonly string[];
}

/**
 * `struct`: a uapi struct of `CTX_LAYOUTS`. `regs`: the architecture's pt_regs (`PT_REGS`). `record`: the tracepoint's record
 * (its format file; 8 bytes of common fields first). `args`: u64 args[], the tracepoint's arguments unconverted, at most 12. `btf`:
 * u64 args[], typed by BTF of the attach target. `word`: one u32 (mode in the top byte, duration in µs). `user`: bytes handed over
 * with PROG_RUN, at most 65535. `target`: as the program that is replaced.
 */
export type CtxKind = "struct" | "regs" | "record" | "args" | "btf" | "word" | "user" | "target";

export interface CtxKindRow {
  readonly progType: ProgTypeName;
  readonly kind: CtxKind;
  readonly struct?: string;
}

/** What kind of context each program type has. */
export const CTX_KINDS: readonly CtxKindRow[] = [
  { progType: "SOCKET_FILTER", kind: "struct", struct: "__sk_buff" },
  { progType: "KPROBE", kind: "regs", struct: "pt_regs" },
  { progType: "SCHED_CLS", kind: "struct", struct: "__sk_buff" },
  { progType: "SCHED_ACT", kind: "struct", struct: "__sk_buff" },
  { progType: "TRACEPOINT", kind: "record" },
  { progType: "XDP", kind: "struct", struct: "xdp_md" },
  { progType: "PERF_EVENT", kind: "struct", struct: "bpf_perf_event_data" },
  { progType: "CGROUP_SKB", kind: "struct", struct: "__sk_buff" },
  { progType: "CGROUP_SOCK", kind: "struct", struct: "bpf_sock" },
  { progType: "LWT_IN", kind: "struct", struct: "__sk_buff" },
  { progType: "LWT_OUT", kind: "struct", struct: "__sk_buff" },
  { progType: "LWT_XMIT", kind: "struct", struct: "__sk_buff" },
  { progType: "SOCK_OPS", kind: "struct", struct: "bpf_sock_ops" },
  { progType: "SK_SKB", kind: "struct", struct: "__sk_buff" },
  { progType: "CGROUP_DEVICE", kind: "struct", struct: "bpf_cgroup_dev_ctx" },
  { progType: "SK_MSG", kind: "struct", struct: "sk_msg_md" },
  { progType: "RAW_TRACEPOINT", kind: "args" },
  { progType: "CGROUP_SOCK_ADDR", kind: "struct", struct: "bpf_sock_addr" },
  { progType: "LWT_SEG6LOCAL", kind: "struct", struct: "__sk_buff" },
  { progType: "LIRC_MODE2", kind: "word" },
  { progType: "SK_REUSEPORT", kind: "struct", struct: "sk_reuseport_md" },
  { progType: "FLOW_DISSECTOR", kind: "struct", struct: "__sk_buff" },
  { progType: "CGROUP_SYSCTL", kind: "struct", struct: "bpf_sysctl" },
  { progType: "RAW_TRACEPOINT_WRITABLE", kind: "args" },
  { progType: "CGROUP_SOCKOPT", kind: "struct", struct: "bpf_sockopt" },
  { progType: "TRACING", kind: "btf" },
  { progType: "STRUCT_OPS", kind: "btf" },
  { progType: "EXT", kind: "target" },
  { progType: "LSM", kind: "btf" },
  { progType: "SK_LOOKUP", kind: "struct", struct: "bpf_sk_lookup" },
  { progType: "SYSCALL", kind: "user" },
  { progType: "NETFILTER", kind: "struct", struct: "bpf_nf_ctx" },
];

/** Layouts of the context structs and of the structs their fields point to. */
const layouts = (): readonly CtxRow[] => [
  {
    name: "__sk_buff", size: 192, since: "4.1",
    fields: [
      { name: "len", offset: 0, size: 4, type: "u32", since: "4.1" },
      { name: "pkt_type", offset: 4, size: 4, type: "u32", since: "4.1" },
      { name: "mark", offset: 8, size: 4, type: "u32", since: "4.1" },
      { name: "queue_mapping", offset: 12, size: 4, type: "u32", since: "4.1" },
      { name: "protocol", offset: 16, size: 4, type: "u32", networkOrder: 16, since: "4.1" },
      { name: "vlan_present", offset: 20, size: 4, type: "u32", since: "4.1" },
      { name: "vlan_tci", offset: 24, size: 4, type: "u32", since: "4.1" },
      { name: "vlan_proto", offset: 28, size: 4, type: "u32", networkOrder: 16, since: "4.1" },
      { name: "priority", offset: 32, size: 4, type: "u32", since: "4.1" },
      { name: "ingress_ifindex", offset: 36, size: 4, type: "u32", since: "4.2" },
      { name: "ifindex", offset: 40, size: 4, type: "u32", since: "4.2" },
      { name: "tc_index", offset: 44, size: 4, type: "u32", since: "4.2" },
      { name: "cb", offset: 48, size: 20, type: "u32[5]", since: "4.2" },
      { name: "hash", offset: 68, size: 4, type: "u32", since: "4.3" },
      { name: "tc_classid", offset: 72, size: 4, type: "u32", since: "4.3" },
      { name: "data", offset: 76, size: 4, type: "u32", reg: "PTR_TO_PACKET", since: "4.7" },
      { name: "data_end", offset: 80, size: 4, type: "u32", reg: "PTR_TO_PACKET_END", since: "4.7" },
      { name: "napi_id", offset: 84, size: 4, type: "u32", since: "4.12" },
      { name: "family", offset: 88, size: 4, type: "u32", since: "4.14" },
      { name: "remote_ip4", offset: 92, size: 4, type: "u32", networkOrder: true, since: "4.14" },
      { name: "local_ip4", offset: 96, size: 4, type: "u32", networkOrder: true, since: "4.14" },
      { name: "remote_ip6", offset: 100, size: 16, type: "u32[4]", networkOrder: true, since: "4.14" },
      { name: "local_ip6", offset: 116, size: 16, type: "u32[4]", networkOrder: true, since: "4.14" },
      { name: "remote_port", offset: 132, size: 4, type: "u32", networkOrder: true, since: "4.14" },
      { name: "local_port", offset: 136, size: 4, type: "u32", since: "4.14" },
      { name: "data_meta", offset: 140, size: 4, type: "u32", reg: "PTR_TO_PACKET_META", since: "4.15" },
      { name: "flow_keys", offset: 144, size: 8, type: "struct bpf_flow_keys *", reg: "PTR_TO_FLOW_KEYS", since: "4.20" },
      { name: "tstamp", offset: 152, size: 8, type: "u64", since: "5.0" },
      { name: "wire_len", offset: 160, size: 4, type: "u32", since: "5.0" },
      { name: "gso_segs", offset: 164, size: 4, type: "u32", since: "5.1" },
      { name: "sk", offset: 168, size: 8, type: "struct bpf_sock *", reg: "PTR_TO_SOCK_COMMON_OR_NULL", since: "5.1" },
      { name: "gso_size", offset: 176, size: 4, type: "u32", since: "5.7" },
      { name: "tstamp_type", offset: 180, size: 1, type: "u8", since: "5.18" },
      { name: "hwtstamp", offset: 184, size: 8, type: "u64", since: "5.16" },
    ],
  },
  {
    name: "xdp_md", size: 24, since: "4.8",
    fields: [
      { name: "data", offset: 0, size: 4, type: "u32", reg: "PTR_TO_PACKET", since: "4.8" },
      { name: "data_end", offset: 4, size: 4, type: "u32", reg: "PTR_TO_PACKET_END", since: "4.8" },
      { name: "data_meta", offset: 8, size: 4, type: "u32", reg: "PTR_TO_PACKET_META", since: "4.15" },
      { name: "ingress_ifindex", offset: 12, size: 4, type: "u32", since: "4.16" },
      { name: "rx_queue_index", offset: 16, size: 4, type: "u32", since: "4.16" },
      { name: "egress_ifindex", offset: 20, size: 4, type: "u32", since: "5.8" },
    ],
  },
  {
    name: "bpf_sock_addr", size: 72, since: "4.17",
    fields: [
      { name: "user_family", offset: 0, size: 4, type: "u32", since: "4.17" },
      { name: "user_ip4", offset: 4, size: 4, type: "u32", networkOrder: true, since: "4.17" },
      { name: "user_ip6", offset: 8, size: 16, type: "u32[4]", networkOrder: true, since: "4.17" },
      { name: "user_port", offset: 24, size: 4, type: "u32", networkOrder: 16, since: "4.17" },
      { name: "family", offset: 28, size: 4, type: "u32", since: "4.17" },
      { name: "type", offset: 32, size: 4, type: "u32", since: "4.17" },
      { name: "protocol", offset: 36, size: 4, type: "u32", since: "4.17" },
      { name: "msg_src_ip4", offset: 40, size: 4, type: "u32", networkOrder: true, since: "4.18" },
      { name: "msg_src_ip6", offset: 44, size: 16, type: "u32[4]", networkOrder: true, since: "4.18" },
      { name: "sk", offset: 64, size: 8, type: "struct bpf_sock *", reg: "PTR_TO_SOCKET", since: "5.3" },
    ],
  },
  {
    name: "bpf_sock_ops", size: 224, since: "4.13",
    fields: [
      { name: "op", offset: 0, size: 4, type: "u32", since: "4.13" },
      { name: "args", offset: 4, size: 16, type: "u32[4]", since: "4.16" },
      { name: "reply", offset: 4, size: 4, type: "u32", since: "4.13" },
      { name: "replylong", offset: 4, size: 16, type: "u32[4]", since: "4.13" },
      { name: "family", offset: 20, size: 4, type: "u32", since: "4.13" },
      { name: "remote_ip4", offset: 24, size: 4, type: "u32", networkOrder: true, since: "4.13" },
      { name: "local_ip4", offset: 28, size: 4, type: "u32", networkOrder: true, since: "4.13" },
      { name: "remote_ip6", offset: 32, size: 16, type: "u32[4]", networkOrder: true, since: "4.13" },
      { name: "local_ip6", offset: 48, size: 16, type: "u32[4]", networkOrder: true, since: "4.13" },
      { name: "remote_port", offset: 64, size: 4, type: "u32", networkOrder: true, since: "4.13" },
      { name: "local_port", offset: 68, size: 4, type: "u32", since: "4.13" },
      { name: "is_fullsock", offset: 72, size: 4, type: "u32", since: "4.16" },
      { name: "snd_cwnd", offset: 76, size: 4, type: "u32", since: "4.16" },
      { name: "srtt_us", offset: 80, size: 4, type: "u32", since: "4.16" },
      { name: "bpf_sock_ops_cb_flags", offset: 84, size: 4, type: "u32", since: "4.16" },
      { name: "state", offset: 88, size: 4, type: "u32", since: "4.16" },
      { name: "rtt_min", offset: 92, size: 4, type: "u32", since: "4.16" },
      { name: "snd_ssthresh", offset: 96, size: 4, type: "u32", since: "4.16" },
      { name: "rcv_nxt", offset: 100, size: 4, type: "u32", since: "4.16" },
      { name: "snd_nxt", offset: 104, size: 4, type: "u32", since: "4.16" },
      { name: "snd_una", offset: 108, size: 4, type: "u32", since: "4.16" },
      { name: "mss_cache", offset: 112, size: 4, type: "u32", since: "4.16" },
      { name: "ecn_flags", offset: 116, size: 4, type: "u32", since: "4.16" },
      { name: "rate_delivered", offset: 120, size: 4, type: "u32", since: "4.16" },
      { name: "rate_interval_us", offset: 124, size: 4, type: "u32", since: "4.16" },
      { name: "packets_out", offset: 128, size: 4, type: "u32", since: "4.16" },
      { name: "retrans_out", offset: 132, size: 4, type: "u32", since: "4.16" },
      { name: "total_retrans", offset: 136, size: 4, type: "u32", since: "4.16" },
      { name: "segs_in", offset: 140, size: 4, type: "u32", since: "4.16" },
      { name: "data_segs_in", offset: 144, size: 4, type: "u32", since: "4.16" },
      { name: "segs_out", offset: 148, size: 4, type: "u32", since: "4.16" },
      { name: "data_segs_out", offset: 152, size: 4, type: "u32", since: "4.16" },
      { name: "lost_out", offset: 156, size: 4, type: "u32", since: "4.16" },
      { name: "sacked_out", offset: 160, size: 4, type: "u32", since: "4.16" },
      { name: "sk_txhash", offset: 164, size: 4, type: "u32", since: "4.16" },
      { name: "bytes_received", offset: 168, size: 8, type: "u64", since: "4.16" },
      { name: "bytes_acked", offset: 176, size: 8, type: "u64", since: "4.16" },
      { name: "sk", offset: 184, size: 8, type: "struct bpf_sock *", reg: "PTR_TO_SOCKET_OR_NULL", since: "5.3" },
      { name: "skb_data", offset: 192, size: 8, type: "void *", reg: "PTR_TO_PACKET", since: "5.10" },
      { name: "skb_data_end", offset: 200, size: 8, type: "void *", reg: "PTR_TO_PACKET_END", since: "5.10" },
      { name: "skb_len", offset: 208, size: 4, type: "u32", since: "5.10" },
      { name: "skb_tcp_flags", offset: 212, size: 4, type: "u32", since: "5.10" },
      { name: "skb_hwtstamp", offset: 216, size: 8, type: "u64", since: "6.2" },
    ],
  },
  {
    name: "sk_msg_md", size: 80, since: "4.17",
    fields: [
      { name: "data", offset: 0, size: 8, type: "void *", reg: "PTR_TO_PACKET", since: "4.17" },
      { name: "data_end", offset: 8, size: 8, type: "void *", reg: "PTR_TO_PACKET_END", since: "4.17" },
      { name: "family", offset: 16, size: 4, type: "u32", since: "4.18" },
      { name: "remote_ip4", offset: 20, size: 4, type: "u32", networkOrder: true, since: "4.18" },
      { name: "local_ip4", offset: 24, size: 4, type: "u32", networkOrder: true, since: "4.18" },
      { name: "remote_ip6", offset: 28, size: 16, type: "u32[4]", networkOrder: true, since: "4.18" },
      { name: "local_ip6", offset: 44, size: 16, type: "u32[4]", networkOrder: true, since: "4.18" },
      { name: "remote_port", offset: 60, size: 4, type: "u32", networkOrder: true, since: "4.18" },
      { name: "local_port", offset: 64, size: 4, type: "u32", since: "4.18" },
      { name: "size", offset: 68, size: 4, type: "u32", since: "4.20" },
      { name: "sk", offset: 72, size: 8, type: "struct bpf_sock *", reg: "PTR_TO_SOCKET", since: "5.8" },
    ],
  },
  {
    name: "sk_reuseport_md", size: 56, since: "4.19",
    fields: [
      { name: "data", offset: 0, size: 8, type: "void *", reg: "PTR_TO_PACKET", since: "4.19" },
      { name: "data_end", offset: 8, size: 8, type: "void *", reg: "PTR_TO_PACKET_END", since: "4.19" },
      { name: "len", offset: 16, size: 4, type: "u32", since: "4.19" },
      { name: "eth_protocol", offset: 20, size: 4, type: "u32", networkOrder: 16, since: "4.19" },
      { name: "ip_protocol", offset: 24, size: 4, type: "u32", since: "4.19" },
      { name: "bind_inany", offset: 28, size: 4, type: "u32", since: "4.19" },
      { name: "hash", offset: 32, size: 4, type: "u32", since: "4.19" },
      { name: "sk", offset: 40, size: 8, type: "struct bpf_sock *", reg: "PTR_TO_SOCKET", since: "5.14" },
      { name: "migrating_sk", offset: 48, size: 8, type: "struct bpf_sock *", reg: "PTR_TO_SOCK_COMMON_OR_NULL", since: "5.14" },
    ],
  },
  {
    name: "bpf_sysctl", size: 8, since: "5.2",
    fields: [
      { name: "write", offset: 0, size: 4, type: "u32", since: "5.2" },
      { name: "file_pos", offset: 4, size: 4, type: "u32", since: "5.2" },
    ],
  },
  {
    name: "bpf_sockopt", size: 40, since: "5.3",
    fields: [
      { name: "sk", offset: 0, size: 8, type: "struct bpf_sock *", reg: "PTR_TO_SOCKET", since: "5.3" },
      { name: "optval", offset: 8, size: 8, type: "void *", reg: "PTR_TO_PACKET", since: "5.3" },
      { name: "optval_end", offset: 16, size: 8, type: "void *", reg: "PTR_TO_PACKET_END", since: "5.3" },
      { name: "level", offset: 24, size: 4, type: "s32", since: "5.3" },
      { name: "optname", offset: 28, size: 4, type: "s32", since: "5.3" },
      { name: "optlen", offset: 32, size: 4, type: "s32", since: "5.3" },
      { name: "retval", offset: 36, size: 4, type: "s32", since: "5.3" },
    ],
  },
  {
    name: "bpf_cgroup_dev_ctx", size: 12, since: "4.15",
    fields: [
      { name: "access_type", offset: 0, size: 4, type: "u32", since: "4.15" },
      { name: "major", offset: 4, size: 4, type: "u32", since: "4.15" },
      { name: "minor", offset: 8, size: 4, type: "u32", since: "4.15" },
    ],
  },
  {
    name: "bpf_sk_lookup", size: 72, since: "5.9",
    fields: [
      { name: "sk", offset: 0, size: 8, type: "struct bpf_sock *", reg: "PTR_TO_SOCKET_OR_NULL", since: "5.9" },
      { name: "cookie", offset: 0, size: 8, type: "u64", since: "5.13" },
      { name: "family", offset: 8, size: 4, type: "u32", since: "5.9" },
      { name: "protocol", offset: 12, size: 4, type: "u32", since: "5.9" },
      { name: "remote_ip4", offset: 16, size: 4, type: "u32", networkOrder: true, since: "5.9" },
      { name: "remote_ip6", offset: 20, size: 16, type: "u32[4]", networkOrder: true, since: "5.9" },
      { name: "remote_port", offset: 36, size: 2, type: "u16", networkOrder: true, since: "5.9" },
      { name: "local_ip4", offset: 40, size: 4, type: "u32", networkOrder: true, since: "5.9" },
      { name: "local_ip6", offset: 44, size: 16, type: "u32[4]", networkOrder: true, since: "5.9" },
      { name: "local_port", offset: 60, size: 4, type: "u32", since: "5.9" },
      { name: "ingress_ifindex", offset: 64, size: 4, type: "u32", since: "5.17" },
    ],
  },
  {
    name: "bpf_perf_event_data", size: 184, since: "4.9",
    fields: [
      { name: "regs", offset: 0, size: 168, type: "bpf_user_pt_regs_t", since: "4.9" },
      { name: "sample_period", offset: 168, size: 8, type: "u64", since: "4.9" },
      { name: "addr", offset: 176, size: 8, type: "u64", since: "4.16" },
    ],
  },
  {
    name: "bpf_flow_keys", size: 56, since: "4.20",
    fields: [
      { name: "nhoff", offset: 0, size: 2, type: "u16", since: "4.20" },
      { name: "thoff", offset: 2, size: 2, type: "u16", since: "4.20" },
      { name: "addr_proto", offset: 4, size: 2, type: "u16", since: "4.20" },
      { name: "is_frag", offset: 6, size: 1, type: "u8", since: "4.20" },
      { name: "is_first_frag", offset: 7, size: 1, type: "u8", since: "4.20" },
      { name: "is_encap", offset: 8, size: 1, type: "u8", since: "4.20" },
      { name: "ip_proto", offset: 9, size: 1, type: "u8", since: "4.20" },
      { name: "n_proto", offset: 10, size: 2, type: "u16", networkOrder: true, since: "4.20" },
      { name: "sport", offset: 12, size: 2, type: "u16", networkOrder: true, since: "4.20" },
      { name: "dport", offset: 14, size: 2, type: "u16", networkOrder: true, since: "4.20" },
      { name: "ipv4_src", offset: 16, size: 4, type: "u32", networkOrder: true, since: "4.20" },
      { name: "ipv4_dst", offset: 20, size: 4, type: "u32", networkOrder: true, since: "4.20" },
      { name: "ipv6_src", offset: 16, size: 16, type: "u32[4]", networkOrder: true, since: "4.20" },
      { name: "ipv6_dst", offset: 32, size: 16, type: "u32[4]", networkOrder: true, since: "4.20" },
      { name: "flags", offset: 48, size: 4, type: "u32", since: "5.4" },
      { name: "flow_label", offset: 52, size: 4, type: "u32", networkOrder: true, since: "5.4" },
    ],
  },
  {
    name: "bpf_sock", size: 80, since: "4.10",
    fields: [
      { name: "bound_dev_if", offset: 0, size: 4, type: "u32", since: "4.10" },
      { name: "family", offset: 4, size: 4, type: "u32", since: "4.12" },
      { name: "type", offset: 8, size: 4, type: "u32", since: "4.12" },
      { name: "protocol", offset: 12, size: 4, type: "u32", since: "4.12" },
      { name: "mark", offset: 16, size: 4, type: "u32", since: "4.14" },
      { name: "priority", offset: 20, size: 4, type: "u32", since: "4.14" },
      { name: "src_ip4", offset: 24, size: 4, type: "u32", networkOrder: true, since: "4.16" },
      { name: "src_ip6", offset: 28, size: 16, type: "u32[4]", networkOrder: true, since: "4.16" },
      { name: "src_port", offset: 44, size: 4, type: "u32", since: "4.16" },
      { name: "dst_port", offset: 48, size: 2, type: "u16", networkOrder: true, since: "5.1" },
      { name: "dst_ip4", offset: 52, size: 4, type: "u32", networkOrder: true, since: "5.1" },
      { name: "dst_ip6", offset: 56, size: 16, type: "u32[4]", networkOrder: true, since: "5.1" },
      { name: "state", offset: 72, size: 4, type: "u32", since: "5.1" },
      { name: "rx_queue_mapping", offset: 76, size: 4, type: "s32", since: "5.8" },
    ],
  },
  {
    name: "bpf_tcp_sock", size: 112, since: "5.1",
    fields: [
      { name: "snd_cwnd", offset: 0, size: 4, type: "u32", since: "5.1" },
      { name: "srtt_us", offset: 4, size: 4, type: "u32", since: "5.1" },
      { name: "rtt_min", offset: 8, size: 4, type: "u32", since: "5.1" },
      { name: "snd_ssthresh", offset: 12, size: 4, type: "u32", since: "5.1" },
      { name: "rcv_nxt", offset: 16, size: 4, type: "u32", since: "5.1" },
      { name: "snd_nxt", offset: 20, size: 4, type: "u32", since: "5.1" },
      { name: "snd_una", offset: 24, size: 4, type: "u32", since: "5.1" },
      { name: "mss_cache", offset: 28, size: 4, type: "u32", since: "5.1" },
      { name: "ecn_flags", offset: 32, size: 4, type: "u32", since: "5.1" },
      { name: "rate_delivered", offset: 36, size: 4, type: "u32", since: "5.1" },
      { name: "rate_interval_us", offset: 40, size: 4, type: "u32", since: "5.1" },
      { name: "packets_out", offset: 44, size: 4, type: "u32", since: "5.1" },
      { name: "retrans_out", offset: 48, size: 4, type: "u32", since: "5.1" },
      { name: "total_retrans", offset: 52, size: 4, type: "u32", since: "5.1" },
      { name: "segs_in", offset: 56, size: 4, type: "u32", since: "5.1" },
      { name: "data_segs_in", offset: 60, size: 4, type: "u32", since: "5.1" },
      { name: "segs_out", offset: 64, size: 4, type: "u32", since: "5.1" },
      { name: "data_segs_out", offset: 68, size: 4, type: "u32", since: "5.1" },
      { name: "lost_out", offset: 72, size: 4, type: "u32", since: "5.1" },
      { name: "sacked_out", offset: 76, size: 4, type: "u32", since: "5.1" },
      { name: "bytes_received", offset: 80, size: 8, type: "u64", since: "5.1" },
      { name: "bytes_acked", offset: 88, size: 8, type: "u64", since: "5.1" },
      { name: "dsack_dups", offset: 96, size: 4, type: "u32", since: "5.3" },
      { name: "delivered", offset: 100, size: 4, type: "u32", since: "5.3" },
      { name: "delivered_ce", offset: 104, size: 4, type: "u32", since: "5.3" },
      { name: "icsk_retransmits", offset: 108, size: 4, type: "u32", since: "5.4" },
    ],
  },
  {
    name: "bpf_nf_ctx", size: 16, since: "6.4",
    fields: [
      { name: "state", offset: 0, size: 8, type: "struct nf_hook_state *", reg: "PTR_TO_BTF_ID", since: "6.4" },
      { name: "skb", offset: 8, size: 8, type: "struct sk_buff *", reg: "PTR_TO_BTF_ID", since: "6.4" },
    ],
  },
];

let rows: readonly CtxRow[] | undefined;
// Made when first asked for: tracepoints need none.
const ctxLayouts = (): readonly CtxRow[] => (rows ??= layouts());

/** Every context struct. */
export const CTX_LAYOUTS: readonly CtxRow[] = /* @__PURE__ */ ctxLayouts();

/** Access rules on 6.18 of the program types whose context is a struct. */
export const CTX_ACCESS: readonly CtxAccessRow[] = [
  { progType: "SOCKET_FILTER", struct: "__sk_buff", read: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "napi_id", "gso_segs", "sk", "gso_size"], write: ["cb"], narrow: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "napi_id", "gso_segs", "gso_size"] },
  { progType: "SCHED_CLS", struct: "__sk_buff", read: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "tc_classid", "data", "data_end", "napi_id", "data_meta", "tstamp", "wire_len", "gso_segs", "sk", "gso_size", "tstamp_type", "hwtstamp"], write: ["mark", "queue_mapping", "priority", "tc_index", "cb", "tc_classid", "tstamp"], narrow: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "tc_classid", "napi_id", "wire_len", "gso_segs", "gso_size"] },
  { progType: "SCHED_ACT", struct: "__sk_buff", read: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "tc_classid", "data", "data_end", "napi_id", "data_meta", "tstamp", "wire_len", "gso_segs", "sk", "gso_size", "tstamp_type", "hwtstamp"], write: ["mark", "queue_mapping", "priority", "tc_index", "cb", "tc_classid", "tstamp"], narrow: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "tc_classid", "napi_id", "wire_len", "gso_segs", "gso_size"] },
  { progType: "XDP", attachTypes: ["XDP", "XDP_CPUMAP"], struct: "xdp_md", read: ["data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index"], write: [], narrow: [] },
  { progType: "XDP", attachTypes: ["XDP_DEVMAP"], struct: "xdp_md", read: ["data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index", "egress_ifindex"], write: [], narrow: [] },
  { progType: "PERF_EVENT", struct: "bpf_perf_event_data", read: ["regs", "sample_period", "addr"], write: [], narrow: ["sample_period", "addr"] },
  { progType: "CGROUP_SKB", struct: "__sk_buff", read: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "data", "data_end", "napi_id", "family", "remote_ip4", "local_ip4", "remote_ip6", "local_ip6", "remote_port", "local_port", "tstamp", "gso_segs", "sk", "gso_size", "hwtstamp"], write: ["mark", "priority", "cb", "tstamp"], narrow: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "napi_id", "family", "remote_port", "local_port", "gso_segs", "gso_size"] },
  { progType: "CGROUP_SOCK", attachTypes: ["CGROUP_INET_SOCK_CREATE", "CGROUP_INET_SOCK_RELEASE"], struct: "bpf_sock", read: ["bound_dev_if", "family", "type", "protocol", "mark", "priority", "dst_port", "dst_ip4", "dst_ip6", "state", "rx_queue_mapping"], write: ["bound_dev_if", "mark", "priority"], narrow: ["family", "type", "protocol", "dst_port", "dst_ip4", "dst_ip6", "state", "rx_queue_mapping"] },
  { progType: "CGROUP_SOCK", attachTypes: ["CGROUP_INET4_POST_BIND"], struct: "bpf_sock", read: ["family", "type", "protocol", "src_ip4", "src_port", "dst_port", "dst_ip4", "dst_ip6", "state", "rx_queue_mapping"], write: [], narrow: ["family", "type", "protocol", "src_ip4", "src_port", "dst_port", "dst_ip4", "dst_ip6", "state", "rx_queue_mapping"] },
  { progType: "CGROUP_SOCK", attachTypes: ["CGROUP_INET6_POST_BIND"], struct: "bpf_sock", read: ["family", "type", "protocol", "src_ip6", "src_port", "dst_port", "dst_ip4", "dst_ip6", "state", "rx_queue_mapping"], write: [], narrow: ["family", "type", "protocol", "src_ip6", "src_port", "dst_port", "dst_ip4", "dst_ip6", "state", "rx_queue_mapping"] },
  { progType: "LWT_IN", struct: "__sk_buff", read: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "data", "data_end", "napi_id", "gso_segs", "sk", "gso_size"], write: ["mark", "priority", "cb"], narrow: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "napi_id", "gso_segs", "gso_size"] },
  { progType: "LWT_OUT", struct: "__sk_buff", read: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "data", "data_end", "napi_id", "gso_segs", "sk", "gso_size"], write: ["mark", "priority", "cb"], narrow: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "napi_id", "gso_segs", "gso_size"] },
  { progType: "LWT_XMIT", struct: "__sk_buff", read: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "data", "data_end", "napi_id", "gso_segs", "sk", "gso_size"], write: ["mark", "priority", "cb"], narrow: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "napi_id", "gso_segs", "gso_size"] },
  { progType: "SOCK_OPS", struct: "bpf_sock_ops", read: ["op", "args", "reply", "replylong", "family", "remote_ip4", "local_ip4", "remote_ip6", "local_ip6", "remote_port", "local_port", "is_fullsock", "snd_cwnd", "srtt_us", "bpf_sock_ops_cb_flags", "state", "rtt_min", "snd_ssthresh", "rcv_nxt", "snd_nxt", "snd_una", "mss_cache", "ecn_flags", "rate_delivered", "rate_interval_us", "packets_out", "retrans_out", "total_retrans", "segs_in", "data_segs_in", "segs_out", "data_segs_out", "lost_out", "sacked_out", "sk_txhash", "bytes_received", "bytes_acked", "sk", "skb_data", "skb_data_end", "skb_len", "skb_tcp_flags", "skb_hwtstamp"], write: ["args", "reply", "replylong", "sk_txhash"], narrow: ["skb_tcp_flags"] },
  { progType: "SK_SKB", struct: "__sk_buff", read: ["len", "pkt_type", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "data", "data_end", "napi_id", "family", "remote_ip4", "local_ip4", "remote_ip6", "local_ip6", "remote_port", "local_port", "gso_segs", "sk", "gso_size"], write: ["priority", "tc_index"], narrow: ["len", "pkt_type", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "napi_id", "family", "remote_port", "local_port", "gso_segs", "gso_size"] },
  { progType: "CGROUP_DEVICE", struct: "bpf_cgroup_dev_ctx", read: ["access_type", "major", "minor"], write: [], narrow: ["access_type"] },
  { progType: "SK_MSG", struct: "sk_msg_md", read: ["data", "data_end", "family", "remote_ip4", "local_ip4", "remote_ip6", "local_ip6", "remote_port", "local_port", "size", "sk"], write: [], narrow: [] },
  { progType: "CGROUP_SOCK_ADDR", attachTypes: ["CGROUP_INET4_BIND", "CGROUP_INET4_CONNECT", "CGROUP_UDP4_RECVMSG", "CGROUP_INET4_GETPEERNAME", "CGROUP_INET4_GETSOCKNAME"], struct: "bpf_sock_addr", read: ["user_family", "user_ip4", "user_port", "family", "type", "protocol", "sk"], write: ["user_ip4", "user_port"], narrow: ["user_ip4", "user_port"] },
  { progType: "CGROUP_SOCK_ADDR", attachTypes: ["CGROUP_INET6_BIND", "CGROUP_INET6_CONNECT", "CGROUP_UDP6_RECVMSG", "CGROUP_INET6_GETPEERNAME", "CGROUP_INET6_GETSOCKNAME"], struct: "bpf_sock_addr", read: ["user_family", "user_ip6", "user_port", "family", "type", "protocol", "sk"], write: ["user_ip6", "user_port"], narrow: ["user_ip6", "user_port"] },
  { progType: "CGROUP_SOCK_ADDR", attachTypes: ["CGROUP_UDP4_SENDMSG"], struct: "bpf_sock_addr", read: ["user_family", "user_ip4", "user_port", "family", "type", "protocol", "msg_src_ip4", "sk"], write: ["user_ip4", "user_port", "msg_src_ip4"], narrow: ["user_ip4", "user_port", "msg_src_ip4"] },
  { progType: "CGROUP_SOCK_ADDR", attachTypes: ["CGROUP_UDP6_SENDMSG"], struct: "bpf_sock_addr", read: ["user_family", "user_ip6", "user_port", "family", "type", "protocol", "msg_src_ip6", "sk"], write: ["user_ip6", "user_port", "msg_src_ip6"], narrow: ["user_ip6", "user_port", "msg_src_ip6"] },
  { progType: "CGROUP_SOCK_ADDR", attachTypes: ["CGROUP_UNIX_CONNECT", "CGROUP_UNIX_SENDMSG", "CGROUP_UNIX_RECVMSG", "CGROUP_UNIX_GETPEERNAME", "CGROUP_UNIX_GETSOCKNAME"], struct: "bpf_sock_addr", read: ["user_family", "user_port", "family", "type", "protocol", "sk"], write: ["user_port"], narrow: ["user_port"] },
  { progType: "LWT_SEG6LOCAL", struct: "__sk_buff", read: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "data", "data_end", "napi_id", "gso_segs", "sk", "gso_size"], write: ["mark", "priority", "cb"], narrow: ["len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto", "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "napi_id", "gso_segs", "gso_size"] },
  { progType: "SK_REUSEPORT", struct: "sk_reuseport_md", read: ["data", "data_end", "len", "eth_protocol", "ip_protocol", "bind_inany", "hash", "sk", "migrating_sk"], write: [], narrow: ["len", "eth_protocol", "ip_protocol", "bind_inany"] },
  { progType: "FLOW_DISSECTOR", struct: "__sk_buff", read: ["data", "data_end", "flow_keys"], write: [], narrow: [] },
  { progType: "CGROUP_SYSCTL", struct: "bpf_sysctl", read: ["write", "file_pos"], write: ["file_pos"], narrow: ["write", "file_pos"] },
  { progType: "CGROUP_SOCKOPT", attachTypes: ["CGROUP_GETSOCKOPT"], struct: "bpf_sockopt", read: ["sk", "optval", "optval_end", "level", "optname", "optlen", "retval"], write: ["optlen", "retval"], narrow: [] },
  { progType: "CGROUP_SOCKOPT", attachTypes: ["CGROUP_SETSOCKOPT"], struct: "bpf_sockopt", read: ["sk", "optval", "optval_end", "level", "optname", "optlen"], write: ["level", "optname", "optlen"], narrow: [] },
  { progType: "SK_LOOKUP", struct: "bpf_sk_lookup", read: ["sk", "cookie", "family", "protocol", "remote_ip4", "remote_ip6", "remote_port", "local_ip4", "local_ip6", "local_port", "ingress_ifindex"], write: [], narrow: ["family", "protocol", "remote_ip4", "remote_ip6", "remote_port", "local_ip4", "local_ip6", "local_port", "ingress_ifindex"] },
  { progType: "NETFILTER", struct: "bpf_nf_ctx", read: ["state", "skb"], write: [], narrow: [] },
];

/** Range of the value a program may return, inclusive. */
export interface ReturnRangeRow {
  readonly progType: ProgTypeName;
  readonly attachTypes?: readonly AttachTypeName[];
  readonly min: number;
  readonly max: number;
}

/** Return values the verifier insists on, on 6.18; a program type without a row may return anything. */
export const RETURN_RANGES: readonly ReturnRangeRow[] = [
  { progType: "SOCK_OPS", min: 0, max: 1 },
  { progType: "CGROUP_DEVICE", min: 0, max: 1 },
  { progType: "CGROUP_SYSCTL", min: 0, max: 1 },
  { progType: "CGROUP_SOCK", min: 0, max: 1 },
  { progType: "CGROUP_SOCKOPT", min: 0, max: 1 },
  { progType: "CGROUP_SKB", attachTypes: ["CGROUP_INET_INGRESS"], min: 0, max: 1 },
  { progType: "CGROUP_SKB", attachTypes: ["CGROUP_INET_EGRESS"], min: 0, max: 3 },
  { progType: "CGROUP_SOCK_ADDR", attachTypes: ["CGROUP_INET4_BIND", "CGROUP_INET6_BIND"], min: 0, max: 3 },
  { progType: "CGROUP_SOCK_ADDR", attachTypes: ["CGROUP_INET4_CONNECT", "CGROUP_INET6_CONNECT", "CGROUP_UNIX_CONNECT", "CGROUP_UDP4_SENDMSG", "CGROUP_UDP6_SENDMSG", "CGROUP_UNIX_SENDMSG"], min: 0, max: 1 },
  { progType: "CGROUP_SOCK_ADDR", attachTypes: ["CGROUP_UDP4_RECVMSG", "CGROUP_UDP6_RECVMSG", "CGROUP_UNIX_RECVMSG", "CGROUP_INET4_GETPEERNAME", "CGROUP_INET6_GETPEERNAME", "CGROUP_UNIX_GETPEERNAME", "CGROUP_INET4_GETSOCKNAME", "CGROUP_INET6_GETSOCKNAME", "CGROUP_UNIX_GETSOCKNAME"], min: 1, max: 1 },
  { progType: "SK_LOOKUP", min: 0, max: 1 },
  { progType: "NETFILTER", min: 0, max: 1 },
  { progType: "KPROBE", attachTypes: ["TRACE_KPROBE_SESSION", "TRACE_UPROBE_SESSION"], min: 0, max: 1 },
  { progType: "TRACING", attachTypes: ["TRACE_FENTRY", "TRACE_FEXIT"], min: 0, max: 0 },
  { progType: "TRACING", attachTypes: ["TRACE_ITER"], min: 0, max: 1 },
];

/** Layout of the context struct `name` ("xdp_md"), or undefined. */
export function ctxLayout(name: string): CtxRow | undefined {
  return ctxLayouts().find((row) => row.name === name);
}

/** Kind and struct of a program type's context; undefined for UNSPEC. */
export function ctxOf(progType: ProgTypeName): CtxKindRow | undefined {
  return CTX_KINDS.find((row) => row.progType === progType);
}

/** Access rules of a program type (with this expected attach type), or undefined when its context is no struct. */
export function ctxAccess(progType: ProgTypeName, attachType?: AttachTypeName): CtxAccessRow | undefined {
  const rows = CTX_ACCESS.filter((row) => row.progType === progType);
  return rows.find((row) => row.attachTypes === undefined || (attachType !== undefined && row.attachTypes.includes(attachType)));
}
