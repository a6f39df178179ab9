#include "common.h"

struct args {
	u64 at, flags;
	const char *source, *target, *type;
};
struct event {
	u64 delta, flags;
	u32 pid, ns;
	int ret;
	char comm[16], type[16], source[128], target[128];
};

MAP(args, HASH, u32, struct args, 10240);
RINGBUF(mounts);
const volatile u32 onlyPid = 0;

SEC("tp/syscalls/sys_enter_mount")
int enter(struct trace_event_raw_sys_enter *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tid = id;
	struct args a = {};

	if (onlyPid && onlyPid != id >> 32)
		return 0;
	a.at = bpf_ktime_get_ns();
	a.flags = ctx->args[3];
	a.source = (const char *)ctx->args[0];
	a.target = (const char *)ctx->args[1];
	a.type = (const char *)ctx->args[2];
	bpf_map_update_elem(&args, &tid, &a, BPF_ANY);
	return 0;
}

SEC("tp/syscalls/sys_exit_mount")
int leave(struct trace_event_raw_sys_exit *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tid = id;
	struct args *a = bpf_map_lookup_elem(&args, &tid);
	struct task_struct *task;
	struct event *e;

	if (!a)
		return 0;
	e = bpf_ringbuf_reserve(&mounts, sizeof(*e), 0);
	if (!e)
		goto done;
	task = (struct task_struct *)bpf_get_current_task();
	e->delta = bpf_ktime_get_ns() - a->at;
	e->flags = a->flags;
	e->pid = id >> 32;
	e->ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	e->ret = ctx->ret;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	if (a->source)
		bpf_probe_read_user_str(e->source, sizeof(e->source), a->source);
	else
		e->source[0] = 0;
	if (a->target)
		bpf_probe_read_user_str(e->target, sizeof(e->target), a->target);
	else
		e->target[0] = 0;
	if (a->type)
		bpf_probe_read_user_str(e->type, sizeof(e->type), a->type);
	else
		e->type[0] = 0;
	bpf_ringbuf_submit(e, 0);
done:
	bpf_map_delete_elem(&args, &tid);
	return 0;
}
