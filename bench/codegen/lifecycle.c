#include "common.h"

enum kind { FORK, EXEC, EXIT };
struct event {
	u64 at;
	u32 kind, pid, ppid, uid;
	int code;
	u32 signal;
	u64 microseconds;
	char comm[16], parent[16], file[128];
};
struct run {
	u64 began;
	u32 execs, forks;
};
struct usage {
	u64 processes, microseconds, failures;
};

RINGBUF(events);
MAP(running, HASH, u32, struct run, 10240);
MAP(usage, HASH, u32, struct usage, 1024);
MAP(lifetimes, PERCPU_ARRAY, u32, u64, 65);
const volatile u32 onlyUid = 0xffffffff;
const volatile u64 minimum = 0;
const volatile u32 quiet = 0;
static const struct usage zero;

static __always_inline bool wanted(u32 uid)
{
	return onlyUid == 0xffffffff || uid == onlyUid;
}

static __always_inline void account(u32 uid, u64 microseconds, bool failed)
{
	struct usage *total = lookup_or_init(&usage, &uid, &zero);

	if (!total)
		return;
	total->processes++;
	total->microseconds += microseconds;
	if (failed)
		total->failures++;
}

static __always_inline void common(struct event *e, u64 now, u32 pid, u32 uid)
{
	struct task_struct *parent = bpf_get_current_task_btf()->real_parent;

	e->at = now;
	e->pid = pid;
	e->ppid = parent->tgid;
	e->uid = uid;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_probe_read_kernel(e->parent, sizeof(e->parent), parent->comm);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(onFork, struct task_struct *parent, struct task_struct *child)
{
	u32 pid = child->tgid, self;
	struct run fresh = {}, *run;

	if (child->pid != child->tgid)
		return 0;
	fresh.began = bpf_ktime_get_ns();
	bpf_map_update_elem(&running, &pid, &fresh, BPF_ANY);
	self = bpf_get_current_pid_tgid() >> 32;
	run = bpf_map_lookup_elem(&running, &self);
	if (run)
		run->forks++;
	return 0;
}

SEC("tp/sched/sched_process_exec")
int onExec(struct trace_event_raw_sched_process_exec *ctx)
{
	u32 uid = bpf_get_current_uid_gid(), pid;
	struct event *e;
	struct run *run;

	if (!wanted(uid))
		return 0;
	pid = bpf_get_current_pid_tgid() >> 32;
	run = bpf_map_lookup_elem(&running, &pid);
	if (run)
		run->execs++;
	if (quiet)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	common(e, bpf_ktime_get_ns(), pid, uid);
	e->kind = EXEC;
	e->code = 0;
	e->signal = 0;
	e->microseconds = 0;
	bpf_probe_read_kernel_str(e->file, sizeof(e->file), (void *)ctx + (ctx->__data_loc_filename & 0xffff));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(onExit, struct task_struct *task)
{
	u64 now, microseconds;
	u32 pid, uid, status;
	struct event *e;
	struct run *run;

	if (task->pid != task->tgid)
		return 0;
	pid = bpf_get_current_pid_tgid() >> 32;
	uid = bpf_get_current_uid_gid();
	now = bpf_ktime_get_ns();
	run = bpf_map_lookup_elem(&running, &pid);
	microseconds = (now - (run ? run->began : BPF_CORE_READ(task, start_time))) / 1000;
	bpf_map_delete_elem(&running, &pid);
	if (!wanted(uid))
		return 0;
	status = task->exit_code;
	account(uid, microseconds, status != 0);
	count(&lifetimes, microseconds);
	if (quiet || microseconds < minimum)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	common(e, now, pid, uid);
	e->kind = EXIT;
	e->code = (status >> 8) & 0xff;
	e->signal = status & 0x7f;
	e->microseconds = microseconds;
	__builtin_memset(e->file, 0, sizeof(e->file));
	bpf_ringbuf_submit(e, 0);
	return 0;
}
