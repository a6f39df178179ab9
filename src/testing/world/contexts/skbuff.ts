/** struct sk_buff around a packet: what netfilter programs, tracepoints and kfuncs are given. */
import { parsePacket } from "../packet/parse.ts";
import type { Fields, KernelObject } from "../types.ts";
import type { ContextEnv } from "./env.ts";

const HEADROOM = 64;
const ETH_HLEN = 14;

/** Kernel, at what layer a program gets the packet: behind the Ethernet header (hooks of IP), or at it. */
export type SkbAt = "mac" | "network";

/**
 * A `struct sk_buff` that holds this packet (Ethernet header first), with its header offsets, lengths and protocol. `fields`
 * are its other members.
 *
 * @throws ArgumentError when a field does not fit
 */
export function makeSkb(env: ContextEnv, packet: Uint8Array, at: SkbAt, fields: Fields = {}): KernelObject {
  const { objects } = env;
  const layers = parsePacket(packet);
  const network = layers.find((l) => l.kind === "ipv4" || l.kind === "ipv6" || l.kind === "arp");
  const transport = layers.find(
    (l) => l.kind === "tcp" || l.kind === "udp" || l.kind === "icmp" || l.kind === "icmpv6",
  );
  const networkAt = network?.offset ?? Math.min(ETH_HLEN, packet.length);
  const from = at === "mac" ? 0 : networkAt;
  const buffer = new Uint8Array(HEADROOM + packet.length);
  buffer.set(packet, HEADROOM);
  const head = objects.bytes(buffer, "kernel", "the packet of an sk_buff", true);
  const type = (packet[networkAt - 2] ?? 0) | ((packet[networkAt - 1] ?? 0) << 8);
  const known: Fields = {
    head,
    data: head + BigInt(HEADROOM + from),
    len: packet.length - from,
    // With offsets in place of pointers, as on 64-bit kernels.
    tail: HEADROOM + packet.length,
    end: HEADROOM + packet.length,
    truesize: 768 + packet.length,
    mac_header: HEADROOM,
    network_header: HEADROOM + networkAt,
    transport_header: HEADROOM + (transport?.offset ?? networkAt),
    mac_len: networkAt,
    protocol: type,
    users: { refs: { counter: 1 } },
  };
  return objects.struct("sk_buff", { ...objects.known("sk_buff", known), ...fields });
}
