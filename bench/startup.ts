/**
 * From exec to the last attach, seen by the kernel (a probe of our own on exec, bpf(2),
 * ioctl(2) and exit): `bpfkit run examples/execsnoop.ts` against `node -e 0` (until it
 * exits), and both against bpftrace with the same probes. Runs alternate; medians.
 *
 * - `cold`: nothing compiled is cached (V8's code cache of an installed bpfkit is)
 * - `warm`: a later start of the same file
 * - `rss`: peak resident set at that moment
 *
 * Every Node that starts with NODE_EXTRA_CA_CERTS set reads that file first: 24 of the 58 ms of CPU of `node -e 0` with
 * Debian's bundle, which makes the ratios smaller. Unset it to see what bpfkit adds to Node alone.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hash, tracepoint, u32, u64 } from "../src/probe/index.ts";
import { type App, start } from "../src/load/index.ts";
import { median, type Row, row } from "./row.ts";

const ROUNDS = 15;
const BPF = 321;
const IOCTL = 16;
const LINK_CREATE = 28;
const RAW_TRACEPOINT_OPEN = 17;
const PERF_EVENT_IOC_SET_BPF = 0x40042408;

const root = join(import.meta.dirname, "..");
const RUN = ["dist/bpfkit.cjs", "run"];
const EXECSNOOP_BT =
  'tracepoint:syscalls:sys_enter_execve { printf("%s %d %d %d %s ", strftime("%H:%M:%S", nsecs), pid, curtask->real_parent->tgid, uid, str(args->filename)); join(args->argv); }';
const RUNQLAT_BT = `tracepoint:sched:sched_wakeup, tracepoint:sched:sched_wakeup_new { @q[args->pid] = nsecs; }
tracepoint:sched:sched_switch { if (args->prev_state == 0) { @q[args->prev_pid] = nsecs; }
  $t = @q[args->next_pid]; if ($t) { @us = hist((nsecs - $t) / 1000); } delete(@q[args->next_pid]); }`;

// bpftrace needs tracefs mounted; a mount namespace of its own leaves the machine as it was. The last exec counts.
const WITH_TRACEFS = ["-m", "sh", "-c", 'mount -t tracefs tracefs /sys/kernel/tracing && exec bpftrace -q -e "$0"'];

export const execAt = hash(u32, u64);
export const attachAt = hash(u32, u64);
export const attaches = hash(u32, u64);
export const exitAt = hash(u32, u64);

const onExec = tracepoint("sched:sched_process_exec", (_ctx, bpf) => {
  execAt.set(bpf.pid(), bpf.nsecs());
});
const onSyscall = tracepoint("raw_syscalls:sys_enter", (ctx, bpf) => {
  const attaching =
    (ctx.id === BPF && (ctx.args[0] === LINK_CREATE || ctx.args[0] === RAW_TRACEPOINT_OPEN)) ||
    (ctx.id === IOCTL && ctx.args[1] === PERF_EVENT_IOC_SET_BPF);
  if (!attaching) return;
  attachAt.set(bpf.pid(), bpf.nsecs());
  attaches.add(bpf.pid(), 1);
});
const onExit = tracepoint("sched:sched_process_exit", (_ctx, bpf) => {
  if (bpf.pid() === bpf.tid()) exitAt.set(bpf.pid(), bpf.nsecs());
});

interface Sample {
  readonly ms: number;
  readonly rssMiB: number;
}

export async function run(): Promise<Row[]> {
  using app = start({ execAt, attachAt, attaches, exitAt, onExec, onSyscall, onExit });
  const kit = (file: string, ...more: string[]): Promise<Sample> =>
    attached(app, process.execPath, [...RUN, ...more, file], file.includes("runqlat") ? 3 : 1);
  const bpftrace = (text: string, count: number): Promise<Sample> =>
    attached(app, "unshare", [...WITH_TRACEFS, text], count);
  await kit("examples/execsnoop.ts", "--no-cache"); // fills V8's code cache
  await kit("examples/runqlat.ts");

  const node: number[] = [];
  const exec: Record<"cold" | "warm" | "trace", Sample[]> = { cold: [], warm: [], trace: [] };
  const runq: Record<"cold" | "warm" | "trace", Sample[]> = { cold: [], warm: [], trace: [] };
  for (let i = 0; i < ROUNDS; i++) {
    node.push(await exited(app, process.execPath, ["-e", "0"]));
    exec.cold.push(await kit("examples/execsnoop.ts", "--no-cache"));
    exec.warm.push(await kit("examples/execsnoop.ts"));
    exec.trace.push(await bpftrace(EXECSNOOP_BT, 1));
    runq.cold.push(await kit("examples/runqlat.ts", "--no-cache"));
    runq.warm.push(await kit("examples/runqlat.ts"));
    runq.trace.push(await bpftrace(RUNQLAT_BT, 3));
  }
  const ms = (samples: readonly Sample[]): number => median(samples.map((s) => s.ms));
  const rss = (samples: readonly Sample[]): number => median(samples.map((s) => s.rssMiB));
  return [
    row("startup", "execsnoop", "cold", "ms", ms(exec.cold), median(node), "node -e 0"),
    row("startup", "execsnoop", "warm", "ms", ms(exec.warm), median(node), "node -e 0"),
    row("startup", "execsnoop", "cold-bpftrace", "ms", ms(exec.cold), ms(exec.trace), "bpftrace"),
    row("startup", "runqlat", "cold-bpftrace", "ms", ms(runq.cold), ms(runq.trace), "bpftrace"),
    row("startup", "runqlat", "warm-bpftrace", "ms", ms(runq.warm), ms(runq.trace), "bpftrace"),
    row("startup", "execsnoop", "rss", "MiB", rss(exec.cold), rss(exec.trace), "bpftrace"),
    row("startup", "runqlat", "rss", "MiB", rss(runq.cold), rss(runq.trace), "bpftrace"),
  ];
}

/** Starts a command, waits for its `count`th attach, reads its peak memory and ends it. */
async function attached(app: App, file: string, args: readonly string[], count: number): Promise<Sample> {
  const child = spawn(file, args, { cwd: root, stdio: ["ignore", "ignore", "pipe"] });
  const pid = child.pid ?? 0;
  let errors = "";
  child.stderr.on("data", (d: Buffer) => (errors += d.toString()));
  let gone = false;
  const exit = new Promise<void>((resolve) =>
    child.on("exit", () => {
      gone = true;
      resolve();
    }),
  );
  while (Number(app.map(attaches).get(pid) ?? 0) < count) {
    if (gone) throw new Error(`${file} ${args.join(" ")} ended before it attached:\n${errors}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  const ms = Number((app.map(attachAt).get(pid) ?? 0n) - (app.map(execAt).get(pid) ?? 0n)) / 1e6;
  child.kill("SIGINT");
  await exit;
  return { ms, rssMiB: Number(peak) / 1024 };
}

/** Milliseconds from exec to exit. */
async function exited(app: App, file: string, args: readonly string[]): Promise<number> {
  const child = spawn(file, args, { stdio: "ignore" });
  await new Promise((resolve) => child.on("exit", resolve));
  const pid = child.pid ?? 0;
  return Number((app.map(exitAt).get(pid) ?? 0n) - (app.map(execAt).get(pid) ?? 0n)) / 1e6;
}
