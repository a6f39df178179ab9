/**
 * Structs of the uapi that are not a program's context: what OBJ_GET_INFO_BY_FD fills in, .BTF.ext records, and what helpers and map values
 * hold. Offsets and sizes are those of include/uapi/linux/bpf.h of 6.18 on 64-bit machines; `since` is the release that first has the
 * struct or field.
 */
import type { StructRow } from "./layout.ts";

export const STRUCTS: readonly StructRow[] = [
  {
    name: "bpf_prog_info", size: 232, since: "4.13",
    fields: [
      { name: "type", offset: 0, size: 4, type: "u32", since: "4.13" },
      { name: "id", offset: 4, size: 4, type: "u32", since: "4.13" },
      { name: "tag", offset: 8, size: 8, type: "u8[8]", since: "4.13" },
      { name: "jited_prog_len", offset: 16, size: 4, type: "u32", since: "4.13" },
      { name: "xlated_prog_len", offset: 20, size: 4, type: "u32", since: "4.13" },
      { name: "jited_prog_insns", offset: 24, size: 8, type: "u64", pointer: true, since: "4.13" },
      { name: "xlated_prog_insns", offset: 32, size: 8, type: "u64", pointer: true, since: "4.13" },
      { name: "load_time", offset: 40, size: 8, type: "u64", since: "4.15" },
      { name: "created_by_uid", offset: 48, size: 4, type: "u32", since: "4.15" },
      { name: "nr_map_ids", offset: 52, size: 4, type: "u32", since: "4.15" },
      { name: "map_ids", offset: 56, size: 8, type: "u64", pointer: true, since: "4.15" },
      { name: "name", offset: 64, size: 16, type: "char[16]", since: "4.15" },
      { name: "ifindex", offset: 80, size: 4, type: "u32", since: "4.16" },
      { name: "gpl_compatible", offset: 84, size: 4, type: "u32", bit: 672, bits: 1, since: "4.18" },
      { name: "netns_dev", offset: 88, size: 8, type: "u64", since: "4.16" },
      { name: "netns_ino", offset: 96, size: 8, type: "u64", since: "4.16" },
      { name: "nr_jited_ksyms", offset: 104, size: 4, type: "u32", since: "4.18" },
      { name: "nr_jited_func_lens", offset: 108, size: 4, type: "u32", since: "4.18" },
      { name: "jited_ksyms", offset: 112, size: 8, type: "u64", pointer: true, since: "4.18" },
      { name: "jited_func_lens", offset: 120, size: 8, type: "u64", pointer: true, since: "4.18" },
      { name: "btf_id", offset: 128, size: 4, type: "u32", since: "5.0" },
      { name: "func_info_rec_size", offset: 132, size: 4, type: "u32", since: "5.0" },
      { name: "func_info", offset: 136, size: 8, type: "u64", pointer: true, since: "5.0" },
      { name: "nr_func_info", offset: 144, size: 4, type: "u32", since: "5.0" },
      { name: "nr_line_info", offset: 148, size: 4, type: "u32", since: "5.0" },
      { name: "line_info", offset: 152, size: 8, type: "u64", pointer: true, since: "5.0" },
      { name: "jited_line_info", offset: 160, size: 8, type: "u64", pointer: true, since: "5.0" },
      { name: "nr_jited_line_info", offset: 168, size: 4, type: "u32", since: "5.0" },
      { name: "line_info_rec_size", offset: 172, size: 4, type: "u32", since: "5.0" },
      { name: "jited_line_info_rec_size", offset: 176, size: 4, type: "u32", since: "5.0" },
      { name: "nr_prog_tags", offset: 180, size: 4, type: "u32", since: "5.0" },
      { name: "prog_tags", offset: 184, size: 8, type: "u64", pointer: true, since: "5.0" },
      { name: "run_time_ns", offset: 192, size: 8, type: "u64", since: "5.1" },
      { name: "run_cnt", offset: 200, size: 8, type: "u64", since: "5.1" },
      { name: "recursion_misses", offset: 208, size: 8, type: "u64", since: "5.12" },
      { name: "verified_insns", offset: 216, size: 4, type: "u32", since: "5.16" },
      { name: "attach_btf_obj_id", offset: 220, size: 4, type: "u32", since: "6.0" },
      { name: "attach_btf_id", offset: 224, size: 4, type: "u32", since: "6.0" },
    ],
  },
  {
    name: "bpf_map_info", size: 104, since: "4.13",
    fields: [
      { name: "type", offset: 0, size: 4, type: "u32", since: "4.13" },
      { name: "id", offset: 4, size: 4, type: "u32", since: "4.13" },
      { name: "key_size", offset: 8, size: 4, type: "u32", since: "4.13" },
      { name: "value_size", offset: 12, size: 4, type: "u32", since: "4.13" },
      { name: "max_entries", offset: 16, size: 4, type: "u32", since: "4.13" },
      { name: "map_flags", offset: 20, size: 4, type: "u32", since: "4.13" },
      { name: "name", offset: 24, size: 16, type: "char[16]", since: "4.15" },
      { name: "ifindex", offset: 40, size: 4, type: "u32", since: "4.16" },
      { name: "btf_vmlinux_value_type_id", offset: 44, size: 4, type: "u32", since: "5.6" },
      { name: "netns_dev", offset: 48, size: 8, type: "u64", since: "4.16" },
      { name: "netns_ino", offset: 56, size: 8, type: "u64", since: "4.16" },
      { name: "btf_id", offset: 64, size: 4, type: "u32", since: "4.18" },
      { name: "btf_key_type_id", offset: 68, size: 4, type: "u32", since: "4.18" },
      { name: "btf_value_type_id", offset: 72, size: 4, type: "u32", since: "4.18" },
      { name: "btf_vmlinux_id", offset: 76, size: 4, type: "u32", since: "6.9" },
      { name: "map_extra", offset: 80, size: 8, type: "u64", since: "5.16" },
      { name: "hash", offset: 88, size: 8, type: "u64", pointer: true, since: "6.18" },
      { name: "hash_size", offset: 96, size: 4, type: "u32", since: "6.18" },
    ],
  },
  {
    name: "bpf_btf_info", size: 32, since: "4.18",
    fields: [
      { name: "btf", offset: 0, size: 8, type: "u64", pointer: true, since: "4.18" },
      { name: "btf_size", offset: 8, size: 4, type: "u32", since: "4.18" },
      { name: "id", offset: 12, size: 4, type: "u32", since: "4.18" },
      { name: "name", offset: 16, size: 8, type: "u64", pointer: true, since: "5.11" },
      { name: "name_len", offset: 24, size: 4, type: "u32", since: "5.11" },
      { name: "kernel_btf", offset: 28, size: 4, type: "u32", since: "5.11" },
    ],
  },
  {
    name: "bpf_link_info", size: 64, since: "5.8",
    fields: [
      { name: "type", offset: 0, size: 4, type: "u32", since: "5.8" },
      { name: "id", offset: 4, size: 4, type: "u32", since: "5.8" },
      { name: "prog_id", offset: 8, size: 4, type: "u32", since: "5.8" },
      { name: "raw_tracepoint.tp_name", offset: 16, size: 8, type: "u64", pointer: true, since: "5.8" },
      { name: "raw_tracepoint.tp_name_len", offset: 24, size: 4, type: "u32", since: "5.8" },
      { name: "raw_tracepoint.cookie", offset: 32, size: 8, type: "u64", since: "6.16" },
      { name: "tracing.attach_type", offset: 16, size: 4, type: "u32", since: "5.8" },
      { name: "tracing.target_obj_id", offset: 20, size: 4, type: "u32", since: "5.13" },
      { name: "tracing.target_btf_id", offset: 24, size: 4, type: "u32", since: "5.13" },
      { name: "tracing.cookie", offset: 32, size: 8, type: "u64", since: "6.16" },
      { name: "cgroup.cgroup_id", offset: 16, size: 8, type: "u64", since: "5.8" },
      { name: "cgroup.attach_type", offset: 24, size: 4, type: "u32", since: "5.8" },
      { name: "iter.target_name", offset: 16, size: 8, type: "u64", pointer: true, since: "5.9" },
      { name: "iter.target_name_len", offset: 24, size: 4, type: "u32", since: "5.9" },
      { name: "iter.map.map_id", offset: 28, size: 4, type: "u32", since: "5.9" },
      { name: "iter.cgroup.cgroup_id", offset: 32, size: 8, type: "u64", since: "6.1" },
      { name: "iter.cgroup.order", offset: 40, size: 4, type: "u32", since: "6.1" },
      { name: "iter.task.tid", offset: 32, size: 4, type: "u32", since: "6.1" },
      { name: "iter.task.pid", offset: 36, size: 4, type: "u32", since: "6.1" },
      { name: "netns.netns_ino", offset: 16, size: 4, type: "u32", since: "5.8" },
      { name: "netns.attach_type", offset: 20, size: 4, type: "u32", since: "5.8" },
      { name: "xdp.ifindex", offset: 16, size: 4, type: "u32", since: "5.9" },
      { name: "struct_ops.map_id", offset: 16, size: 4, type: "u32", since: "6.4" },
      { name: "netfilter.pf", offset: 16, size: 4, type: "u32", since: "6.4" },
      { name: "netfilter.hooknum", offset: 20, size: 4, type: "u32", since: "6.4" },
      { name: "netfilter.priority", offset: 24, size: 4, type: "s32", since: "6.4" },
      { name: "netfilter.flags", offset: 28, size: 4, type: "u32", since: "6.4" },
      { name: "kprobe_multi.addrs", offset: 16, size: 8, type: "u64", pointer: true, since: "6.6" },
      { name: "kprobe_multi.count", offset: 24, size: 4, type: "u32", since: "6.6" },
      { name: "kprobe_multi.flags", offset: 28, size: 4, type: "u32", since: "6.6" },
      { name: "kprobe_multi.missed", offset: 32, size: 8, type: "u64", since: "6.7" },
      { name: "kprobe_multi.cookies", offset: 40, size: 8, type: "u64", pointer: true, since: "6.9" },
      { name: "uprobe_multi.path", offset: 16, size: 8, type: "u64", pointer: true, since: "6.8" },
      { name: "uprobe_multi.offsets", offset: 24, size: 8, type: "u64", pointer: true, since: "6.8" },
      { name: "uprobe_multi.ref_ctr_offsets", offset: 32, size: 8, type: "u64", pointer: true, since: "6.8" },
      { name: "uprobe_multi.cookies", offset: 40, size: 8, type: "u64", pointer: true, since: "6.8" },
      { name: "uprobe_multi.path_size", offset: 48, size: 4, type: "u32", since: "6.8" },
      { name: "uprobe_multi.count", offset: 52, size: 4, type: "u32", since: "6.8" },
      { name: "uprobe_multi.flags", offset: 56, size: 4, type: "u32", since: "6.8" },
      { name: "uprobe_multi.pid", offset: 60, size: 4, type: "u32", since: "6.8" },
      { name: "perf_event.type", offset: 16, size: 4, type: "u32", since: "6.6" },
      { name: "perf_event.uprobe.file_name", offset: 24, size: 8, type: "u64", pointer: true, since: "6.6" },
      { name: "perf_event.uprobe.name_len", offset: 32, size: 4, type: "u32", since: "6.6" },
      { name: "perf_event.uprobe.offset", offset: 36, size: 4, type: "u32", since: "6.6" },
      { name: "perf_event.uprobe.cookie", offset: 40, size: 8, type: "u64", since: "6.9" },
      { name: "perf_event.uprobe.ref_ctr_offset", offset: 48, size: 8, type: "u64", since: "6.16" },
      { name: "perf_event.kprobe.func_name", offset: 24, size: 8, type: "u64", pointer: true, since: "6.6" },
      { name: "perf_event.kprobe.name_len", offset: 32, size: 4, type: "u32", since: "6.6" },
      { name: "perf_event.kprobe.offset", offset: 36, size: 4, type: "u32", since: "6.6" },
      { name: "perf_event.kprobe.addr", offset: 40, size: 8, type: "u64", since: "6.6" },
      { name: "perf_event.kprobe.missed", offset: 48, size: 8, type: "u64", since: "6.7" },
      { name: "perf_event.kprobe.cookie", offset: 56, size: 8, type: "u64", since: "6.9" },
      { name: "perf_event.tracepoint.tp_name", offset: 24, size: 8, type: "u64", pointer: true, since: "6.6" },
      { name: "perf_event.tracepoint.name_len", offset: 32, size: 4, type: "u32", since: "6.6" },
      { name: "perf_event.tracepoint.cookie", offset: 40, size: 8, type: "u64", since: "6.9" },
      { name: "perf_event.event.config", offset: 24, size: 8, type: "u64", since: "6.6" },
      { name: "perf_event.event.type", offset: 32, size: 4, type: "u32", since: "6.6" },
      { name: "perf_event.event.cookie", offset: 40, size: 8, type: "u64", since: "6.9" },
      { name: "tcx.ifindex", offset: 16, size: 4, type: "u32", since: "6.6" },
      { name: "tcx.attach_type", offset: 20, size: 4, type: "u32", since: "6.6" },
      { name: "netkit.ifindex", offset: 16, size: 4, type: "u32", since: "6.7" },
      { name: "netkit.attach_type", offset: 20, size: 4, type: "u32", since: "6.7" },
      { name: "sockmap.map_id", offset: 16, size: 4, type: "u32", since: "6.10" },
      { name: "sockmap.attach_type", offset: 20, size: 4, type: "u32", since: "6.10" },
    ],
  },
  {
    name: "bpf_func_info", size: 8, since: "5.0",
    fields: [
      { name: "insn_off", offset: 0, size: 4, type: "u32", since: "5.0" },
      { name: "type_id", offset: 4, size: 4, type: "u32", since: "5.0" },
    ],
  },
  {
    name: "bpf_line_info", size: 16, since: "5.0",
    fields: [
      { name: "insn_off", offset: 0, size: 4, type: "u32", since: "5.0" },
      { name: "file_name_off", offset: 4, size: 4, type: "u32", since: "5.0" },
      { name: "line_off", offset: 8, size: 4, type: "u32", since: "5.0" },
      { name: "line_col", offset: 12, size: 4, type: "u32", since: "5.0" },
    ],
  },
  {
    name: "bpf_core_relo", size: 16, since: "5.17",
    fields: [
      { name: "insn_off", offset: 0, size: 4, type: "u32", since: "5.17" },
      { name: "type_id", offset: 4, size: 4, type: "u32", since: "5.17" },
      { name: "access_str_off", offset: 8, size: 4, type: "u32", since: "5.17" },
      { name: "kind", offset: 12, size: 4, type: "u32", since: "5.17" },
    ],
  },
  {
    name: "bpf_stack_build_id", size: 32, since: "4.17",
    fields: [
      { name: "status", offset: 0, size: 4, type: "s32", since: "4.17" },
      { name: "build_id", offset: 4, size: 20, type: "unsigned char[20]", since: "4.17" },
      { name: "offset", offset: 24, size: 8, type: "u64", since: "4.17" },
      { name: "ip", offset: 24, size: 8, type: "u64", since: "4.17" },
    ],
  },
  {
    name: "bpf_pidns_info", size: 8, since: "5.7",
    fields: [
      { name: "pid", offset: 0, size: 4, type: "u32", since: "5.7" },
      { name: "tgid", offset: 4, size: 4, type: "u32", since: "5.7" },
    ],
  },
  {
    name: "btf_ptr", size: 16, since: "5.10",
    fields: [
      { name: "ptr", offset: 0, size: 8, type: "void *", since: "5.10" },
      { name: "type_id", offset: 8, size: 4, type: "u32", since: "5.10" },
      { name: "flags", offset: 12, size: 4, type: "u32", since: "5.10" },
    ],
  },
  {
    name: "bpf_fib_lookup", size: 64, since: "4.18",
    fields: [
      { name: "family", offset: 0, size: 1, type: "u8", since: "4.18" },
      { name: "l4_protocol", offset: 1, size: 1, type: "u8", since: "4.18" },
      { name: "sport", offset: 2, size: 2, type: "__be16", since: "4.18" },
      { name: "dport", offset: 4, size: 2, type: "__be16", since: "4.18" },
      { name: "tot_len", offset: 6, size: 2, type: "u16", since: "4.18" },
      { name: "mtu_result", offset: 6, size: 2, type: "u16", since: "4.18" },
      { name: "ifindex", offset: 8, size: 4, type: "u32", since: "4.18" },
      { name: "tos", offset: 12, size: 1, type: "u8", since: "4.18" },
      { name: "flowinfo", offset: 12, size: 4, type: "__be32", since: "4.18" },
      { name: "rt_metric", offset: 12, size: 4, type: "u32", since: "4.18" },
      { name: "ipv4_src", offset: 16, size: 4, type: "__be32", since: "4.18" },
      { name: "ipv6_src", offset: 16, size: 16, type: "u32[4]", since: "4.18" },
      { name: "ipv4_dst", offset: 32, size: 4, type: "__be32", since: "4.18" },
      { name: "ipv6_dst", offset: 32, size: 16, type: "u32[4]", since: "4.18" },
      { name: "h_vlan_proto", offset: 48, size: 2, type: "__be16", since: "4.18" },
      { name: "h_vlan_TCI", offset: 50, size: 2, type: "__be16", since: "4.18" },
      { name: "tbid", offset: 48, size: 4, type: "u32", since: "4.18" },
      { name: "mark", offset: 52, size: 4, type: "u32", since: "4.18" },
      { name: "smac", offset: 52, size: 6, type: "u8[6]", since: "4.18" },
      { name: "dmac", offset: 58, size: 6, type: "u8[6]", since: "4.18" },
    ],
  },
  {
    name: "bpf_tunnel_key", size: 44, since: "4.3",
    fields: [
      { name: "tunnel_id", offset: 0, size: 4, type: "u32", since: "4.3" },
      { name: "remote_ipv4", offset: 4, size: 4, type: "u32", since: "4.3" },
      { name: "remote_ipv6", offset: 4, size: 16, type: "u32[4]", since: "4.3" },
      { name: "tunnel_tos", offset: 20, size: 1, type: "u8", since: "4.3" },
      { name: "tunnel_ttl", offset: 21, size: 1, type: "u8", since: "4.3" },
      { name: "tunnel_ext", offset: 22, size: 2, type: "u16", since: "4.3" },
      { name: "tunnel_flags", offset: 22, size: 2, type: "__be16", since: "4.3" },
      { name: "tunnel_label", offset: 24, size: 4, type: "u32", since: "4.3" },
      { name: "local_ipv4", offset: 28, size: 4, type: "u32", since: "4.3" },
      { name: "local_ipv6", offset: 28, size: 16, type: "u32[4]", since: "4.3" },
    ],
  },
  {
    name: "bpf_xfrm_state", size: 28, since: "4.18",
    fields: [
      { name: "reqid", offset: 0, size: 4, type: "u32", since: "4.18" },
      { name: "spi", offset: 4, size: 4, type: "u32", since: "4.18" },
      { name: "family", offset: 8, size: 2, type: "u16", since: "4.18" },
      { name: "ext", offset: 10, size: 2, type: "u16", since: "4.18" },
      { name: "remote_ipv4", offset: 12, size: 4, type: "u32", since: "4.18" },
      { name: "remote_ipv6", offset: 12, size: 16, type: "u32[4]", since: "4.18" },
    ],
  },
  {
    name: "bpf_redir_neigh", size: 20, since: "5.10",
    fields: [
      { name: "nh_family", offset: 0, size: 4, type: "u32", since: "5.10" },
      { name: "ipv4_nh", offset: 4, size: 4, type: "__be32", since: "5.10" },
      { name: "ipv6_nh", offset: 4, size: 16, type: "u32[4]", since: "5.10" },
    ],
  },
  {
    name: "bpf_sock_tuple", size: 36, since: "4.20",
    fields: [
      { name: "ipv4.saddr", offset: 0, size: 4, type: "__be32", since: "4.20" },
      { name: "ipv4.daddr", offset: 4, size: 4, type: "__be32", since: "4.20" },
      { name: "ipv4.sport", offset: 8, size: 2, type: "__be16", since: "4.20" },
      { name: "ipv4.dport", offset: 10, size: 2, type: "__be16", since: "4.20" },
      { name: "ipv6.saddr", offset: 0, size: 16, type: "__be32[4]", since: "4.20" },
      { name: "ipv6.daddr", offset: 16, size: 16, type: "__be32[4]", since: "4.20" },
      { name: "ipv6.sport", offset: 32, size: 2, type: "__be16", since: "4.20" },
      { name: "ipv6.dport", offset: 34, size: 2, type: "__be16", since: "4.20" },
    ],
  },
  {
    name: "bpf_perf_event_value", size: 24, since: "4.15",
    fields: [
      { name: "counter", offset: 0, size: 8, type: "u64", since: "4.15" },
      { name: "enabled", offset: 8, size: 8, type: "u64", since: "4.15" },
      { name: "running", offset: 16, size: 8, type: "u64", since: "4.15" },
    ],
  },
  {
    name: "bpf_spin_lock", size: 4, since: "5.1",
    fields: [
      { name: "val", offset: 0, size: 4, type: "u32", since: "5.1" },
    ],
  },
  {
    name: "bpf_timer", size: 16, since: "5.15",
    fields: [
      { name: "__opaque", offset: 0, size: 16, type: "u64[2]", since: "5.15" },
    ],
  },
  {
    name: "bpf_wq", size: 16, since: "6.10",
    fields: [
      { name: "__opaque", offset: 0, size: 16, type: "u64[2]", since: "6.10" },
    ],
  },
  {
    name: "bpf_dynptr", size: 16, since: "5.19",
    fields: [
      { name: "__opaque", offset: 0, size: 16, type: "u64[2]", since: "5.19" },
    ],
  },
  {
    name: "bpf_list_head", size: 16, since: "6.2",
    fields: [
      { name: "__opaque", offset: 0, size: 16, type: "u64[2]", since: "6.2" },
    ],
  },
  {
    name: "bpf_list_node", size: 24, since: "6.2",
    fields: [
      { name: "__opaque", offset: 0, size: 24, type: "u64[3]", since: "6.2" },
    ],
  },
  {
    name: "bpf_rb_root", size: 16, since: "6.3",
    fields: [
      { name: "__opaque", offset: 0, size: 16, type: "u64[2]", since: "6.3" },
    ],
  },
  {
    name: "bpf_rb_node", size: 32, since: "6.3",
    fields: [
      { name: "__opaque", offset: 0, size: 32, type: "u64[4]", since: "6.3" },
    ],
  },
  {
    name: "bpf_refcount", size: 4, since: "6.4",
    fields: [
      { name: "__opaque", offset: 0, size: 4, type: "u32[1]", since: "6.4" },
    ],
  },
  {
    name: "bpf_iter_num", size: 8, since: "6.4",
    fields: [
      { name: "__opaque", offset: 0, size: 8, type: "u64[1]", since: "6.4" },
    ],
  },
  {
    name: "bpf_cgroup_storage_key", size: 16, since: "4.19",
    fields: [
      { name: "cgroup_inode_id", offset: 0, size: 8, type: "u64", since: "4.19" },
      { name: "attach_type", offset: 8, size: 4, type: "u32", since: "4.19" },
    ],
  },
  {
    name: "bpf_lpm_trie_key_hdr", size: 4, since: "6.9",
    fields: [
      { name: "prefixlen", offset: 0, size: 4, type: "u32", since: "6.9" },
    ],
  },
  {
    name: "bpf_devmap_val", size: 8, since: "5.8",
    fields: [
      { name: "ifindex", offset: 0, size: 4, type: "u32", since: "5.8" },
      { name: "bpf_prog.fd", offset: 4, size: 4, type: "int", since: "5.8" },
      { name: "bpf_prog.id", offset: 4, size: 4, type: "u32", since: "5.8" },
    ],
  },
  {
    name: "bpf_cpumap_val", size: 8, since: "5.9",
    fields: [
      { name: "qsize", offset: 0, size: 4, type: "u32", since: "5.9" },
      { name: "bpf_prog.fd", offset: 4, size: 4, type: "int", since: "5.9" },
      { name: "bpf_prog.id", offset: 4, size: 4, type: "u32", since: "5.9" },
    ],
  },
];

const byName = new Map(STRUCTS.map((row) => [row.name, row]));

/** Layout of the uapi struct `name` ("bpf_prog_info"), or undefined. */
export function structByName(name: string): StructRow | undefined {
  return byName.get(name);
}
