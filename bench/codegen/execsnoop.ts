import { char, config, ringbuf, struct, tracepoint, u32 } from "bpfkit";

const Exec = struct({ pid: u32, ppid: u32, uid: u32, comm: char(16), file: char(256) });
export const execs = ringbuf(Exec, { countLost: false }); // as the C twin
export const onlyUid = config(u32, 0xffff_ffff);

export const onExec = tracepoint("sched:sched_process_exec", (ctx, bpf) => {
  const uid = bpf.uid();
  if (onlyUid.value !== 0xffff_ffff && uid !== onlyUid.value) return;
  execs.emit({ pid: bpf.pid(), ppid: bpf.task().real_parent.tgid, uid, comm: bpf.comm(), file: bpf.str(ctx.filename) });
});
