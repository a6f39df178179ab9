/* The rival of bench/vm.ts: a program on ubpf, its JIT and its interpreter.
 *
 *   ubpf FILE RUNS ROUNDS    prints, each the least of ROUNDS: JIT ns, interpreter ns, r0, compile ns
 *
 * FILE: u32 insns, maps, relocations, packet bytes; for each map u32 type, key, value, entries, data bytes, then the
 * data; for each relocation u32 insn, map, is it the value, offset; the packet; the instructions. Everything lies
 * below 4 GiB, so that the 32-bit pointers of struct xdp_md hold.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ubpf.h>

#define MEM (4u << 20)

struct map {
	uint32_t type, key, value, entries, data;
	uint8_t *values;
	uint32_t *heads, *next;
	uint64_t *keys;
	uint32_t used;
};
static struct map maps[16];

static uint32_t bucket(uint64_t key)
{
	return (key * 0x9e3779b97f4a7c15ull) >> 54;
}

static uint64_t lookup(uint64_t m, uint64_t key, uint64_t c, uint64_t d, uint64_t e)
{
	struct map *map = (void *)m;

	if (map->type == 2) {
		uint32_t i = *(uint32_t *)key;
		return i < map->entries ? (uint64_t)(map->values + i * map->value) : 0;
	}
	uint64_t k = *(uint64_t *)key;
	for (uint32_t i = map->heads[bucket(k)]; i; i = map->next[i - 1])
		if (map->keys[i - 1] == k)
			return (uint64_t)(map->values + (i - 1) * map->value);
	return 0;
}

static uint64_t update(uint64_t m, uint64_t key, uint64_t value, uint64_t flags, uint64_t e)
{
	struct map *map = (void *)m;
	uint64_t at = lookup(m, key, 0, 0, 0);

	if (!at) {
		if (map->type == 2 || map->used == map->entries)
			return -7;
		uint32_t i = map->used++, b = bucket(*(uint64_t *)key);
		map->keys[i] = *(uint64_t *)key;
		map->next[i] = map->heads[b];
		map->heads[b] = i + 1;
		at = (uint64_t)(map->values + i * map->value);
	}
	memcpy((void *)at, (void *)value, map->value);
	return 0;
}

static uint64_t now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why ? why : "?");
	exit(1);
}

int main(int argc, char **argv)
{
	uint32_t n[4];
	FILE *f = argc == 4 ? fopen(argv[1], "rb") : NULL;

	if (!f || fread(n, 4, 4, f) != 4)
		fail("usage", "ubpf FILE RUNS ROUNDS");
	uint8_t *mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	uint8_t *free = mem + 8192;
	for (uint32_t i = 0; i < n[1]; i++) {
		struct map *map = &maps[i];
		if (fread(map, 4, 5, f) != 5)
			fail("map", "short file");
		map->values = free;
		free += ((size_t)map->value * map->entries + 15) & ~15ull;
		map->heads = calloc(1024, 4);
		map->next = calloc(map->entries, 4);
		map->keys = calloc(map->entries, 8);
		if (fread(map->values, 1, map->data, f) != map->data)
			fail("map", "short file");
	}
	uint32_t(*relocs)[4] = calloc(n[2] + 1, 16);
	uint64_t *insns = calloc(n[0], 8);
	if (fread(relocs, 16, n[2], f) != n[2] || fread(mem + 256, 1, n[3], f) != n[3] || fread(insns, 8, n[0], f) != n[0])
		fail("file", "short");
	((uint32_t *)mem)[0] = (uint64_t)mem + 256;
	((uint32_t *)mem)[1] = (uint64_t)mem + 256 + n[3];
	for (uint32_t i = 0; i < n[2]; i++) {
		struct map *map = &maps[relocs[i][1]];
		uint64_t to = relocs[i][2] ? (uint64_t)map->values + relocs[i][3] : (uint64_t)map;
		uint64_t *insn = insns + relocs[i][0];
		insn[0] = (insn[0] & 0x0fff) | to << 32;
		insn[1] = to & 0xffffffff00000000ull;
	}

	struct ubpf_vm *vm = ubpf_create();
	char *error = NULL;
	ubpf_register(vm, 1, "map_lookup_elem", lookup);
	ubpf_register(vm, 2, "map_update_elem", update);
	if (ubpf_load(vm, insns, n[0] * 8, &error) < 0)
		fail("load", error);
	uint64_t start = now(CLOCK_MONOTONIC);
	ubpf_jit_fn jit = ubpf_compile(vm, &error);
	uint64_t compile = now(CLOCK_MONOTONIC) - start;
	if (!jit)
		fail("compile", error);
	int runs = atoi(argv[2]), rounds = atoi(argv[3]);
	uint64_t best = ~0ull, bestInterp = ~0ull, r0 = 0, r1 = 0;
	for (int round = 0; round < rounds; round++) {
		start = now(CLOCK_PROCESS_CPUTIME_ID);
		for (int i = 0; i < runs; i++)
			r0 = jit(mem, MEM);
		uint64_t took = (now(CLOCK_PROCESS_CPUTIME_ID) - start) / runs;
		if (took < best)
			best = took;
		start = now(CLOCK_PROCESS_CPUTIME_ID);
		for (int i = 0; i < runs / 20 + 1; i++)
			if (ubpf_exec(vm, mem, MEM, &r1) < 0)
				fail("interpreter", "fault");
		took = (now(CLOCK_PROCESS_CPUTIME_ID) - start) / (runs / 20 + 1);
		if (took < bestInterp)
			bestInterp = took;
	}
	if ((uint32_t)r0 != (uint32_t)r1)
		fail("JIT and interpreter", "disagree");
	printf("%llu %llu %u %llu\n", (unsigned long long)best, (unsigned long long)bestInterp, (unsigned)r0,
	       (unsigned long long)compile);
	return 0;
}
