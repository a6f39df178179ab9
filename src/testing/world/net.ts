/** Network devices, sockets and routes. */
import { ArgumentError } from "../../core/errors.ts";
import { ctxLayout } from "../../uapi/ctx.ts";
import type { KernelObjects } from "./objects.ts";
import { ipBytes, macBytes } from "./packet/addresses.ts";
import type { Fields, KernelObject } from "./types.ts";
import { putFields } from "./contexts/uapi.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const TCP = 6;
const UDP = 17;
const ETHERNET = 1;

export interface DeviceSpec {
  /** From 1 on. */
  readonly ifindex: number;
  /** At most 15 bytes: "eth0". */
  readonly name: string;
  /** Default 1500. */
  readonly mtu?: number;
  readonly mac?: string;
  /** Other members of struct net_device. */
  readonly struct?: Fields;
}

/** A `struct net_device`. */
export function makeDevice(objects: KernelObjects, spec: DeviceSpec): KernelObject {
  return objects.struct("net_device", {
    ...objects.known("net_device", {
      ifindex: spec.ifindex,
      name: spec.name,
      mtu: spec.mtu ?? 1500,
      type: ETHERNET,
      addr_len: 6,
      dev_addr: macBytes(spec.mac ?? "02:00:00:00:00:01", "device.mac"),
    }),
    ...spec.struct,
  });
}

export interface SocketSpec {
  /** "tcp" or "udp", or an IPPROTO number; default "tcp". */
  readonly protocol?: "tcp" | "udp" | number;
  /** This end: "10.0.0.1" or "fd00::1"; default 0.0.0.0. */
  readonly local?: string;
  readonly localPort?: number;
  /** The other end; absent: a listening or unconnected socket. */
  readonly remote?: string;
  readonly remotePort?: number;
  /** TCP_*: 1 established, 10 listening; by default the one that the addresses suggest. */
  readonly state?: number;
  readonly mark?: number;
  readonly priority?: number;
  readonly boundIfindex?: number;
  readonly uid?: number;
  readonly cookie?: number | bigint;
  readonly cgroup?: KernelObject;
  /** Numbers of struct bpf_tcp_sock: `{ srtt_us: 8000, snd_cwnd: 10 }`. */
  readonly tcp?: Fields;
  /** Other members of struct sock. */
  readonly struct?: Fields;
}

/** A socket as both halves of the kernel's interface show it. */
export interface MadeSocket {
  /** `struct bpf_sock`, what `ctx->sk` and the look-up helpers give. */
  readonly address: bigint;
  /** `struct bpf_tcp_sock`; 0 for what is no TCP socket. */
  readonly tcp: bigint;
  /** `struct tcp_sock`, `udp_sock` or `sock` by BTF. */
  readonly kernel: KernelObject;
  readonly spec: SocketSpec;
  readonly protocol: number;
  readonly state: number;
  readonly local: Uint8Array;
  readonly remote: Uint8Array | undefined;
}

/** @throws ArgumentError for addresses of two families, or what does not fit */
export function makeSocket(objects: KernelObjects, spec: SocketSpec): MadeSocket {
  const protocol =
    spec.protocol === undefined || spec.protocol === "tcp" ? TCP : spec.protocol === "udp" ? UDP : spec.protocol;
  const remote = spec.remote === undefined ? undefined : ipBytes(spec.remote, "socket.remote");
  const local = spec.local === undefined ? new Uint8Array(remote?.length ?? 4) : ipBytes(spec.local, "socket.local");
  if (remote !== undefined && remote.length !== local.length)
    throw new ArgumentError(
      "socket.remote",
      `expected an address of the same family as ${JSON.stringify(spec.local)}, got ${JSON.stringify(spec.remote)}`,
    );
  const four = local.length === 4;
  const family = four ? AF_INET : AF_INET6;
  const type = protocol === TCP ? 1 : protocol === UDP ? 2 : 3;
  const state = spec.state ?? (remote !== undefined ? 1 : protocol === TCP ? 10 : 7);
  const row = ctxLayout("bpf_sock")!;
  const bytes = new Uint8Array(row.size);
  const { localPort = 0, remotePort = 0 } = spec;
  putFields(
    row,
    {
      bound_dev_if: spec.boundIfindex ?? 0,
      family,
      type,
      protocol,
      mark: spec.mark ?? 0,
      priority: spec.priority ?? 0,
      [four ? "src_ip4" : "src_ip6"]: local,
      src_port: localPort,
      dst_port: remotePort,
      ...(remote === undefined ? {} : { [four ? "dst_ip4" : "dst_ip6"]: remote }),
      state,
      rx_queue_mapping: -1,
    },
    bytes,
    "socket",
  );
  const tcpRow = ctxLayout("bpf_tcp_sock")!;
  const tcpBytes = new Uint8Array(tcpRow.size);
  if (spec.tcp !== undefined && protocol !== TCP) throw new ArgumentError("socket.tcp", "this is no TCP socket");
  putFields(tcpRow, spec.tcp ?? {}, tcpBytes, "socket.tcp");
  const kernel = kernelSocket(objects, { family, type, protocol, state, local, remote, spec });
  return {
    address: objects.bytes(bytes, "kernel", "struct bpf_sock"),
    tcp: protocol === TCP ? objects.bytes(tcpBytes, "kernel", "struct bpf_tcp_sock") : 0n,
    kernel,
    spec,
    protocol,
    state,
    local,
    remote,
  };
}

interface Parts {
  readonly family: number;
  readonly type: number;
  readonly protocol: number;
  readonly state: number;
  readonly local: Uint8Array;
  readonly remote: Uint8Array | undefined;
  readonly spec: SocketSpec;
}

/** Ports and IPv4 addresses are in network order in the struct: as bytes. */
const be16 = (n: number): number => ((n & 0xff) << 8) | (n >> 8);
const be32 = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);

function kernelSocket(objects: KernelObjects, parts: Parts): KernelObject {
  const { family, type, protocol, state, local, remote, spec } = parts;
  const four = family === AF_INET;
  const common = objects.known("sock_common", {
    skc_family: family,
    skc_state: state,
    skc_bound_dev_if: spec.boundIfindex ?? 0,
    skc_num: spec.localPort ?? 0,
    skc_dport: be16(spec.remotePort ?? 0),
    skc_cookie: { counter: spec.cookie ?? 0 },
    ...(four
      ? { skc_rcv_saddr: be32(local), skc_daddr: remote === undefined ? 0 : be32(remote) }
      : {
          skc_v6_rcv_saddr: { in6_u: { u6_addr8: local } },
          ...(remote === undefined ? {} : { skc_v6_daddr: { in6_u: { u6_addr8: remote } } }),
        }),
  });
  const sk: Fields = {
    __sk_common: common,
    ...objects.known("sock", {
      sk_type: type,
      sk_protocol: protocol,
      sk_mark: spec.mark ?? 0,
      sk_priority: spec.priority ?? 0,
      sk_uid: { val: spec.uid ?? 0 },
    }),
    ...spec.struct,
  };
  const inet: Fields = {
    sk,
    ...objects.known("inet_sock", {
      inet_sport: be16(spec.localPort ?? 0),
      ...(four ? { inet_saddr: be32(local) } : {}),
    }),
  };
  if (protocol === TCP)
    return objects.struct("tcp_sock", { inet_conn: { icsk_inet: inet }, ...tcpMembers(objects, spec.tcp ?? {}) });
  if (protocol === UDP) return objects.struct("udp_sock", { inet });
  return objects.struct("inet_sock", inet);
}

/** Numbers that struct tcp_sock has under the same name. */
function tcpMembers(objects: KernelObjects, tcp: Fields): Fields {
  return objects.known("tcp_sock", Object.fromEntries(Object.entries(tcp).filter(([name]) => name !== "rtt_min")));
}

/** A route of the forwarding table, with the neighbour that it leads to. */
export interface RouteSpec {
  /** "10.0.0.0/8", "fd00::/16", "0.0.0.0/0". */
  readonly to: string;
  /** Interface that packets leave by. */
  readonly ifindex: number;
  /** The gateway, when the destination is not reached directly. */
  readonly via?: string;
  /** MAC address of the next hop; absent: the neighbour is not known. */
  readonly dmac?: string;
  /** MAC address of the interface; default "02:00:00:00:00:01". */
  readonly smac?: string;
  /** Preferred source address. */
  readonly src?: string;
  readonly metric?: number;
  /** Default 1500. */
  readonly mtu?: number;
  /** "unicast" (the default) forwards; the others are answered as the kernel answers them. */
  readonly type?: "unicast" | "blackhole" | "unreachable" | "prohibit" | "local";
}

export interface Route {
  readonly spec: RouteSpec;
  readonly prefix: Uint8Array;
  readonly length: number;
}

/** @throws ArgumentError for what is no prefix */
export function makeRoute(spec: RouteSpec): Route {
  const [address = "", bits] = String(spec.to).split("/");
  const prefix = ipBytes(address, "route.to");
  const length = bits === undefined ? prefix.length * 8 : Number(bits);
  if (!Number.isInteger(length) || length < 0 || length > prefix.length * 8)
    throw new ArgumentError("route.to", `expected a prefix such as "10.0.0.0/8", got ${JSON.stringify(spec.to)}`);
  if (spec.via !== undefined) ipBytes(spec.via, "route.via");
  if (spec.src !== undefined) ipBytes(spec.src, "route.src");
  if (spec.dmac !== undefined) macBytes(spec.dmac, "route.dmac");
  if (spec.smac !== undefined) macBytes(spec.smac, "route.smac");
  return { spec, prefix, length };
}

/** The longest prefix that covers `address`; of equals the one with the lowest metric. */
export function routeTo(routes: readonly Route[], address: Uint8Array): Route | undefined {
  const covers = ({ prefix, length }: Route): boolean => {
    if (prefix.length !== address.length) return false;
    for (let bit = 0; bit < length; bit++)
      if (((prefix[bit >> 3]! ^ address[bit >> 3]!) & (0x80 >> (bit & 7))) !== 0) return false;
    return true;
  };
  let best: Route | undefined;
  for (const route of routes) {
    if (!covers(route)) continue;
    const better =
      best === undefined ||
      route.length > best.length ||
      (route.length === best.length && (route.spec.metric ?? 0) < (best.spec.metric ?? 0));
    if (better) best = route;
  }
  return best;
}
