#include "common.h"

struct name {
	char name[32];
};
struct info {
	u64 count, time;
};

MAP(start, PERCPU_ARRAY, u32, u64, 1);
MAP(infos, HASH, struct name, struct info, 256);
const volatile u32 onlyCount = 0;
static const struct info zero;

SEC("tp_btf/irq_handler_entry")
int BPF_PROG(onEntry, int irq, struct irqaction *action)
{
	if (onlyCount) {
		struct name key = {};
		struct info *info;

		bpf_probe_read_kernel_str(key.name, sizeof(key.name), action->name);
		info = lookup_or_init(&infos, &key, &zero);
		if (info)
			info->count += 1;
	} else {
		u64 now = bpf_ktime_get_ns();
		u32 first = 0;

		bpf_map_update_elem(&start, &first, &now, BPF_ANY);
	}
	return 0;
}

SEC("tp_btf/irq_handler_exit")
int BPF_PROG(onExit, int irq, struct irqaction *action)
{
	struct name key = {};
	struct info *info;
	u64 *since, delta;
	u32 first = 0;

	if (onlyCount)
		return 0;
	since = bpf_map_lookup_elem(&start, &first);
	if (!since)
		return 0;
	delta = bpf_ktime_get_ns() - *since;
	bpf_probe_read_kernel_str(key.name, sizeof(key.name), action->name);
	info = lookup_or_init(&infos, &key, &zero);
	if (!info)
		return 0;
	info->count += 1;
	info->time += delta;
	return 0;
}
