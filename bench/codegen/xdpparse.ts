import { XDP, array, be16, bytes, hash, packed, range, struct, u16, u32, u64, u8, union, xdp } from "bpfkit";

const Ethernet = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
const Vlan = packed({ tci: be16, type: be16 });
const Ipv4 = packed({
  versionLength: u8,
  tos: u8,
  length: be16,
  id: be16,
  fragment: be16,
  ttl: u8,
  protocol: u8,
  checksum: be16,
  source: u32,
  destination: u32,
});
const Ipv6 = packed({ flow: bytes(4), length: be16, next: u8, hops: u8, source: bytes(16), destination: bytes(16) });
const Ports = packed({ source: be16, destination: be16 });
const Address = union({ v4: u32, v6: bytes(16) });
const Flow = struct({
  source: Address,
  destination: Address,
  sport: u16,
  dport: u16,
  protocol: u8,
  family: u8,
  vlan: u16,
});
const Total = struct({ packets: u64, bytes: u64 });
export const flows = hash(Flow, Total, { maxEntries: 1024 });

export const parse = xdp((ctx, bpf) => {
  const ethernet = ctx.packet(Ethernet);
  if (!ethernet) return XDP.DROP;
  const flow = Flow();
  let type = ethernet.type;
  let at = Ethernet.size;
  for (const _ of range(2)) {
    if (type !== 0x8100 && type !== 0x88a8) break;
    const vlan = ctx.packet(Vlan, at);
    if (!vlan) return XDP.DROP;
    flow.vlan = vlan.tci & 0xfff;
    type = vlan.type;
    at += Vlan.size;
  }
  if (type === 0x0800) {
    const ip = ctx.packet(Ipv4, at);
    if (!ip) return XDP.DROP;
    flow.family = 4;
    flow.protocol = ip.protocol;
    flow.source.v4 = ip.source;
    flow.destination.v4 = ip.destination;
    at += (ip.versionLength & 15) * 4;
  } else if (type === 0x86dd) {
    const ip = ctx.packet(Ipv6, at);
    if (!ip) return XDP.DROP;
    flow.family = 6;
    flow.protocol = ip.next;
    flow.source.v6 = ip.source;
    flow.destination.v6 = ip.destination;
    at += Ipv6.size;
  } else return XDP.PASS;
  if (flow.protocol === 6 || flow.protocol === 17) {
    const ports = ctx.packet(Ports, at);
    if (!ports) return XDP.DROP;
    flow.sport = ports.source;
    flow.dport = ports.destination;
  }
  const length = bpf.xdpGetBuffLen(ctx);
  const total = flows.get(flow);
  if (total) {
    total.packets += 1;
    total.bytes += length;
  } else flows.set(flow, { packets: 1, bytes: length });
  return XDP.PASS;
});
