import { arrayMap, config, histogram, percpuArray, struct, tpBtf, u32, u64 } from "bpfkit";

const Total = struct({ count: u64, time: u64 });
export const start = percpuArray(u64, 1);
export const totals = arrayMap(Total, 10);
export const hists = histogram(u32);
export const distribution = config(u32, 0);
export const nanoseconds = config(u32, 0);

export const onEntry = tpBtf("softirq_entry", (_ctx, bpf) => {
  start.set(0, bpf.nsecs());
});

export const onExit = tpBtf("softirq_exit", (ctx, bpf) => {
  const vec = u32(ctx.vec_nr);
  if (vec >= 10) return;
  const since = start.ref(0);
  if (!since || since.value === 0) return;
  let delta = bpf.nsecs() - since.value;
  if (nanoseconds.value === 0) delta /= 1000;
  if (distribution.value !== 0) {
    hists.increment(vec, delta);
    return;
  }
  const total = totals.get(vec);
  if (!total) return;
  total.count += 1;
  total.time += delta;
});
