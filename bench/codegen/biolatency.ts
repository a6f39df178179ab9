import { config, hash, histogram, struct, tpBtf, u32, u64 } from "bpfkit";

const Disk = struct({ device: u32 });
export const start = hash(u64, u64);
export const latency = histogram(Disk);
export const onlyDevice = config(u32, 0);

export const onIssue = tpBtf("block_rq_issue", (ctx, bpf) => {
  if (onlyDevice.value !== 0 && onlyDevice.value !== u32(ctx.rq.q.disk.part0.bd_dev)) return;
  start.set(u64(ctx.rq), bpf.nsecs());
});

export const onDone = tpBtf("block_rq_complete", (ctx, bpf) => {
  const { rq } = ctx;
  const since = start.get(u64(rq));
  if (since === undefined) return;
  const disk = rq.q.disk;
  const device = disk ? (disk.major << 20) | disk.first_minor : 0;
  latency.increment({ device }, (bpf.nsecs() - since) / 1000);
  start.delete(u64(rq));
});
