#include "common.h"

struct total {
	u64 count, time;
};
struct hist_key {
	u32 vec, bucket;
};

MAP(start, PERCPU_ARRAY, u32, u64, 1);
MAP(totals, ARRAY, u32, struct total, 10);
MAP(hists, PERCPU_HASH, struct hist_key, u64, 10240);
const volatile u32 distribution = 0;
const volatile u32 nanoseconds = 0;
static const u64 zero;

SEC("tp_btf/softirq_entry")
int BPF_PROG(onEntry, unsigned int vec)
{
	u64 now = bpf_ktime_get_ns();
	u32 key = 0;

	bpf_map_update_elem(&start, &key, &now, 0);
	return 0;
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(onExit, unsigned int vec)
{
	u64 *since, delta;
	u32 first = 0;

	if (vec >= 10)
		return 0;
	since = bpf_map_lookup_elem(&start, &first);
	if (!since || *since == 0)
		return 0;
	delta = bpf_ktime_get_ns() - *since;
	if (!nanoseconds)
		delta /= 1000;
	if (distribution) {
		struct hist_key key = { .vec = vec, .bucket = log2_bucket(delta) };
		u64 *n = lookup_or_init(&hists, &key, &zero);

		if (n)
			*n += 1;
	} else {
		struct total *total = bpf_map_lookup_elem(&totals, &vec);

		if (!total)
			return 0;
		total->count += 1;
		total->time += delta;
	}
	return 0;
}
