#include "common.h"

struct ident {
	u32 pid;
	char comm[16];
};
struct life {
	u64 microseconds, rx, tx;
	u32 pid;
	u16 sport, dport, family;
	u8 saddr[4], daddr[4];
	char comm[16];
};

MAP(birth, HASH, struct sock *, u64, 10240);
MAP(idents, HASH, struct sock *, struct ident, 10240);
RINGBUF(lives);
const volatile u32 onlyPort = 0;

SEC("tp/sock/inet_sock_set_state")
int onState(struct trace_event_raw_inet_sock_set_state *ctx)
{
	struct ident ident = {}, *id;
	struct sock *sk;
	int state;
	u64 now, *start;

	if (ctx->protocol != IPPROTO_TCP)
		return 0;
	if (onlyPort && ctx->dport != onlyPort)
		return 0;
	sk = (struct sock *)ctx->skaddr;
	state = ctx->newstate;
	if (state < TCP_FIN_WAIT1) {
		now = bpf_ktime_get_ns();
		bpf_map_update_elem(&birth, &sk, &now, BPF_ANY);
	}
	if (state == TCP_SYN_SENT || state == TCP_LAST_ACK) {
		ident.pid = bpf_get_current_pid_tgid() >> 32;
		bpf_get_current_comm(ident.comm, sizeof(ident.comm));
		bpf_map_update_elem(&idents, &sk, &ident, BPF_ANY);
	}
	if (state != TCP_CLOSE)
		return 0;
	start = bpf_map_lookup_elem(&birth, &sk);
	id = bpf_map_lookup_elem(&idents, &sk);
	if (start) {
		struct tcp_sock *tcp = (struct tcp_sock *)sk;
		struct life *e = bpf_ringbuf_reserve(&lives, sizeof(*e), 0);

		if (e) {
			e->microseconds = (bpf_ktime_get_ns() - *start) / 1000;
			e->rx = BPF_CORE_READ(tcp, bytes_received);
			e->tx = BPF_CORE_READ(tcp, bytes_acked);
			e->sport = ctx->sport;
			e->dport = ctx->dport;
			e->family = ctx->family;
			__builtin_memcpy(e->saddr, ctx->saddr, 4);
			__builtin_memcpy(e->daddr, ctx->daddr, 4);
			if (id) {
				e->pid = id->pid;
				__builtin_memcpy(e->comm, id->comm, sizeof(e->comm));
			} else {
				e->pid = bpf_get_current_pid_tgid() >> 32;
				bpf_get_current_comm(e->comm, sizeof(e->comm));
			}
			bpf_ringbuf_submit(e, 0);
		}
	}
	bpf_map_delete_elem(&birth, &sk);
	bpf_map_delete_elem(&idents, &sk);
	return 0;
}
