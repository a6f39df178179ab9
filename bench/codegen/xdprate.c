#include "common.h"

struct prefix {
	u32 bits;
	__be32 address;
};
struct allowance {
	u64 at, tokens;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, 1); /* BPF_F_NO_PREALLOC */
	__uint(max_entries, 1024);
	__type(key, struct prefix);
	__type(value, u64);
} blocked SEC(".maps");
MAP(buckets, LRU_HASH, __be32, struct allowance, 4096);
const volatile u64 burst = 4;
const volatile u64 nanosecondsEach = 1000000000000;

SEC("xdp")
int limit(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct allowance *bucket;
	struct prefix prefix;
	u64 *hits, now, fresh;
	__be32 source;

	if ((void *)(eth + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if ((void *)(ip + 1) > end)
		return XDP_DROP;
	source = ip->saddr;
	prefix.bits = 32;
	prefix.address = source;
	hits = bpf_map_lookup_elem(&blocked, &prefix);
	if (hits) {
		*hits += 1;
		return XDP_DROP;
	}
	now = bpf_ktime_get_ns();
	bucket = bpf_map_lookup_elem(&buckets, &source);
	if (!bucket) {
		struct allowance first = { .at = now, .tokens = burst - 1 };

		bpf_map_update_elem(&buckets, &source, &first, BPF_ANY);
		return XDP_PASS;
	}
	fresh = (now - bucket->at) / nanosecondsEach;
	if (fresh) {
		u64 tokens = bucket->tokens + fresh;

		bucket->tokens = tokens < burst ? tokens : burst;
		bucket->at = now;
	}
	if (!bucket->tokens)
		return XDP_DROP;
	bucket->tokens--;
	return XDP_PASS;
}
