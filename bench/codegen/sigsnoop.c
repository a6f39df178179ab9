#include "common.h"

struct event {
	u32 pid, target;
	int signal, ret;
	char comm[16];
};

MAP(pending, HASH, u32, struct event, 10240);
RINGBUF(signals);
const volatile u32 onlyPid = 0;
const volatile int onlySignal = 0;
const volatile u32 onlyFailed = 0;

SEC("tp/syscalls/sys_enter_kill")
int enter(struct trace_event_raw_sys_enter *ctx)
{
	u32 target = ctx->args[0];
	int sig = ctx->args[1];
	struct event e = {};
	u64 id;
	u32 pid, tid;

	if (onlySignal && sig != onlySignal)
		return 0;
	id = bpf_get_current_pid_tgid();
	pid = id >> 32;
	tid = id;
	if (onlyPid && pid != onlyPid)
		return 0;
	e.pid = pid;
	e.target = target;
	e.signal = sig;
	bpf_get_current_comm(e.comm, sizeof(e.comm));
	bpf_map_update_elem(&pending, &tid, &e, BPF_ANY);
	return 0;
}

SEC("tp/syscalls/sys_exit_kill")
int leave(struct trace_event_raw_sys_exit *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct event *e = bpf_map_lookup_elem(&pending, &tid);
	int ret;

	if (!e)
		return 0;
	ret = ctx->ret;
	if (onlyFailed && ret >= 0)
		goto done;
	e->ret = ret;
	bpf_ringbuf_output(&signals, e, sizeof(*e), 0);
done:
	bpf_map_delete_elem(&pending, &tid);
	return 0;
}
