#include "common.h"

#define TC_ACT_OK 0

struct flow {
	u32 source, destination;
	u16 sport, dport;
};
struct stat_of {
	u64 packets, bytes;
	u32 syn, fin, rst, maximum;
};

MAP(flows, HASH, struct flow, struct stat_of, 1024);
static const struct stat_of zero;

SEC("tc")
int observe(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct stat_of *stat;
	struct flow flow;

	if ((void *)(eth + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return TC_ACT_OK;
	if ((void *)(ip + 1) > end || ip->protocol != IPPROTO_TCP || *(u8 *)ip != 0x45)
		return TC_ACT_OK;
	if ((void *)(tcp + 1) > end)
		return TC_ACT_OK;
	flow.source = bpf_ntohl(ip->saddr);
	flow.destination = bpf_ntohl(ip->daddr);
	flow.sport = bpf_ntohs(tcp->source);
	flow.dport = bpf_ntohs(tcp->dest);
	stat = lookup_or_init(&flows, &flow, &zero);
	if (!stat)
		return TC_ACT_OK;
	stat->packets++;
	stat->bytes += skb->len;
	if (tcp->syn)
		stat->syn++;
	if (tcp->fin)
		stat->fin++;
	if (tcp->rst)
		stat->rst++;
	if (skb->len > stat->maximum)
		stat->maximum = skb->len;
	return TC_ACT_OK;
}
