#include "common.h"

struct args {
	const char *name;
	int flags;
};
struct event {
	u64 at;
	u32 pid, uid;
	int ret, flags;
	char comm[16];
	char file[255];
};

MAP(start, HASH, u32, struct args, 10240);
RINGBUF(opens);
const volatile u32 onlyPid = 0;
const volatile u32 onlyUid = 0xffffffff;
const volatile u32 onlyFailed = 0;

SEC("tp/syscalls/sys_enter_openat")
int enter(struct trace_event_raw_sys_enter *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 pid = id >> 32, tid = id;
	struct args args = {};

	if (onlyPid && onlyPid != pid)
		return 0;
	if (onlyUid != 0xffffffff && onlyUid != (u32)bpf_get_current_uid_gid())
		return 0;
	args.name = (const char *)ctx->args[1];
	args.flags = (int)ctx->args[2];
	bpf_map_update_elem(&start, &tid, &args, 0);
	return 0;
}

SEC("tp/syscalls/sys_exit_openat")
int leave(struct trace_event_raw_sys_exit *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tid = id;
	struct args *args = bpf_map_lookup_elem(&start, &tid);
	struct event *e;
	int ret;

	if (!args)
		return 0;
	ret = ctx->ret;
	if (onlyFailed && ret >= 0)
		goto done;
	e = bpf_ringbuf_reserve(&opens, sizeof(*e), 0);
	if (!e)
		goto done;
	e->at = bpf_ktime_get_ns();
	e->pid = id >> 32;
	e->uid = bpf_get_current_uid_gid();
	e->ret = ret;
	e->flags = args->flags;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_probe_read_user_str(e->file, sizeof(e->file), args->name);
	bpf_ringbuf_submit(e, 0);
done:
	bpf_map_delete_elem(&start, &tid);
	return 0;
}
