import { char, config, hash, struct, tracepoint, u32, u64 } from "bpfkit";

const Data = struct({ count: u64, total: u64, comm: char(16) });
export const start = hash(u32, u64);
export const data = hash(u32, Data);
export const onlyPid = config(u32, 0);
export const byProcess = config(u32, 0);

export const enter = tracepoint("raw_syscalls:sys_enter", (_ctx, bpf) => {
  if (onlyPid.value !== 0 && bpf.pid() !== onlyPid.value) return;
  start.set(bpf.tid(), bpf.nsecs());
});

export const leave = tracepoint("raw_syscalls:sys_exit", (ctx, bpf) => {
  const pid = bpf.pid();
  if (onlyPid.value !== 0 && pid !== onlyPid.value) return;
  if (ctx.id < 0) return;
  const since = start.get(bpf.tid());
  if (since === undefined) return;
  const d = data.getOrInsert(byProcess.value !== 0 ? pid : u32(ctx.id), Data());
  if (!d) return;
  d.count += 1;
  d.total += bpf.nsecs() - since;
  if (byProcess.value !== 0) d.comm = bpf.comm();
});
