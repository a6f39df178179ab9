#include "common.h"

u64 expired = 0;

SEC("xdp")
int hop(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	u8 mac[6];
	u32 sum;

	if ((void *)(eth + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if ((void *)(ip + 1) > end || ip->ihl < 5)
		return XDP_DROP;
	if (ip->ttl <= 1) {
		expired++;
		return XDP_DROP;
	}
	ip->ttl--;
	sum = bpf_ntohs(ip->check) + 0x100;
	ip->check = bpf_htons((u16)(sum + (sum >> 16)));
	__builtin_memcpy(mac, eth->h_source, 6);
	__builtin_memcpy(eth->h_source, eth->h_dest, 6);
	__builtin_memcpy(eth->h_dest, mac, 6);
	return XDP_TX;
}
