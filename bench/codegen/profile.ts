import { char, config, hash, profile, s32, stackTrace, struct, u32, u64 } from "bpfkit";

const Key = struct({ pid: u32, user: s32, kernel: s32, comm: char(16) });
export const stacks = stackTrace();
export const counts = hash(Key, u64);
export const onlyPid = config(u32, 0);
export const withIdle = config(u32, 0);

export const onTick = profile({ hz: 99 }, (_ctx, bpf) => {
  const pid = bpf.pid();
  const tid = bpf.tid();
  if (withIdle.value === 0 && tid === 0) return;
  if (onlyPid.value !== 0 && onlyPid.value !== pid) return;
  counts.add({ pid, user: bpf.userStack(stacks), kernel: bpf.kernelStack(stacks), comm: bpf.comm() }, 1);
});
