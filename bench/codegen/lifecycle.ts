// Life and death of processes: forks, execs, exits, what they cost; 100 lines of a usual probe.
import {
  type Bpf,
  char,
  config,
  enumOf,
  hash,
  histogram,
  ringbuf,
  s32,
  struct,
  tpBtf,
  tracepoint,
  u32,
  u64,
} from "bpfkit";

const Kind = enumOf({ fork: 0, exec: 1, exit: 2 });
const Event = struct({
  at: u64,
  kind: Kind,
  pid: u32,
  ppid: u32,
  uid: u32,
  code: s32,
  signal: u32,
  microseconds: u64,
  comm: char(16),
  parent: char(16),
  file: char(128),
});
const Run = struct({ began: u64, execs: u32, forks: u32 });
const Usage = struct({ processes: u64, microseconds: u64, failures: u64 });

export const events = ringbuf(Event);
export const running = hash(u32, Run);
export const usage = hash(u32, Usage, { maxEntries: 1024 });
export const lifetimes = histogram();

export const onlyUid = config(u32, 0xffff_ffff);
export const minimum = config(u64, 0);
export const quiet = config(u32, 0);

const NANOSECONDS = 1000;

const wanted = (uid: number): boolean => onlyUid.value === 0xffff_ffff || uid === onlyUid.value;

const remember = (pid: number, now: number) => {
  running.set(pid, { began: now, execs: 0, forks: 0 });
};

const account = (uid: number, microseconds: number, failed: boolean) => {
  const total = usage.getOrInsert(uid, Usage());
  if (!total) return;
  total.processes += 1;
  total.microseconds += microseconds;
  if (failed) total.failures += 1;
};

const common = (e: ReturnType<typeof Event>, bpf: Bpf<"tracepoint" | "tracing">, now: number, uid: number) => {
  const task = bpf.task();
  e.at = now;
  e.pid = bpf.pid();
  e.ppid = task.real_parent.tgid;
  e.uid = uid;
  e.comm = bpf.comm();
  e.parent = task.real_parent.comm;
};

export const onFork = tpBtf("sched_process_fork", (ctx, bpf) => {
  if (ctx.child.pid !== ctx.child.tgid) return; // a thread
  const now = bpf.nsecs();
  remember(ctx.child.tgid, now);
  const run = running.get(bpf.pid());
  if (run) run.forks += 1;
});

export const onExec = tracepoint("sched:sched_process_exec", (ctx, bpf) => {
  const uid = bpf.uid();
  if (!wanted(uid)) return;
  const run = running.get(bpf.pid());
  if (run) run.execs += 1;
  if (quiet.value !== 0) return;
  const e = events.reserve();
  if (!e) return;
  common(e, bpf, bpf.nsecs(), uid);
  e.kind = Kind.exec;
  e.code = 0;
  e.signal = 0;
  e.microseconds = 0;
  e.file = bpf.str(ctx.filename);
  events.submit(e);
});

export const onExit = tpBtf("sched_process_exit", (ctx, bpf) => {
  const task = ctx.p;
  if (task.pid !== task.tgid) return;
  const pid = bpf.pid();
  const uid = bpf.uid();
  const now = bpf.nsecs();
  const run = running.get(pid);
  const microseconds = (now - (run ? run.began : u64(task.start_time))) / NANOSECONDS;
  running.delete(pid);
  if (!wanted(uid)) return;
  const status = u32(task.exit_code);
  account(uid, microseconds, status !== 0);
  lifetimes.increment(microseconds);
  if (quiet.value !== 0 || microseconds < minimum.value) return;
  const e = events.reserve();
  if (!e) return;
  common(e, bpf, now, uid);
  e.kind = Kind.exit;
  e.code = (status >> 8) & 0xff;
  e.signal = status & 0x7f;
  e.microseconds = microseconds;
  e.file = "";
  events.submit(e);
});
