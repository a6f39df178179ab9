#include "common.h"

#define ETH_HLEN 14

struct ports {
	__be16 source, dest;
};
struct peer {
	u32 source, protocol;
};

MAP(peers, HASH, struct peer, u64, 256);
static const u64 zero;

SEC("socket")
int dns(struct __sk_buff *skb)
{
	struct iphdr ip;
	struct ports ports;
	struct peer peer;
	__be16 type;
	u64 *bytes;

	if (bpf_skb_load_bytes(skb, 12, &type, 2) < 0 || type != bpf_htons(ETH_P_IP))
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0)
		return 0;
	if (ip.frag_off & bpf_htons(0x3fff))
		return 0;
	if (ip.protocol != IPPROTO_UDP && ip.protocol != IPPROTO_TCP)
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + ip.ihl * 4, &ports, sizeof(ports)) < 0)
		return 0;
	if (ports.source != bpf_htons(53) && ports.dest != bpf_htons(53))
		return 0;
	peer.source = bpf_ntohl(ip.saddr);
	peer.protocol = ip.protocol;
	bytes = lookup_or_init(&peers, &peer, &zero);
	if (bytes)
		__sync_fetch_and_add(bytes, skb->len);
	return skb->len;
}
