import { TC, array, be16, hash, packed, tc, u16, u32, u8 } from "bpfkit";

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
  source: u32,
  destination: u32,
});
const Ports = packed({ source: be16, destination: be16 });
export const classes = hash(u16, u32, { maxEntries: 64 });

export const classify = tc((ctx) => {
  const ethernet = ctx.packet(Ethernet);
  if (!ethernet || ethernet.type !== 0x0800) return TC.OK;
  const ip = ctx.packet(Ipv4, Ethernet.size);
  if (!ip) return TC.SHOT;
  const dscp = ip.tos >> 2;
  if (dscp === 46) {
    ctx.mark = 1;
    ctx.priority = 6;
    return TC.OK;
  }
  if (ip.protocol !== 6 && ip.protocol !== 17) return TC.OK;
  const ports = ctx.packet(Ports, Ethernet.size + (ip.versionLength & 15) * 4);
  if (!ports) return TC.SHOT;
  let group = classes.get(ports.destination);
  if (group === undefined) group = classes.get(ports.source);
  if (group === undefined) {
    ctx.mark = ctx.len > 1000 ? 3 : 2;
    return TC.OK;
  }
  if (group === 0) return TC.SHOT;
  ctx.mark = group;
  ctx.priority = dscp & 7;
  return TC.OK;
});
