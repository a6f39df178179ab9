#include "common.h"

MAP(start, HASH, u32, u64, 10240);
MAP(wait, PERCPU_ARRAY, u32, u64, 65);

static __always_inline int enqueue(struct task_struct *p)
{
	u32 pid = p->pid;
	u64 now;

	if (!pid)
		return 0;
	now = bpf_ktime_get_ns();
	bpf_map_update_elem(&start, &pid, &now, 0);
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(onWakeup, struct task_struct *p)
{
	return enqueue(p);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(onNew, struct task_struct *p)
{
	return enqueue(p);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(onSwitch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	u64 *since;
	s64 delta;
	u32 pid;

	if (prev->__state == 0)
		enqueue(prev);
	pid = next->pid;
	since = bpf_map_lookup_elem(&start, &pid);
	if (!since)
		return 0;
	delta = bpf_ktime_get_ns() - *since;
	if (delta >= 0)
		count(&wait, (u64)delta / 1000);
	bpf_map_delete_elem(&start, &pid);
	return 0;
}
