#include "common.h"

MAP(start, HASH, u32, u64, 10240);
MAP(dist, PERCPU_ARRAY, u32, u64, 65);
const volatile u32 offCpu = 0;
const volatile u32 onlyPid = 0;

static __always_inline void store(struct task_struct *task, u64 now)
{
	u32 pid = task->pid;

	if (onlyPid && onlyPid != task->tgid)
		return;
	bpf_map_update_elem(&start, &pid, &now, 0);
}

static __always_inline void update(struct task_struct *task, u64 now)
{
	u32 pid = task->pid;
	u64 *since;

	if (onlyPid && onlyPid != task->tgid)
		return;
	since = bpf_map_lookup_elem(&start, &pid);
	if (!since || now < *since)
		return;
	count(&dist, (now - *since) / 1000);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(onSwitch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	u64 now = bpf_ktime_get_ns();

	if (offCpu) {
		update(next, now);
		store(prev, now);
	} else {
		update(prev, now);
		store(next, now);
	}
	return 0;
}
