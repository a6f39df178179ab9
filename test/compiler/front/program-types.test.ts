/** Every program type, with what is typed of its context: the kernel accepts each where it has the type at all. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeInsns } from "../../../src/asm/index.ts";
import { Btf } from "../../../src/btf/index.ts";
import { readObject, writeObject } from "../../../src/elf/index.ts";
import { load } from "../../../src/load/index.ts";
import { btfLoad, progLoad, realKernel } from "../../../src/syscall/index.ts";
import { BPF_PROG_TYPE } from "../../../src/uapi/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { compiled, compileText, listing, loaded, runningBtf, show } from "../compile-text.ts";

const test = suite("compiler program types");
const kernelNeeds = { root: true, capability: ["CAP_BPF", "CAP_NET_ADMIN"] } as const;

interface Row {
  readonly type: string;
  readonly text: string;
  /** The oldest kernel that takes it; undefined: it is only compiled, since not every kernel is built with it. */
  readonly kernel: string | undefined;
}

const ROWS: readonly Row[] = [
  { type: "socket_filter", kernel: "5.8", text: "socketFilter((ctx) => (ctx.protocol === 0x0800 ? ctx.len : 0))" },
  { type: "kprobe", kernel: "5.8", text: 'kprobe("do_unlinkat", (ctx, bpf) => (ctx.di === 0 ? bpf.arg(1) : 0))' },
  {
    type: "sched_cls",
    kernel: "5.8",
    text: "tc((ctx) => { ctx.mark = 5; ctx.cb[0] = 3; const sk = ctx.sk; return sk ? sk.family : ctx.cb[0]; })",
  },
  { type: "sched_act", kernel: "5.8", text: "tcAction((ctx) => ctx.tc_index)" },
  { type: "tracepoint", kernel: "5.8", text: 'tracepoint("sched:sched_process_exec", (ctx) => ctx.pid)' },
  { type: "xdp", kernel: "5.9", text: "xdp((ctx) => (ctx.ingress_ifindex === 1 ? 1 : 2))" },
  {
    type: "perf_event",
    kernel: "5.8",
    text: "perfEvent({ type: 1, config: 0, hz: 10 }, (ctx) => { out.value = ctx.regs.ip + ctx.sample_period + ctx.addr; })",
  },
  { type: "cgroup_skb", kernel: "5.8", text: 'cgroupSkb("egress", (ctx) => ctx.len > 1)' },
  {
    type: "cgroup_sock",
    kernel: "5.8",
    text: 'cgroupSock("sock_create", (ctx) => { ctx.mark = 5; return ctx.family === 2; })',
  },
  { type: "lwt_in", kernel: "5.8", text: "lwtIn((ctx) => (ctx.len > 4 ? 0 : 2))" },
  { type: "lwt_out", kernel: "5.8", text: "lwtOut((ctx) => (ctx.len > 4 ? 0 : 2))" },
  { type: "lwt_xmit", kernel: "5.8", text: "lwtXmit((ctx) => (ctx.len > 4 ? 0 : 2))" },
  {
    type: "sock_ops",
    kernel: "5.8",
    text: "sockOps((ctx) => { ctx.reply = ctx.op; const sk = ctx.sk; if (sk) out.value = sk.mark; return 1; })",
  },
  { type: "sk_skb", kernel: "5.8", text: 'skSkb("verdict", (ctx) => (ctx.len > 4 ? 1 : 0))' },
  { type: "cgroup_device", kernel: "5.8", text: "cgroupDevice((ctx) => ctx.major !== 1 || ctx.minor === 3)" },
  { type: "sk_msg", kernel: "5.8", text: "skMsg((ctx) => (ctx.size > 4 ? 1 : 0))" },
  { type: "raw_tracepoint", kernel: "5.8", text: 'rawTracepoint("sys_enter", (ctx) => { out.value = ctx.args[1]; })' },
  {
    type: "cgroup_sock_addr",
    kernel: "5.8",
    text: 'cgroupSockAddr("connect4", (ctx) => { if (ctx.user_port === 80) ctx.user_port = 8080; return 1; })',
  },
  { type: "lwt_seg6local", kernel: undefined, text: "lwtSeg6local((ctx) => (ctx.len > 4 ? 0 : 2))" },
  { type: "lirc_mode2", kernel: undefined, text: "lircMode2((ctx) => (ctx.sample > 4 ? 1 : 0))" },
  {
    type: "sk_reuseport",
    kernel: "5.14",
    text: "skReuseport((ctx) => { out.value = ctx.sk.mark; return ctx.hash > 4 ? 1 : 0; })",
  },
  {
    type: "flow_dissector",
    kernel: "5.8",
    text: "flowDissector((ctx) => { ctx.flow_keys.nhoff = 4; ctx.flow_keys.ipv6_src[1] = ctx.flow_keys.thoff; return 0; })",
  },
  { type: "cgroup_sysctl", kernel: "5.8", text: "cgroupSysctl((ctx) => ctx.write === 0)" },
  {
    type: "raw_tracepoint_writable",
    kernel: "5.8",
    text: 'rawTracepointWritable("sys_enter", (ctx) => { out.value = ctx.args[0]; })',
  },
  {
    type: "cgroup_sockopt",
    kernel: "5.8",
    text: 'cgroupSockopt("get", (ctx) => { ctx.retval = 0; return ctx.level === 1; })',
  },
  {
    type: "tracing",
    kernel: "5.11",
    text: 'tpBtf("sched_process_exec", (ctx) => { out.value = ctx.p.real_parent.tgid; })',
  },
  {
    type: "struct_ops",
    kernel: undefined,
    text: 'structOps("tcp_congestion_ops", { name: "x", ssthresh: (ctx) => ctx.sk.__sk_common.skc_family, undo_cwnd: () => 2, cong_avoid: (ctx) => { out.value = ctx.acked; } })',
  },
  {
    type: "ext",
    kernel: undefined,
    text: 'freplace("f", (ctx, bpf) => ctx.port + ctx.skb.len + bpf.cpu(), { args: { skb: "__sk_buff", port: u16 } })',
  },
  { type: "lsm", kernel: undefined, text: 'lsm("file_open", (ctx) => (ctx.file.f_flags > 5 ? -1 : 0))' },
  { type: "sk_lookup", kernel: "5.9", text: "skLookup((ctx) => (ctx.local_port === 80 ? 1 : 0))" },
  {
    type: "syscall",
    kernel: "5.14",
    text: "syscallProg((ctx) => { ctx.b = ctx.a + 1; return 0; }, { context: struct({ a: u32, b: u32 }) })",
  },
  {
    type: "netfilter",
    kernel: "6.4",
    text: 'netfilter({ family: "ipv4", hook: "input" }, (ctx) => (ctx.skb.len > 10 && ctx.state.hook < 5 ? 1 : 0))',
  },
];

test("they are the 32 of the kernel", () => {
  const all = Object.keys(BPF_PROG_TYPE)
    .filter((name) => name !== "UNSPEC")
    .map((name) => name.toLowerCase());
  assert.equal(ROWS.map((r) => r.type).sort(), all.sort());
});

for (const { type, text, kernel } of ROWS) {
  test(type, () => {
    requires({ ...kernelNeeds, kernel: kernel ?? "5.8" });
    const name = /^(\w+)\(/.exec(text)?.[1] ?? "";
    const whole = `import { ${name}, global, struct, u16, u32, u64 } from "bpfkit";
export const out = global(u64, 0);
export const p = ${text};`;
    const result = compiled(whole, { btf: runningBtf() });
    assert.ok(
      result.spec.progs.length > 0 &&
        result.spec.progs.every((p) => p.type === BPF_PROG_TYPE[type.toUpperCase() as "XDP"]),
    );
    if (kernel !== undefined) loaded(whole, { btf: runningBtf() }).close();
  });
}

test("a syscall program reads and writes what user space hands it, text too", () => {
  requires({ ...kernelNeeds, kernel: "5.14" });
  using c = loaded(
    `import { array, char, global, struct, syscallProg, u32, u64 } from "bpfkit";
const Args = struct({ a: u32, b: u32, sum: u64, name: char(16), list: array(u32, 4) });
export const same = global(u32, 0);
export const p = syscallProg((ctx, bpf) => {
  if (ctx.name === "hello") same.value |= 1;
  if (ctx.name.startsWith("he")) same.value |= 2;
  ctx.sum = ctx.a + ctx.b;
  ctx.list[2] = 9;
  ctx.name = bpf.comm();
  return ctx.list[ctx.a];
}, { context: Args });`,
    { btf: runningBtf() },
  );
  const ctx = new Uint8Array(48);
  const view = new DataView(ctx.buffer);
  view.setUint32(0, 3, true);
  view.setUint32(4, 4, true);
  ctx.set(new TextEncoder().encode("hello"), 16);
  view.setUint32(44, 77, true);
  const r = c.prog("p").testRun({ ctx });
  assert.is(r.returnValue, 77);
  assert.is(c.variable<number>("same").value, 3);
  assert.equal([view.getBigUint64(8, true), view.getUint32(40, true)], [7n, 9]);
  assert.is(
    new TextDecoder().decode(ctx.subarray(16, 32)).replace(/\0.*$/, ""),
    readFileSync("/proc/thread-self/comm", "utf8").trim(),
  );
});

test("a function of a program that clang made is replaced by one in TypeScript", () => {
  requires({ ...kernelNeeds, kernel: "5.10", package: ["clang-19", "libbpf-dev"] });
  const dir = mkdtempSync(join(tmpdir(), "freplace-"));
  try {
    writeFileSync(
      join(dir, "target.c"),
      `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct limits { __u64 low; __u64 high; };
__attribute__((noinline)) int allowed(struct xdp_md *ctx, unsigned short port, struct limits *l)
{ return !l ? 0 : ctx->rx_queue_index + port > l->low; }
SEC("xdp") int target(struct xdp_md *ctx) { struct limits l = { 1, 2 }; return allowed(ctx, 5, &l); }
char _license[] SEC("license") = "GPL";
`,
    );
    execFileSync(
      "clang-19",
      ["-O2", "-g", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu", "-c", "target.c", "-o", "target.o"],
      { cwd: dir, stdio: "pipe" },
    );
    const spec = readObject(readFileSync(join(dir, "target.o")), { name: "target" });
    using target = load(spec);
    const kernel = realKernel();
    const attempt = (args: string): { result: number; log: string } => {
      const ours = compiled(
        `import { freplace, struct, u16, u32, u64 } from "bpfkit";
const limits = struct({ low: u64, high: u64 });
export const p = freplace("allowed", (ctx) => {
  const l = ctx.l;
  if (!l) return 0;
  return ctx.ctx.rx_queue_index + ctx.port < l.high ? 1 : 0;
}, { args: ${args} });`,
      ).spec;
      const btf = ours.btf!;
      const btfFd = btfLoad(kernel, btf).result;
      assert.ok(btfFd >= 0, `BTF: ${btfFd}`);
      const [prog] = ours.progs;
      const funcInfo = new Uint8Array(new Uint32Array([0, prog!.funcs[0]!.typeId]).buffer);
      const loadedProg = progLoad(kernel, {
        type: BPF_PROG_TYPE.EXT,
        insns: encodeInsns(prog!.insns),
        attachFd: target.prog("target").fd,
        attachBtfId: Btf.parse(spec.btf!).findId("allowed", "func"),
        btfFd,
        funcInfo: { bytes: funcInfo, recordSize: 8 },
        logLevel: 1,
      });
      kernel.close(btfFd);
      if (loadedProg.result >= 0) kernel.close(loadedProg.result);
      return loadedProg;
    };
    const good = attempt('{ ctx: "xdp_md", port: u16, l: limits }');
    // Refused without a word by kernels that keep programs off functions: they are built without kprobes too.
    if (good.result === -1 && good.log === "") {
      requires({
        feature: {
          name: "programs attached to functions",
          since: "5.6",
          config: ["CONFIG_KPROBES"],
          available: () => false,
        },
      });
    }
    assert.ok(good.result >= 0, `${good.result} ${good.log}`);
    // The kernel compares prototypes.
    const wrong = attempt('{ ctx: "xdp_md", port: u32, l: limits }');
    assert.ok(wrong.result < 0);
    assert.match(wrong.log, /arg1/);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test("libbpf registers a struct_ops declaration", () => {
  requires({
    ...kernelNeeds,
    kernel: "5.13",
    package: "bpftool",
    feature: {
      name: "TCP congestion control in BPF",
      since: "5.13",
      config: ["CONFIG_INET", "CONFIG_BPF_JIT"],
      available: () => runningBtf().findId("bpf_struct_ops_tcp_congestion_ops", "struct") !== 0,
    },
  });
  const { spec } = compiled(
    `import { global, structOps, u32, u64 } from "bpfkit";
export const acked = global(u64, 0);
export const bk_test_cc = structOps("tcp_congestion_ops", {
  name: "bk_test_cc",
  ssthresh: (ctx) => ctx.sk.__sk_common.skc_family,
  undo_cwnd: () => 2,
  cong_avoid: (ctx) => { acked.value += ctx.acked; },
}, { link: false });`,
    { btf: runningBtf() },
  );
  assert.equal(
    spec.progs.map((p) => p.name),
    ["bk_test_cc_ssthresh", "bk_test_cc_undo_cwnd", "bk_test_cc_cong_avoid"],
  );
  const dir = mkdtempSync(join(tmpdir(), "struct-ops-"));
  const available = (): string => readFileSync("/proc/sys/net/ipv4/tcp_available_congestion_control", "utf8");
  try {
    writeFileSync(join(dir, "cc.o"), writeObject(spec));
    execFileSync("bpftool", ["struct_ops", "register", join(dir, "cc.o")], { stdio: "pipe" });
    try {
      assert.match(available(), /\bbk_test_cc\b/);
    } finally {
      execFileSync("bpftool", ["struct_ops", "unregister", "name", "bk_test_cc"], { stdio: "pipe" });
    }
    assert.not.match(available(), "bk_test_cc");
    // Read back, it is what was written.
    const back = readObject(readFileSync(join(dir, "cc.o")), { name: "probe" });
    const ops = (s: typeof spec): unknown =>
      s.maps.filter((m) => m.structOps !== undefined).map((m) => [m.name, m.initialSlots, m.data]);
    assert.equal(ops(back), ops(spec));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test("what a kernel struct does not have is said", () => {
  const say = (members: string): string =>
    show(
      compileText(`import { structOps } from "bpfkit";\nexport const p = structOps(${members});`, {
        btf: runningBtf(),
      }).diagnostics.map((d) => ({ ...d, labels: [] })),
    );
  requires({ kernel: "5.13" });
  assert.match(say('"no_such_ops", {}'), /BPF4001 .* no type named no_such_ops/);
  assert.match(say('"task_struct", {}'), /BPF4006 .* programs cannot implement struct task_struct/);
  assert.match(
    say('"tcp_congestion_ops", { nam: "x" }'),
    /BPF2009 .* struct tcp_congestion_ops has no field 'nam'; did you mean 'name'\?/,
  );
  assert.match(
    say('"tcp_congestion_ops", { name: "longer than sixteen" }'),
    /BPF2006 .* a value that fits tcp_congestion_ops.name/,
  );
  assert.match(
    say('"tcp_congestion_ops", { flags: () => 1 }'),
    /BPF2006 .* expected a value for tcp_congestion_ops.flags, found a function/,
  );
  assert.is(
    listing(compiled('import { xdp } from "bpfkit";\nexport const p = xdp(() => 1);')).trim().split("\n").length,
    2,
  );
});
