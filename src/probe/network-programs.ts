/** Program declarations for packets, sockets and cgroups. All inert: they give a handle and attach nothing. */
import { ArgumentError } from "../core/errors.ts";
import type { Bpf } from "./bpf.ts";
import type {
  CgroupDeviceContext,
  LircContext,
  NetfilterContext,
  SkBuffContext,
  SkLookupContext,
  SkMsgContext,
  SkReuseportContext,
  SockAddrContext,
  SockContext,
  SockoptContext,
  SockOpsContext,
  SysctlContext,
  XdpContext,
} from "./contexts.ts";
import { oneOf, program, type ProgramOptions } from "./declare.ts";
import { type Handle, seal } from "./handle.ts";
import type { KernelStruct } from "./kernel-types.ts";
import { checkOptions } from "./options.ts";
import type { AnyProgram, Attach, NetfilterHook, ProgramHandle, ProgramType, Verdict } from "./program-types.ts";
import { callSite } from "./site.ts";

const atLoad: Attach = { how: "target" };

/** Results of an XDP program. */
export const XDP = Object.freeze({ ABORTED: 0, DROP: 1, PASS: 2, TX: 3, REDIRECT: 4 } as const);
/** Results of a traffic-control program; `NEXT` goes on to the next one of a tcx chain. */
export const TC = Object.freeze({
  NEXT: -1,
  OK: 0,
  RECLASSIFY: 1,
  SHOT: 2,
  PIPE: 3,
  STOLEN: 4,
  QUEUED: 5,
  REPEAT: 6,
  REDIRECT: 7,
  TRAP: 8,
} as const);
/** Results of socket programs (`skMsg`, `skSkb`, `skLookup`, `skReuseport`). */
export const SK = Object.freeze({ DROP: 0, PASS: 1 } as const);
/** Results of netfilter programs. */
export const NF = Object.freeze({ DROP: 0, ACCEPT: 1 } as const);

/** Options of {@link xdp}. */
export interface XdpOptions extends ProgramOptions {
  /** Handles packets in several buffers. Kernel 5.18+. */
  readonly frags?: boolean;
  /** For a device map or a CPU map instead of an interface. Kernel 5.8+, 5.9+. */
  readonly at?: "interface" | "devmap" | "cpumap";
}
/**
 * Sees every packet that an interface receives, before the network stack. Kernel 4.8+.
 * @example
 * import { XDP, percpuArray, u64, xdp } from "bpfkit";
 * export const packets = percpuArray(u64, 1);
 * export const count = xdp((ctx) => { packets.add(0, 1); return XDP.PASS; });
 */
export function xdp(
  fn: (ctx: XdpContext, bpf: Bpf<"xdp">) => number,
  options: XdpOptions = {},
): ProgramHandle<"xdp", XdpContext> {
  const at = oneOf("xdp(at)", options.at ?? "interface", ["interface", "devmap", "cpumap"]);
  const section = `xdp${options.frags === true ? ".frags" : ""}${at === "interface" ? "" : `/${at}`}`;
  return program("xdp", section, at === "interface" ? atLoad : { how: "none" }, fn, options, { xdp });
}

/** Options of {@link tc}. */
export interface TcOptions extends ProgramOptions {
  /** Where: a tcx chain (kernel 6.6+), a netkit device (kernel 6.7+); left out: a classic filter of either direction. */
  readonly at?: "ingress" | "egress" | "netkit-primary" | "netkit-peer";
}
/** Traffic control: sees packets on their way in or out of an interface. Kernel 4.1+. */
export function tc(
  fn: (ctx: SkBuffContext, bpf: Bpf<"sched_cls">) => number,
  options: TcOptions = {},
): ProgramHandle<"sched_cls", SkBuffContext> {
  const sections = {
    ingress: "tcx/ingress",
    egress: "tcx/egress",
    "netkit-primary": "netkit/primary",
    "netkit-peer": "netkit/peer",
  } as const;
  const section =
    options.at === undefined
      ? "tc"
      : sections[oneOf("tc(at)", options.at, ["ingress", "egress", "netkit-primary", "netkit-peer"])];
  return program("sched_cls", section, atLoad, fn, options, { tc });
}
/** A traffic-control action. Kernel 4.1+. */
export function tcAction(
  fn: (ctx: SkBuffContext, bpf: Bpf<"sched_act">) => number,
  options: ProgramOptions = {},
): ProgramHandle<"sched_act", SkBuffContext> {
  return program("sched_act", "action", atLoad, fn, options, { tcAction });
}

/** Filters the packets of a socket: the number of bytes to keep, 0 to drop. Kernel 3.19+. */
export function socketFilter(
  fn: (ctx: SkBuffContext, bpf: Bpf<"socket_filter">) => number,
  options: ProgramOptions = {},
): ProgramHandle<"socket_filter", SkBuffContext> {
  return program("socket_filter", "socket", atLoad, fn, options, { socketFilter });
}
/** Packets of a cgroup's sockets: 1 lets through, 0 drops. Kernel 4.10+. */
export function cgroupSkb(
  direction: "ingress" | "egress",
  fn: (ctx: SkBuffContext, bpf: Bpf<"cgroup_skb">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"cgroup_skb", SkBuffContext> {
  oneOf("cgroupSkb(direction)", direction, ["ingress", "egress"]);
  return program("cgroup_skb", `cgroup_skb/${direction}`, atLoad, fn, options, { cgroupSkb });
}

const SOCK_HOOKS = ["sock_create", "sock_release", "post_bind4", "post_bind6"] as const;
/** Sockets of a cgroup when they are made, bound or released. Kernel 4.10+. */
export function cgroupSock(
  hook: (typeof SOCK_HOOKS)[number],
  fn: (ctx: SockContext, bpf: Bpf<"cgroup_sock">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"cgroup_sock", SockContext> {
  return program("cgroup_sock", `cgroup/${oneOf("cgroupSock(hook)", hook, SOCK_HOOKS)}`, atLoad, fn, options, {
    cgroupSock,
  });
}
const ADDR_HOOKS = [
  "bind4",
  "bind6",
  "connect4",
  "connect6",
  "connect_unix",
  "sendmsg4",
  "sendmsg6",
  "sendmsg_unix",
  "recvmsg4",
  "recvmsg6",
  "recvmsg_unix",
  "getpeername4",
  "getpeername6",
  "getpeername_unix",
  "getsockname4",
  "getsockname6",
  "getsockname_unix",
] as const;
/** Addresses that a cgroup's sockets bind, connect and send to. Kernel 4.17+. */
export function cgroupSockAddr(
  hook: (typeof ADDR_HOOKS)[number],
  fn: (ctx: SockAddrContext, bpf: Bpf<"cgroup_sock_addr">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"cgroup_sock_addr", SockAddrContext> {
  return program("cgroup_sock_addr", `cgroup/${oneOf("cgroupSockAddr(hook)", hook, ADDR_HOOKS)}`, atLoad, fn, options, {
    cgroupSockAddr,
  });
}
/** Socket options of a cgroup. Kernel 5.3+. */
export function cgroupSockopt(
  hook: "get" | "set",
  fn: (ctx: SockoptContext, bpf: Bpf<"cgroup_sockopt">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"cgroup_sockopt", SockoptContext> {
  return program(
    "cgroup_sockopt",
    `cgroup/${oneOf("cgroupSockopt(hook)", hook, ["get", "set"])}sockopt`,
    atLoad,
    fn,
    options,
    { cgroupSockopt },
  );
}
/** Reads and writes of sysctls by a cgroup. Kernel 5.2+. */
export function cgroupSysctl(
  fn: (ctx: SysctlContext, bpf: Bpf<"cgroup_sysctl">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"cgroup_sysctl", SysctlContext> {
  return program("cgroup_sysctl", "cgroup/sysctl", atLoad, fn, options, { cgroupSysctl });
}
/** Device accesses of a cgroup. Kernel 4.15+. */
export function cgroupDevice(
  fn: (ctx: CgroupDeviceContext, bpf: Bpf<"cgroup_device">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"cgroup_device", CgroupDeviceContext> {
  return program("cgroup_device", "cgroup/dev", atLoad, fn, options, { cgroupDevice });
}
/** TCP events of a cgroup's sockets. Kernel 4.13+. */
export function sockOps(
  fn: (ctx: SockOpsContext, bpf: Bpf<"sock_ops">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"sock_ops", SockOpsContext> {
  return program("sock_ops", "sockops", atLoad, fn, options, { sockOps });
}

/** Data of the sockets of a sockmap: parses it (`stream_parser`) or rules on it. Kernel 4.14+; `verdict` 5.13+. */
export function skSkb(
  hook: "stream_parser" | "stream_verdict" | "verdict",
  fn: (ctx: SkBuffContext, bpf: Bpf<"sk_skb">) => number,
  options: ProgramOptions = {},
): ProgramHandle<"sk_skb", SkBuffContext> {
  return program(
    "sk_skb",
    `sk_skb/${oneOf("skSkb(hook)", hook, ["stream_parser", "stream_verdict", "verdict"])}`,
    atLoad,
    fn,
    options,
    { skSkb },
  );
}
/** Messages that the sockets of a sockmap send. Kernel 4.17+. */
export function skMsg(
  fn: (ctx: SkMsgContext, bpf: Bpf<"sk_msg">) => number,
  options: ProgramOptions = {},
): ProgramHandle<"sk_msg", SkMsgContext> {
  return program("sk_msg", "sk_msg", atLoad, fn, options, { skMsg });
}
/** Options of {@link skReuseport}. */
export interface SkReuseportOptions extends ProgramOptions {
  /** Also decides where a closing listener's connections go. Kernel 5.14+. */
  readonly migrate?: boolean;
}
/** Picks the listener of a SO_REUSEPORT group. Kernel 4.19+. */
export function skReuseport(
  fn: (ctx: SkReuseportContext, bpf: Bpf<"sk_reuseport">) => number,
  options: SkReuseportOptions = {},
): ProgramHandle<"sk_reuseport", SkReuseportContext> {
  return program(
    "sk_reuseport",
    options.migrate === true ? "sk_reuseport/migrate" : "sk_reuseport",
    atLoad,
    fn,
    options,
    { skReuseport },
  );
}
/** Picks the socket that a new connection goes to, for a network namespace. Kernel 5.9+. */
export function skLookup(
  fn: (ctx: SkLookupContext, bpf: Bpf<"sk_lookup">) => number,
  options: ProgramOptions = {},
): ProgramHandle<"sk_lookup", SkLookupContext> {
  return program("sk_lookup", "sk_lookup", atLoad, fn, options, { skLookup });
}
/** Dissects packets into flow keys, for a network namespace. Kernel 4.20+. */
export function flowDissector(
  fn: (ctx: SkBuffContext, bpf: Bpf<"flow_dissector">) => number,
  options: ProgramOptions = {},
): ProgramHandle<"flow_dissector", SkBuffContext> {
  return program("flow_dissector", "flow_dissector", atLoad, fn, options, { flowDissector });
}

/** Where a {@link netfilter} program is hooked in. */
export interface NetfilterPlace {
  readonly family: "ipv4" | "ipv6";
  readonly hook: NetfilterHook;
  /** Order among the hook's users, from -2147483647 to 2147483646; default 0. */
  readonly priority?: number;
  /** Reassemble fragments first. Kernel 6.6+. */
  readonly defrag?: boolean;
}
/** Packets at a netfilter hook. Kernel 6.4+. */
export function netfilter(
  at: NetfilterPlace,
  fn: (ctx: NetfilterContext, bpf: Bpf<"netfilter">) => number,
  options: ProgramOptions = {},
): ProgramHandle<"netfilter", NetfilterContext> {
  const family = oneOf("netfilter(family)", at?.family, ["ipv4", "ipv6"]);
  const hook = oneOf("netfilter(hook)", at.hook, ["prerouting", "input", "forward", "output", "postrouting"]);
  const attach = { how: "netfilter", family, hook, priority: at.priority ?? 0, defrag: at.defrag ?? false } as const;
  return program("netfilter", "netfilter", attach, fn, options, { netfilter });
}

/** Packets that a lightweight tunnel receives. Kernel 4.10+. */
export function lwtIn(
  fn: (ctx: SkBuffContext, bpf: Bpf<"lwt_in">) => number,
  options: ProgramOptions = {},
): ProgramHandle<"lwt_in", SkBuffContext> {
  return program("lwt_in", "lwt_in", atLoad, fn, options, { lwtIn });
}
/** Packets routed into a lightweight tunnel. Kernel 4.10+. */
export function lwtOut(
  fn: (ctx: SkBuffContext, bpf: Bpf<"lwt_out">) => number,
  options: ProgramOptions = {},
): ProgramHandle<"lwt_out", SkBuffContext> {
  return program("lwt_out", "lwt_out", atLoad, fn, options, { lwtOut });
}
/** Packets that a lightweight tunnel sends. Kernel 4.10+. */
export function lwtXmit(
  fn: (ctx: SkBuffContext, bpf: Bpf<"lwt_xmit">) => number,
  options: ProgramOptions = {},
): ProgramHandle<"lwt_xmit", SkBuffContext> {
  return program("lwt_xmit", "lwt_xmit", atLoad, fn, options, { lwtXmit });
}
/** Packets at an IPv6 segment-routing endpoint. Kernel 4.18+. */
export function lwtSeg6local(
  fn: (ctx: SkBuffContext, bpf: Bpf<"lwt_seg6local">) => number,
  options: ProgramOptions = {},
): ProgramHandle<"lwt_seg6local", SkBuffContext> {
  return program("lwt_seg6local", "lwt_seg6local", atLoad, fn, options, { lwtSeg6local });
}
/** Infrared samples. Kernel 4.18+. */
export function lircMode2(
  fn: (ctx: LircContext, bpf: Bpf<"lirc_mode2">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"lirc_mode2", LircContext> {
  return program("lirc_mode2", "lirc_mode2", atLoad, fn, options, { lircMode2 });
}

/** What the compiler and the loader read of a struct_ops declaration. */
export interface StructOpsHandle extends Handle {
  readonly kind: "struct-ops";
  /** The kernel struct, such as "tcp_congestion_ops". */
  readonly struct: string;
  /** Plain members: numbers and strings. */
  readonly values: Readonly<Record<string, number | bigint | string>>;
  /** Function members, as programs. */
  readonly programs: Readonly<Record<string, AnyProgram>>;
  /** Registered by a link, which ends it (kernel 6.4); else by the map itself. */
  readonly link: boolean;
  readonly name: string | undefined;
}
type StructOpsMember =
  | number
  | bigint
  | string
  | ((ctx: KernelStruct<"bpf_struct_ops_args">, bpf: Bpf<"struct_ops">) => Verdict);
/** Options of {@link structOps}. */
export interface StructOpsOptions extends ProgramOptions {
  /** Register it by a link, which ends it (kernel 6.4+, the default), or by the map itself. */
  readonly link?: boolean;
}
/**
 * Implements a kernel interface: function members are programs whose `ctx` has the arguments by name. Kernel 5.6+.
 * @example
 * import { structOps } from "bpfkit";
 * export const reno = structOps("tcp_congestion_ops", { name: "my_reno", ssthresh: () => 2, cong_avoid: () => {}, undo_cwnd: (ctx) => ctx.sk.__sk_common.skc_family });
 */
export function structOps(
  struct: string,
  members: Readonly<Record<string, StructOpsMember>>,
  options: StructOpsOptions = {},
): StructOpsHandle {
  if (typeof members !== "object" || members === null)
    throw new ArgumentError("structOps(members)", "expected an object of members");
  checkOptions("structOps", "program", options);
  const values: Record<string, number | bigint | string> = {};
  const programs: Record<string, AnyProgram> = {};
  for (const [member, value] of Object.entries(members)) {
    if (typeof value !== "function") values[member] = value;
    else
      programs[member] = program<ProgramType, never>(
        "struct_ops",
        `struct_ops/${member}`,
        { how: "struct_ops", struct, member },
        value,
        {},
        { structOps },
      );
  }
  const site = callSite({ structOps });
  return seal({
    kind: "struct-ops" as const,
    struct,
    values: Object.freeze(values),
    programs: Object.freeze(programs),
    link: options.link ?? true,
    name: options.name,
    get site() {
      return site();
    },
  });
}
