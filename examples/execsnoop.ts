// Every program that this machine starts, with its arguments.      sudo npx bpfkit run examples/execsnoop.ts
import { bytes, char, config, ringbuf, struct, tracepoint, u32 } from "bpfkit";
import type { App } from "bpfkit/load";

const Exec = struct({
  pid: u32,
  ppid: u32,
  uid: u32,
  size: u32,
  comm: char(16),
  file: char(256),
  args: bytes(1024),
});

export const execs = ringbuf(Exec, { size: 2 * 1024 * 1024 });
export const onlyUid = config(u32, 0xffff_ffff); // --set onlyUid=1000

// This tracepoint is passed when the program has been found and starts, so no failed attempt along the PATH comes here.
export const onExec = tracepoint("sched:sched_process_exec", (ctx, bpf) => {
  const uid = bpf.uid();
  if (onlyUid.value !== 0xffff_ffff && uid !== onlyUid.value) return;

  const e = execs.reserve();
  if (!e) return;
  const task = bpf.task();
  e.pid = bpf.pid();
  e.ppid = task.real_parent.tgid;
  e.uid = uid;
  e.comm = bpf.comm();
  e.file = ctx.filename;
  // Its arguments lie in its memory one behind the other, each with a NUL at the end.
  e.size = Math.min(task.mm.arg_end - task.mm.arg_start, e.args.length);
  bpf.probeReadUser(e.args, e.size, task.mm.arg_start);
  execs.submit(e);
});

const quote = (s: string): string => (/^[\w/.:=@%+,-]+$/.test(s) ? s : JSON.stringify(s));
const line = (...cells: readonly unknown[]): string =>
  cells.map((cell, i) => String(cell).padEnd([8, 7, 7, 6, 16][i] ?? 0)).join(" ");

export default async (app: App): Promise<void> => {
  if (!app.json) console.log(line("TIME", "PID", "PPID", "UID", "COMM", "FILE", "ARGUMENTS"));
  for await (const { size, args: block, ...e } of app.stream(execs)) {
    const args = new TextDecoder().decode(block.subarray(0, size)).replace(/\0$/, "").split("\0");
    const time = new Date().toTimeString().slice(0, 8);
    if (app.json) console.log(JSON.stringify({ time, ...e, args }));
    else console.log(line(time, e.pid, e.ppid, e.uid, quote(e.comm), quote(e.file), ...args.slice(1).map(quote)));
  }
};
