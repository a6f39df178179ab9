/** Packets from layers: lengths, checksums and protocol numbers follow from what is inside unless they are given. */
import { encodeUtf8 } from "../../../core/bytes.ts";
import { ArgumentError } from "../../../core/errors.ts";
import { ipv4Bytes, ipv6Bytes } from "./addresses.ts";
import {
  ETH_P,
  IPPROTO,
  type LayerKind,
  TCP_FLAGS,
  type TcpFlag,
  encodeHeader,
  fieldOffset,
  headerSize,
  internetChecksum,
  pseudoSum,
} from "./headers.ts";

/** One header and its fields, or payload; made by `eth()`, `ipv4()`, …, or found by `parsePacket()`. */
export interface Layer<K extends LayerKind = LayerKind> {
  readonly kind: K;
  readonly fields: Readonly<Record<string, unknown>>;
  /** Options or data behind the fixed header. */
  readonly rest: Uint8Array;
}

export interface EthFields {
  /** Default "02:00:00:00:00:02". */
  readonly dst?: string;
  /** Default "02:00:00:00:00:01". */
  readonly src?: string;
  readonly type?: number;
}
export interface VlanFields {
  /** 0 to 4095; default 1. */
  readonly id?: number;
  readonly priority?: number;
  readonly dropEligible?: boolean | number;
  readonly type?: number;
}
export interface ArpFields {
  /** 1 request (the default), 2 reply. */
  readonly operation?: number;
  readonly senderMac?: string;
  readonly senderIp?: string;
  readonly targetMac?: string;
  readonly targetIp?: string;
  readonly hardware?: number;
  readonly protocol?: number;
  readonly hardwareSize?: number;
  readonly protocolSize?: number;
}
export interface Ipv4Fields {
  /** Default "10.0.0.1". */
  readonly src?: string;
  /** Default "10.0.0.2". */
  readonly dst?: string;
  /** Default 64. */
  readonly ttl?: number;
  readonly tos?: number;
  readonly id?: number;
  readonly dontFragment?: boolean | number;
  readonly moreFragments?: boolean | number;
  /** In units of 8 bytes. What follows is the middle of a datagram then: give it as payload. */
  readonly fragmentOffset?: number;
  /** Padded to a multiple of 4 with zeros, at most 40 bytes. */
  readonly options?: Uint8Array;
  readonly protocol?: number;
  readonly version?: number;
  readonly headerWords?: number;
  readonly length?: number;
  readonly checksum?: number;
  readonly reserved?: number;
}
export interface Ipv6Fields {
  /** Default "fd00::1". */
  readonly src?: string;
  /** Default "fd00::2". */
  readonly dst?: string;
  /** Default 64. */
  readonly hopLimit?: number;
  readonly trafficClass?: number;
  readonly flowLabel?: number;
  readonly nextHeader?: number;
  readonly version?: number;
  readonly length?: number;
}
/** Hop-by-hop options, destination options or a routing header. */
export interface Ipv6ExtFields {
  /** Default "hopByHop". */
  readonly header?: "hopByHop" | "routing" | "destination";
  /** What follows the two bytes of next header and length; padded with Pad1/PadN. Default: only padding. */
  readonly data?: Uint8Array;
  readonly nextHeader?: number;
  /** In units of 8 bytes, the first 8 not counted. */
  readonly length?: number;
}
export interface Ipv6FragmentFields {
  /** In units of 8 bytes. */
  readonly fragmentOffset?: number;
  readonly moreFragments?: boolean | number;
  readonly id?: number;
  readonly nextHeader?: number;
  readonly reserved?: number;
  readonly reserved2?: number;
}
export interface TcpFields {
  /** Default 40000. */
  readonly sport?: number;
  /** Default 80. */
  readonly dport?: number;
  readonly seq?: number;
  readonly ack?: number;
  /** Bits, or names: ["syn", "ack"]. Default none. */
  readonly flags?: number | readonly TcpFlag[];
  /** Default 65535. */
  readonly window?: number;
  readonly urgent?: number;
  /** Padded to a multiple of 4 with zeros, at most 40 bytes. */
  readonly options?: Uint8Array;
  readonly headerWords?: number;
  readonly reserved?: number;
  readonly checksum?: number;
}
export interface UdpFields {
  /** Default 40000. */
  readonly sport?: number;
  /** Default 53. */
  readonly dport?: number;
  readonly length?: number;
  readonly checksum?: number;
}
export interface IcmpFields {
  /** Default an echo request: 8 in ICMP, 128 in ICMPv6. */
  readonly type?: number;
  readonly code?: number;
  /** The second word of the header, as an echo has it. */
  readonly id?: number;
  readonly sequence?: number;
  readonly checksum?: number;
}

const NONE: Uint8Array = new Uint8Array(0);
const layer = <K extends LayerKind>(kind: K, fields: object, rest = NONE): Layer<K> => ({
  kind,
  fields: fields as Readonly<Record<string, unknown>>,
  rest,
});

function bytesOf(value: Uint8Array | undefined, argument: string): Uint8Array {
  if (value === undefined) return NONE;
  if (value instanceof Uint8Array) return value;
  throw new ArgumentError(argument, `expected bytes, got ${JSON.stringify(value)}`);
}

/** Bytes padded with zeros to a multiple of `unit`. */
function padded(value: Uint8Array | undefined, unit: number, limit: number, argument: string): Uint8Array {
  const bytes = bytesOf(value, argument);
  if (bytes.length > limit) throw new ArgumentError(argument, `expected at most ${limit} bytes, got ${bytes.length}`);
  const out = new Uint8Array(Math.ceil(bytes.length / unit) * unit);
  out.set(bytes);
  return out;
}

/** An Ethernet header. */
export const eth = (fields: EthFields = {}): Layer<"eth"> =>
  layer("eth", { src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02", ...fields });
/** A VLAN tag, behind Ethernet or another tag (the outer one then is 802.1ad's, QinQ). */
export const vlan = (fields: VlanFields = {}): Layer<"vlan"> => layer("vlan", { id: 1, ...fields });
/** ARP for IPv4 over Ethernet. */
export const arp = (fields: ArpFields = {}): Layer<"arp"> =>
  layer("arp", {
    hardware: 1,
    protocol: ETH_P.IP,
    hardwareSize: 6,
    protocolSize: 4,
    operation: 1,
    senderMac: "02:00:00:00:00:01",
    senderIp: "10.0.0.1",
    targetMac: "00:00:00:00:00:00",
    targetIp: "10.0.0.2",
    ...fields,
  });
export const ipv4 = ({ options, ...fields }: Ipv4Fields = {}): Layer<"ipv4"> =>
  layer(
    "ipv4",
    { version: 4, src: "10.0.0.1", dst: "10.0.0.2", ttl: 64, ...fields },
    padded(options, 4, 40, "ipv4.options"),
  );
export const ipv6 = (fields: Ipv6Fields = {}): Layer<"ipv6"> =>
  layer("ipv6", { version: 6, src: "fd00::1", dst: "fd00::2", hopLimit: 64, ...fields });
/** An extension header of options or routing. */
export const ipv6Ext = ({ data, ...fields }: Ipv6ExtFields = {}): Layer<"ipv6Ext"> =>
  layer("ipv6Ext", { header: "hopByHop", ...fields }, extData(bytesOf(data, "ipv6Ext.data")));
/** The fragment header. */
export const ipv6Fragment = (fields: Ipv6FragmentFields = {}): Layer<"ipv6Fragment"> => layer("ipv6Fragment", fields);
export const tcp = ({ options, flags, ...fields }: TcpFields = {}): Layer<"tcp"> =>
  layer(
    "tcp",
    { sport: 40000, dport: 80, window: 65535, flags: flagBits(flags ?? 0), ...fields },
    padded(options, 4, 40, "tcp.options"),
  );
export const udp = (fields: UdpFields = {}): Layer<"udp"> => layer("udp", { sport: 40000, dport: 53, ...fields });
export const icmp = (fields: IcmpFields = {}): Layer<"icmp"> => layer("icmp", { type: 8, ...fields });
export const icmpv6 = (fields: IcmpFields = {}): Layer<"icmpv6"> => layer("icmpv6", { type: 128, ...fields });

function flagBits(flags: number | readonly TcpFlag[]): number {
  if (typeof flags === "number") return flags;
  if (!Array.isArray(flags))
    throw new ArgumentError("tcp.flags", `expected bits or names, got ${JSON.stringify(flags)}`);
  let bits = 0;
  for (const flag of flags) {
    const bit = (TCP_FLAGS as Readonly<Record<string, number>>)[flag];
    if (bit === undefined)
      throw new ArgumentError(
        "tcp.flags",
        `expected ${Object.keys(TCP_FLAGS).join(", ")}, got ${JSON.stringify(flag)}`,
      );
    bits |= bit;
  }
  return bits;
}

/** Options filled up to a multiple of 8, the first two bytes of the header counted, by Pad1 or PadN. */
function extData(data: Uint8Array): Uint8Array {
  const limit = 256 * 8 - 2;
  if (data.length > limit)
    throw new ArgumentError("ipv6Ext.data", `expected at most ${limit} bytes, got ${data.length}`);
  const out = new Uint8Array(Math.ceil((data.length + 2) / 8) * 8 - 2);
  out.set(data);
  const padding = out.length - data.length;
  if (padding > 1) out.set([1, padding - 2], data.length);
  return out;
}

const EXT = { hopByHop: IPPROTO.HOPOPTS, routing: IPPROTO.ROUTING, destination: IPPROTO.DSTOPTS } as const;

/** What a layer is called by the one before it: an EtherType. */
function etherType(next: Layer | undefined, after: Layer | undefined): number {
  switch (next?.kind) {
    case "vlan":
      return after?.kind === "vlan" ? ETH_P.QINQ : ETH_P.VLAN;
    case "arp":
      return ETH_P.ARP;
    case "ipv6":
      return ETH_P.IPV6;
    case "ipv4":
      return ETH_P.IP;
    default:
      // "Local experimental": nothing that a program would mistake for something else.
      return 0x88b5;
  }
}

/** What a layer is called by IP. */
function protocolOf(next: Layer | undefined): number {
  switch (next?.kind) {
    case "tcp":
      return IPPROTO.TCP;
    case "udp":
      return IPPROTO.UDP;
    case "icmp":
      return IPPROTO.ICMP;
    case "icmpv6":
      return IPPROTO.ICMPV6;
    case "ipv4":
      return IPPROTO.IPIP;
    case "ipv6":
      return IPPROTO.IPV6;
    case "ipv6Fragment":
      return IPPROTO.FRAGMENT;
    case "ipv6Ext": {
      const header = (next.fields["header"] ?? "hopByHop") as keyof typeof EXT;
      const protocol = EXT[header];
      if (protocol === undefined)
        throw new ArgumentError(
          "ipv6Ext.header",
          `expected ${Object.keys(EXT).join(", ")}, got ${JSON.stringify(header)}`,
        );
      return protocol;
    }
    case undefined:
      return IPPROTO.NONE;
    default:
      // Of RFC 3692: for experiments.
      return 253;
  }
}

/**
 * A packet of these layers, from the outermost in; text and bytes are payload.
 *
 * @throws ArgumentError with the layer's field, such as "ipv4.ttl"
 * @example
 * const syn = packet(eth(), ipv4({ dst: "10.0.0.9" }), tcp({ dport: 443, flags: ["syn"] }));
 * const query = packet(eth(), vlan({ id: 7 }), ipv6(), udp({ dport: 53 }), "payload");
 */
export function packet(...parts: readonly (Layer | Uint8Array | string)[]): Uint8Array {
  const layers = parts.map((part): Layer =>
    typeof part === "string"
      ? layer("payload", {}, encodeUtf8(part))
      : part instanceof Uint8Array
        ? layer("payload", {}, part)
        : part,
  );
  let inner: Uint8Array = NONE;
  for (let i = layers.length - 1; i >= 0; i--) {
    const { kind, fields, rest } = layers[i]!;
    const values = { ...fields };
    const next = layers[i + 1];
    const size = headerSize(kind) + rest.length;
    const total = size + inner.length;
    const set = (name: string, value: number): void => {
      values[name] ??= value;
    };
    switch (kind) {
      case "eth":
      case "vlan":
        set("type", etherType(next, layers[i + 2]));
        break;
      case "ipv4":
        set("headerWords", size / 4);
        set("length", total);
        set("protocol", protocolOf(next));
        break;
      case "ipv6":
        set("nextHeader", protocolOf(next));
        set("length", total - size);
        break;
      case "ipv6Ext":
        set("nextHeader", protocolOf(next));
        set("length", size / 8 - 1);
        break;
      case "ipv6Fragment":
        set("nextHeader", protocolOf(next));
        break;
      case "tcp":
        set("headerWords", size / 4);
        break;
      case "udp":
        set("length", total);
        break;
      default:
    }
    const bytes = new Uint8Array(total);
    bytes.set(encodeHeader(kind, values));
    bytes.set(rest, size - rest.length);
    bytes.set(inner, size);
    if (values["checksum"] === undefined) fillChecksum(kind, bytes, size, layers.slice(0, i));
    inner = bytes;
  }
  return inner;
}

/** Puts the checksum of a header into it: over the header (IPv4), or over all with the pseudo-header of the IP around it. */
function fillChecksum(kind: LayerKind, bytes: Uint8Array, size: number, outer: readonly Layer[]): void {
  let sum: number;
  switch (kind) {
    case "ipv4":
      sum = internetChecksum(bytes.subarray(0, size));
      break;
    case "icmp":
      sum = internetChecksum(bytes);
      break;
    case "icmpv6":
    case "tcp":
    case "udp": {
      const ip = outer.findLast((l) => l.kind === "ipv4" || l.kind === "ipv6");
      if (ip === undefined) return;
      const toBytes = ip.kind === "ipv4" ? ipv4Bytes : ipv6Bytes;
      const protocol = kind === "tcp" ? IPPROTO.TCP : kind === "udp" ? IPPROTO.UDP : IPPROTO.ICMPV6;
      const src = toBytes(String(ip.fields["src"]), `${ip.kind}.src`);
      const dst = toBytes(String(ip.fields["dst"]), `${ip.kind}.dst`);
      sum = internetChecksum(bytes, pseudoSum(src, dst, protocol, bytes.length));
      // In UDP, 0 says that there is none.
      if (kind === "udp" && sum === 0) sum = 0xffff;
      break;
    }
    default:
      return;
  }
  const at = fieldOffset(kind, "checksum");
  bytes[at] = sum >> 8;
  bytes[at + 1] = sum & 0xff;
}
