/* The programs of bench/vm.ts: CPU-bound, for the kernel, for ubpf and for this VM alike. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define SEC(name) __attribute__((section(name), used))

struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static void *(*map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;

struct {
	int (*type)[2];
	u32 *key;
	u64 *value;
	int (*max_entries)[256];
} counts SEC(".maps");
struct {
	int (*type)[1];
	u64 *key;
	u64 *value;
	int (*max_entries)[1024];
} table SEC(".maps");

#define N 4096
u8 composite[N];
u64 words[1024];

SEC("xdp") int sieve(struct xdp_md *ctx)
{
	u32 primes = 0;

	for (u32 i = 0; i < N; i++)
		composite[i] = 0;
	for (u32 i = 2; i < N; i++) {
		if (composite[i])
			continue;
		primes++;
		for (u32 j = i * 2; j < N; j += i)
			composite[j] = 1;
	}
	return primes;
}

static const u32 K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))

SEC("xdp") int sha256(struct xdp_md *ctx)
{
	const u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 h0 = 0x6a09e667, h1 = 0xbb67ae85, h2 = 0x3c6ef372, h3 = 0xa54ff53a;
	u32 h4 = 0x510e527f, h5 = 0x9b05688c, h6 = 0x1f83d9ab, h7 = 0x5be0cd19;
	u32 w[64];

	if (data + 512 > end)
		return 0;
	for (u32 block = 0; block < 8; block++) {
		for (u32 i = 0; i < 16; i++)
			w[i] = __builtin_bswap32(*(u32 *)(data + block * 64 + i * 4));
		for (u32 i = 16; i < 64; i++)
			w[i] = w[i - 16] + w[i - 7] + (ROR(w[i - 15], 7) ^ ROR(w[i - 15], 18) ^ w[i - 15] >> 3) +
			       (ROR(w[i - 2], 17) ^ ROR(w[i - 2], 19) ^ w[i - 2] >> 10);
		u32 a = h0, b = h1, c = h2, d = h3, e = h4, f = h5, g = h6, h = h7;
		for (u32 i = 0; i < 64; i++) {
			u32 t = h + (ROR(e, 6) ^ ROR(e, 11) ^ ROR(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i];
			u32 s = (ROR(a, 2) ^ ROR(a, 13) ^ ROR(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
			h = g, g = f, f = e, e = d + t, d = c, c = b, b = a, a = t + s;
		}
		h0 += a, h1 += b, h2 += c, h3 += d, h4 += e, h5 += f, h6 += g, h7 += h;
	}
	return h0 ^ h1 ^ h2 ^ h3 ^ h4 ^ h5 ^ h6 ^ h7;
}

SEC("xdp") int fnv(struct xdp_md *ctx)
{
	const u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u64 hash = 0xcbf29ce484222325;

	if (data + 1400 > end)
		return 0;
	for (u32 round = 0; round < 4; round++)
		for (u32 i = 0; i < 1400; i++)
			hash = (hash ^ data[i]) * 0x100000001b3;
	return hash ^ hash >> 32;
}

SEC("xdp") int count_array(struct xdp_md *ctx)
{
	u32 x = 1, seen = 0;

	for (u32 i = 0; i < 1000; i++) {
		x = x * 1103515245 + 12345;
		u32 key = x >> 24;
		u64 *value = map_lookup_elem(&counts, &key);

		if (value) {
			*value += i;
			seen++;
		}
	}
	return seen;
}

SEC("xdp") int count_hash(struct xdp_md *ctx)
{
	u32 x = 1, seen = 0;

	for (u32 i = 0; i < 400; i++) {
		x = x * 1103515245 + 12345;
		u64 key = x >> 23, one = 1;
		u64 *value = map_lookup_elem(&table, &key);

		if (value) {
			__sync_fetch_and_add(value, 1);
			seen++;
		} else {
			map_update_elem(&table, &key, &one, 0);
		}
	}
	return seen;
}

/* Records of type, length, value; what a value means depends on its type. */
SEC("xdp") int parser(struct xdp_md *ctx)
{
	const u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 ports = 0, bytes = 0, flags = 0, bad = 0;

	if (data + 4 > end)
		return 0;
	u32 at = *(u32 *)data;
	for (u32 i = 0; i < 1000; i++) {
		const u8 *p = data + (at & 0x3ff);

		if (p + 8 > end)
			break;
		switch (p[0] & 7) {
		case 0:
			at += 1;
			break;
		case 1:
			ports += p[1] << 8 | p[2];
			at += 3;
			break;
		case 2:
			if (p[1] == 0) {
				bad++;
				at += 2;
			} else {
				bytes += p[1] & 15;
				at += 2 + (p[1] & 15);
			}
			break;
		case 3:
			flags |= 1u << (p[1] & 31);
			at += 2;
			break;
		case 4:
			bytes += *(u32 *)(p + 1) & 0xffff;
			at += 5;
			break;
		case 5:
			if (p[1] > p[2])
				flags ^= p[3];
			else if (p[1] < p[2])
				ports -= p[3];
			at += 4;
			break;
		default:
			bad += p[1] >> 7;
			at += 7;
		}
	}
	return ports * 31 + bytes * 7 + flags + bad;
}

SEC("xdp") int copy(struct xdp_md *ctx)
{
	u64 sum = 0;

	for (u32 i = 0; i < 1023; i++) {
		words[i + 1] = words[i] + i;
		sum += words[i + 1];
	}
	words[0] = 0;
	return sum;
}

SEC("xdp") int divide(struct xdp_md *ctx)
{
	u64 hash = 1;

	for (u32 i = 0; i < 3000; i++) {
		hash *= 0x100000001b3;
		hash += hash / 1000003 % 977;
	}
	return hash;
}

SEC("xdp") int xorshift(struct xdp_md *ctx)
{
	u32 x = 1;

	for (u32 i = 0; i < 5000; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
	}
	return x;
}

char _license[] SEC("license") = "GPL";
