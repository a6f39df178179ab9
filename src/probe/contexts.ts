/** The contexts that the kernel's user API fixes (`include/uapi/linux/bpf.h`), with the kernel's field names. */
import type { KernelStruct, Loose, Pointer } from "./kernel-types.ts";
import type { Body, Schema } from "./schema-types.ts";

/** Contexts whose packet data a program may look at directly. */
export interface PacketAccess {
  /**
   * The packet's bytes from `offset` on as a `schema`, a live view; undefined when the packet ends before.
   * @example
   * import { be16, packed, struct, u8, array, xdp, XDP } from "bpfkit";
   * const Ethernet = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
   * export const ipOnly = xdp((ctx) => {
   *   const eth = ctx.packet(Ethernet);
   *   return eth && eth.type === 0x0800 ? XDP.PASS : XDP.DROP;
   * });
   */
  packet<S extends Schema>(schema: S, offset?: number): Body<S> | undefined;
}

/** `struct xdp_md`. */
export interface XdpContext extends PacketAccess {
  readonly data: Pointer;
  readonly data_end: Pointer;
  readonly data_meta: Pointer;
  readonly ingress_ifindex: number;
  readonly rx_queue_index: number;
  readonly egress_ifindex: number;
}

/** `struct __sk_buff`. Which fields may be read or written depends on the program type. */
export interface SkBuffContext extends PacketAccess {
  readonly len: number;
  readonly pkt_type: number;
  mark: number;
  queue_mapping: number;
  readonly protocol: number;
  readonly vlan_present: number;
  readonly vlan_tci: number;
  readonly vlan_proto: number;
  priority: number;
  readonly ingress_ifindex: number;
  readonly ifindex: number;
  tc_index: number;
  readonly cb: number[];
  readonly hash: number;
  tc_classid: number;
  readonly data: Pointer;
  readonly data_end: Pointer;
  readonly napi_id: number;
  readonly family: number;
  readonly remote_ip4: number;
  readonly local_ip4: number;
  readonly remote_ip6: readonly number[];
  readonly local_ip6: readonly number[];
  readonly remote_port: number;
  readonly local_port: number;
  readonly data_meta: Pointer;
  readonly flow_keys: FlowKeys;
  tstamp: number;
  readonly wire_len: number;
  readonly gso_segs: number;
  readonly sk: SockContext | undefined;
  readonly gso_size: number;
  readonly tstamp_type: number;
  readonly hwtstamp: number;
}

/** `struct bpf_flow_keys`. */
export interface FlowKeys {
  nhoff: number;
  thoff: number;
  addr_proto: number;
  is_frag: number;
  is_first_frag: number;
  is_encap: number;
  ip_proto: number;
  n_proto: number;
  sport: number;
  dport: number;
  ipv4_src: number;
  ipv4_dst: number;
  readonly ipv6_src: number[];
  readonly ipv6_dst: number[];
  flags: number;
  flow_label: number;
}

/** `struct bpf_sock`. */
export interface SockContext {
  bound_dev_if: number;
  readonly family: number;
  readonly type: number;
  readonly protocol: number;
  mark: number;
  priority: number;
  readonly src_ip4: number;
  readonly src_ip6: readonly number[];
  readonly src_port: number;
  readonly dst_port: number;
  readonly dst_ip4: number;
  readonly dst_ip6: readonly number[];
  readonly state: number;
  readonly rx_queue_mapping: number;
}

/** `struct bpf_sock_addr`. */
export interface SockAddrContext {
  readonly user_family: number;
  user_ip4: number;
  readonly user_ip6: number[];
  user_port: number;
  readonly family: number;
  readonly type: number;
  readonly protocol: number;
  msg_src_ip4: number;
  readonly msg_src_ip6: number[];
  readonly sk: SockContext | undefined;
}

/** `struct bpf_sock_ops`. */
export interface SockOpsContext {
  readonly op: number;
  readonly args: readonly number[];
  reply: number;
  readonly replylong: number[];
  readonly family: number;
  readonly remote_ip4: number;
  readonly local_ip4: number;
  readonly remote_ip6: readonly number[];
  readonly local_ip6: readonly number[];
  readonly remote_port: number;
  readonly local_port: number;
  readonly is_fullsock: number;
  readonly snd_cwnd: number;
  readonly srtt_us: number;
  readonly bpf_sock_ops_cb_flags: number;
  readonly state: number;
  readonly rtt_min: number;
  readonly snd_ssthresh: number;
  readonly rcv_nxt: number;
  readonly snd_nxt: number;
  readonly snd_una: number;
  readonly mss_cache: number;
  readonly ecn_flags: number;
  readonly rate_delivered: number;
  readonly rate_interval_us: number;
  readonly packets_out: number;
  readonly retrans_out: number;
  readonly total_retrans: number;
  readonly segs_in: number;
  readonly data_segs_in: number;
  readonly segs_out: number;
  readonly data_segs_out: number;
  readonly lost_out: number;
  readonly sacked_out: number;
  sk_txhash: number;
  readonly bytes_received: number;
  readonly bytes_acked: number;
  readonly sk: SockContext | undefined;
  readonly skb_data: Pointer;
  readonly skb_data_end: Pointer;
  readonly skb_len: number;
  readonly skb_tcp_flags: number;
  readonly skb_hwtstamp: number;
}

/** `struct sk_msg_md`. */
export interface SkMsgContext extends PacketAccess {
  readonly data: Pointer;
  readonly data_end: Pointer;
  readonly family: number;
  readonly remote_ip4: number;
  readonly local_ip4: number;
  readonly remote_ip6: readonly number[];
  readonly local_ip6: readonly number[];
  readonly remote_port: number;
  readonly local_port: number;
  readonly size: number;
  readonly sk: SockContext | undefined;
}

/** `struct sk_reuseport_md`. */
export interface SkReuseportContext extends PacketAccess {
  readonly data: Pointer;
  readonly data_end: Pointer;
  readonly len: number;
  readonly eth_protocol: number;
  readonly ip_protocol: number;
  readonly bind_inany: number;
  readonly hash: number;
  readonly sk: SockContext;
  readonly migrating_sk: SockContext | undefined;
}

/** `struct bpf_sk_lookup`. */
export interface SkLookupContext {
  readonly sk: SockContext | undefined;
  readonly cookie: number;
  readonly family: number;
  readonly protocol: number;
  readonly remote_ip4: number;
  readonly remote_ip6: readonly number[];
  readonly remote_port: number;
  readonly local_ip4: number;
  readonly local_ip6: readonly number[];
  readonly local_port: number;
  readonly ingress_ifindex: number;
}

/** `struct bpf_sysctl`. */
export interface SysctlContext {
  readonly write: number;
  file_pos: number;
}

/** `struct bpf_sockopt`. */
export interface SockoptContext {
  readonly sk: SockContext;
  readonly optval: Pointer;
  readonly optval_end: Pointer;
  level: number;
  optname: number;
  optlen: number;
  retval: number;
}

/** `struct bpf_cgroup_dev_ctx`. */
export interface CgroupDeviceContext {
  readonly access_type: number;
  readonly major: number;
  readonly minor: number;
}

/** `struct bpf_nf_ctx`. */
export interface NetfilterContext {
  readonly state: KernelStruct<"nf_hook_state">;
  readonly skb: KernelStruct<"sk_buff">;
}

/** `struct bpf_perf_event_data`. */
export interface PerfEventContext {
  readonly regs: Loose;
  readonly sample_period: number;
  readonly addr: number;
}

/** `struct bpf_raw_tracepoint_args`. */
export interface RawTracepointContext {
  readonly args: readonly number[];
}

/** The infrared sample of a LIRC program: mode in the high byte, length in microseconds below. */
export interface LircContext {
  readonly sample: number;
}
