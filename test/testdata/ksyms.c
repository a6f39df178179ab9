// Kernel functions and variables.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
} __attribute__((preserve_access_index));

extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
extern void bpf_no_such_kfunc(void) __ksym __weak;
extern const int bpf_prog_active __ksym __weak;
extern const void init_task __ksym __weak;

__u64 total;

SEC("tp_btf/task_newtask")
int third(__u64 *ctx)
{
	struct task_struct *task = bpf_task_acquire((void *)ctx[0]);

	if (task)
		bpf_task_release(task);
	if (bpf_no_such_kfunc)
		bpf_no_such_kfunc();
	if (&bpf_prog_active)
		total++;
	if (&init_task)
		total++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
