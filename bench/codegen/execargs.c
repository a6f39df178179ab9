#include "common.h"

#define ARGS 8

struct exec {
	u32 pid, uid;
	s32 ret;
	u32 count;
	char comm[16];
	char file[64];
	char args[ARGS][32];
};

MAP(pending, HASH, u32, struct exec, 1024);
RINGBUF(execs);

static const struct exec zero;

SEC("tp/syscalls/sys_enter_execve")
int enter(struct trace_event_raw_sys_enter *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	const char **argv = (const char **)ctx->args[1];
	u32 tid = id;
	struct exec *e;

	bpf_map_update_elem(&pending, &tid, &zero, BPF_ANY);
	e = bpf_map_lookup_elem(&pending, &tid);
	if (!e)
		return 0;
	e->pid = id >> 32;
	e->uid = bpf_get_current_uid_gid();
	bpf_probe_read_user_str(e->file, sizeof(e->file), (const char *)ctx->args[0]);
	for (int i = 0; i < ARGS; i++) {
		const char *arg = NULL;

		bpf_probe_read_user(&arg, sizeof(arg), &argv[i]);
		if (!arg)
			break;
		bpf_probe_read_user_str(e->args[i], sizeof(e->args[i]), arg);
		e->count = i + 1;
	}
	return 0;
}

SEC("tp/syscalls/sys_exit_execve")
int leave(struct trace_event_raw_sys_exit *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct exec *e = bpf_map_lookup_elem(&pending, &tid);

	if (!e)
		return 0;
	e->ret = ctx->ret;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_ringbuf_output(&execs, e, sizeof(*e), 0);
	bpf_map_delete_elem(&pending, &tid);
	return 0;
}
