import { XDP, array, be16, config, lpmTrie, lruHash, packed, struct, u32, u64, u8, xdp } from "bpfkit";

const Ethernet = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
const Ipv4 = packed({ before: array(u8, 12), source: u32, destination: u32 });
const Prefix = struct({ bits: u32, address: u32 });
const Bucket = struct({ at: u64, tokens: u64 });
export const blocked = lpmTrie(Prefix, u64, { maxEntries: 1024 });
export const buckets = lruHash(u32, Bucket, { maxEntries: 4096 });
export const burst = config(u64, 4);
export const nanosecondsEach = config(u64, 1_000_000_000_000);

export const limit = xdp((ctx, bpf) => {
  const ethernet = ctx.packet(Ethernet);
  if (!ethernet || ethernet.type !== 0x0800) return XDP.PASS;
  const ip = ctx.packet(Ipv4, Ethernet.size);
  if (!ip) return XDP.DROP;
  const hits = blocked.ref({ bits: 32, address: ip.source });
  if (hits) {
    hits.value += 1;
    return XDP.DROP;
  }
  const now = bpf.nsecs();
  const bucket = buckets.get(ip.source);
  if (!bucket) {
    buckets.set(ip.source, { at: now, tokens: burst.value - 1 });
    return XDP.PASS;
  }
  const fresh = (now - bucket.at) / nanosecondsEach.value;
  if (fresh > 0) {
    bucket.tokens = Math.min(bucket.tokens + fresh, burst.value);
    bucket.at = now;
  }
  if (bucket.tokens === 0) return XDP.DROP;
  bucket.tokens -= 1;
  return XDP.PASS;
});
