import { hash, histogram, s64, tpBtf, u32, u64 } from "bpfkit";

export const start = hash(u32, u64);
export const wait = histogram();

export const onWakeup = tpBtf("sched_wakeup", (ctx, bpf) => {
  if (ctx.p.pid !== 0) start.set(ctx.p.pid, bpf.nsecs());
});

export const onNew = tpBtf("sched_wakeup_new", (ctx, bpf) => {
  if (ctx.p.pid !== 0) start.set(ctx.p.pid, bpf.nsecs());
});

export const onSwitch = tpBtf("sched_switch", (ctx, bpf) => {
  const { prev, next } = ctx;
  if (prev.__state === 0 && prev.pid !== 0) start.set(prev.pid, bpf.nsecs());
  const pid = next.pid;
  const since = start.get(pid);
  if (since === undefined) return;
  const delta = s64(bpf.nsecs() - since);
  if (delta >= 0) wait.increment(delta / 1000);
  start.delete(pid);
});
