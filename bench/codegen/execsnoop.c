#include "common.h"

struct exec {
	u32 pid, ppid, uid;
	char comm[16];
	char file[256];
};

RINGBUF(execs);
const volatile u32 onlyUid = 0xffffffff;

SEC("tp/sched/sched_process_exec")
int onExec(struct trace_event_raw_sched_process_exec *ctx)
{
	u32 uid = bpf_get_current_uid_gid();
	struct task_struct *task;
	struct exec *e;

	if (onlyUid != 0xffffffff && uid != onlyUid)
		return 0;
	e = bpf_ringbuf_reserve(&execs, sizeof(*e), 0);
	if (!e)
		return 0;
	task = (struct task_struct *)bpf_get_current_task();
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->ppid = BPF_CORE_READ(task, real_parent, tgid);
	e->uid = uid;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_probe_read_kernel_str(e->file, sizeof(e->file), (void *)ctx + (ctx->__data_loc_filename & 0xffff));
	bpf_ringbuf_submit(e, 0);
	return 0;
}
