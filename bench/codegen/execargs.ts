import { array, char, hash, range, ringbuf, s32, struct, tracepoint, u32, u64 } from "bpfkit";

const Exec = struct({
  pid: u32,
  uid: u32,
  ret: s32,
  count: u32,
  comm: char(16),
  file: char(64),
  args: array(char(32), 8),
});
export const pending = hash(u32, Exec, { maxEntries: 1024 });
export const execs = ringbuf(Exec, { countLost: false }); // as the C twin

export const enter = tracepoint("syscalls:sys_enter_execve", (ctx, bpf) => {
  const tid = bpf.tid();
  pending.set(tid, Exec());
  const e = pending.get(tid);
  if (!e) return;
  e.pid = bpf.pid();
  e.uid = bpf.uid();
  e.file = bpf.userStr(ctx.filename);
  for (const i of range(8)) {
    const arg = bpf.userRead(u64, u64(ctx.argv) + i * 8);
    if (arg === 0) break;
    e.args[i] = bpf.userStr(arg);
    e.count = i + 1;
  }
});

export const leave = tracepoint("syscalls:sys_exit_execve", (ctx, bpf) => {
  const tid = bpf.tid();
  const e = pending.get(tid);
  if (!e) return;
  e.ret = ctx.ret;
  e.comm = bpf.comm();
  execs.emit(e);
  pending.delete(tid);
});
