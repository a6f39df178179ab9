#include "common.h"

#define CLOSE 7

struct event {
	u64 skaddr, delta, at;
	u32 pid, from, to;
	u16 family, sport, dport;
	u8 saddr[16], daddr[16];
	char comm[16];
};

MAP(since, HASH, u64, u64, 10240);
RINGBUF(events);
const volatile u32 onlyFamily = 0;

SEC("tp/sock/inet_sock_set_state")
int onState(struct trace_event_raw_inet_sock_set_state *ctx)
{
	u64 skaddr = (u64)ctx->skaddr, now, *before;
	struct event *e;

	if (ctx->protocol != IPPROTO_TCP)
		return 0;
	if (onlyFamily && onlyFamily != ctx->family)
		return 0;
	now = bpf_ktime_get_ns();
	before = bpf_map_lookup_elem(&since, &skaddr);
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (e) {
		e->skaddr = skaddr;
		e->delta = before ? (now - *before) / 1000 : 0;
		e->at = now / 1000;
		e->pid = bpf_get_current_pid_tgid() >> 32;
		e->from = ctx->oldstate;
		e->to = ctx->newstate;
		e->family = ctx->family;
		e->sport = ctx->sport;
		e->dport = ctx->dport;
		bpf_probe_read_kernel(e->saddr, sizeof(e->saddr), ctx->saddr_v6);
		bpf_probe_read_kernel(e->daddr, sizeof(e->daddr), ctx->daddr_v6);
		bpf_get_current_comm(e->comm, sizeof(e->comm));
		bpf_ringbuf_submit(e, 0);
	}
	if (ctx->newstate == CLOSE)
		bpf_map_delete_elem(&since, &skaddr);
	else
		bpf_map_update_elem(&since, &skaddr, &now, 0);
	return 0;
}
