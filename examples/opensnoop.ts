// Every file that is opened, and whether that worked.      sudo npx bpfkit run examples/opensnoop.ts
import { char, config, hash, ringbuf, s32, struct, tracepoint, u32, u64 } from "bpfkit";

const Start = struct({ at: u64, flags: u32, file: char(128) });
const Open = struct({ pid: u32, uid: u32, fd: s32, err: s32, flags: u32, ns: u64, comm: char(16), file: char(128) });

const started = hash(u32, Start);
export const opens = ringbuf(Open);
export const onlyFailed = config(u32, 0); // --set onlyFailed=1

export const onEnter = tracepoint("syscalls:sys_enter_openat", (ctx, bpf) => {
  started.set(bpf.tid(), { at: bpf.nsecs(), flags: ctx.flags, file: bpf.str(ctx.filename) });
});

export const onExit = tracepoint("syscalls:sys_exit_openat", (ctx, bpf) => {
  const start = started.get(bpf.tid());
  if (!start) return; // opened before we were attached

  const failed = ctx.ret < 0;
  if (failed || onlyFailed.value === 0) {
    opens.emit({
      pid: bpf.pid(),
      uid: bpf.uid(),
      fd: failed ? -1 : ctx.ret,
      err: failed ? -ctx.ret : 0,
      flags: start.flags,
      ns: bpf.nsecs() - start.at,
      comm: bpf.comm(),
      file: start.file,
    });
  }
  started.delete(bpf.tid());
});
