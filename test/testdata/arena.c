// Globals in an arena.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, 33); /* BPF_MAP_TYPE_ARENA, newer than many a bpf.h */
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 10);
} arena SEC(".maps");

int __arena visits = 3;
long __arena table[8];

SEC("syscall")
int visit(void *ctx)
{
	bpf_get_prandom_u32();
	visits++;
	table[2] = visits;
	return (long)&arena != 0;
}

SEC("?raw_tp/sys_exit")
int not_loaded(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
