import { char, config, hash, percpuArray, struct, tpBtf, u64, u32 } from "bpfkit";

const Name = struct({ name: char(32) });
const Info = struct({ count: u64, time: u64 });
export const start = percpuArray(u64, 1);
export const infos = hash(Name, Info, { maxEntries: 256 });
export const onlyCount = config(u32, 0);

export const onEntry = tpBtf("irq_handler_entry", (ctx, bpf) => {
  if (onlyCount.value !== 0) {
    const info = infos.getOrInsert({ name: bpf.kernelStr(ctx.action.name) }, Info());
    if (info) info.count += 1;
    return;
  }
  start.set(0, bpf.nsecs());
});

export const onExit = tpBtf("irq_handler_exit", (ctx, bpf) => {
  if (onlyCount.value !== 0) return;
  const since = start.get(0);
  if (since === undefined) return;
  const delta = bpf.nsecs() - since;
  const info = infos.getOrInsert({ name: bpf.kernelStr(ctx.action.name) }, Info());
  if (!info) return;
  info.count += 1;
  info.time += delta;
});
