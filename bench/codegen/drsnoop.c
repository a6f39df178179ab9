#include "common.h"

struct piece {
	u64 at, order;
};
struct event {
	char comm[16];
	u64 delta, pages, order;
	u32 pid;
};

MAP(start, HASH, u32, struct piece, 10240);
RINGBUF(reclaims);
const volatile u32 onlyPid = 0;
const volatile u32 onlyTid = 0;

SEC("tp_btf/mm_vmscan_direct_reclaim_begin")
int BPF_PROG(begin, int order)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 pid = id >> 32, tid = id;
	struct piece piece = {};

	if (onlyPid && onlyPid != pid)
		return 0;
	if (onlyTid && onlyTid != tid)
		return 0;
	piece.at = bpf_ktime_get_ns();
	piece.order = order;
	bpf_map_update_elem(&start, &tid, &piece, 0);
	return 0;
}

SEC("tp_btf/mm_vmscan_direct_reclaim_end")
int BPF_PROG(end, unsigned long nr_reclaimed)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 tid = id;
	struct piece *piece = bpf_map_lookup_elem(&start, &tid);
	struct event *e;
	s64 delta;

	if (!piece)
		return 0;
	delta = bpf_ktime_get_ns() - piece->at;
	if (delta < 0)
		goto done;
	e = bpf_ringbuf_reserve(&reclaims, sizeof(*e), 0);
	if (!e)
		goto done;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	e->delta = delta;
	e->pages = nr_reclaimed;
	e->order = piece->order;
	e->pid = id >> 32;
	bpf_ringbuf_submit(e, 0);
done:
	bpf_map_delete_elem(&start, &tid);
	return 0;
}
