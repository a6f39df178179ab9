import { XDP, array, be16, hash, packed, struct, u32, u64, u8, xdp } from "bpfkit";

const Ethernet = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
const Ipv4 = packed({
  versionLength: u8,
  tos: u8,
  length: be16,
  id: be16,
  fragment: be16,
  ttl: u8,
  protocol: u8,
  checksum: be16,
  source: array(u8, 4),
  destination: array(u8, 4),
});
const Ports = packed({ source: be16, destination: be16 });
const Rule = struct({ protocol: u32, port: u32 });
export const dropped = hash(Rule, u64, { maxEntries: 128 });

export const filter = xdp((ctx) => {
  const ethernet = ctx.packet(Ethernet);
  if (!ethernet || ethernet.type !== 0x0800) return XDP.PASS;
  const ip = ctx.packet(Ipv4, Ethernet.size);
  if (!ip) return XDP.DROP;
  if (ip.protocol !== 6 && ip.protocol !== 17) return XDP.PASS;
  if ((ip.fragment & 0x1fff) !== 0) return XDP.PASS;
  const length = (ip.versionLength & 15) * 4;
  if (length < Ipv4.size) return XDP.DROP;
  const ports = ctx.packet(Ports, Ethernet.size + length);
  if (!ports) return XDP.DROP;
  const hits = dropped.ref({ protocol: ip.protocol, port: ports.destination });
  if (!hits) return XDP.PASS;
  hits.value += 1;
  return XDP.DROP;
});
