/** What happens on a small machine in three seconds: processes that start, open files, connect, wait, end. The same each time. */
import { syscallNumbers } from "../../uapi/syscall-names.ts";
import { eth, icmp, ipv4, ipv6, packet, tcp, udp } from "../world/packet/build.ts";
import type { TaskSpec } from "../world/tasks.ts";
import type { Fields } from "../world/types.ts";

/** One thing that programs may be attached to. */
export interface Happening {
  /** Nanoseconds since the story began. */
  readonly at: bigint;
  readonly cpu: number;
  /** The task that it happens in. */
  readonly task: Actor;
  /**
   * "trace:sched:sched_switch" (fields of the record), "tp:sched_switch" (arguments by name), "call:tcp_v4_connect"
   * and "return:…" (arguments by position as `args`), "user:readline" (of a binary: `args`, `ret`), "packet", "tick".
   */
  readonly what: string;
  readonly ctx: Fields;
}

export interface Actor extends TaskSpec {
  readonly pid: number;
  readonly comm: string;
  readonly userStack?: readonly bigint[];
  readonly kernelStack?: readonly bigint[];
}

/** How long the story is. */
export const STORY_NS = 3_000_000_000n;
const NUMBERS = syscallNumbers("x64");
const MS = 1_000_000n;
const US = 1000n;
const SLEEPING = 1;
const RUNNING = 0;

/** Names of the addresses in the stacks of this world. */
export const SYMBOLS: ReadonlyMap<bigint, string> = new Map([
  [0xffff_ffff_8100_0040n, "do_syscall_64"],
  [0xffff_ffff_8120_0080n, "vfs_read"],
  [0xffff_ffff_8120_4100n, "ext4_file_read_iter"],
  [0x55_5555_5540n, "main"],
  [0x55_5555_5680n, "read_line"],
  [0x55_5555_5900n, "compress"],
]);
const [SYSCALL, READ, EXT4, MAIN, LINE, COMPRESS] = [...SYMBOLS.keys()] as [
  bigint,
  bigint,
  bigint,
  bigint,
  bigint,
  bigint,
];

const systemd: Actor = { pid: 1, comm: "systemd", exe: "/usr/lib/systemd/systemd" };
const sshd: Actor = { pid: 612, comm: "sshd", parent: systemd, exe: "/usr/sbin/sshd" };
const bash: Actor = {
  pid: 1200,
  uid: 1000,
  gid: 1000,
  comm: "bash",
  parent: sshd,
  exe: "/bin/bash",
  userStack: [LINE, MAIN],
};
const idle: Actor = { pid: 0, comm: "swapper/0" };

interface Command {
  readonly file: string;
  readonly argv: readonly string[];
  /** Paths that it opens; an error number, or undefined when it works. */
  readonly opens: readonly (readonly [path: string, errno?: number])[];
  /** Bytes of each read. */
  readonly reads: readonly number[];
  readonly connects?: readonly [address: string, port: number];
  readonly ms: number;
  /** As wait(2) has it: exit code << 8, or a signal. */
  readonly status: number;
  readonly stack: readonly bigint[];
}

const LIBC = [["/etc/ld.so.cache"], ["/lib/x86_64-linux-gnu/libc.so.6"]] as const;
const COMMANDS: readonly Command[] = [
  {
    file: "/bin/ls",
    argv: ["ls", "-la", "/tmp/a b"],
    opens: [...LIBC, ["/tmp/a b"]],
    reads: [832, 832],
    ms: 2,
    status: 0,
    stack: [MAIN],
  },
  {
    file: "/usr/bin/cat",
    argv: ["cat", "/etc/hostname", "/etc/shadow", "/nowhere"],
    opens: [...LIBC, ["/etc/hostname"], ["/etc/shadow", 13], ["/nowhere", 2]],
    reads: [832, 832, 12, 0],
    ms: 3,
    status: 1 << 8,
    stack: [LINE, MAIN],
  },
  {
    file: "/usr/bin/curl",
    argv: ["curl", "-s", "http://192.0.2.10/"],
    opens: [...LIBC, ["/etc/ssl/openssl.cnf"], ["/etc/hosts"], ["/etc/resolv.conf"]],
    reads: [832, 4096, 1448, 1448, 517],
    connects: ["192.0.2.10", 80],
    ms: 45,
    status: 0,
    stack: [LINE, MAIN],
  },
  {
    file: "/usr/bin/gzip",
    argv: ["gzip", "-9", "log"],
    opens: [...LIBC, ["log"], ["log.gz"]],
    reads: [832, 65536, 65536, 65536, 1203],
    ms: 400,
    status: 0,
    stack: [COMPRESS, MAIN],
  },
  {
    file: "/usr/bin/sleep",
    argv: ["sleep", "100"],
    opens: LIBC,
    reads: [832],
    ms: 120,
    status: 9,
    stack: [MAIN],
  },
];

/** Everything, in order. */
export function* happenings(): Generator<Happening> {
  const scenes: Happening[] = [];
  let at = 20n * MS;
  let pid = 2000;
  for (let round = 0; round < 2; round++) {
    for (const command of COMMANDS) {
      scenes.push(...typed(at, command), ...ran(at + 5n * MS, pid++, command, round));
      at += BigInt(command.ms) * MS + 90n * MS;
    }
  }
  scenes.push(...switches(), ...ticks(scenes));
  yield* scenes.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
}

function typed(at: bigint, { argv }: Command): Happening[] {
  const line = argv.map((a) => (/^[\w./:-]+$/.test(a) ? a : `"${a}"`)).join(" ");
  return [{ at, cpu: 0, task: bash, what: "user:readline", ctx: { ret: line } }];
}

class Scene {
  readonly list: Happening[] = [];
  at: bigint;
  readonly cpu: number;

  constructor(at: bigint, cpu: number) {
    this.at = at;
    this.cpu = cpu;
  }
  add(task: Actor, what: string, ctx: Fields, delay = 10n * US): void {
    this.list.push({ at: this.at, cpu: this.cpu, task, what, ctx });
    this.at += delay;
  }
  /** A system call: as its own events, the raw ones, and its function. */
  syscall(task: Actor, name: string, fields: Fields, ret: number, delay = 20n * US): void {
    const id = NUMBERS[name] ?? 0;
    const args = Object.values(fields).map((v) => (typeof v === "number" || typeof v === "bigint" ? v : 0));
    this.add(task, `trace:syscalls:sys_enter_${name}`, fields, 0n);
    this.add(task, "trace:raw_syscalls:sys_enter", { id, args }, 0n);
    this.add(task, "tp:sys_enter", { id }, 0n);
    this.add(task, `call:__x64_sys_${name}`, {}, delay);
    this.add(task, `trace:syscalls:sys_exit_${name}`, { ret }, 0n);
    this.add(task, "trace:raw_syscalls:sys_exit", { id, ret }, 0n);
    this.add(task, "tp:sys_exit", { ret }, 0n);
    this.add(task, `return:__x64_sys_${name}`, { ret });
  }
}

function ran(at: bigint, pid: number, command: Command, round: number): Happening[] {
  const scene = new Scene(at, round % 2);
  const comm = command.file.replace(/.*\//, "").slice(0, 15);
  const child: Actor = { ...bash, pid, parent: bash, startTime: at };
  const task: Actor = {
    ...child,
    comm,
    argv: command.argv,
    env: ["PATH=/usr/bin:/bin", "HOME=/home/user"],
    exe: command.file,
    userStack: command.stack,
    kernelStack: [EXT4, READ, SYSCALL],
  };
  scene.syscall(bash, "clone", { clone_flags: 0x0120_0011 }, pid);
  const names = { parent_comm: "bash", parent_pid: bash.pid, child_comm: "bash", child_pid: pid };
  scene.add(bash, "trace:sched:sched_process_fork", names, 0n);
  scene.add(bash, "tp:sched_process_fork", { parent: structOf(bash), child: structOf(child) });
  scene.add(bash, "trace:sched:sched_wakeup_new", { comm: "bash", pid, prio: 120, target_cpu: scene.cpu }, 0n);
  scene.add(bash, "tp:sched_wakeup_new", { p: structOf(child) }, 40n * US);
  scene.list.push(...switched(scene.at, scene.cpu, bash, child, SLEEPING));
  scene.syscall(child, "execve", { filename: command.file, argv: command.argv }, 0, 400n * US);
  scene.add(task, "trace:sched:sched_process_exec", { filename: command.file, pid, old_pid: pid }, 0n);
  scene.add(task, "tp:sched_process_exec", { p: structOf(task), old_pid: pid });
  let fd = 3;
  for (const [path, errno] of command.opens) {
    scene.syscall(task, "openat", { dfd: -100, filename: path, flags: 0 }, errno === undefined ? fd : -errno);
    if (errno === undefined) scene.syscall(task, "close", { fd }, 0);
  }
  if (command.connects !== undefined) connected(scene, task, command.connects);
  fd = 3;
  for (const size of command.reads) scene.syscall(task, "read", { fd, count: 65536 }, size, 90n * US);
  scene.syscall(task, "write", { fd: 1, count: 120 }, 120);
  scene.at += BigInt(command.ms) * MS;
  const killed = command.status & 0x7f;
  if (killed === 0) scene.add(task, "trace:syscalls:sys_enter_exit_group", { error_code: command.status >> 8 });
  else {
    scene.syscall(bash, "kill", { pid, sig: killed }, 0);
    const signal = { sig: killed, comm, pid };
    scene.add(bash, "trace:signal:signal_generate", signal);
  }
  scene.add(task, "trace:sched:sched_process_exit", { comm, pid, prio: 120 }, 0n);
  scene.add(task, "tp:sched_process_exit", { p: { ...structOf(task), exit_code: command.status } });
  scene.add(bash, "trace:sched:sched_wakeup", { comm: "bash", pid: bash.pid, prio: 120, target_cpu: scene.cpu }, 0n);
  scene.add(bash, "tp:sched_wakeup", { p: structOf(bash) }, 15n * US);
  scene.list.push(...switched(scene.at, scene.cpu, task, bash, SLEEPING));
  return scene.list;
}

/** Members of a task that contexts take: the world makes a struct of them. */
function structOf(task: Actor): Fields {
  const { parent } = task;
  const above =
    parent !== undefined && "pid" in parent ? { real_parent: { pid: parent.pid ?? 0, tgid: parent.pid ?? 0 } } : {};
  return { pid: task.pid, tgid: task.pid, comm: task.comm, start_time: task.startTime ?? 0, ...above };
}

function connected(scene: Scene, task: Actor, [address, port]: readonly [string, number]): void {
  const sockaddr = new Uint8Array(16);
  sockaddr.set([2, 0, port >> 8, port & 0xff, ...address.split(".").map(Number)]);
  scene.syscall(task, "socket", { family: 2, type: 1, protocol: 6 }, 5);
  scene.add(
    task,
    "call:tcp_v4_connect",
    { args: [{ __sk_common: { skc_family: 2, skc_num: 40000 } }, sockaddr, 16] },
    5n * US,
  );
  scene.add(task, "return:tcp_v4_connect", { ret: 0 }, 0n);
  scene.syscall(task, "connect", { fd: 5, uservaddr: sockaddr, addrlen: 16 }, 0, 900n * US);
  const there = { src: "10.0.0.1", dst: address };
  const back = { src: address, dst: "10.0.0.1" };
  const ports = { sport: 40000, dport: port };
  const reply = { sport: port, dport: 40000 };
  const packets = [
    packet(eth(), ipv4({ src: "10.0.0.1", dst: "10.0.0.53" }), udp({ dport: 53 }), "query"),
    packet(eth(), ipv4(there), tcp({ ...ports, flags: ["syn"] })),
    packet(eth(), ipv4(back), tcp({ ...reply, flags: ["syn", "ack"] })),
    packet(eth(), ipv4(there), tcp({ ...ports, flags: ["ack", "psh"] }), "GET / HTTP/1.1\r\n\r\n"),
    packet(eth(), ipv4(back), tcp({ ...reply, flags: ["ack"] }), "x".repeat(1400)),
    packet(eth(), ipv4(there), tcp({ ...ports, flags: ["fin", "ack"] })),
    packet(eth(), ipv4(), icmp(), "ping"),
    packet(eth(), ipv6(), udp({ dport: 5353 }), "mdns"),
  ];
  for (const data of packets) scene.add(idle, "packet", { packet: data }, 60n * US);
}

/** Who leaves a CPU, and who gets it. */
function switched(at: bigint, cpu: number, prev: Actor, next: Actor, state: number): Happening[] {
  const record = {
    prev_comm: prev.comm,
    prev_pid: prev.pid,
    prev_prio: 120,
    prev_state: state,
    next_comm: next.comm,
    next_pid: next.pid,
    next_prio: 120,
  };
  const args = {
    preempt: state === RUNNING,
    prev: { ...structOf(prev), __state: state },
    next: structOf(next),
  };
  return [
    { at, cpu, task: prev, what: "trace:sched:sched_switch", ctx: record },
    { at, cpu, task: prev, what: "tp:sched_switch", ctx: args },
  ];
}

/** The other CPU's daily work: a task is woken, waits between 1 µs and 4 ms, runs, sleeps. */
function switches(): Happening[] {
  const out: Happening[] = [];
  const kworker: Actor = { pid: 88, comm: "kworker/1:2" };
  for (let i = 0; i < 60; i++) {
    const at = BigInt(i) * 40n * MS + 7n * MS;
    const wait = US << BigInt((i * 7) % 13);
    const p = structOf(kworker);
    out.push(
      {
        at,
        cpu: 1,
        task: idle,
        what: "trace:sched:sched_wakeup",
        ctx: { comm: kworker.comm, pid: kworker.pid, prio: 120, target_cpu: 1 },
      },
      { at, cpu: 1, task: idle, what: "tp:sched_wakeup", ctx: { p } },
      ...switched(at + wait, 1, idle, kworker, RUNNING),
      ...switched(at + wait + 200n * US, 1, kworker, idle, SLEEPING),
    );
  }
  return out;
}

/** What a profiler at 99 Hz finds on CPU 0: whoever ran last. */
function ticks(scenes: readonly Happening[]): Happening[] {
  const inOrder = scenes.filter((s) => s.cpu === 0).sort((a, b) => (a.at < b.at ? -1 : 1));
  const out: Happening[] = [];
  for (let at = 0n; at < STORY_NS; at += 10_101_010n) {
    const last = inOrder.findLast((s) => s.at <= at);
    const quiet = last === undefined || at - last.at > 400n * MS;
    out.push({ at, cpu: 0, task: quiet ? idle : last.task, what: "tick", ctx: {} });
  }
  return out;
}
