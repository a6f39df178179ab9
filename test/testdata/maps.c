// Every way to define a map or a global variable.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct key {
	__u32 cpu;
	__u64 ip;
};
struct value {
	__u64 count;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct key);
	__type(value, struct value);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__type(value, __u32);
	__uint(max_entries, 64);
	__uint(map_extra, 3);
} bloom SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 2);
} inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__uint(max_entries, 4);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [0] = &inner_a, [3] = &inner_b },
};

int tail(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__uint(max_entries, 4);
	__array(values, int (void *));
} jumps SEC(".maps") = {
	.values = { [1] = (void *)&tail },
};

int zeros[4];
__u64 counter = 42;
static volatile int hidden_count = 7;
const volatile int limit = 100;
const volatile char prefix[8] = "bpf";
int custom SEC(".data.custom") = 5;
__hidden int not_mapped SEC(".data.private") = 6;

extern unsigned int CONFIG_HZ __kconfig;
extern _Bool CONFIG_NO_SUCH_OPTION __kconfig __weak;
extern int LINUX_KERNEL_VERSION __kconfig;

SEC("raw_tp/sys_enter")
int count(void *ctx)
{
	struct key k = { .cpu = bpf_get_smp_processor_id(), .ip = limit };
	struct value v = {}, *old;
	__u32 zero = 0;

	old = bpf_map_lookup_elem(&counts, &k);
	if (old)
		__sync_fetch_and_add(&old->count, 1);
	else
		bpf_map_update_elem(&counts, &k, &v, BPF_ANY);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &k, sizeof(k));
	bpf_ringbuf_output(&ring, &v, sizeof(v), 0);
	bpf_map_push_elem(&bloom, &zero, 0);
	old = bpf_map_lookup_elem(&outer, &zero);
	counter += zeros[1] + hidden_count + custom + not_mapped + prefix[0];
	hidden_count++;
	if (CONFIG_HZ > 1000 || CONFIG_NO_SUCH_OPTION || LINUX_KERNEL_VERSION < 1)
		zeros[2]++;
	bpf_tail_call(ctx, &jumps, 1);
	return !!old;
}

SEC("raw_tp/sys_enter")
int tail(void *ctx)
{
	zeros[0]++;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
__u32 VERSION SEC("version") = 0x060c00;
