#include "common.h"

struct total {
	u64 packets, bytes;
};

MAP(denied, HASH, u32, u64, 256);
MAP(totals, PERCPU_HASH, u32, struct total, 1024);

SEC("cgroup_skb/egress")
int egress(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data;
	struct total *total;
	u32 address;
	u64 *n;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return 1;
	if ((void *)(ip + 1) > end)
		return 0;
	address = bpf_ntohl(ip->daddr);
	n = bpf_map_lookup_elem(&denied, &address);
	if (n) {
		*n += 1;
		return 0;
	}
	total = bpf_map_lookup_elem(&totals, &address);
	if (total) {
		total->packets++;
		total->bytes += skb->len;
	} else {
		struct total first = { 1, skb->len };

		bpf_map_update_elem(&totals, &address, &first, BPF_ANY);
	}
	return 1;
}
