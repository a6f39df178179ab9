/** Packets as text: a line a layer, and what changed between two. */
import { type HeaderValue, TCP_FLAGS } from "./headers.ts";
import { type LinkKind, type ParsedLayer, parsePacket } from "./parse.ts";

/** Fields that say nothing unless they are unusual. */
const USUAL: Readonly<Record<string, HeaderValue>> = {
  version: -1,
  headerWords: -1,
  reserved: 0,
  reserved2: 0,
  tos: 0,
  trafficClass: 0,
  flowLabel: 0,
  dontFragment: 0,
  moreFragments: 0,
  fragmentOffset: 0,
  urgent: 0,
  dropEligible: 0,
  priority: 0,
};
const HEX = new Set(["type", "checksum", "hardware", "protocol"]);

/**
 * A packet as text, a line a layer; what a checksum should not be is marked.
 *
 * @example
 * console.log(describePacket(result.data));
 * // eth   02:00:00:00:00:01 > 02:00:00:00:00:02 type 0x0800
 * // ipv4  10.0.0.1 > 10.0.0.2 length 44 id 0 ttl 64 protocol 6 checksum 0x66c9
 * // tcp   40000 > 80 seq 0 ack 0 flags syn window 65535 checksum 0x8a17
 */
export function describePacket(bytes: Uint8Array, link: LinkKind = "ethernet"): string {
  return parsePacket(bytes, link)
    .map((layer) => `${layer.kind.padEnd(5)} ${layerText(layer)}`)
    .join("\n");
}

function layerText(layer: ParsedLayer): string {
  if (layer.kind === "payload") return `${layer.size} bytes ${bytesText(layer.rest)}`;
  const { src, dst, sport, dport, ...others } = layer.fields;
  const parts: string[] = [];
  if (src !== undefined) parts.push(`${src} > ${dst}`);
  if (sport !== undefined) parts.push(`${sport} > ${dport}`);
  for (const [name, value] of Object.entries(others)) {
    if (USUAL[name] === value || USUAL[name] === -1) continue;
    const wrong = name === "checksum" && layer.checksumOk === false ? " (wrong)" : "";
    parts.push(`${name} ${fieldText(layer, name, value)}${wrong}`);
  }
  if (layer.rest.length > 0) parts.push(`options ${bytesText(layer.rest)}`);
  return parts.join(" ");
}

function fieldText(layer: ParsedLayer, name: string, value: HeaderValue): string {
  if (typeof value === "string") return value;
  if (layer.kind === "tcp" && name === "flags") {
    const names = Object.entries(TCP_FLAGS).flatMap(([flag, bit]) => ((value & bit) === 0 ? [] : [flag]));
    return names.length === 0 ? "none" : names.join("+");
  }
  const isEther = name === "type" && (layer.kind === "eth" || layer.kind === "vlan");
  const isHex = name === "checksum" || isEther || (layer.kind === "arp" && HEX.has(name));
  return isHex ? `0x${value.toString(16).padStart(4, "0")}` : String(value);
}

/** Hex of at most 16 bytes, and text when they are text. */
function bytesText(bytes: Uint8Array): string {
  const shown = bytes.subarray(0, 16);
  const text = shown.every((b) => b >= 0x20 && b < 0x7f) ? ` ${JSON.stringify(String.fromCharCode(...shown))}` : "";
  const hex = Array.from(shown, (b) => b.toString(16).padStart(2, "0")).join(" ");
  return `${hex}${bytes.length > 16 ? " …" : ""}${text}`;
}

/** One difference between two packets: `from` or `to` is undefined for what only one has. */
export interface PacketChange {
  /** "ipv4.ttl", "payload", "tcp" (a layer that came or went). */
  readonly field: string;
  readonly from: string | undefined;
  readonly to: string | undefined;
}

/** What changed from one packet to another, by field. Empty when they are equal. */
export function packetChanges(before: Uint8Array, after: Uint8Array, link: LinkKind = "ethernet"): PacketChange[] {
  const changes: PacketChange[] = [];
  const from = parsePacket(before, link);
  const to = parsePacket(after, link);
  // The longest common run of kinds from both ends: what lies between was added or taken away.
  let head = 0;
  while (head < from.length && head < to.length && from[head]!.kind === to[head]!.kind) head++;
  let tail = 0;
  while (
    tail < Math.min(from.length, to.length) - head &&
    from[from.length - 1 - tail]!.kind === to[to.length - 1 - tail]!.kind
  )
    tail++;
  const count = new Map<string, number>();
  const label = (kind: string): string => {
    const n = (count.get(kind) ?? 0) + 1;
    count.set(kind, n);
    return n === 1 ? kind : `${kind}#${n}`;
  };
  for (let i = 0; i < head; i++) compare(label(from[i]!.kind), from[i]!, to[i]!, changes);
  for (const layer of from.slice(head, from.length - tail))
    changes.push({ field: label(layer.kind), from: layerText(layer), to: undefined });
  for (const layer of to.slice(head, to.length - tail))
    changes.push({ field: label(layer.kind), from: undefined, to: layerText(layer) });
  for (let i = tail; i > 0; i--) {
    const layer = from[from.length - i]!;
    compare(label(layer.kind), layer, to[to.length - i]!, changes);
  }
  return changes;
}

function compare(label: string, from: ParsedLayer, to: ParsedLayer, changes: PacketChange[]): void {
  for (const [name, value] of Object.entries(from.fields)) {
    const now = to.fields[name]!;
    if (now !== value)
      changes.push({ field: `${label}.${name}`, from: fieldText(from, name, value), to: fieldText(to, name, now) });
  }
  const same = from.rest.length === to.rest.length && from.rest.every((b, i) => b === to.rest[i]);
  if (!same) {
    const field = from.kind === "payload" ? label : `${label}.options`;
    changes.push({ field, from: bytesText(from.rest), to: bytesText(to.rest) });
  }
}

/** `packetChanges` as text, a line each; "" when nothing changed. */
export function describeChanges(before: Uint8Array, after: Uint8Array, link: LinkKind = "ethernet"): string {
  return packetChanges(before, after, link)
    .map(({ field, from, to }) =>
      from === undefined ? `+ ${field} ${to}` : to === undefined ? `- ${field} ${from}` : `~ ${field}: ${from} > ${to}`,
    )
    .join("\n");
}
