#include "common.h"

struct vlan {
	__be16 tci, type;
};
struct ports {
	__be16 source, dest;
};
union address {
	__be32 v4;
	u8 v6[16];
};
struct flow {
	union address source, destination;
	u16 sport, dport;
	u8 protocol, family;
	u16 vlan;
};
struct total {
	u64 packets, bytes;
};

MAP(flows, HASH, struct flow, struct total, 1024);

SEC("xdp")
int parse(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *at;
	struct ethhdr *eth = data;
	struct flow flow = {};
	struct total *total;
	u16 type;

	if ((void *)(eth + 1) > end)
		return XDP_DROP;
	type = eth->h_proto;
	at = eth + 1;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		struct vlan *vlan = at;

		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(vlan + 1) > end)
			return XDP_DROP;
		flow.vlan = bpf_ntohs(vlan->tci) & 0xfff;
		type = vlan->type;
		at = vlan + 1;
	}
	if (type == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = at;

		if ((void *)(ip + 1) > end)
			return XDP_DROP;
		flow.family = 4;
		flow.protocol = ip->protocol;
		flow.source.v4 = ip->saddr;
		flow.destination.v4 = ip->daddr;
		at += ip->ihl * 4;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = at;

		if ((void *)(ip + 1) > end)
			return XDP_DROP;
		flow.family = 6;
		flow.protocol = ip->nexthdr;
		__builtin_memcpy(flow.source.v6, &ip->saddr, 16);
		__builtin_memcpy(flow.destination.v6, &ip->daddr, 16);
		at = ip + 1;
	} else {
		return XDP_PASS;
	}
	if (flow.protocol == IPPROTO_TCP || flow.protocol == IPPROTO_UDP) {
		struct ports *ports = at;

		if ((void *)(ports + 1) > end)
			return XDP_DROP;
		flow.sport = bpf_ntohs(ports->source);
		flow.dport = bpf_ntohs(ports->dest);
	}
	total = bpf_map_lookup_elem(&flows, &flow);
	if (total) {
		total->packets++;
		total->bytes += bpf_xdp_get_buff_len(ctx);
	} else {
		struct total first = { 1, bpf_xdp_get_buff_len(ctx) };

		bpf_map_update_elem(&flows, &flow, &first, 0);
	}
	return XDP_PASS;
}
