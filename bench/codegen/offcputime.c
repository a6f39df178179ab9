#include "common.h"

#define PF_KTHREAD 0x00200000

struct hist_key {
	u32 pid, tgid;
	int user, kernel;
};
struct start {
	struct hist_key key;
	u64 at;
};
struct value {
	u64 delta;
	char comm[16];
};

MAP(start, HASH, u32, struct start, 10240);
MAP(info, HASH, struct hist_key, struct value, 10240);
struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 10240);
	__uint(key_size, sizeof(u32));
	__uint(value_size, 127 * sizeof(u64));
} stacks SEC(".maps");
const volatile u64 minimum = 1;
const volatile u64 maximum = 1000000000;
const volatile u32 onlyUser = 0;
const volatile int onlyState = -1;

static __always_inline bool wanted(struct task_struct *task)
{
	if (!task->pid)
		return false;
	if (onlyUser && task->flags & PF_KTHREAD)
		return false;
	return onlyState == -1 || (int)task->__state == onlyState;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(onSwitch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct start s = {}, *began;
	struct value fresh = {}, *v;
	u64 delta;
	u32 pid;

	if (wanted(prev)) {
		pid = prev->pid;
		s.key.pid = pid;
		s.key.tgid = prev->tgid;
		s.key.user = prev->flags & PF_KTHREAD ? -1 : bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
		s.key.kernel = bpf_get_stackid(ctx, &stacks, 0);
		s.at = bpf_ktime_get_ns();
		bpf_map_update_elem(&start, &pid, &s, 0);
	}
	pid = next->pid;
	began = bpf_map_lookup_elem(&start, &pid);
	if (!began)
		return 0;
	delta = (bpf_ktime_get_ns() - began->at) / 1000;
	if (delta < minimum || delta > maximum)
		goto done;
	v = bpf_map_lookup_elem(&info, &began->key);
	if (!v) {
		__builtin_memcpy(fresh.comm, next->comm, sizeof(fresh.comm));
		bpf_map_update_elem(&info, &began->key, &fresh, BPF_NOEXIST);
		v = bpf_map_lookup_elem(&info, &began->key);
		if (!v)
			goto done;
	}
	v->delta += delta;
done:
	bpf_map_delete_elem(&start, &pid);
	return 0;
}
