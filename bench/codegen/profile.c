#include "common.h"

struct hist_key {
	u32 pid;
	int user, kernel;
	char comm[16];
};

MAP(counts, HASH, struct hist_key, u64, 10240);
struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 10240);
	__uint(key_size, sizeof(u32));
	__uint(value_size, 127 * sizeof(u64));
} stacks SEC(".maps");
const volatile u32 onlyPid = 0;
const volatile u32 withIdle = 0;
static const u64 zero;

SEC("perf_event")
int onTick(struct bpf_perf_event_data *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), *n;
	u32 pid = id >> 32, tid = id;
	struct hist_key key = {};

	if (!withIdle && !tid)
		return 0;
	if (onlyPid && onlyPid != pid)
		return 0;
	key.pid = pid;
	key.user = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	key.kernel = bpf_get_stackid(ctx, &stacks, 0);
	bpf_get_current_comm(key.comm, sizeof(key.comm));
	n = lookup_or_init(&counts, &key, &zero);
	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}
