import { char, config, hash, s32, stackTrace, struct, tpBtf, u32, u64 } from "bpfkit";

const Key = struct({ pid: u32, tgid: u32, user: s32, kernel: s32 });
const Start = struct({ key: Key, at: u64 });
const Value = struct({ delta: u64, comm: char(16) });
const PF_KTHREAD = 0x0020_0000;
export const start = hash(u32, Start);
export const stacks = stackTrace();
export const info = hash(Key, Value);
export const minimum = config(u64, 1);
export const maximum = config(u64, 1_000_000_000);
export const onlyUser = config(u32, 0);
export const onlyState = config(s32, -1);

export const onSwitch = tpBtf("sched_switch", (ctx, bpf) => {
  const { prev, next } = ctx;
  if (
    prev.pid !== 0 &&
    !(onlyUser.value !== 0 && (prev.flags & PF_KTHREAD) !== 0) &&
    (onlyState.value === -1 || s32(prev.__state) === onlyState.value)
  ) {
    const user = (prev.flags & PF_KTHREAD) !== 0 ? -1 : bpf.userStack(stacks);
    const key = { pid: prev.pid, tgid: prev.tgid, user, kernel: bpf.kernelStack(stacks) };
    start.set(prev.pid, { key, at: bpf.nsecs() });
  }
  const pid = next.pid;
  const began = start.get(pid);
  if (!began) return;
  const delta = (bpf.nsecs() - began.at) / 1000;
  if (delta >= minimum.value && delta <= maximum.value) {
    const v = info.getOrInsert(began.key, { delta: 0, comm: next.comm });
    if (v) v.delta += delta;
  }
  start.delete(pid);
});
