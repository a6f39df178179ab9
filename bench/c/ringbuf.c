/* The rival of bench/ringbuf.ts: a reader and a producer on libbpf.
 *
 *   ringbuf drain MAP_ID          consumes what is ready: prints events and nanoseconds
 *   ringbuf live MAP_ID COUNT     polls until COUNT events came: events, nanoseconds
 *   ringbuf wakeup MAP_ID COUNT   prints the median latency in nanoseconds
 *   ringbuf produce PROG_ID COUNT runs the program until it returned 2 COUNT times
 *   ringbuf pace PROG_ID COUNT USEC   one run every USEC microseconds
 *   ringbuf lookup MAP_ID COUNT   looks up keys 0..COUNT-1: nanoseconds
 *   ringbuf batch MAP_ID COUNT    reads all by BPF_MAP_LOOKUP_BATCH: entries, nanoseconds
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct sample {
	uint64_t seq, at;
	uint32_t pid, cpu, kind, size;
	char comm[16];
	uint8_t rest[16];
};

static uint64_t events, sum, want;
static uint64_t *latency;

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int on_sample(void *ctx, void *data, size_t size)
{
	const struct sample *s = data;
	(void)ctx;
	(void)size;
	sum += s->seq + s->at + s->pid + s->cpu + s->kind + s->size;
	events++;
	return 0;
}

static int on_latency(void *ctx, void *data, size_t size)
{
	const struct sample *s = data;
	(void)ctx;
	(void)size;
	if (events < want)
		latency[events] = now() - s->at;
	events++;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static int run(int prog, uint32_t repeat)
{
	char packet[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = sizeof(packet), .repeat = repeat);
	if (bpf_prog_test_run_opts(prog, &o)) {
		perror("test_run");
		exit(1);
	}
	return o.retval;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	const char *mode = argv[1];
	uint32_t id = strtoul(argv[2], NULL, 10);
	want = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;

	if (!strcmp(mode, "produce") || !strcmp(mode, "pace")) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(0, &set);
		sched_setaffinity(0, sizeof(set), &set);
		int prog = bpf_prog_get_fd_by_id(id);
		if (!strcmp(mode, "pace")) {
			long usec = strtol(argv[4], NULL, 10);
			for (uint64_t i = 0; i < want; i++) {
				struct timespec t = { 0, usec * 1000 };
				run(prog, 1);
				nanosleep(&t, NULL);
			}
			return 0;
		}
		/* Whoever reads says when it is enough: standard input closes. */
		for (;;) {
			run(prog, 20000);
			struct timespec zero = { 0, 0 };
			fd_set in;
			FD_ZERO(&in);
			FD_SET(0, &in);
			if (pselect(1, &in, NULL, NULL, &zero, NULL) > 0)
				return 0;
		}
	}

	int map = bpf_map_get_fd_by_id(id);
	if (map < 0) {
		perror("map");
		return 1;
	}
	if (!strcmp(mode, "lookup")) {
		uint64_t value, t = now();
		for (uint32_t i = 0; i < want; i++) {
			uint32_t key = i;
			bpf_map_lookup_elem(map, &key, &value);
			sum += value;
		}
		printf("%llu %llu\n", (unsigned long long)want, (unsigned long long)(now() - t));
		return sum == 42;
	}
	if (!strcmp(mode, "batch")) {
		uint32_t *keys = malloc(want * 4);
		uint64_t *values = malloc(want * 8);
		uint64_t best = ~0ull;
		for (int round = 0; round < 21; round++) {
			uint64_t t = now();
			uint32_t count = want, position;
			bpf_map_lookup_batch(map, NULL, &position, keys, values, &count, NULL);
			for (uint32_t i = 0; i < count; i++)
				sum += keys[i] + values[i];
			events = count;
			t = now() - t;
			if (t < best)
				best = t;
		}
		printf("%llu %llu\n", (unsigned long long)events, (unsigned long long)best);
		return sum == 42;
	}

	int wakeup = !strcmp(mode, "wakeup");
	struct ring_buffer *ring = ring_buffer__new(map, wakeup ? on_latency : on_sample, NULL, NULL);
	if (!ring)
		return 1;
	latency = calloc(want + 1, sizeof(*latency));
	puts("ready");
	fflush(stdout);
	uint64_t t = now();
	if (!strcmp(mode, "drain")) {
		ring_buffer__consume(ring);
	} else {
		uint64_t first = 0;
		while (events < want) {
			ring_buffer__poll(ring, 1000);
			if (!first && events)
				first = now();
		}
		t = first;
	}
	t = now() - t;
	if (wakeup) {
		qsort(latency, want, sizeof(*latency), by_value);
		printf("%llu %llu\n", (unsigned long long)events, (unsigned long long)latency[want / 2]);
	} else {
		printf("%llu %llu\n", (unsigned long long)events, (unsigned long long)t);
	}
	return sum == 42;
}
