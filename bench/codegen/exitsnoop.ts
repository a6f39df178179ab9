import { char, config, ringbuf, struct, tracepoint, u32, u64 } from "bpfkit";

const Exit = struct({ start: u64, at: u64, pid: u32, tid: u32, ppid: u32, signal: u32, code: u32, comm: char(16) });
export const exits = ringbuf(Exit, { countLost: false }); // as the C twin
export const onlyFailed = config(u32, 0);
export const onlyPid = config(u32, 0);

export const onExit = tracepoint("sched:sched_process_exit", (_ctx, bpf) => {
  const pid = bpf.pid();
  const tid = bpf.tid();
  if (onlyPid.value !== 0 && onlyPid.value !== pid) return;
  if (tid !== pid) return;
  const task = bpf.task();
  const status = u32(task.exit_code);
  if (onlyFailed.value !== 0 && status === 0) return;
  exits.emit({
    start: task.start_time,
    at: bpf.nsecs(),
    pid,
    tid,
    ppid: task.real_parent.tgid,
    signal: status & 0xff,
    code: status >> 8,
    comm: bpf.comm(),
  });
});
