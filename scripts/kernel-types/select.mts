/** Which types of a kernel a program can get at: what its package keeps. */
import type { Btf } from "../../src/btf/btf.ts";
import { BTF_KIND } from "../../src/btf/kinds.ts";
import { eachTypeRef } from "../../src/btf/refs.ts";
import { CTX_LAYOUTS } from "../../src/uapi/ctx.ts";
import { HELPERS } from "../../src/uapi/helpers.ts";
import { KFUNCS } from "../../src/uapi/kfuncs.ts";

const K = BTF_KIND;

/** Functions of BPF's own: LSM hooks, iterators, kfuncs, what tests attach to. */
const BPF_FUNC = /^(bpf_|__bpf_|__traceiter_|__x64_sys_|__do_sys_|__se_sys_)/;
const BPF_STRUCT = /^(bpf_|trace_event_raw_|trace_event_data_offsets_|__sk_buff$|xdp_|pt_regs$|user_regs)/;
/** Structs that only container_of leads to. */
const OUTER_STRUCT =
  /^(mount|socket_alloc|mnt_namespace|proc_inode|ext4_inode_info|shmem_inode_info|.*_sock|task_group|rq|cfs_rq)$/;
/** Enumerators by which programs call things; many of their enums have no name and nothing refers to them. */
const ENUMERATOR =
  /^(BPF_|TCP_|XDP_|TC_ACT_|TCX_|NETKIT_|SK_|IPPROTO_|NF_|SOCK_|AF_|PERF_|BTF_|__BPF|PIDTYPE_|TASK_|MM_|CGROUP_|FSTYPE|S_I)/;

/**
 * Traced functions by how likely they are traced: what tools of BCC, bpftrace and libbpf attach to, then the
 * subsystems they come from. As many of these groups are kept as the size allows.
 */
export const FUNCTION_GROUPS: readonly RegExp[] = [
  /^(vfs_|do_|ksys_|kernel_|filp_|fput|path_|security_|cap_|tcp_|udp_|udpv6_|inet_|inet6_|inet_csk|ip_|ip6_|icmp_|skb_|__skb|sock_|__sock|sk_|kfree_skb|consume_skb|napi_|netif_|dev_|__dev_|__netif|__tcp|__udp|__ip|mutex_|__mutex|down_|up_|schedule|__schedule|try_to_wake_up|wake_up_|finish_task|oom_|out_of_memory|blk_|__blk|submit_bio|bio_|kmem_|kmalloc|__kmalloc|kfree|exit_|mm_|handle_mm|signal|send_sig|group_send|prepare_|commit_creds|begin_new|bprm|exec|kthread|proc_|cgroup_|mem_cgroup|try_charge|page_|folio_|filemap_|mark_|add_to_page|account_page|migrate_|alloc_pages|__alloc|free_|shrink_|balance_|numa)/,
  /^(d_path|dput|iget|iput|inode_permission|lookup_|link_path|user_path|getname|fget|file_update|file_modified|pipe_|eventfd|futex|do_futex|hrtimer_(start|cancel|interrupt)|timerfd|signalfd|inotify|fanotify)/,
  /^(ext4_file|xfs_file|btrfs_file|nfs_file|generic_file|neigh_|arp_|fib_|ipv4_|icmpv6_|ndisc_|unix_|packet_|rtnl|nf_hook|nf_conntrack|br_handle|br_forward|tun_|veth|loopback)/,
  /^(d_|dput|iget|iput|inode_|dentry_|lookup_|link_path|user_path|getname|fget|fd_|file_|pipe_|poll|ep_|eventfd|epoll|signalfd|timerfd|inotify|fanotify|fsnotify|io_|aio_|futex|hrtimer|timer_|work|queue_|__queue|process_|run_|irq_|handle_irq|softirq|tasklet|__do_softirq|raise_)/,
  /^(ext4_|xfs_|btrfs_|nfs_|fuse_|ovl_|f2fs_|generic_|iomap_|__x64|nf_|nft_|ipt_|neigh_|arp_|fib_|rt_|ipv6_|ipv4_|icmpv6_|ndisc_|igmp_|raw_|packet_|unix_|netlink_|rtnl|rtnetlink|genl|tun_|veth|loopback|br_|bridge|vlan_|sch_|qdisc|tc_|tcf_|cls_|act_|xdp_|bpf)/,
];

/** Ids of the types to keep; `groups` of `FUNCTION_GROUPS` are among them. */
export function selectTypes(btf: Btf, groups: number): Set<number> {
  const keep = new Set<number>();
  const { words } = btf;
  const add = (id: number): void => {
    const todo = [id];
    for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
      if (next === 0 || keep.has(next)) continue;
      keep.add(next);
      eachTypeRef(words, btf.wordOf(next), (i) => todo.push(words[i]!));
    }
  };
  const helpers = new Set(HELPERS.map((h) => `bpf_${h.name}`));
  const kfuncs = new Set(KFUNCS.map((k) => k.name));
  const contexts = new Set(CTX_LAYOUTS.map((c) => c.name));
  const wanted = FUNCTION_GROUPS.slice(0, groups);
  const tags: number[] = [];
  for (let id = 1; id < btf.typeCount; id++) {
    const name = btf.nameOf(id);
    switch (btf.kindOf(id)) {
      case K.TYPEDEF:
        if (name.startsWith("btf_trace_") || !referent(btf, id)) add(id);
        break;
      case K.STRUCT:
      case K.UNION:
        if (BPF_STRUCT.test(name) || OUTER_STRUCT.test(name) || contexts.has(name)) add(id);
        break;
      case K.ENUM:
      case K.ENUM64: {
        const type = btf.decode(id);
        if ("values" in type && type.values.some((v) => ENUMERATOR.test(v.name))) add(id);
        break;
      }
      case K.FUNC:
        if (BPF_FUNC.test(name) || kfuncs.has(name) || helpers.has(name) || wanted.some((g) => g.test(name))) add(id);
        break;
      case K.VAR:
      case K.DATASEC:
      case K.INT:
        add(id);
        break;
      case K.DECL_TAG:
        tags.push(id);
        // Functions that are marked as kfuncs.
        if (name === "bpf_kfunc") add(words[btf.wordOf(id) + 2]!);
        break;
      default:
    }
  }
  // A tag says something of a type, which does not refer to it.
  for (const id of tags) if (keep.has(words[btf.wordOf(id) + 2]!)) keep.add(id);
  return keep;
}

/** Does the typedef stand for a struct, union or function? Others cost a few bytes. */
function referent(btf: Btf, id: number): boolean {
  let at = id;
  for (let steps = 0; steps < 32; steps++) {
    const kind = btf.kindOf(at);
    if (
      kind === K.STRUCT ||
      kind === K.UNION ||
      kind === K.FUNC_PROTO ||
      kind === K.ENUM ||
      kind === K.ARRAY ||
      kind === K.PTR
    )
      return true;
    if (kind === K.VOID || kind === K.INT || kind === K.FLOAT || kind === K.FWD) return false;
    at = btf.words[btf.wordOf(at) + 2]!;
  }
  return true;
}
