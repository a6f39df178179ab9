import { config, hash, histogram, s32, tpBtf, u32, u64 } from "bpfkit";

export const start = hash(u32, u64);
export const dist = histogram();
export const offCpu = config(u32, 0);
export const onlyPid = config(s32, 0);

export const onSwitch = tpBtf("sched_switch", (ctx, bpf) => {
  const { prev, next } = ctx;
  const now = bpf.nsecs();
  const starts = offCpu.value !== 0 ? prev : next;
  const ends = offCpu.value !== 0 ? next : prev;
  const pid = ends.pid;
  if (onlyPid.value === 0 || onlyPid.value === ends.tgid) {
    const since = start.get(pid);
    if (since !== undefined && now >= since) dist.increment((now - since) / 1000);
  }
  if (onlyPid.value === 0 || onlyPid.value === starts.tgid) start.set(starts.pid, now);
});
