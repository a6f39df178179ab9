import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { callHelper, exit, ldImm64, ldxMem, mov64Imm, mov64Reg, stxMem } from "../../src/asm/index.ts";
import {
  attachIter,
  attachKprobe,
  attachPerfEvent,
  attachUprobe,
  type Collection,
  load,
  type Link,
  type Program,
} from "../../src/load/index.ts";
import { objectIds, pmuType, realKernel } from "../../src/syscall/index.ts";
import { BPF_ATTACH_TYPE, BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { bss, collectionSpec, countingProg, progSpec, u64 } from "./specs.ts";

const test = suite("load attach");
const kernel = realKernel();
const globals = new Map([["hits", u64]]);
const { TRACEPOINT, RAW_TRACEPOINT, TRACING, KPROBE, PERF_EVENT, XDP, SCHED_CLS, SOCKET_FILTER } = BPF_PROG_TYPE;

function open(section: string, type: number, more = {}, ret = 0): Collection {
  return load(collectionSpec([bss()], [countingProg("probe", section, type, ret, more)]), { globals });
}
const hits = (c: Collection): bigint => c.variable<bigint>("hits").value;

/** Attached, the program sees `act`; detached, it sees nothing. */
function sees(c: Collection, act: () => void, attach: (p: Program) => Link = (p) => p.attach()): void {
  const link = attach(c.prog("probe"));
  act();
  const seen = hits(c);
  assert.ok(seen > 0n, `${link.target}: no hits`);
  link.close();
  link.close();
  assert.is(link.closed, true);
  const after = hits(c);
  act();
  assert.is(hits(c), after, `${link.target}: still attached`);
  c.close();
}
const run = (): void => void execFileSync("/bin/true");

test("tracepoint, by id from tracefs that nobody mounted", () => {
  requires({ root: true });
  sees(open("tracepoint/syscalls/sys_enter_execve", TRACEPOINT), run);
  sees(open("tp/sched/sched_process_exec", TRACEPOINT), run);
});

test("raw tracepoint and tp_btf", () => {
  requires({ root: true, kernel: "5.5" });
  sees(open("raw_tp/sched_process_exec", RAW_TRACEPOINT), run);
  sees(open("tp_btf/sched_process_exec", TRACING, { expectedAttachType: BPF_ATTACH_TYPE.TRACE_RAW_TP }), run);
});

test("perf event: a software clock on every CPU", () => {
  requires({ root: true });
  const c = open("perf_event", PERF_EVENT);
  sees(
    c,
    () => {
      const end = performance.now() + 60;
      while (performance.now() < end);
    },
    (p) => attachPerfEvent(p, { freq: 500 }),
  );
});

test("perf event: an interval on one CPU, and page faults of one process", () => {
  requires({ root: true });
  sees(open("perf_event", PERF_EVENT), run, (p) => attachPerfEvent(p, { event: "page-faults", period: 1 }));
  const c = open("perf_event", PERF_EVENT);
  sees(
    c,
    () => {
      const end = performance.now() + 60;
      while (performance.now() < end);
    },
    (p) => attachPerfEvent(p, { period: 2_000_000, pid: process.pid }),
  );
});

test("uprobe and uretprobe on a library function, by symbol, by file offset and through the section", () => {
  requires({ root: true });
  const act = (): void => void execFileSync("/usr/bin/env", ["true"]);
  sees(open("uprobe", KPROBE), act, (p) => attachUprobe(p, { binary: "c", symbol: "getenv" }));
  sees(open("uretprobe", KPROBE), act, (p) => attachUprobe(p, { binary: "libc.so.6", symbol: "malloc", ret: true }));
  sees(open("uretprobe/c:malloc", KPROBE), act);
  const c = open("uprobe", KPROBE);
  const link = attachUprobe(c.prog("probe"), { binary: "c", symbol: "getenv" });
  const [, place] = /uprobe (.*):getenv/.exec(link.target) ?? [];
  link.close();
  assert.ok(place !== undefined && place.endsWith("libc.so.6"));
  assert.throwsCode(
    () => attachUprobe(c.prog("probe"), { binary: "c", symbol: "no_such_function_here" }),
    "NO_SYMBOL",
    /libc\.so\.6 has no function no_such_function_here/,
  );
  assert.throwsCode(() => attachUprobe(c.prog("probe"), { binary: "nothing-called-this", symbol: "x" }), "NO_BINARY");
  c.close();
});

test("uprobe on this very process by address, only for its pid, with a cookie", () => {
  requires({ root: true, kernel: "5.15" });
  // Stores the cookie in the global.
  const insns = [callHelper(174), ...ldImm64(1, 0n), stxMem("dw", 1, 0, 0), mov64Imm(0, 0), exit()];
  const spec = collectionSpec(
    [bss()],
    [progSpec("probe", "uprobe", KPROBE, insns, { refs: [{ kind: "map-value", insn: 1, map: ".bss", offset: 0 }] })],
  );
  const c = load(spec, { globals });
  const link = attachUprobe(c.prog("probe"), {
    binary: process.execPath,
    symbol: "uv_hrtime",
    pid: process.pid,
    cookie: 0xc0ffeen,
  });
  process.hrtime();
  for (let i = 0; i < 1000 && hits(c) === 0n; i++) performance.now();
  assert.is(hits(c), 0xc0ffeen);
  link.close();
  c.close();
});

test("kprobe and kretprobe on a kernel function", () => {
  requires({
    root: true,
    feature: {
      name: "kprobes",
      since: "4.17",
      config: ["CONFIG_KPROBE_EVENTS"],
      available: () => pmuType(kernel, "kprobe") !== undefined,
    },
  });
  sees(open("kprobe", KPROBE), run, (p) => attachKprobe(p, { symbol: "do_exit" }));
  sees(open("kretprobe", KPROBE), run, (p) => attachKprobe(p, { symbol: "begin_new_exec", ret: true }));
  sees(open("ksyscall/execve", KPROBE), run);
});

test("a kernel without kprobes says so and names what works instead", () => {
  requires({ root: true });
  if (pmuType(kernel, "kprobe") !== undefined) return;
  const c = open("kprobe/do_exit", KPROBE);
  assert.throwsCode(() => c.attach(), "NOT_SUPPORTED", /CONFIG_KPROBE_EVENTS.*uprobes work without/);
  c.close();
});

test("xdp, tc and socket filters by test run", () => {
  requires({ root: true });
  for (const [type, section] of [
    [XDP, "xdp"],
    [SCHED_CLS, "tc"],
    [SOCKET_FILTER, "socket"],
  ] as const) {
    const c = open(section, type, {}, 2);
    const result = c.prog("probe").testRun({ data: new Uint8Array(64), repeat: 100 });
    assert.is(result.returnValue, 2);
    assert.is(hits(c), 100n, section);
    c.close();
  }
});

test("xdp on the loopback device by a link", () => {
  requires({ root: true, kernel: "5.9" });
  const c = open("xdp", XDP, { expectedAttachType: BPF_ATTACH_TYPE.XDP }, 2);
  const link = c.prog("probe").attach({ device: "lo" });
  assert.is(link.target, "XDP on lo");
  assert.throwsCode(() => c.prog("probe").attach({ device: "lo" }), "SYSCALL", /EBUSY.*another XDP program/);
  assert.throwsCode(() => c.prog("probe").attach({ device: "none0" }), "NO_DEVICE", /there are .*lo/);
  assert.throwsCode(() => c.prog("probe").attach(), "ATTACH", /option device/);
  link.close();
  c.close();
});

test("an iterator writes its text", () => {
  requires({ root: true, kernel: "5.8" });
  // bpf_iter__task { meta; task }: bpf_seq_write(meta->seq, "x", 1) for each task.
  const insns = [
    ldxMem("dw", 6, 1, 0),
    ldxMem("dw", 1, 6, 0),
    mov64Imm(2, 0x78),
    stxMem("b", 10, 2, -8),
    mov64Reg(2, 10),
    { opcode: 0x07, dst: 2, src: 0, off: 0, imm: -8 },
    mov64Imm(3, 1),
    callHelper(127),
    mov64Imm(0, 0),
    exit(),
  ];
  const spec = collectionSpec(
    [],
    [progSpec("probe", "iter/task", TRACING, insns, { expectedAttachType: BPF_ATTACH_TYPE.TRACE_ITER })],
  );
  const c = load(spec);
  const link = attachIter(c.prog("probe"), "task");
  const text = link.text();
  assert.match(text, /^x+$/);
  assert.ok(text.length > 5);
  link.close();
  c.close();
});

test("attach() is all or nothing, and a misspelt tracepoint has a suggestion", () => {
  requires({ root: true });
  const good = countingProg("good", "tracepoint/syscalls/sys_enter_execve", TRACEPOINT);
  const bad = countingProg("bad", "tracepoint/syscalls/sys_enter_execv", TRACEPOINT);
  const c = load(collectionSpec([bss()], [good, bad]), { globals });
  assert.throwsCode(() => c.attach(), "NO_TRACEPOINT", /did you mean syscalls:sys_enter_execve/);
  assert.is(c.links.length, 0);
  run();
  assert.is(hits(c), 0n);
  assert.is(c.attach({ only: ["good"] }).length, 1);
  run();
  assert.ok(hits(c) > 0n);
  c.close();
  c.close();
});

test("a process that is killed leaves nothing attached", async () => {
  requires({ root: true });
  const before = new Set(objectIds(kernel, "PROG"));
  const file = join(tmpdir(), `bpfkit-child-${process.pid}.ts`);
  const here = new URL(".", import.meta.url).href;
  writeFileSync(
    file,
    `import { load } from ${JSON.stringify(new URL("../../src/load/index.ts", here).pathname)};
     import { bss, collectionSpec, countingProg } from ${JSON.stringify(new URL("specs.ts", here).pathname)};
     const c = load(collectionSpec([bss()], [countingProg("probe", "tracepoint/syscalls/sys_enter_execve", 5), countingProg("raw", "raw_tp/sched_process_exec", 17)]));
     c.attach();
     console.log([...c.programs.values()].map((p) => p.info().id).join(" "));
     process.kill(process.pid, "SIGKILL");`,
  );
  try {
    let output = "";
    try {
      output = execFileSync(process.execPath, ["--import", "tsx", file], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "inherit"],
      });
    } catch (error) {
      output = (error as { stdout: string }).stdout;
    }
    const ids = output.trim().split(" ").map(Number);
    assert.is(ids.length, 2);
    assert.ok(ids.every((id) => id > 0 && !before.has(id)));
    for (let i = 0; i < 50 && ids.some((id) => [...objectIds(kernel, "PROG")].includes(id)); i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const now = new Set(objectIds(kernel, "PROG"));
    for (const id of ids) assert.ok(!now.has(id), `program ${id} is still there`);
  } finally {
    unlinkSync(file);
  }
});

/** Detaching from a tracepoint waits for an RCU grace period, so a thousand take over a minute. */
const CYCLES = Number(process.env["LEAK_CYCLES"] ?? 100);

test(
  `${CYCLES} load, attach and detach cycles leak no descriptor, mapping or link`,
  async () => {
    requires({ root: true });
    const count = (): { fds: number; maps: number; links: number; progs: number } => ({
      fds: readdirSync("/proc/self/fd").length,
      maps: readFileSync("/proc/self/maps", "utf8")
        .split("\n")
        .filter((l) => /bpf|anon_inode/.test(l)).length,
      links: [...objectIds(kernel, "LINK")].length,
      progs: [...objectIds(kernel, "PROG")].length,
    });
    const cycle = (): void => {
      const c = load(
        collectionSpec(
          [bss()],
          [
            countingProg("probe", "tracepoint/syscalls/sys_enter_getpgid", TRACEPOINT),
            countingProg("raw", "raw_tp/sched_process_exec", RAW_TRACEPOINT),
          ],
        ),
        { globals },
      );
      c.attach();
      void hits(c);
      c.close();
    };
    for (let i = 0; i < 3; i++) cycle();
    const before = count();
    for (let i = 0; i < CYCLES; i++) cycle();
    // The kernel frees programs and links some time after the last reference went.
    for (let i = 0; i < 50 && count().progs > before.progs; i++)
      await new Promise((resolve) => setTimeout(resolve, 100));
    const after = count();
    assert.is(after.fds, before.fds);
    assert.is(after.maps, before.maps);
    assert.ok(after.links <= before.links + 3, `${before.links} links before, ${after.links} after`);
    assert.ok(after.progs <= before.progs + 3, `${before.progs} programs before, ${after.progs} after`);
  },
  { timeoutMs: 120_000 },
);
