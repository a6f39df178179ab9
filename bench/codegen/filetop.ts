import { type Bpf, char, config, hash, struct, tracepoint, u32, u64 } from "bpfkit";

const File = struct({ pid: u32, fd: u32 });
const Stat = struct({ reads: u64, readBytes: u64, writes: u64, writeBytes: u64, tid: u32, comm: char(16) });
export const pending = hash(u32, u32);
export const files = hash(File, Stat);
export const onlyPid = config(u32, 0);

const enter = (bpf: Bpf<"tracepoint">, fd: number) => {
  if (onlyPid.value !== 0 && onlyPid.value !== bpf.pid()) return;
  pending.set(bpf.tid(), fd);
};

const done = (bpf: Bpf<"tracepoint">, ret: number, write: boolean) => {
  const tid = bpf.tid();
  const fd = pending.get(tid);
  if (fd === undefined) return;
  pending.delete(tid);
  if (ret < 0) return;
  const s = files.getOrInsert({ pid: bpf.pid(), fd }, Stat());
  if (!s) return;
  if (s.tid === 0) {
    s.tid = tid;
    s.comm = bpf.comm();
  }
  if (write) {
    s.writes += 1;
    s.writeBytes += ret;
  } else {
    s.reads += 1;
    s.readBytes += ret;
  }
};

export const enterRead = tracepoint("syscalls:sys_enter_read", (ctx, bpf) => enter(bpf, ctx.fd));
export const exitRead = tracepoint("syscalls:sys_exit_read", (ctx, bpf) => done(bpf, ctx.ret, false));
export const enterWrite = tracepoint("syscalls:sys_enter_write", (ctx, bpf) => enter(bpf, ctx.fd));
export const exitWrite = tracepoint("syscalls:sys_exit_write", (ctx, bpf) => done(bpf, ctx.ret, true));
