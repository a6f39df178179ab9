import { XDP, array, be16, packed, percpuArray, struct, u64, u8, xdp } from "bpfkit";

const Ethernet = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
const Ipv4 = packed({ before: array(u8, 9), protocol: u8, after: array(u8, 10) });
const Ipv6 = packed({ before: array(u8, 6), next: u8, after: array(u8, 33) });
const Total = struct({ packets: u64, bytes: u64 });
export const totals = percpuArray(Total, 256);

export const count_packets = xdp((ctx, bpf) => {
  const ethernet = ctx.packet(Ethernet);
  if (!ethernet) return XDP.ABORTED;
  let protocol = 0;
  if (ethernet.type === 0x0800) {
    const ip = ctx.packet(Ipv4, Ethernet.size);
    if (!ip) return XDP.ABORTED;
    protocol = ip.protocol;
  } else if (ethernet.type === 0x86dd) {
    const ip = ctx.packet(Ipv6, Ethernet.size);
    if (!ip) return XDP.ABORTED;
    protocol = ip.next;
  }
  const total = totals.get(protocol);
  if (total) {
    total.packets += 1;
    total.bytes += bpf.xdpGetBuffLen(ctx);
  }
  return XDP.PASS;
});
