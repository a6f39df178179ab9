import { TC, array, be16, be32, hash, packed, struct, tc, u16, u32, u64, u8 } from "bpfkit";

const Ethernet = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
const Ipv4 = packed({
  versionLength: u8,
  tos: u8,
  length: be16,
  id: be16,
  fragment: be16,
  ttl: u8,
  protocol: u8,
  checksum: u16,
  source: be32,
  destination: be32,
});
const Tcp = packed({
  source: be16,
  destination: be16,
  seq: be32,
  ack: be32,
  offset: u8,
  flags: u8,
  window: be16,
  checksum: u16,
  urgent: u16,
});
const Flow = struct({ source: u32, destination: u32, sport: u16, dport: u16 });
const Stat = struct({ packets: u64, bytes: u64, syn: u32, fin: u32, rst: u32, maximum: u32 });
export const flows = hash(Flow, Stat, { maxEntries: 1024 });

export const observe = tc((ctx) => {
  const ethernet = ctx.packet(Ethernet);
  if (!ethernet || ethernet.type !== 0x0800) return TC.OK;
  const ip = ctx.packet(Ipv4, Ethernet.size);
  if (!ip || ip.protocol !== 6 || ip.versionLength !== 0x45) return TC.OK;
  const tcp = ctx.packet(Tcp, Ethernet.size + Ipv4.size);
  if (!tcp) return TC.OK;
  const flow = { source: ip.source, destination: ip.destination, sport: tcp.source, dport: tcp.destination };
  const stat = flows.getOrInsert(flow, Stat());
  if (!stat) return TC.OK;
  stat.packets += 1;
  stat.bytes += ctx.len;
  if (tcp.flags & 2) stat.syn += 1;
  if (tcp.flags & 1) stat.fin += 1;
  if (tcp.flags & 4) stat.rst += 1;
  if (ctx.len > stat.maximum) stat.maximum = ctx.len;
  return TC.OK;
});
