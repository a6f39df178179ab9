#include "common.h"

struct file_id {
	u32 pid, fd;
};
struct stat_of {
	u64 reads, readBytes, writes, writeBytes;
	u32 tid;
	char comm[16];
};

MAP(pending, HASH, u32, u32, 10240);
MAP(files, HASH, struct file_id, struct stat_of, 10240);
const volatile u32 onlyPid = 0;
static const struct stat_of zero;

static __always_inline int enter(u32 fd)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tid = id;

	if (onlyPid && onlyPid != id >> 32)
		return 0;
	bpf_map_update_elem(&pending, &tid, &fd, BPF_ANY);
	return 0;
}

static __always_inline int leave(long ret, bool write)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tid = id, *fd = bpf_map_lookup_elem(&pending, &tid);
	struct file_id key = {};
	struct stat_of *s;

	if (!fd)
		return 0;
	key.pid = id >> 32;
	key.fd = *fd;
	bpf_map_delete_elem(&pending, &tid);
	if (ret < 0)
		return 0;
	s = lookup_or_init(&files, &key, &zero);
	if (!s)
		return 0;
	if (!s->tid) {
		s->tid = tid;
		bpf_get_current_comm(s->comm, sizeof(s->comm));
	}
	if (write) {
		s->writes++;
		s->writeBytes += ret;
	} else {
		s->reads++;
		s->readBytes += ret;
	}
	return 0;
}

SEC("tp/syscalls/sys_enter_read")
int enterRead(struct trace_event_raw_sys_enter *ctx)
{
	return enter(ctx->args[0]);
}
SEC("tp/syscalls/sys_exit_read")
int exitRead(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx->ret, false);
}
SEC("tp/syscalls/sys_enter_write")
int enterWrite(struct trace_event_raw_sys_enter *ctx)
{
	return enter(ctx->args[0]);
}
SEC("tp/syscalls/sys_exit_write")
int exitWrite(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx->ret, true);
}
