// Subprograms, callbacks, CO-RE.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
} __attribute__((preserve_access_index));

struct task_struct___renamed {
	int no_such_field;
} __attribute__((preserve_access_index));

__u64 total;

static __noinline int twice(int x)
{
	return x * 2 + bpf_get_prandom_u32() % 2;
}

__noinline int shared(int x)
{
	return twice(x) + 1;
}

__weak __noinline int other(int x)
{
	return shared(x) + twice(x + 1);
}

__hidden __noinline int hidden(int x)
{
	total += x;
	return other(x);
}

static int each(__u32 i, void *data)
{
	total += i;
	return 0;
}

SEC("tp_btf/sched_switch")
int first(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[1];
	struct task_struct___renamed *none = (void *)task;
	int sum = BPF_CORE_READ(task, real_parent, tgid) + task->pid;

	if (bpf_core_field_exists(none->no_such_field))
		sum++;
	if (bpf_core_type_exists(struct task_struct))
		sum += bpf_core_type_size(struct task_struct);
	return hidden(sum);
}

SEC("tp_btf/sched_switch")
int second(__u64 *ctx)
{
	bpf_loop(10, each, 0, 0);
	return shared(twice(1));
}

char LICENSE[] SEC("license") = "GPL";
