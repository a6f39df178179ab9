// Every process that ends: how long it ran, and how it ended.      sudo npx bpfkit run examples/exitsnoop.ts
import { char, ringbuf, struct, tpBtf, u32, u64 } from "bpfkit";
import type { App } from "bpfkit/load";

const Exit = struct({ pid: u32, ppid: u32, code: u32, signal: u32, age: u64, comm: char(16) });
export const exits = ringbuf(Exit);

export const onExit = tpBtf("sched_process_exit", (ctx, bpf) => {
  const task = ctx.p;
  if (task.pid !== task.tgid) return; // a thread: its process goes on

  exits.emit({
    pid: task.tgid,
    ppid: task.real_parent.tgid,
    code: (task.exit_code >> 8) & 0xff,
    signal: task.exit_code & 0x7f,
    age: bpf.nsecs() - task.start_time,
    comm: task.comm,
  });
});

export default async (app: App) => {
  for await (const e of app.stream(exits)) {
    const how = e.signal ? `killed by signal ${e.signal}` : `exit ${e.code}`;
    console.log(`${e.comm} (${e.pid}, child of ${e.ppid}) ran ${(Number(e.age) / 1e9).toFixed(2)} s: ${how}`);
  }
};
