#include "common.h"

#define TC_ACT_OK 0
#define TC_ACT_SHOT 2

struct ports {
	__be16 source, dest;
};

MAP(classes, HASH, u16, u32, 64);

SEC("tc")
int classify(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct ports *ports;
	u16 port;
	u32 *group;
	u8 dscp;

	if ((void *)(eth + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return TC_ACT_OK;
	if ((void *)(ip + 1) > end)
		return TC_ACT_SHOT;
	dscp = ip->tos >> 2;
	if (dscp == 46) {
		skb->mark = 1;
		skb->priority = 6;
		return TC_ACT_OK;
	}
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return TC_ACT_OK;
	ports = (void *)ip + ip->ihl * 4;
	if ((void *)(ports + 1) > end)
		return TC_ACT_SHOT;
	port = bpf_ntohs(ports->dest);
	group = bpf_map_lookup_elem(&classes, &port);
	if (!group) {
		port = bpf_ntohs(ports->source);
		group = bpf_map_lookup_elem(&classes, &port);
	}
	if (!group) {
		skb->mark = skb->len > 1000 ? 3 : 2;
		return TC_ACT_OK;
	}
	if (!*group)
		return TC_ACT_SHOT;
	skb->mark = *group;
	skb->priority = dscp & 7;
	return TC_ACT_OK;
}
