#include "common.h"

struct line {
	u32 pid;
	char comm[16];
	char text[80];
};

RINGBUF(lines);

SEC("uretprobe//bin/bash:readline")
int BPF_KRETPROBE(onReadline, const void *line)
{
	char comm[16];
	struct line *e;

	if (!line)
		return 0;
	bpf_get_current_comm(comm, sizeof(comm));
	if (comm[0] != 'b' || comm[1] != 'a' || comm[2] != 's' || comm[3] != 'h' || comm[4] != 0)
		return 0;
	e = bpf_ringbuf_reserve(&lines, sizeof(*e), 0);
	if (!e)
		return 0;
	e->pid = bpf_get_current_pid_tgid() >> 32;
	__builtin_memcpy(e->comm, comm, sizeof(comm));
	bpf_probe_read_user_str(e->text, sizeof(e->text), line);
	bpf_ringbuf_submit(e, 0);
	return 0;
}
