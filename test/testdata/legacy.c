// The map format that libbpf 1.0 dropped.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct legacy_map_def {
	unsigned int type, key_size, value_size, max_entries, map_flags;
};

struct legacy_map_def SEC("maps") old = { BPF_MAP_TYPE_ARRAY, 4, 4, 1 };

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&old, &zero) ? XDP_PASS : XDP_DROP;
}
