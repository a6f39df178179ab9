#include "common.h"

struct ports {
	__be16 source, dest;
};
struct backend {
	__be32 address;
	u8 mac[6];
	u64 packets;
};

MAP(backends, ARRAY, u32, struct backend, 4);
const volatile u32 service = 0x6400000a;

SEC("xdp")
int balance(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct ports *ports = (void *)(ip + 1);
	struct backend *backend;
	u32 h, sum;

	if ((void *)(eth + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if ((void *)(ip + 1) > end)
		return XDP_DROP;
	if (ip->daddr != service || *(u8 *)ip != 0x45)
		return XDP_PASS;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	if ((void *)(ports + 1) > end)
		return XDP_DROP;

	h = (ip->saddr ^ (ports->source << 16) ^ ports->dest ^ ip->protocol) * 0x9e3779b1u;
	h ^= h >> 15;
	h &= 3;
	backend = bpf_map_lookup_elem(&backends, &h);
	if (!backend)
		return XDP_DROP;
	backend->packets++;

	sum = ~ip->check & 0xffff;
	sum += ~ip->daddr & 0xffff;
	sum += ~ip->daddr >> 16;
	sum += backend->address & 0xffff;
	sum += backend->address >> 16;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
	ip->daddr = backend->address;
	__builtin_memcpy(eth->h_source, eth->h_dest, 6);
	__builtin_memcpy(eth->h_dest, backend->mac, 6);
	return XDP_TX;
}
