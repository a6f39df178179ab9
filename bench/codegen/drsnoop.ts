import { char, config, hash, ringbuf, s64, struct, tpBtf, u32, u64 } from "bpfkit";

const Piece = struct({ at: u64, order: u64 });
const Reclaim = struct({ comm: char(16), delta: u64, pages: u64, order: u64, pid: u32 });
export const start = hash(u32, Piece);
export const reclaims = ringbuf(Reclaim, { countLost: false }); // as the C twin
export const onlyPid = config(u32, 0);
export const onlyTid = config(u32, 0);

export const begin = tpBtf("mm_vmscan_direct_reclaim_begin", (ctx, bpf) => {
  const tid = bpf.tid();
  if (onlyPid.value !== 0 && onlyPid.value !== bpf.pid()) return;
  if (onlyTid.value !== 0 && onlyTid.value !== tid) return;
  start.set(tid, { at: bpf.nsecs(), order: ctx.order });
});

export const end = tpBtf("mm_vmscan_direct_reclaim_end", (ctx, bpf) => {
  const tid = bpf.tid();
  const piece = start.get(tid);
  if (!piece) return;
  const delta = s64(bpf.nsecs() - piece.at);
  if (delta >= 0) {
    reclaims.emit({ comm: bpf.comm(), delta, pages: ctx.nr_reclaimed, order: piece.order, pid: bpf.pid() });
  }
  start.delete(tid);
});
