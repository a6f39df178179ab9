// Packets and bytes by protocol, counted before the network stack sees them.
import { XDP, array, be16, be32, packed, percpuArray, struct, u16, u64, u8, xdp } from "bpfkit";

const Ethernet = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
const Ipv4 = struct({ versionAndLength: u8, tos: u8, length: be16, id: be16, fragment: be16, ttl: u8, protocol: u8, checksum: u16, source: be32, destination: be32 });

const IPV4 = 0x0800;
const IPV6 = 0x86dd;

const Count = struct({ packets: u64, bytes: u64 });
export const byProtocol = percpuArray(Count, 256); // IPv4 by protocol number
export const other = percpuArray(u64, 3); // 0: too short, 1: IPv6, 2: anything else

export const count = xdp((ctx) => {
  const eth = ctx.packet(Ethernet);
  if (!eth) {
    other.add(0, 1);
    return XDP.PASS;
  }
  if (eth.type !== IPV4) {
    other.add(eth.type === IPV6 ? 1 : 2, 1);
    return XDP.PASS;
  }
  const ip = ctx.packet(Ipv4, Ethernet.size);
  if (!ip) {
    other.add(0, 1);
    return XDP.PASS;
  }
  const n = byProtocol.get(ip.protocol);
  if (!n) return XDP.PASS;
  n.packets += 1;
  n.bytes += ip.length;
  return XDP.PASS;
});
