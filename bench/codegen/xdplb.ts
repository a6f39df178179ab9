import { XDP, arrayMap, be16, bytes, config, packed, struct, u16, u32, u64, u8, xdp } from "bpfkit";

const Ethernet = packed({ destination: bytes(6), source: bytes(6), type: be16 });
// Addresses, ports and checksum are taken as they lie in the packet: hashing and RFC 1624 work in either byte order.
const Ipv4 = packed({
  versionLength: u8,
  tos: u8,
  length: be16,
  id: be16,
  fragment: be16,
  ttl: u8,
  protocol: u8,
  checksum: u16,
  source: u32,
  destination: u32,
});
const Ports = packed({ source: u16, destination: u16 });
const Backend = struct({ address: u32, mac: bytes(6), packets: u64 });
export const backends = arrayMap(Backend, 4);
export const service = config(u32, 0x6400_000a);

export const balance = xdp((ctx) => {
  const ethernet = ctx.packet(Ethernet);
  if (!ethernet || ethernet.type !== 0x0800) return XDP.PASS;
  const ip = ctx.packet(Ipv4, Ethernet.size);
  if (!ip) return XDP.DROP;
  if (ip.destination !== service.value || ip.versionLength !== 0x45) return XDP.PASS;
  if (ip.protocol !== 6 && ip.protocol !== 17) return XDP.PASS;
  const ports = ctx.packet(Ports, Ethernet.size + Ipv4.size);
  if (!ports) return XDP.DROP;

  let h = u32((ip.source ^ (ports.source << 16) ^ ports.destination ^ ip.protocol) * 0x9e37_79b1);
  h ^= h >> 15;
  const backend = backends.get(h & 3);
  if (!backend) return XDP.DROP;
  backend.packets += 1;

  let sum = u32(~u32(ip.checksum) & 0xffff);
  sum += ~ip.destination & 0xffff;
  sum += u32(~ip.destination) >> 16;
  sum += backend.address & 0xffff;
  sum += backend.address >> 16;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  ip.checksum = u16(~sum);
  ip.destination = backend.address;
  ethernet.source = ethernet.destination;
  ethernet.destination = backend.mac;
  return XDP.TX;
});
