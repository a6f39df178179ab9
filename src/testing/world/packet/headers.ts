/** Protocol headers as tables of fields: what builds, reads and prints them. RFCs 791, 792, 793, 768, 826, 4443, 8200; IEEE 802.1Q. */
import { ArgumentError } from "../../../core/errors.ts";
import { ipv4Bytes, ipv4Text, ipv6Bytes, ipv6Text, macBytes, macText } from "./addresses.ts";

export type LayerKind =
  | "eth"
  | "vlan"
  | "arp"
  | "ipv4"
  | "ipv6"
  | "ipv6Ext"
  | "ipv6Fragment"
  | "tcp"
  | "udp"
  | "icmp"
  | "icmpv6"
  | "payload";

type Width = number | "mac" | "ipv4" | "ipv6";
export type HeaderValue = number | string;
export type Header = Readonly<Record<string, HeaderValue>>;

/** Fields in the order of the header, with their bits; addresses by kind. */
const rows = {
  eth: [
    ["dst", "mac"],
    ["src", "mac"],
    ["type", 16],
  ],
  vlan: [
    ["priority", 3],
    ["dropEligible", 1],
    ["id", 12],
    ["type", 16],
  ],
  arp: [
    ["hardware", 16],
    ["protocol", 16],
    ["hardwareSize", 8],
    ["protocolSize", 8],
    ["operation", 16],
    ["senderMac", "mac"],
    ["senderIp", "ipv4"],
    ["targetMac", "mac"],
    ["targetIp", "ipv4"],
  ],
  ipv4: [
    ["version", 4],
    ["headerWords", 4],
    ["tos", 8],
    ["length", 16],
    ["id", 16],
    ["reserved", 1],
    ["dontFragment", 1],
    ["moreFragments", 1],
    ["fragmentOffset", 13],
    ["ttl", 8],
    ["protocol", 8],
    ["checksum", 16],
    ["src", "ipv4"],
    ["dst", "ipv4"],
  ],
  ipv6: [
    ["version", 4],
    ["trafficClass", 8],
    ["flowLabel", 20],
    ["length", 16],
    ["nextHeader", 8],
    ["hopLimit", 8],
    ["src", "ipv6"],
    ["dst", "ipv6"],
  ],
  ipv6Ext: [
    ["nextHeader", 8],
    ["length", 8],
  ],
  ipv6Fragment: [
    ["nextHeader", 8],
    ["reserved", 8],
    ["fragmentOffset", 13],
    ["reserved2", 2],
    ["moreFragments", 1],
    ["id", 32],
  ],
  tcp: [
    ["sport", 16],
    ["dport", 16],
    ["seq", 32],
    ["ack", 32],
    ["headerWords", 4],
    ["reserved", 3],
    ["flags", 9],
    ["window", 16],
    ["checksum", 16],
    ["urgent", 16],
  ],
  udp: [
    ["sport", 16],
    ["dport", 16],
    ["length", 16],
    ["checksum", 16],
  ],
  icmp: [
    ["type", 8],
    ["code", 8],
    ["checksum", 16],
    ["id", 16],
    ["sequence", 16],
  ],
  icmpv6: [
    ["type", 8],
    ["code", 8],
    ["checksum", 16],
    ["id", 16],
    ["sequence", 16],
  ],
  payload: [],
} as const satisfies Readonly<Record<LayerKind, readonly (readonly [string, Width])[]>>;

export const HEADERS: Readonly<Record<LayerKind, readonly (readonly [string, Width])[]>> = rows;

/** EtherTypes. */
export const ETH_P = { IP: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd, QINQ: 0x88a8 } as const;
/** Protocols of IP, extension headers among them. */
export const IPPROTO = {
  HOPOPTS: 0,
  ICMP: 1,
  IPIP: 4,
  TCP: 6,
  UDP: 17,
  IPV6: 41,
  ROUTING: 43,
  FRAGMENT: 44,
  ICMPV6: 58,
  NONE: 59,
  DSTOPTS: 60,
} as const;

/** Bits of TCP's flags. */
export const TCP_FLAGS = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128, ae: 256 } as const;
export type TcpFlag = keyof typeof TCP_FLAGS;

const bitsOf = (width: Width): number =>
  typeof width === "number" ? width : width === "mac" ? 48 : width === "ipv4" ? 32 : 128;

/** Bytes of a header without its options. */
export function headerSize(kind: LayerKind): number {
  return HEADERS[kind].reduce((bits, [, width]) => bits + bitsOf(width), 0) / 8;
}

/** Byte offset of a field that starts on a byte. */
export function fieldOffset(kind: LayerKind, field: string): number {
  let bits = 0;
  for (const [name, width] of HEADERS[kind]) {
    if (name === field) return bits / 8;
    bits += bitsOf(width);
  }
  throw new ArgumentError("field", `a ${kind} header has no field ${field}`);
}

/** @throws ArgumentError for a value that its field cannot hold, named `kind.field` */
export function encodeHeader(kind: LayerKind, values: Readonly<Record<string, unknown>>): Uint8Array {
  const out = new Uint8Array(headerSize(kind));
  let bit = 0;
  for (const [name, width] of HEADERS[kind]) {
    const value = values[name] ?? 0;
    const path = `${kind}.${name}`;
    if (typeof width === "number") {
      const n = typeof value === "boolean" ? Number(value) : value;
      if (typeof n !== "number" || !Number.isInteger(n) || n < 0 || n >= 2 ** width)
        throw new ArgumentError(path, `expected an integer from 0 to ${2 ** width - 1}, got ${JSON.stringify(value)}`);
      putBits(out, bit, width, n);
      bit += width;
      continue;
    }
    if (typeof value !== "string")
      throw new ArgumentError(
        path,
        `expected ${width === "mac" ? "a MAC" : `an ${width === "ipv4" ? "IPv4" : "IPv6"}`} address, got ${JSON.stringify(value)}`,
      );
    const bytes =
      width === "mac" ? macBytes(value, path) : width === "ipv4" ? ipv4Bytes(value, path) : ipv6Bytes(value, path);
    out.set(bytes, bit / 8);
    bit += bytes.length * 8;
  }
  return out;
}

/** The header at byte `at`, which is all there. */
export function decodeHeader(kind: LayerKind, bytes: Uint8Array, at: number): Record<string, HeaderValue> {
  const out: Record<string, HeaderValue> = {};
  let bit = at * 8;
  for (const [name, width] of HEADERS[kind]) {
    const bits = bitsOf(width);
    if (typeof width === "number") out[name] = getBits(bytes, bit, bits);
    else {
      const part = bytes.subarray(bit / 8, (bit + bits) / 8);
      out[name] = width === "mac" ? macText(part) : width === "ipv4" ? ipv4Text(part) : ipv6Text(part);
    }
    bit += bits;
  }
  return out;
}

/** Network order: highest bit first. */
function putBits(to: Uint8Array, bit: number, size: number, value: number): void {
  for (let i = 0; i < size; i++) {
    const at = bit + i;
    if (Math.floor(value / 2 ** (size - 1 - i)) % 2 === 1) to[at >> 3]! |= 0x80 >> (at & 7);
  }
}

function getBits(from: Uint8Array, bit: number, size: number): number {
  let value = 0;
  for (let at = bit; at < bit + size; at++) value = value * 2 + ((from[at >> 3]! >> (7 - (at & 7))) & 1);
  return value;
}

/** The Internet checksum (RFC 1071) of `bytes`, on top of `sum`; as it goes into a header. */
export function internetChecksum(bytes: Uint8Array, sum = 0): number {
  let total = sum;
  for (let i = 0; i + 1 < bytes.length; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!;
  if (bytes.length % 2 === 1) total += bytes[bytes.length - 1]! << 8;
  while (total > 0xffff) total = (total % 0x1_0000) + Math.floor(total / 0x1_0000);
  return ~total & 0xffff;
}

/** The sum of a pseudo-header: addresses as bytes (both of one family), protocol and length. */
export function pseudoSum(src: Uint8Array, dst: Uint8Array, protocol: number, length: number): number {
  let sum = protocol + (length >>> 16) + (length & 0xffff);
  for (const part of [src, dst]) for (let i = 0; i < part.length; i += 2) sum += (part[i]! << 8) | part[i + 1]!;
  return sum;
}
