#include "common.h"

struct total {
	u64 packets, bytes;
};

MAP(totals, PERCPU_ARRAY, u32, struct total, 256);

SEC("xdp")
int count_packets(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct total *total;
	u32 protocol = 0;

	if ((void *)(eth + 1) > end)
		return XDP_ABORTED;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end)
			return XDP_ABORTED;
		protocol = ip->protocol;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end)
			return XDP_ABORTED;
		protocol = ip->nexthdr;
	}
	total = bpf_map_lookup_elem(&totals, &protocol);
	if (total) {
		total->packets++;
		total->bytes += bpf_xdp_get_buff_len(ctx);
	}
	return XDP_PASS;
}
