import { be16, be32, packed, socketFilter, hash, struct, u16, u32, u64, u8 } from "bpfkit";

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
const Type = packed({ type: be16 });
const Ports = packed({ source: be16, destination: be16 });
const Peer = struct({ source: u32, protocol: u32 });
const ETH_HLEN = 14;
export const peers = hash(Peer, u64, { maxEntries: 256 });

export const dns = socketFilter((ctx, bpf) => {
  const ether = Type();
  if (bpf.skbLoadBytes(ctx, 12, ether, Type.size) < 0 || ether.type !== 0x0800) return 0;
  const ip = Ipv4();
  if (bpf.skbLoadBytes(ctx, ETH_HLEN, ip, Ipv4.size) < 0) return 0;
  if ((ip.fragment & 0x3fff) !== 0) return 0;
  if (ip.protocol !== 17 && ip.protocol !== 6) return 0;
  const ports = Ports();
  if (bpf.skbLoadBytes(ctx, ETH_HLEN + (ip.versionLength & 15) * 4, ports, Ports.size) < 0) return 0;
  if (ports.source !== 53 && ports.destination !== 53) return 0;
  peers.add({ source: ip.source, protocol: ip.protocol }, ctx.len);
  return ctx.len;
});
