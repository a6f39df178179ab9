// How long tasks wait for a CPU once they could run.      sudo npx bpfkit run examples/runqlat.ts --duration 5
import { hash, histogram, tpBtf, u32, u64 } from "bpfkit";

const runnableSince = hash(u32, u64);
export const waitMicroseconds = histogram();

const TASK_RUNNING = 0;

export const onWakeup = tpBtf("sched_wakeup", (ctx, bpf) => {
  runnableSince.set(ctx.p.pid, bpf.nsecs());
});

export const onWakeupNew = tpBtf("sched_wakeup_new", (ctx, bpf) => {
  runnableSince.set(ctx.p.pid, bpf.nsecs());
});

export const onSwitch = tpBtf("sched_switch", (ctx, bpf) => {
  const now = bpf.nsecs();
  // Preempted: it could go on running, so it waits from now on.
  if (ctx.prev.__state === TASK_RUNNING) runnableSince.set(ctx.prev.pid, now);

  const since = runnableSince.get(ctx.next.pid);
  if (since === undefined) return;
  waitMicroseconds.increment((now - since) / 1000);
  runnableSince.delete(ctx.next.pid);
});
