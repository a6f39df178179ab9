import { be32, cgroupSkb, hash, packed, percpuHash, struct, u16, u32, u64, u8 } from "bpfkit";

const Ipv4 = packed({
  versionLength: u8,
  tos: u8,
  length: u16,
  id: u16,
  fragment: u16,
  ttl: u8,
  protocol: u8,
  checksum: u16,
  source: be32,
  destination: be32,
});
const Total = struct({ packets: u64, bytes: u64 });
export const denied = hash(u32, u64, { maxEntries: 256 });
export const totals = percpuHash(u32, Total, { maxEntries: 1024 });

export const egress = cgroupSkb("egress", (ctx) => {
  if (ctx.protocol !== 0x0800) return 1;
  const ip = ctx.packet(Ipv4);
  if (!ip) return 0;
  const address = ip.destination;
  const hits = denied.ref(address);
  if (hits) {
    hits.value += 1;
    return 0;
  }
  const total = totals.get(address);
  if (total) {
    total.packets += 1;
    total.bytes += ctx.len;
  } else totals.set(address, { packets: 1, bytes: ctx.len });
  return 1;
});
