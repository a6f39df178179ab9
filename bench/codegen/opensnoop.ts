import { char, config, hash, ringbuf, s32, struct, tracepoint, u32, u64 } from "bpfkit";

const Args = struct({ name: u64, flags: s32 });
const Open = struct({ at: u64, pid: u32, uid: u32, ret: s32, flags: s32, comm: char(16), file: char(255) });
export const start = hash(u32, Args);
export const opens = ringbuf(Open, { countLost: false }); // as the C twin
export const onlyPid = config(u32, 0);
export const onlyUid = config(u32, 0xffff_ffff);
export const onlyFailed = config(u32, 0);

export const enter = tracepoint("syscalls:sys_enter_openat", (ctx, bpf) => {
  if (onlyPid.value !== 0 && onlyPid.value !== bpf.pid()) return;
  if (onlyUid.value !== 0xffff_ffff && onlyUid.value !== bpf.uid()) return;
  start.set(bpf.tid(), { name: u64(ctx.filename), flags: ctx.flags });
});

export const leave = tracepoint("syscalls:sys_exit_openat", (ctx, bpf) => {
  const tid = bpf.tid();
  const args = start.get(tid);
  if (!args) return;
  const ret = ctx.ret;
  if (!(onlyFailed.value !== 0 && ret >= 0)) {
    opens.emit({
      at: bpf.nsecs(),
      pid: bpf.pid(),
      uid: bpf.uid(),
      ret,
      flags: args.flags,
      comm: bpf.comm(),
      file: bpf.userStr(args.name),
    });
  }
  start.delete(tid);
});
