/** Packets into layers: for tests that look at what a program made of one. */
import { ipv4Bytes, ipv6Bytes } from "./addresses.ts";
import {
  ETH_P,
  HEADERS,
  type Header,
  IPPROTO,
  type LayerKind,
  decodeHeader,
  headerSize,
  internetChecksum,
  pseudoSum,
} from "./headers.ts";

/** A layer as it was found. */
export interface ParsedLayer {
  readonly kind: LayerKind;
  /** Byte where it starts. */
  readonly offset: number;
  /** Bytes of the header, options among them; all the rest for payload. */
  readonly size: number;
  readonly fields: Header;
  /** Options, extension data, or the payload's bytes. */
  readonly rest: Uint8Array;
  /** Whether the checksum is right; undefined when there is none, or not all that it covers is there. */
  readonly checksumOk: boolean | undefined;
}

/** What it starts with: an Ethernet header (the default), or IP, as the LWT and cgroup programs see it. */
export type LinkKind = "ethernet" | "ip";

const EXT_HEADERS = new Set<number>([IPPROTO.HOPOPTS, IPPROTO.ROUTING, IPPROTO.DSTOPTS]);

/**
 * The layers of a packet, the outermost first. What is cut off or unknown is payload, so that any bytes have layers.
 *
 * @example
 * const [, ip, transport] = parsePacket(data);
 * ip?.fields["ttl"];
 */
export function parsePacket(bytes: Uint8Array, link: LinkKind = "ethernet"): ParsedLayer[] {
  const layers: ParsedLayer[] = [];
  let kind: LayerKind = link === "ethernet" ? "eth" : ipKind(bytes, 0);
  let at = 0;
  let end = bytes.length;
  while (kind !== "payload") {
    const found = parseLayer(kind, bytes, at, end, layers);
    if (found === undefined) break;
    layers.push(found.layer);
    at += found.layer.size;
    // Ethernet pads short frames: what IP does not count is no part of it.
    end = Math.min(end, found.end);
    kind = found.next;
  }
  const payload = (from: number, to: number): void => {
    if (to > from)
      layers.push({
        kind: "payload",
        offset: from,
        size: to - from,
        fields: {},
        rest: bytes.slice(from, to),
        checksumOk: undefined,
      });
  };
  payload(at, end);
  payload(Math.max(at, end), bytes.length);
  return layers;
}

const ipKind = (bytes: Uint8Array, at: number): LayerKind =>
  bytes[at]! >> 4 === 4 ? "ipv4" : bytes[at]! >> 4 === 6 ? "ipv6" : "payload";

interface Found {
  readonly layer: ParsedLayer;
  readonly next: LayerKind;
  /** Where what it holds ends. */
  readonly end: number;
}

function parseLayer(
  kind: LayerKind,
  bytes: Uint8Array,
  at: number,
  end: number,
  outer: readonly ParsedLayer[],
): Found | undefined {
  const fixed = headerSize(kind);
  if (end - at < fixed) return undefined;
  const fields = decodeHeader(kind, bytes, at);
  const number = (name: string): number => Number(fields[name]);
  let size = fixed;
  let next: LayerKind = "payload";
  let inner = end;
  switch (kind) {
    case "eth":
    case "vlan":
      next = ofEtherType(number("type"));
      break;
    case "arp":
      // Other hardware or protocols have addresses of other sizes.
      if (number("hardwareSize") !== 6 || number("protocolSize") !== 4) return undefined;
      break;
    case "ipv4":
      size = number("headerWords") * 4;
      if (number("version") !== 4 || size < fixed || at + size > end) return undefined;
      inner = Math.max(at + size, Math.min(end, at + number("length")));
      next = number("fragmentOffset") === 0 ? ofProtocol(number("protocol")) : "payload";
      break;
    case "ipv6":
      if (number("version") !== 6) return undefined;
      inner = number("length") === 0 ? end : Math.min(end, at + fixed + number("length"));
      next = ofProtocol(number("nextHeader"));
      break;
    case "ipv6Ext":
      size = (number("length") + 1) * 8;
      if (at + size > end) return undefined;
      next = ofProtocol(number("nextHeader"));
      break;
    case "ipv6Fragment":
      next = number("fragmentOffset") === 0 ? ofProtocol(number("nextHeader")) : "payload";
      break;
    case "tcp":
      size = number("headerWords") * 4;
      if (size < fixed || at + size > end) return undefined;
      break;
    default:
  }
  const layer: ParsedLayer = {
    kind,
    offset: at,
    size,
    fields,
    rest: bytes.slice(at + fixed, at + size),
    checksumOk: checksumOk(kind, bytes, at, size, inner, fields, outer),
  };
  return { layer, next, end: inner };
}

function ofEtherType(type: number): LayerKind {
  switch (type) {
    case ETH_P.IP:
      return "ipv4";
    case ETH_P.IPV6:
      return "ipv6";
    case ETH_P.ARP:
      return "arp";
    case ETH_P.VLAN:
    case ETH_P.QINQ:
      return "vlan";
    default:
      return "payload";
  }
}

function ofProtocol(protocol: number): LayerKind {
  switch (protocol) {
    case IPPROTO.TCP:
      return "tcp";
    case IPPROTO.UDP:
      return "udp";
    case IPPROTO.ICMP:
      return "icmp";
    case IPPROTO.ICMPV6:
      return "icmpv6";
    case IPPROTO.IPIP:
      return "ipv4";
    case IPPROTO.IPV6:
      return "ipv6";
    case IPPROTO.FRAGMENT:
      return "ipv6Fragment";
    default:
      return EXT_HEADERS.has(protocol) ? "ipv6Ext" : "payload";
  }
}

function checksumOk(
  kind: LayerKind,
  bytes: Uint8Array,
  at: number,
  size: number,
  end: number,
  fields: Header,
  outer: readonly ParsedLayer[],
): boolean | undefined {
  if (!HEADERS[kind].some(([name]) => name === "checksum")) return undefined;
  if (kind === "ipv4") return internetChecksum(bytes.subarray(at, at + size)) === 0;
  const ip = outer.findLast((l) => l.kind === "ipv4" || l.kind === "ipv6");
  const fragment = outer.some((l) => l.fields["moreFragments"] === 1);
  if (ip === undefined || fragment || (kind === "udp" && fields["checksum"] === 0)) return undefined;
  const length = kind === "udp" ? Number(fields["length"]) : end - at;
  if (length < size || at + length > end) return undefined;
  const covered = bytes.subarray(at, at + length);
  if (kind === "icmp") return internetChecksum(covered) === 0;
  const protocol = kind === "tcp" ? IPPROTO.TCP : kind === "udp" ? IPPROTO.UDP : IPPROTO.ICMPV6;
  const toBytes = ip.kind === "ipv4" ? ipv4Bytes : ipv6Bytes;
  const sum = pseudoSum(toBytes(String(ip.fields["src"])), toBytes(String(ip.fields["dst"])), protocol, length);
  return internetChecksum(covered, sum) === 0;
}
