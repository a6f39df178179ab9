import { char, config, hash, ringbuf, s32, struct, tracepoint, u32, u64 } from "bpfkit";

const Args = struct({ at: u64, flags: u64, source: u64, target: u64, type: u64 });
const Mount = struct({
  delta: u64,
  flags: u64,
  pid: u32,
  ns: u32,
  ret: s32,
  comm: char(16),
  type: char(16),
  source: char(128),
  target: char(128),
});
export const args = hash(u32, Args);
export const mounts = ringbuf(Mount, { countLost: false }); // as the C twin
export const onlyPid = config(u32, 0);

export const enter = tracepoint("syscalls:sys_enter_mount", (ctx, bpf) => {
  if (onlyPid.value !== 0 && onlyPid.value !== bpf.pid()) return;
  args.set(bpf.tid(), {
    at: bpf.nsecs(),
    flags: ctx.flags,
    source: u64(ctx.dev_name),
    target: u64(ctx.dir_name),
    type: u64(ctx.type),
  });
});

export const leave = tracepoint("syscalls:sys_exit_mount", (ctx, bpf) => {
  const tid = bpf.tid();
  const a = args.get(tid);
  if (!a) return;
  const e = mounts.reserve();
  if (e) {
    e.delta = bpf.nsecs() - a.at;
    e.flags = a.flags;
    e.pid = bpf.pid();
    e.ns = bpf.task().nsproxy.mnt_ns.ns.inum;
    e.ret = ctx.ret;
    e.comm = bpf.comm();
    e.source = a.source === 0 ? "" : bpf.userStr(a.source);
    e.target = a.target === 0 ? "" : bpf.userStr(a.target);
    e.type = a.type === 0 ? "" : bpf.userStr(a.type);
    mounts.submit(e);
  }
  args.delete(tid);
});
