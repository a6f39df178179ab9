/**
 * Access to contexts of fixed layout (the is_valid_access of each program type: net/core/filter.c,
 * kernel/trace/bpf_trace.c, kernel/bpf/cgroup.c). Contexts that BTF describes are ctx/'s.
 */
import { BPF_ATTACH_TYPE } from "../uapi/attach-types.ts";
import { ctxLayout } from "../uapi/ctx.ts";
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";
import {
  BPF_READ,
  BPF_WRITE,
  EACCES,
  PTR_MAYBE_NULL,
  PTR_TO_BTF_ID,
  PTR_TO_FLOW_KEYS,
  PTR_TO_PACKET,
  PTR_TO_PACKET_END,
  PTR_TO_PACKET_META,
  PTR_TO_SOCKET,
  PTR_TO_SOCK_COMMON,
  PTR_TO_TCP_SOCK,
  PTR_TO_TP_BUFFER,
  PTR_TO_XDP_SOCK,
  SCALAR_VALUE,
  baseType,
} from "./constants.ts";
import { ctxFieldTooNew } from "./ctx-since.ts";
import { type Env, reject } from "./env.ts";
import { regTypeStr } from "./log-state.ts";
import { findReference } from "./refs.ts";
import type { CtxAccess } from "./types.ts";

const P = BPF_PROG_TYPE;
const A = BPF_ATTACH_TYPE;

/** One access being judged. `regType` is what a load gives. */
interface Access {
  readonly off: number;
  readonly size: number;
  readonly write: boolean;
  readonly ldsx: boolean;
  readonly attach: number;
  readonly bpfCapable: boolean;
  regType: number;
  fieldSize: number;
}

/** A struct's fields by byte: name of the field at each offset, "" in padding. */
class Fields {
  readonly size: number;
  readonly names: readonly string[];
  readonly starts = new Map<string, number>();
  readonly ends = new Map<string, number>();

  constructor(struct: string) {
    const row = ctxLayout(struct);
    this.size = row?.size ?? 0;
    const names = new Array<string>(this.size).fill("");
    for (const f of row?.fields ?? []) {
      names.fill(f.name, f.offset, f.offset + f.size);
      this.starts.set(f.name, f.offset);
      this.ends.set(f.name, f.offset + f.size);
    }
    this.names = names;
  }

  at(off: number): string {
    return this.names[off] ?? "";
  }

  /** The access begins where the field does. */
  isStart(name: string, off: number): boolean {
    return this.starts.get(name) === off;
  }
}

const cache = new Map<string, Fields>();

function fields(struct: string): Fields {
  let f = cache.get(struct);
  if (f === undefined) {
    f = new Fields(struct);
    cache.set(struct, f);
  }
  return f;
}

/** Part of a field of `field` bytes may be loaded, in powers of two. */
function narrow(a: Access, field: number): boolean {
  a.fieldSize = field;
  return a.size <= field && (a.size & (a.size - 1)) === 0;
}

const SKB_FAMILY = new Set([
  "family",
  "remote_ip4",
  "local_ip4",
  "remote_ip6",
  "local_ip6",
  "remote_port",
  "local_port",
]);

/** What all programs on an skb share. */
function skb(a: Access): boolean {
  const f = fields("__sk_buff");
  if (a.off < 0 || a.off >= f.size || a.off % a.size !== 0) return false;
  const name = f.at(a.off);
  switch (name) {
    case "cb":
      return a.off + a.size <= f.ends.get("cb")!;
    case "data":
    case "data_meta":
    case "data_end":
      return !a.ldsx && a.size === 4;
    case "remote_ip6":
    case "local_ip6":
    case "remote_ip4":
    case "local_ip4":
      return a.size === 4;
    case "flow_keys":
      return false;
    case "hwtstamp":
      return !a.write && a.size === 8;
    case "tstamp":
      return a.size === 8;
    case "sk":
      if (a.write || a.size !== 8) return false;
      a.regType = PTR_TO_SOCK_COMMON | PTR_MAYBE_NULL;
      return true;
    case "tstamp_type":
    case "":
      return false;
    default:
      return a.write ? a.size === 4 : narrow(a, 4);
  }
}

function packetField(a: Access, name: string, meta: boolean): void {
  if (name === "data") a.regType = PTR_TO_PACKET;
  else if (name === "data_end") a.regType = PTR_TO_PACKET_END;
  else if (meta && name === "data_meta") a.regType = PTR_TO_PACKET_META;
}

function socketFilter(a: Access): boolean {
  const name = fields("__sk_buff").at(a.off);
  const no = new Set(["tc_classid", "data", "data_meta", "data_end", "tstamp", "wire_len", "hwtstamp"]);
  if (no.has(name) || SKB_FAMILY.has(name)) return false;
  if (a.write && name !== "cb") return false;
  return skb(a);
}

function cgroupSkb(a: Access): boolean {
  const name = fields("__sk_buff").at(a.off);
  if (name === "tc_classid" || name === "data_meta" || name === "wire_len") return false;
  if ((name === "data" || name === "data_end") && !a.bpfCapable) return false;
  if (a.write) {
    if (name === "tstamp") {
      if (!a.bpfCapable) return false;
    } else if (name !== "mark" && name !== "priority" && name !== "cb") return false;
  }
  packetField(a, name, false);
  return skb(a);
}

function lwt(a: Access): boolean {
  const name = fields("__sk_buff").at(a.off);
  const no = new Set(["tc_classid", "data_meta", "tstamp", "wire_len", "hwtstamp"]);
  if (no.has(name) || SKB_FAMILY.has(name)) return false;
  if (a.write && name !== "mark" && name !== "priority" && name !== "cb") return false;
  packetField(a, name, false);
  return skb(a);
}

const TC_WRITE = new Set(["mark", "tc_index", "priority", "tc_classid", "cb", "tstamp", "queue_mapping"]);

function tc(a: Access): boolean {
  const f = fields("__sk_buff");
  const name = f.at(a.off);
  if (a.write && !TC_WRITE.has(name)) return false;
  if (SKB_FAMILY.has(name)) return false;
  if (name === "tstamp_type") return a.size === 1;
  packetField(a, name, true);
  return skb(a);
}

function skSkb(a: Access): boolean {
  const name = fields("__sk_buff").at(a.off);
  const no = new Set(["tc_classid", "data_meta", "tstamp", "wire_len", "hwtstamp"]);
  if (no.has(name)) return false;
  if (a.write && name !== "tc_index" && name !== "priority") return false;
  if (name === "mark") return false;
  packetField(a, name, false);
  return skb(a);
}

function flowDissector(a: Access): boolean {
  const f = fields("__sk_buff");
  if (a.off < 0 || a.off >= f.size || a.off % a.size !== 0 || a.write) return false;
  const name = f.at(a.off);
  if (name === "data" || name === "data_end") {
    if (a.ldsx || a.size !== 4) return false;
    packetField(a, name, false);
    return true;
  }
  if (name !== "flow_keys" || a.size !== 8) return false;
  a.regType = PTR_TO_FLOW_KEYS;
  return true;
}

function xdp(a: Access): boolean {
  const f = fields("xdp_md");
  const start = (name: string): boolean => f.isStart(name, a.off);
  if (start("egress_ifindex") && a.attach !== A.XDP_DEVMAP) return false;
  if (a.write) return false;
  if (start("data")) a.regType = PTR_TO_PACKET;
  else if (start("data_meta")) a.regType = PTR_TO_PACKET_META;
  else if (start("data_end")) a.regType = PTR_TO_PACKET_END;
  if (a.regType !== SCALAR_VALUE && a.ldsx) return false;
  return a.off >= 0 && a.off < f.size && a.off % a.size === 0 && a.size === 4;
}

/** bpf_sock_is_valid_access: struct bpf_sock, of a context and of socket pointers. */
function sock(a: Access): boolean {
  const f = fields("bpf_sock");
  if (a.off < 0 || a.off >= f.size || a.off % a.size !== 0) return false;
  const name = f.at(a.off);
  switch (name) {
    case "state":
    case "family":
    case "type":
    case "protocol":
    case "src_port":
    case "rx_queue_mapping":
      return f.isStart(name, a.off) ? narrow(a, 4) : a.size === 4;
    case "src_ip4":
    case "src_ip6":
    case "dst_ip4":
    case "dst_ip6":
      return narrow(a, 4);
    case "dst_port":
      return narrow(a, a.size === 4 ? 4 : 2);
    case "":
      return false;
    default:
      return a.size === 4;
  }
}

const SOCK_COMMON_NOT = new Set(["type", "protocol", "mark", "priority"]);

const sockCommon = (a: Access): boolean => !SOCK_COMMON_NOT.has(fields("bpf_sock").at(a.off)) && sock(a);

function tcpSock(a: Access): boolean {
  const f = fields("bpf_tcp_sock");
  const end = f.ends.get("icsk_retransmits") ?? 0;
  if (a.off < 0 || a.off >= end || a.off % a.size !== 0) return false;
  return a.size === (f.isStart("bytes_received", a.off) || f.isStart("bytes_acked", a.off) ? 8 : 4);
}

const xdpSock = (a: Access): boolean => a.off >= 0 && a.off < 4 && a.off % a.size === 0 && a.size === 4;

function cgroupSock(a: Access): boolean {
  if (!sock(a)) return false;
  const f = fields("bpf_sock");
  const name = f.at(a.off);
  if ((name === "bound_dev_if" || name === "mark" || name === "priority") && f.isStart(name, a.off)) {
    return a.attach === A.CGROUP_INET_SOCK_CREATE || a.attach === A.CGROUP_INET_SOCK_RELEASE;
  }
  if (name === "src_ip4" && a.attach !== A.CGROUP_INET4_POST_BIND) return false;
  if (name === "src_ip6" && a.attach !== A.CGROUP_INET6_POST_BIND) return false;
  if (name === "src_port" && a.attach !== A.CGROUP_INET4_POST_BIND && a.attach !== A.CGROUP_INET6_POST_BIND)
    return false;
  return !a.write;
}

const USER_IP4: ReadonlySet<number> = new Set([
  A.CGROUP_INET4_BIND,
  A.CGROUP_INET4_CONNECT,
  A.CGROUP_INET4_GETPEERNAME,
  A.CGROUP_INET4_GETSOCKNAME,
  A.CGROUP_UDP4_SENDMSG,
  A.CGROUP_UDP4_RECVMSG,
]);
const USER_IP6: ReadonlySet<number> = new Set([
  A.CGROUP_INET6_BIND,
  A.CGROUP_INET6_CONNECT,
  A.CGROUP_INET6_GETPEERNAME,
  A.CGROUP_INET6_GETSOCKNAME,
  A.CGROUP_UDP6_SENDMSG,
  A.CGROUP_UDP6_RECVMSG,
]);

function sockAddr(a: Access): boolean {
  const f = fields("bpf_sock_addr");
  if (a.off < 0 || a.off >= f.size || a.off % a.size !== 0) return false;
  const name = f.at(a.off);
  const wide = (field: string): boolean =>
    a.size === 8 && a.off >= f.starts.get(field)! && a.off + 8 <= f.ends.get(field)! && a.off % 8 === 0;
  switch (name) {
    case "user_ip4":
      if (!USER_IP4.has(a.attach)) return false;
      break;
    case "user_ip6":
      if (!USER_IP6.has(a.attach)) return false;
      break;
    case "msg_src_ip4":
      if (a.attach !== A.CGROUP_UDP4_SENDMSG) return false;
      break;
    case "msg_src_ip6":
      if (a.attach !== A.CGROUP_UDP6_SENDMSG) return false;
      break;
    case "user_port":
      break;
    case "sk":
      if (a.write || a.size !== 8) return false;
      a.regType = PTR_TO_SOCKET;
      return true;
    case "user_family":
    case "family":
    case "type":
    case "protocol":
      return !a.write && a.size === 4;
    default:
      return false;
  }
  if (wide("user_ip6") || wide("msg_src_ip6")) {
    if (!a.write) a.fieldSize = 4;
    return true;
  }
  return a.write ? a.size === 4 : narrow(a, 4);
}

function sockOps(a: Access): boolean {
  const f = fields("bpf_sock_ops");
  if (a.off < 0 || a.off >= f.size || a.off % a.size !== 0) return false;
  const name = f.at(a.off);
  if (a.write) return (f.isStart("reply", a.off) || f.isStart("sk_txhash", a.off)) && a.size === 4;
  switch (name) {
    case "bytes_received":
    case "bytes_acked":
    case "skb_hwtstamp":
      return a.size === 8;
    case "sk":
      a.regType = PTR_TO_SOCKET | PTR_MAYBE_NULL;
      return a.size === 8;
    case "skb_data":
      a.regType = PTR_TO_PACKET;
      return a.size === 8;
    case "skb_data_end":
      a.regType = PTR_TO_PACKET_END;
      return a.size === 8;
    case "skb_tcp_flags":
      return f.isStart(name, a.off) ? narrow(a, 4) : a.size === 4;
    default:
      return a.size === 4;
  }
}

function skMsg(a: Access): boolean {
  if (a.write || a.off % a.size !== 0) return false;
  switch (fields("sk_msg_md").at(a.off)) {
    case "data":
      a.regType = PTR_TO_PACKET;
      return a.size === 8;
    case "data_end":
      a.regType = PTR_TO_PACKET_END;
      return a.size === 8;
    case "sk":
      a.regType = PTR_TO_SOCKET;
      return a.size === 8;
    case "":
      return false;
    default:
      return a.size === 4;
  }
}

function skReuseport(a: Access): boolean {
  const f = fields("sk_reuseport_md");
  if (a.off < 0 || a.off >= f.size || a.off % a.size !== 0 || a.write) return false;
  const name = f.at(a.off);
  const start = f.isStart(name, a.off);
  switch (name) {
    case "data":
      a.regType = PTR_TO_PACKET;
      return start && a.size === 8;
    case "data_end":
      a.regType = PTR_TO_PACKET_END;
      return start && a.size === 8;
    case "sk":
      a.regType = PTR_TO_SOCKET;
      return start && a.size === 8;
    case "migrating_sk":
      a.regType = PTR_TO_SOCK_COMMON | PTR_MAYBE_NULL;
      return start && a.size === 8;
    case "hash":
      return start && a.size === 4;
    case "eth_protocol":
      return a.size >= 2 && narrow(a, 4);
    case "ip_protocol":
    case "bind_inany":
    case "len":
      return narrow(a, 4);
    default:
      return false;
  }
}

function skLookup(a: Access): boolean {
  const f = fields("bpf_sk_lookup");
  if (a.off < 0 || a.off >= f.size || a.off % a.size !== 0 || a.write) return false;
  switch (f.at(a.off)) {
    case "sk":
    case "cookie":
      a.regType = PTR_TO_SOCKET | PTR_MAYBE_NULL;
      return a.size === 8;
    case "family":
    case "protocol":
    case "remote_ip4":
    case "local_ip4":
    case "remote_ip6":
    case "local_ip6":
    case "local_port":
    case "ingress_ifindex":
      return narrow(a, 4);
    case "remote_port":
      return a.size === 4 || narrow(a, 2);
    default:
      return a.off >= f.ends.get("remote_port")! && a.off < f.starts.get("local_ip4")! && narrow(a, 2);
  }
}

function sockopt(a: Access): boolean {
  const f = fields("bpf_sockopt");
  if (a.off < 0 || a.off >= f.size || a.off % a.size !== 0) return false;
  const name = f.at(a.off);
  if (a.write) {
    if (!f.isStart(name, a.off) || a.size !== 4) return false;
    if (name === "retval") return a.attach === A.CGROUP_GETSOCKOPT;
    if (name === "optname" || name === "level") return a.attach === A.CGROUP_SETSOCKOPT;
    return name === "optlen";
  }
  switch (name) {
    case "sk":
      a.regType = PTR_TO_SOCKET;
      return a.size === 8;
    case "optval":
      a.regType = PTR_TO_PACKET;
      return a.size === 8;
    case "optval_end":
      a.regType = PTR_TO_PACKET_END;
      return a.size === 8;
    case "retval":
      return a.size === 4 && a.attach === A.CGROUP_GETSOCKOPT;
    default:
      return a.size === 4;
  }
}

function sysctl(a: Access): boolean {
  const f = fields("bpf_sysctl");
  if (a.off < 0 || a.off + a.size > f.size || a.off % a.size !== 0) return false;
  const name = f.at(a.off);
  if (name === "write") return !a.write && narrow(a, 4);
  return name === "file_pos" && (a.write ? a.size === 4 : narrow(a, 4));
}

function cgroupDevice(a: Access): boolean {
  const f = fields("bpf_cgroup_dev_ctx");
  if (a.write || a.off < 0 || a.off + a.size > f.size || a.off % a.size !== 0) return false;
  return f.at(a.off) === "access_type" ? narrow(a, 4) : a.size === 4;
}

const PT_REGS_SIZE = 168;
const PERF_MAX_TRACE_SIZE = 8192;

const kprobe = (a: Access): boolean => a.off >= 0 && a.off + a.size <= PT_REGS_SIZE && !a.write && a.off % a.size === 0;
/** The kernel compares with a size_t: an offset below zero is a large one, and passes. */
const tracepoint = (a: Access): boolean =>
  (a.off < 0 || a.off >= 8) && a.off < PERF_MAX_TRACE_SIZE && !a.write && a.off % a.size === 0;
const perfEvent = (a: Access): boolean =>
  a.off >= 0 &&
  a.off < PT_REGS_SIZE + 16 &&
  !a.write &&
  a.off % a.size === 0 &&
  (a.off >= PT_REGS_SIZE ? narrow(a, 8) : a.size === 8);
const rawTracepoint = (a: Access): boolean => a.off >= 0 && a.off < 96 && !a.write && a.off % a.size === 0;
const syscall = (a: Access): boolean => a.off >= 0 && a.off < 0xffff && a.off % a.size === 0;
const lirc = (a: Access): boolean => !a.write && a.off === 0 && a.size === 4;

function rawTracepointWritable(a: Access): boolean {
  if (a.off === 0) {
    if (a.size !== 8 || a.write) return false;
    a.regType = PTR_TO_TP_BUFFER;
  }
  return rawTracepoint(a);
}

const RULES: ReadonlyMap<number, (a: Access) => boolean> = new Map([
  [P.SOCKET_FILTER, socketFilter],
  [P.KPROBE, kprobe],
  [P.SCHED_CLS, tc],
  [P.SCHED_ACT, tc],
  [P.TRACEPOINT, tracepoint],
  [P.XDP, xdp],
  [P.PERF_EVENT, perfEvent],
  [P.CGROUP_SKB, cgroupSkb],
  [P.CGROUP_SOCK, cgroupSock],
  [P.LWT_IN, lwt],
  [P.LWT_OUT, lwt],
  [P.LWT_XMIT, lwt],
  [P.LWT_SEG6LOCAL, lwt],
  [P.SOCK_OPS, sockOps],
  [P.SK_SKB, skSkb],
  [P.CGROUP_DEVICE, cgroupDevice],
  [P.SK_MSG, skMsg],
  [P.RAW_TRACEPOINT, rawTracepoint],
  [P.CGROUP_SOCK_ADDR, sockAddr],
  [P.LIRC_MODE2, lirc],
  [P.SK_REUSEPORT, skReuseport],
  [P.FLOW_DISSECTOR, flowDissector],
  [P.CGROUP_SYSCTL, sysctl],
  [P.RAW_TRACEPOINT_WRITABLE, rawTracepointWritable],
  [P.CGROUP_SOCKOPT, sockopt],
  [P.SK_LOOKUP, skLookup],
  [P.SYSCALL, syscall],
]);

function makeAccess(env: Env, off: number, size: number, access: number, ldsx: boolean): Access {
  return {
    off,
    size,
    write: access === BPF_WRITE,
    ldsx,
    attach: env.expectedAttachType,
    bpfCapable: env.bpfCapable,
    regType: SCALAR_VALUE,
    fieldSize: 0,
  };
}

/** check_ctx_access: rejects what the program type may not touch; else what a load gives. */
export function checkCtxAccess(
  env: Env,
  i: number,
  off: number,
  size: number,
  access: number,
  isLdsx: boolean,
): CtxAccess {
  const rule = RULES.get(env.progType);
  let info: CtxAccess | null;
  if (rule === undefined) info = env.seams.btfCtxAccess(env, off, size, access);
  else {
    const a = makeAccess(env, off, size, access, isLdsx);
    info =
      rule(a) && !ctxFieldTooNew(env, off)
        ? { regType: a.regType, ctxFieldSize: a.fieldSize, btf: null, btfId: 0, refObjId: 0, retvalRange: null }
        : null;
  }
  if (info === null) return reject(env, EACCES, `invalid bpf_context access off=${off} size=${size}\n`);
  if (baseType(info.regType) === PTR_TO_BTF_ID) {
    if (info.refObjId !== 0 && !findReference(env.state, info.refObjId)) {
      reject(env, EACCES, `invalid bpf_context access off=${off}. Reference may already be released\n`);
    }
  } else env.aux[i]!.ctxFieldSize = info.ctxFieldSize;
  env.maxCtxOffset = Math.max(env.maxCtxOffset, off + size);
  return info;
}

/** check_sock_access: loads through socket pointers. */
export function checkSockAccess(env: Env, i: number, regno: number, off: number, size: number): void {
  const r = env.regs[regno]!;
  if (r.sminHi < 0) {
    reject(env, EACCES, `R${regno} min value is negative, either use unsigned index or do a if (index >=0) check.\n`);
  }
  const a = makeAccess(env, off, size, BPF_READ, false);
  let valid = false;
  if (r.type === PTR_TO_SOCK_COMMON) valid = sockCommon(a);
  else if (r.type === PTR_TO_SOCKET) valid = sock(a);
  else if (r.type === PTR_TO_TCP_SOCK) valid = tcpSock(a);
  else if (r.type === PTR_TO_XDP_SOCK) valid = xdpSock(a);
  if (!valid) reject(env, EACCES, `R${regno} invalid ${regTypeStr(r.type)} access off=${off} size=${size}\n`);
  env.aux[i]!.ctxFieldSize = a.fieldSize;
}

/** check_flow_keys_access */
export function checkFlowKeysAccess(env: Env, off: number, size: number): void {
  if (size < 0 || off < 0 || off + size > fields("bpf_flow_keys").size) {
    reject(env, EACCES, `invalid access to flow keys off=${off} size=${size}\n`);
  }
}
