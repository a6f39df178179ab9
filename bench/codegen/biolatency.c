#include "common.h"

struct hist_key {
	u32 device;
	u32 bucket;
};

MAP(start, HASH, struct request *, u64, 10240);
MAP(latency, PERCPU_HASH, struct hist_key, u64, 10240);
const volatile u32 onlyDevice = 0;
static const u64 zero;

SEC("tp_btf/block_rq_issue")
int BPF_PROG(onIssue, struct request *rq)
{
	u64 now;

	if (onlyDevice && onlyDevice != rq->q->disk->part0->bd_dev)
		return 0;
	now = bpf_ktime_get_ns();
	bpf_map_update_elem(&start, &rq, &now, 0);
	return 0;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(onDone, struct request *rq, blk_status_t error, unsigned int bytes)
{
	u64 *since = bpf_map_lookup_elem(&start, &rq), *n;
	struct gendisk *disk;
	struct hist_key key = {};

	if (!since)
		return 0;
	disk = rq->q->disk;
	key.device = disk ? (disk->major << 20) | disk->first_minor : 0;
	key.bucket = log2_bucket((bpf_ktime_get_ns() - *since) / 1000);
	n = lookup_or_init(&latency, &key, &zero);
	if (n)
		*n += 1;
	bpf_map_delete_elem(&start, &rq);
	return 0;
}
