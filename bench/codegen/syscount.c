#include "common.h"

struct data {
	u64 count, total;
	char comm[16];
};

MAP(start, HASH, u32, u64, 10240);
MAP(data, HASH, u32, struct data, 10240);
const volatile u32 onlyPid = 0;
const volatile u32 byProcess = 0;
static const struct data zero;

SEC("tp/raw_syscalls/sys_enter")
int enter(struct trace_event_raw_sys_enter *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), now;
	u32 tid = id;

	if (onlyPid && id >> 32 != onlyPid)
		return 0;
	now = bpf_ktime_get_ns();
	bpf_map_update_elem(&start, &tid, &now, 0);
	return 0;
}

SEC("tp/raw_syscalls/sys_exit")
int leave(struct trace_event_raw_sys_exit *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), *since;
	u32 pid = id >> 32, tid = id, key;
	struct data *d;

	if (onlyPid && pid != onlyPid)
		return 0;
	if (ctx->id < 0)
		return 0;
	since = bpf_map_lookup_elem(&start, &tid);
	if (!since)
		return 0;
	key = byProcess ? pid : ctx->id;
	d = lookup_or_init(&data, &key, &zero);
	if (!d)
		return 0;
	d->count += 1;
	d->total += bpf_ktime_get_ns() - *since;
	if (byProcess)
		bpf_get_current_comm(d->comm, sizeof(d->comm));
	return 0;
}
