// Every process that ends: how long it ran, and how it ended.      sudo npx bpfkit run examples/exitsnoop.ts
import { constants } from "node:os";
import { char, config, enumOf, ringbuf, struct, tpBtf, u32, u64 } from "bpfkit";

const Signal = enumOf({ none: 0, ...constants.signals }); // decoded to "SIGKILL", …
const Exit = struct({ pid: u32, ppid: u32, uid: u32, comm: char(16), code: u32, signal: Signal, microseconds: u64 });

export const exits = ringbuf(Exit);
export const onlyFailed = config(u32, 0); // --set onlyFailed=1

export const onExit = tpBtf("sched_process_exit", (ctx, bpf) => {
  const task = ctx.p;
  if (task.pid !== task.tgid) return; // a thread: its process goes on
  if (task.exit_code === 0 && onlyFailed.value !== 0) return;

  exits.emit({
    pid: task.tgid,
    ppid: task.real_parent.tgid,
    uid: bpf.uid(),
    comm: task.comm,
    code: (task.exit_code >> 8) & 0xff,
    signal: task.exit_code & 0x7f,
    microseconds: (bpf.nsecs() - task.start_time) / 1000,
  });
});
