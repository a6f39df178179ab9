/* What BPF programs in C start with: kernel types, helpers, and what every tool of the kind has. */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define AF_INET 2

#define MAP(NAME, TYPE, KEY, VALUE, N)                                                             \
	struct {                                                                                       \
		__uint(type, BPF_MAP_TYPE_##TYPE);                                                         \
		__uint(max_entries, N);                                                                    \
		__type(key, KEY);                                                                          \
		__type(value, VALUE);                                                                      \
	} NAME SEC(".maps")

#define RINGBUF(NAME)                                                                              \
	struct {                                                                                       \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                        \
		__uint(max_entries, 256 * 1024);                                                           \
	} NAME SEC(".maps")

char LICENSE[] SEC("license") = "GPL";

static __always_inline u32 log2_u32(u32 v)
{
	u32 r = (v > 0xffff) << 4, shift;

	v >>= r;
	shift = (v > 0xff) << 3;
	v >>= shift;
	r |= shift;
	shift = (v > 0xf) << 2;
	v >>= shift;
	r |= shift;
	shift = (v > 0x3) << 1;
	v >>= shift;
	r |= shift;
	return r | (v >> 1);
}

/* Bits that v needs. */
static __always_inline u32 log2_bucket(u64 v)
{
	u32 high = v >> 32;

	if (high)
		return log2_u32(high) + 33;
	return v ? log2_u32(v) + 1 : 0;
}

static __always_inline void *lookup_or_init(void *map, const void *key, const void *init)
{
	void *value = bpf_map_lookup_elem(map, key);

	if (value)
		return value;
	bpf_map_update_elem(map, key, init, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, key);
}

static __always_inline void count(void *hist, u64 value)
{
	u32 bucket = log2_bucket(value);
	u64 *n = bpf_map_lookup_elem(hist, &bucket);

	if (n)
		*n += 1;
}
