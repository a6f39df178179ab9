import { char, config, hash, ringbuf, s32, struct, tracepoint, u32 } from "bpfkit";

const Signal = struct({ pid: u32, target: u32, signal: s32, ret: s32, comm: char(16) });
export const pending = hash(u32, Signal);
export const signals = ringbuf(Signal, { countLost: false }); // as the C twin
export const onlyPid = config(u32, 0);
export const onlySignal = config(s32, 0);
export const onlyFailed = config(u32, 0);

export const enter = tracepoint("syscalls:sys_enter_kill", (ctx, bpf) => {
  if (onlySignal.value !== 0 && ctx.sig !== onlySignal.value) return;
  const pid = bpf.pid();
  if (onlyPid.value !== 0 && pid !== onlyPid.value) return;
  pending.set(bpf.tid(), { pid, target: ctx.pid, signal: ctx.sig, ret: 0, comm: bpf.comm() });
});

export const leave = tracepoint("syscalls:sys_exit_kill", (ctx, bpf) => {
  const tid = bpf.tid();
  const e = pending.get(tid);
  if (!e) return;
  if (!(onlyFailed.value !== 0 && ctx.ret >= 0)) {
    e.ret = ctx.ret;
    signals.emit(e);
  }
  pending.delete(tid);
});
