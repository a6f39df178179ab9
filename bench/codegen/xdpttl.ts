import { XDP, array, be16, global, packed, u16, u32, u64, u8, xdp } from "bpfkit";

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
  source: u32,
  destination: u32,
});
export const expired = global(u64, 0);

export const hop = xdp((ctx) => {
  const ethernet = ctx.packet(Ethernet);
  if (!ethernet || ethernet.type !== 0x0800) return XDP.PASS;
  const ip = ctx.packet(Ipv4, Ethernet.size);
  if (!ip || (ip.versionLength & 15) < 5) return XDP.DROP;
  if (ip.ttl <= 1) {
    expired.value += 1;
    return XDP.DROP;
  }
  ip.ttl -= 1;
  const sum = ip.checksum + 0x100;
  ip.checksum = u16(sum + (sum >> 16));
  for (const i of [0, 1, 2, 3, 4, 5]) {
    const byte = ethernet.source[i]!;
    ethernet.source[i] = ethernet.destination[i]!;
    ethernet.destination[i] = byte;
  }
  return XDP.TX;
});
