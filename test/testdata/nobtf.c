// Compiled without -g: no BTF.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static int twice(int x);
int seen;
const int step = 3;

static __noinline int twice(int x)
{
	return x * 2 + bpf_get_prandom_u32();
}

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	seen += *(volatile const int *)&step;
	return twice(seen) ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
