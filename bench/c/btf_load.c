/* Times btf__load_vmlinux_btf() once, cold, and one look-up by name, in milliseconds. */
#include <bpf/btf.h>
#include <stdio.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

int main(void)
{
	double start = now(), loaded, found;
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf)
		return 1;
	loaded = now();
	if (btf__find_by_name_kind(btf, "task_struct", BTF_KIND_STRUCT) < 0)
		return 1;
	found = now();
	printf("{\"open\":%f,\"name\":%f}\n", loaded - start, found - loaded);
	return 0;
}
