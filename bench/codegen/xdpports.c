#include "common.h"

struct rule {
	u32 protocol, port;
};
struct ports {
	__be16 source, dest;
};

MAP(dropped, HASH, struct rule, u64, 128);

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct ports *ports;
	struct rule rule;
	u64 *hits;

	if ((void *)(eth + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if ((void *)(ip + 1) > end)
		return XDP_DROP;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	if (ip->frag_off & bpf_htons(0x1fff))
		return XDP_PASS;
	if (ip->ihl < 5)
		return XDP_DROP;
	ports = (void *)ip + ip->ihl * 4;
	if ((void *)(ports + 1) > end)
		return XDP_DROP;
	rule.protocol = ip->protocol;
	rule.port = bpf_ntohs(ports->dest);
	hits = bpf_map_lookup_elem(&dropped, &rule);
	if (!hits)
		return XDP_PASS;
	*hits += 1;
	return XDP_DROP;
}
