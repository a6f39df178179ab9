// Where the CPUs spend their time: stacks, folded for a flame graph.      sudo npx bpfkit run examples/profile.ts --duration 5
import { char, hash, profile, s32, stackTrace, struct, u32, u64 } from "bpfkit";

const Key = struct({ pid: u32, kernel: s32, user: s32, comm: char(16) });

export const stacks = stackTrace({ maxEntries: 16_384 });
export const samples = hash(Key, u64);

export const onTick = profile({ hz: 99 }, (_ctx, bpf) => {
  if (bpf.pid() === 0) return; // idle
  samples.add({ pid: bpf.pid(), kernel: bpf.kernelStack(stacks), user: bpf.userStack(stacks), comm: bpf.comm() }, 1);
});
