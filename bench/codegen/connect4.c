#include "common.h"

struct service {
	u32 address, port;
};
struct event {
	u32 pid, uid, address;
	u16 port, rewritten;
};

MAP(services, HASH, struct service, struct service, 256);
RINGBUF(connects);
const volatile u32 deniedUid = 0xffffffff;

SEC("cgroup/connect4")
int connect(struct bpf_sock_addr *ctx)
{
	u32 uid = bpf_get_current_uid_gid();
	struct service key, *to;
	struct event *e;

	if (deniedUid != 0xffffffff && uid == deniedUid)
		return 0;
	if (ctx->protocol != IPPROTO_TCP)
		return 1;
	key.address = bpf_ntohl(ctx->user_ip4);
	key.port = bpf_ntohs(ctx->user_port);
	to = bpf_map_lookup_elem(&services, &key);
	e = bpf_ringbuf_reserve(&connects, sizeof(*e), 0);
	if (e) {
		e->pid = bpf_get_current_pid_tgid() >> 32;
		e->uid = uid;
		e->address = key.address;
		e->port = key.port;
		e->rewritten = !!to;
		bpf_ringbuf_submit(e, 0);
	}
	if (to) {
		ctx->user_ip4 = bpf_htonl(to->address);
		ctx->user_port = bpf_htons(to->port);
	}
	return 1;
}
