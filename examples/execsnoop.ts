// Every program this machine starts, with its arguments.      sudo npx bpfkit run examples/execsnoop.ts
import { type Bpf, array, char, config, range, ringbuf, struct, tracepoint, u32, u64, u8 } from "bpfkit";
import type { App } from "bpfkit/load";

const MAX_ARGS = 20;
const Exec = struct({
  at: u64, pid: u32, ppid: u32, uid: u32, argc: u32,
  comm: char(16), filename: char(128), args: array(char(64), MAX_ARGS), more: u8,
});

export const events = ringbuf(Exec, { size: 1024 * 1024 });
export const onlyUid = config(u32, 0xffff_ffff); // --set onlyUid=1000

const parentPid = (bpf: Bpf<"tracepoint" | "kprobe">) => bpf.task().real_parent.tgid;

export const onExec = tracepoint("syscalls:sys_enter_execve", (ctx, bpf) => {
  const uid = bpf.uid();
  if (onlyUid.value !== 0xffff_ffff && uid !== onlyUid.value) return;

  const e = events.reserve();
  if (!e) return;
  e.at = bpf.nsecs();
  e.pid = bpf.pid();
  e.ppid = parentPid(bpf);
  e.uid = uid;
  e.comm = bpf.comm();
  e.filename = bpf.str(ctx.filename);
  e.argc = 0;
  e.more = 0;
  for (const i of range(MAX_ARGS)) {
    const arg = ctx.argv[i];
    if (!arg) break;
    e.args[i] = bpf.str(arg);
    e.argc += 1;
  }
  if (e.argc === MAX_ARGS && ctx.argv[MAX_ARGS]) e.more = 1;
  events.submit(e);
});

export default async (app: App) => {
  console.log("TIME     PID     PPID    UID    FILE ARGS");
  for await (const e of app.stream(events)) {
    const args = e.args.slice(1, e.argc).map((a) => (/^[\w/.:=@%+,-]+$/.test(a) ? a : JSON.stringify(a)));
    const pad = (n: number, width: number) => String(n).padEnd(width);
    console.log(new Date().toTimeString().slice(0, 8), pad(e.pid, 7), pad(e.ppid, 7), pad(e.uid, 6), e.filename, ...args, e.more ? "…" : "");
  }
};
