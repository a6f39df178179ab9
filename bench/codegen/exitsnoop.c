#include "common.h"

struct event {
	u64 start, at;
	u32 pid, tid, ppid, signal, code;
	char comm[16];
};

RINGBUF(exits);
const volatile u32 onlyFailed = 0;
const volatile u32 onlyPid = 0;

SEC("tp/sched/sched_process_exit")
int onExit(void *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 pid = id >> 32, tid = id, status;
	struct task_struct *task;
	struct event *e;

	if (onlyPid && onlyPid != pid)
		return 0;
	if (tid != pid)
		return 0;
	task = (struct task_struct *)bpf_get_current_task();
	status = BPF_CORE_READ(task, exit_code);
	if (onlyFailed && status == 0)
		return 0;
	e = bpf_ringbuf_reserve(&exits, sizeof(*e), 0);
	if (!e)
		return 0;
	e->start = BPF_CORE_READ(task, start_time);
	e->at = bpf_ktime_get_ns();
	e->pid = pid;
	e->tid = tid;
	e->ppid = BPF_CORE_READ(task, real_parent, tgid);
	e->signal = status & 0xff;
	e->code = status >> 8;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_ringbuf_submit(e, 0);
	return 0;
}
