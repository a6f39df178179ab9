/** Contexts: as BPF_PROG_TEST_RUN and the hooks make them, for programs of every type. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import * as b from "../../../src/asm/build.ts";
import type { Insn } from "../../../src/asm/index.ts";
import { BpfkitError } from "../../../src/core/errors.ts";
import type { ProgSpec } from "../../../src/elf/spec.ts";
import {
  BPF_ATTACH_TYPE,
  BPF_PROG_TYPE,
  CTX_KINDS,
  PROG_TYPES,
  ctxAccess,
  ctxLayout,
} from "../../../src/uapi/index.ts";
import { BPF_FUNC, BPF_MAP_TYPE } from "../../../src/uapi/index.ts";
import { load } from "../../../src/load/load.ts";
import { progTestRun, tracepointFormat } from "../../../src/syscall/index.ts";
import type { AttachTypeName, CtxFieldRow, ProgTypeName } from "../../../src/uapi/index.ts";
import { makeContext } from "../../../src/testing/world/contexts/make.ts";
import type { ContextEnv } from "../../../src/testing/world/contexts/env.ts";
import { readRecord } from "../../../src/testing/world/contexts/record.ts";
import { kernelTypesOf, packagedKernel } from "../../../src/testing/world/kernel-types.ts";
import { PlainMemory } from "../../../src/testing/world/memory.ts";
import { KernelObjects } from "../../../src/testing/world/objects.ts";
import { arp, eth, ipv4, ipv6, packet, tcp, udp, vlan } from "../../../src/testing/world/packet/build.ts";
import type { ContextTarget, ContextValue, KernelTypes } from "../../../src/testing/world/types.ts";
import { VmWorldMemory } from "../../../src/testing/world-memory.ts";
import { Vm, collectionOf } from "../../../src/vm/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { kernel as os, loadProg, mapSpec, progSpec, testRun } from "../../vm/kernel-run.ts";
import { runs } from "./runs.ts";

const test = suite("world contexts");

const envOf = (name = "6.18"): ContextEnv => {
  const kernel = packagedKernel(name);
  return { kernel, objects: new KernelObjects(kernel.btf, new PlainMemory()) };
};
const target = (type: ProgTypeName, attachTo?: string, attach?: AttachTypeName, section?: string): ContextTarget => ({
  type: BPF_PROG_TYPE[type],
  expectedAttachType: attach === undefined ? 0 : BPF_ATTACH_TYPE[attach],
  attachTo,
  section,
});

const zero = "00:00:00:00:00:00";
/** Packets that the loopback device takes as meant for it, for all, and for some. */
const PACKETS = [
  packet(eth({ dst: zero }), ipv4({ src: "192.0.2.1", dst: "192.0.2.2" }), tcp({ dport: 443 }), "payload"),
  packet(eth({ dst: "ff:ff:ff:ff:ff:ff" }), arp()),
  packet(eth({ dst: "01:00:5e:00:00:fb" }), ipv4({ dst: "224.0.0.251" }), udp({ dport: 5353 }), new Uint8Array(200)),
  packet(eth({ dst: zero }), ipv6({ src: "fd00::5", dst: "fd00::6" }), udp()),
  packet(eth({ dst: zero }), vlan({ id: 5 }), ipv4(), udp(), "tagged"),
  packet(eth({ dst: zero, type: 0x88b5 }), new Uint8Array(30)),
  packet(eth({ dst: zero, type: 40 }), new Uint8Array(40).fill(0xff)),
];
/** What TEST_RUN lets a test set. */
const SETTABLE: ContextValue[] = [
  {},
  { mark: 7, priority: 3, cb: [1, 2, 3, 4, 5], tstamp: 99n, gso_segs: 2, gso_size: 1400, ingress_ifindex: 1 },
];
const OUT = 48 + 16;

const sizeName = (size: number): "b" | "h" | "w" | "dw" =>
  size === 8 ? "dw" : size === 4 ? "w" : size === 2 ? "h" : "b";

/** Copies one field to cb[4], where TEST_RUN hands it back. */
function copyField(offset: number, size: number): Insn[] {
  return [b.ldxMem(sizeName(size), 2, 1, offset), b.stxMem("w", 1, 2, OUT), b.mov64Imm(0, 0), b.exit()];
}

/** Fields of the context that hold numbers and that the kernel does not compute from where it is. */
function comparable(type: ProgTypeName): CtxFieldRow[] {
  const readable = ctxAccess(type, type === "CGROUP_SKB" ? "CGROUP_INET_INGRESS" : undefined)!.read;
  // TEST_RUN gives the packet a socket of its own with the packet's addresses swapped; it has no port.
  const skipped = /^(sk|data|data_end|data_meta|flow_keys|family|remote_|local_|cb$|napi_id|tstamp_type|hwtstamp)/;
  return ctxLayout("__sk_buff")!.fields.filter((f) => readable.includes(f.name) && !skipped.test(f.name));
}

for (const type of ["SOCKET_FILTER", "SCHED_CLS", "CGROUP_SKB", "LWT_XMIT"] as const) {
  test(`${type}: every field that the kernel fills in is the same by TEST_RUN`, () => {
    requires({ root: true, capability: "CAP_BPF", kernel: "5.10" });
    const env = envOf();
    for (const field of comparable(type)) {
      const prog = progSpec("copy", BPF_PROG_TYPE[type], copyField(field.offset, field.size));
      const { fd, log } = loadProg(prog, {});
      assert.ok(fd >= 0, `${field.name}: ${log}`);
      try {
        for (const data of PACKETS) {
          // The loopback device has no broadcast address: there it is a multicast like another.
          if (field.name === "pkt_type" && data[0] === 0xff) continue;
          for (const settable of SETTABLE) {
            const made = makeContext(target(type), { packet: data, ...(settable as object) }, env);
            const given = new Uint8Array(192);
            const own = makeContext(target(type), { packet: new Uint8Array(0), ...(settable as object) }, env).ctx;
            for (const [at, size] of [
              [8, 4],
              [32, 4],
              [36, 4],
              [48, 16],
              [152, 8],
              [164, 4],
              [176, 4],
            ] as const)
              given.set(own.subarray(at, at + size), at);
            const result = testRun(fd, prog.type, { ctx: given, data });
            const kernelValue = new DataView(result.ctx.buffer, result.ctx.byteOffset).getUint32(OUT, true);
            const view = new DataView(made.ctx.buffer);
            const ours =
              field.size === 8
                ? Number(view.getBigUint64(field.offset, true) & 0xffff_ffffn)
                : field.size === 4
                  ? view.getUint32(field.offset, true)
                  : view.getUint8(field.offset);
            assert.is(
              ours,
              kernelValue,
              `${type} ${field.name} of ${Buffer.from(data).toString("hex").slice(0, 40)} ${JSON.stringify(settable, (_, v: unknown) => (typeof v === "bigint" ? String(v) : v))}`,
            );
          }
        }
      } finally {
        os.close(fd);
      }
    }
  });
}

test("CGROUP_SKB: the socket's addresses are the packet's, from the side that it is on", () => {
  requires({ root: true, capability: "CAP_BPF", kernel: "5.10" });
  const env = envOf();
  const four = PACKETS[0]!;
  const fields = (attach: AttachTypeName, data: Uint8Array): Readonly<Record<string, unknown>> => {
    const made = makeContext(target("CGROUP_SKB", undefined, attach), { packet: data }, env);
    return made.read(made.ctx);
  };
  const { remote_ip4: from, local_ip4: to, remote_port: port } = fields("CGROUP_INET_INGRESS", four);
  assert.equal([from, to, port], ["192.0.2.1", "192.0.2.2", 40_000]);
  // TEST_RUN's socket is the packet's sender.
  for (const name of ["family", "remote_ip4", "local_ip4"]) {
    const { offset } = ctxLayout("__sk_buff")!.fields.find((f) => f.name === name)!;
    const { fd, log } = loadProg(progSpec("copy", BPF_PROG_TYPE.CGROUP_SKB, copyField(offset, 4)));
    assert.ok(fd >= 0, log);
    const result = testRun(fd, BPF_PROG_TYPE.CGROUP_SKB, { ctx: new Uint8Array(192), data: four });
    os.close(fd);
    const out = result.ctx.subarray(OUT, OUT + 4);
    const ours = makeContext(target("CGROUP_SKB", undefined, "CGROUP_INET_EGRESS"), { packet: four }, env).ctx;
    assert.bytes(ours.subarray(offset, offset + 4), out, name);
  }
});

/** A program that gives one field back. */
const reads = (type: ProgTypeName, offset: number, size: number): ProgSpec => {
  return progSpec("read", BPF_PROG_TYPE[type], [b.ldxMem(sizeName(size), 0, 1, offset), b.exit()]);
};

test("whatever a context is made of, programs read it: every struct, every number, in both engines", () => {
  const structs = CTX_KINDS.filter(
    (k) => k.kind === "struct" && k.progType !== "NETFILTER" && k.progType !== "PERF_EVENT",
  );
  for (const { progType: type, struct } of structs) {
    const access = ctxAccess(type) ?? ctxAccess(type, "CGROUP_INET4_CONNECT") ?? ctxAccess(type, "CGROUP_GETSOCKOPT");
    const fields = ctxLayout(struct!)!.fields.filter(
      (f) =>
        /^[us](8|16|32|64)$/.test(f.type) &&
        f.reg === undefined &&
        (access?.read.includes(f.name) ?? true) &&
        f.name !== "cookie" &&
        f.name !== "len",
    );
    for (const engine of ["interp", "jit"] as const) {
      const field = (f: CtxFieldRow): ProgSpec => ({ ...reads(type, f.offset, f.size), name: f.name });
      const vm = new Vm({ ...collectionOf([]), progs: fields.map(field) }, { engine });
      const kernel = packagedKernel("6.18");
      const env: ContextEnv = { kernel, objects: new KernelObjects(kernel.btf, new VmWorldMemory(vm.memory)) };
      fields.forEach((f, i) => {
        const value =
          f.size === 8 ? 0x1234_5678_9abc_def0n : (0x1122_3344 + i) % 2 ** (f.networkOrder === 16 ? 16 : f.size * 8);
        const made = makeContext(target(type), { [f.name]: value }, env);
        const result = vm.run(f.name, made);
        const back = made.read(result.ctx)[f.name];
        const expected = /ip4$/.test(f.name)
          ? back
          : typeof value === "bigint"
            ? value
            : f.type.startsWith("s")
              ? value
              : value;
        assert.equal(back, expected, `${type} ${f.name}`);
        const bytes = new DataView(made.ctx.buffer, made.ctx.byteOffset);
        const raw =
          f.size === 8
            ? bytes.getBigUint64(f.offset, true)
            : BigInt(
                f.size === 4
                  ? bytes.getUint32(f.offset, true)
                  : f.size === 2
                    ? bytes.getUint16(f.offset, true)
                    : bytes.getUint8(f.offset),
              );
        assert.is(result.r0, raw, `${type} ${f.name} ${engine}`);
        if (f.networkOrder === true && f.size === 4 && typeof value === "number")
          assert.is(
            result.r0,
            BigInt(new DataView(Uint32Array.of(value).buffer).getUint32(0, false)),
            `${f.name} is in network order`,
          );
      });
    }
  }
});

test("packets are where programs look for them, and what they change comes back", () => {
  const data = packet(eth(), ipv4(), udp(), "x");
  for (const type of ["XDP", "SCHED_CLS", "SK_MSG", "CGROUP_SOCKOPT"] as const) {
    const [start, end, size] =
      type === "XDP" ? [0, 4, 4] : type === "SCHED_CLS" ? [76, 80, 4] : type === "SK_MSG" ? [0, 8, 8] : [8, 16, 8];
    const insns = [
      b.ldxMem(sizeName(size), 2, 1, start),
      b.ldxMem(sizeName(size), 3, 1, end),
      b.mov64Reg(4, 2),
      b.add64Imm(4, 1),
      b.mov64Imm(0, 0),
      b.jmpReg("jgt", 4, 3, 2),
      b.ldxMem("b", 0, 2, 0),
      b.stMem("b", 2, 0, 0xab),
      b.exit(),
    ];
    const vm = new Vm(collectionOf([progSpec("poke", BPF_PROG_TYPE[type], insns)]));
    const kernel = packagedKernel("6.18");
    const env: ContextEnv = { kernel, objects: new KernelObjects(kernel.btf, new VmWorldMemory(vm.memory)) };
    const name = type === "CGROUP_SOCKOPT" ? "optval" : "packet";
    const made = makeContext(target(type), { [name]: data }, env);
    const result = vm.run("poke", made);
    assert.is(result.returnValue, data[0], type);
    const after = type === "XDP" || type === "SCHED_CLS" ? result.data : (made.read(result.ctx)[name] as Uint8Array);
    assert.bytes(after, Uint8Array.of(0xab, ...data.subarray(1)));
  }
});

test("trace events: text in the record and in user memory, numbers of calls, lists", () => {
  for (const name of ["6.1", "6.12", "6.18"]) {
    const env = { ...envOf(name), pid: 77 };
    const exec = makeContext(
      target("TRACEPOINT", "syscalls/sys_enter_execve"),
      { filename: "/bin/ls", argv: ["ls", "-l"] },
      env,
    );
    const read = exec.read(exec.ctx);
    assert.equal([read["common_pid"], read["__syscall_nr"], read["envp"]], [77, 59, 0n]);
    assert.is(env.objects.textAt(read["filename"] as bigint), "/bin/ls");
    assert.ok((read["filename"] as bigint) < 1n << 47n);
    const second = new DataView(env.objects.memory.read((read["argv"] as bigint) + 8n, 8)!.buffer).getBigUint64(
      0,
      true,
    );
    assert.is(env.objects.textAt(second), "-l");
    const started = makeContext(target("TRACEPOINT", "sched/sched_process_exec"), { filename: "/bin/ls", pid: 7 }, env);
    assert.is(new DataView(started.ctx.buffer).getUint32(8, true), (8 << 16) | 20);
    assert.is(started.read(started.ctx)["filename"], "/bin/ls");
    const sched = makeContext(
      target("TRACEPOINT", "sched/sched_switch"),
      { prev_comm: "a", next_comm: "bash", next_pid: 9, prev_prio: -3 },
      env,
    );
    const { prev_comm: from, next_comm: to, next_pid: pid, prev_prio: prio } = sched.read(sched.ctx);
    assert.equal([from, to, pid, prio], ["a", "bash", 9, -3]);
  }
});

test("arguments by name: BTF tracepoints, functions, hooks, iterators, struct_ops, registers", () => {
  const env = envOf();
  const words = (made: { ctx: Uint8Array }): bigint[] => [...new BigUint64Array(made.ctx.slice().buffer)];
  const task = (address: bigint): unknown => env.objects.at("task_struct", address).get("pid");
  const tp = words(
    makeContext(
      target("TRACING", "sched_switch", "TRACE_RAW_TP"),
      { preempt: true, prev: { pid: 1 }, next: { pid: 2 } },
      env,
    ),
  );
  assert.equal([tp[0], task(tp[1]!), task(tp[2]!)], [1n, 1, 2]);
  const raw = words(makeContext(target("RAW_TRACEPOINT", "sched_switch"), { args: [false, { pid: 5 }] }, env));
  assert.equal([raw.length, task(raw[1]!)], [12, 5]);
  const exit = makeContext(target("TRACING", "vfs_read", "TRACE_FEXIT"), { count: 9, ret: -5 }, env);
  assert.equal(words(exit).slice(2), [9n, 0n, 0xffff_ffff_ffff_fffbn]);
  assert.is(exit.read(exit.ctx)["ret"], -5n);
  const lsm = makeContext(target("LSM", "file_open", "LSM_MAC"), { file: { f_flags: 2 } }, env);
  assert.is(env.objects.at("file", words(lsm)[0]!).get("f_flags"), 2);
  const iter = words(
    makeContext(target("TRACING", "task", "TRACE_ITER"), { meta: { seq_num: 3 }, task: { pid: 6 } }, env),
  );
  assert.equal([env.objects.at("bpf_iter_meta", iter[0]!).get("seq_num"), task(iter[1]!)], [3n, 6]);
  const ops = makeContext(target("STRUCT_OPS", "tcp_congestion_ops/ssthresh"), { args: [{ sk_protocol: 6 }] }, env);
  assert.ok(words(ops)[0]! > 0n);
  const probe = makeContext(target("KPROBE", "vfs_read"), { count: 77, ip: 5n }, env);
  assert.equal([probe.read(probe.ctx)["dx"], probe.read(probe.ctx)["ip"]], [77n, 5n]);
  const uprobe = makeContext(
    target("KPROBE", "/bin/bash:readline", undefined, "uprobe/bash:readline"),
    { args: ["prompt", 3] },
    env,
  );
  const { di, si } = uprobe.read(uprobe.ctx);
  assert.equal([env.objects.textAt(di as bigint), si], ["prompt", 3n]);
  const arm = makeContext(target("KPROBE", "vfs_read"), { count: 77 }, { ...env, arch: "arm64" });
  assert.is(arm.read(arm.ctx)["regs[2]"], 77n);
  const perf = makeContext(
    target("PERF_EVENT"),
    { regs: { ip: 0xffff_ffff_8100_0000n }, sample_period: 1000, addr: 9 },
    env,
  );
  assert.equal([perf.read(perf.ctx)["sample_period"], perf.read(perf.ctx)["addr"]], [1000n, 9n]);
  const nf = makeContext(
    target("NETFILTER"),
    { state: { hook: 1, pf: 2 }, packet: packet(eth(), ipv4(), udp(), "x") },
    env,
  );
  const skb = env.objects.at("sk_buff", nf.pointers["skb"]!);
  assert.equal(
    [skb.get("len"), skb.get("protocol"), env.objects.at("nf_hook_state", nf.pointers["state"]!).get("pf")],
    [29, 8, 2],
  );
  const start = env.objects.memory.read(skb.get("data") as bigint, 1)![0];
  assert.is(start, 0x45);
});

test("socket hooks begin with what the kernel knows of the socket, and flow keys with where the packet is", () => {
  const env = envOf();
  const connect = makeContext(
    target("CGROUP_SOCK_ADDR", undefined, "CGROUP_INET6_CONNECT"),
    { user_ip6: "fd00::9", user_port: 443 },
    env,
  );
  const { user_family: family, type, protocol, user_port: port, user_ip6: address } = connect.read(connect.ctx);
  assert.equal([family, type, protocol, port, address], [10, 1, 6, 443, "fd00::9"]);
  assert.equal([...connect.ctx.subarray(24, 28)], [1, 0xbb, 0, 0]);
  assert.is(new DataView(env.objects.memory.read(connect.pointers["sk"]!, 80)!.buffer).getUint32(4, true), 10);
  const sendmsg = makeContext(target("CGROUP_SOCK_ADDR", undefined, "CGROUP_UDP4_SENDMSG"), {}, env);
  assert.equal([sendmsg.read(sendmsg.ctx)["type"], sendmsg.read(sendmsg.ctx)["protocol"]], [2, 17]);
  const flow = makeContext(target("FLOW_DISSECTOR"), { packet: packet(eth(), ipv6(), udp()) }, env);
  const { flow_keys: keys } = flow.read(flow.ctx) as { flow_keys: Record<string, unknown> };
  assert.equal([keys["nhoff"], keys["thoff"], keys["n_proto"]], [14, 14, 0x86dd]);
  const ops = makeContext(target("SOCK_OPS"), { op: 3, args: [1, 2], remote_ip4: "192.0.2.1", remote_port: 443 }, env);
  assert.equal([...ops.ctx.subarray(24, 28), ...ops.ctx.subarray(64, 68)], [192, 0, 2, 1, 0, 0, 1, 0xbb]);
});

test("a context's memory is given back, and so is that of one that could not be made", () => {
  const vm = new Vm(collectionOf([]));
  const kernel = packagedKernel("6.12");
  const env: ContextEnv = { kernel, objects: new KernelObjects(kernel.btf, new VmWorldMemory(vm.memory)) };
  const execve = target("TRACEPOINT", "syscalls/sys_enter_execve");
  const sched = target("TRACING", "sched_switch", "TRACE_RAW_TP");
  const before = env.objects.struct("task_struct", { pid: 1 });
  let top = 0;
  for (let i = 0; i < 2000; i++) {
    makeContext(execve, { filename: "/bin/ls", argv: ["ls", "-l"] }, env).release();
    const made = makeContext(sched, { prev: before, next: { pid: 2, mm: { arg_start: 5n } } }, env);
    assert.is(made.args, 4);
    made.release();
    assert.throws(() => makeContext(sched, { prev: { pid: 1 }, next: { pidd: 2 } }, env), /next\.pidd/);
    if (i === 10) ({ top } = vm.memory);
  }
  assert.is(vm.memory.top, top);
  assert.is(before.get("pid"), 1);
});

test("what a program would not see is refused with its name", () => {
  const env = envOf();
  const cases: [ContextTarget, ContextValue, string, string | RegExp][] = [
    [target("XDP"), { pakcet: new Uint8Array(64) }, "ARGUMENT", /^pakcet: struct xdp_md has no field pakcet/],
    [target("XDP"), { packet: "x" }, "ARGUMENT", 'packet: expected bytes, got "x"'],
    [target("XDP"), { data: 5 }, "ARGUMENT", /^data: the packet's place is not a test's to choose/],
    [target("SCHED_CLS"), { mark: -(2 ** 40) }, "ARGUMENT", /^mark: expected an integer of 32 bits/],
    [target("SCHED_CLS"), { cb: [1, 2, 3, 4, 5, 6] }, "ARGUMENT", "cb: expected at most 5 values, got 6"],
    [
      target("SCHED_CLS"),
      { sk: { famly: 2 } },
      "ARGUMENT",
      /^sk\.famly: struct bpf_sock has no field famly; did you mean family\?/,
    ],
    [target("CGROUP_SOCK_ADDR"), { user_ip4: "fd00::1" }, "ARGUMENT", /^user_ip4: expected an IPv4 address/],
    [
      target("TRACEPOINT", "syscalls/sys_enter_execve"),
      { filenam: "x" },
      "ARGUMENT",
      /^filenam: syscalls:sys_enter_execve has no field filenam.*did you mean filename\?/,
    ],
    [target("TRACEPOINT", "sched/no_such"), {}, "NOT_SUPPORTED", /Linux 6\.18 has no trace event sched:no_such/],
    [
      target("TRACING", "sched_switch", "TRACE_RAW_TP"),
      { prev: { pidd: 1 } },
      "ARGUMENT",
      /^prev\.pidd: struct task_struct of this kernel has no member pidd/,
    ],
    [
      target("TRACING", "no_such_function", "TRACE_FENTRY"),
      {},
      "NOT_SUPPORTED",
      /do not say what no_such_function is called with/,
    ],
    [
      target("KPROBE", "vfs_read"),
      { cuont: 1 },
      "ARGUMENT",
      /^cuont: expected a register, args, ret, or an argument of function vfs_read/,
    ],
    [target("SYSCALL"), { x: 1 }, "ARGUMENT", /give its bytes/],
    [{ type: 99, expectedAttachType: 0 }, {}, "ARGUMENT", /^type: expected a program type from 1 to 32, got 99/],
  ];
  for (const [of, value, code, message] of cases) assert.throwsCode(() => makeContext(of, value, env), code, message);
});

test("every program type has a context, of nothing, of bytes and of arbitrary values: or a typed error", () => {
  const env = envOf("6.12");
  const targets = PROG_TYPES.filter((t) => t.name !== "UNSPEC").map((t) =>
    target(
      t.name,
      t.name === "TRACEPOINT"
        ? "sched/sched_process_exec"
        : t.name === "LSM"
          ? "file_open"
          : t.name === "TRACING"
            ? "vfs_read"
            : t.name === "STRUCT_OPS"
              ? "tcp_congestion_ops/init"
              : t.name === "RAW_TRACEPOINT"
                ? "sched_switch"
                : undefined,
      t.name === "TRACING" ? "TRACE_FEXIT" : undefined,
    ),
  );
  for (const of of targets) assert.ok(makeContext(of, {}, env).ctx.length >= 0, String(of.type));
  const names = [
    "packet",
    "mark",
    "cb",
    "sk",
    "user_ip4",
    "remote_port",
    "optval",
    "regs",
    "args",
    "ret",
    "file",
    "filename",
    "state",
    "skb",
    "sample",
    "flow_keys",
    "data_meta",
    "tstamp",
    "pid",
    "x",
  ];
  const value = fc.oneof(
    fc.integer(),
    fc.bigInt(),
    fc.double(),
    fc.string(),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 80 }),
    fc.array(fc.integer(), { maxLength: 4 }),
    fc.dictionary(
      fc.constantFrom("pid", "family", "f_flags", "ip", "src_ip4", "x"),
      fc.oneof(fc.integer(), fc.string()),
      { maxKeys: 2 },
    ),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...targets),
      fc.oneof(fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 3 }), fc.uint8Array({ maxLength: 300 })),
      (of, given) => {
        try {
          const made = makeContext(of, given as ContextValue, env);
          made.read(made.ctx);
        } catch (error) {
          if (!(error instanceof BpfkitError)) throw error;
        }
      },
    ),
    { numRuns: runs(1500) },
  );
});

test("what the kernel records of an event is what its fields make here", () => {
  requires({ root: true, capability: ["CAP_BPF", "CAP_PERFMON"], kernel: "5.8" });
  const events = [
    "sched/sched_switch",
    "syscalls/sys_enter_openat",
    "syscalls/sys_exit_openat",
    "sched/sched_wakeup",
    "raw_syscalls/sys_enter",
  ];
  const kernel: KernelTypes = kernelTypesOf(packagedKernel("6.18").btf, {
    formats: (event) => tracepointFormat(os, ...(event.split(":") as [string, string])),
  });
  const env: ContextEnv = { kernel, objects: new KernelObjects(kernel.btf, new PlainMemory()) };
  for (const event of events) {
    const format = kernel.tracepointFormat(event.replace("/", ":"))!;
    const size = Math.ceil(Math.max(...format.fields.map((f) => f.offset + f.size)) / 8) * 8;
    const words = Math.floor(Math.max(...format.fields.map((f) => f.offset + f.size)) / 8);
    // The common fields are not a program's to read.
    const copy = Array.from({ length: words - 1 }, (_, i) => [
      b.ldxMem("dw", 2, 6, i * 8 + 8),
      b.stxMem("dw", 10, 2, i * 8 - 512),
    ]).flat();
    const insns = [
      b.mov64Reg(6, 1),
      ...copy,
      ...b.ldMapFd(1, 0),
      b.mov64Reg(2, 10),
      b.add64Imm(2, -512),
      b.mov64Imm(3, words * 8 - 8),
      b.mov64Imm(4, 0),
      b.callHelper(BPF_FUNC.ringbuf_output),
      b.mov64Imm(0, 0),
      b.exit(),
    ];
    const prog = progSpec("record", BPF_PROG_TYPE.TRACEPOINT, insns, {
      section: `tracepoint/${event}`,
      attachTo: event,
      refs: [{ kind: "map", insn: 1 + copy.length, map: "events" }],
    });
    const collection = load(collectionOf([prog], [mapSpec("events", BPF_MAP_TYPE.RINGBUF, 0, 0, 1 << 16)]));
    try {
      const link = collection.prog("record").attach();
      // Something opens files, and switches to another thread and back.
      for (let i = 0; i < 20; i++) {
        try {
          readFileSync("/nonexistent");
        } catch {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
        }
      }
      link.close();
      const records: Uint8Array[] = [];
      const reader = collection.events<Uint8Array>("events");
      reader.drain((record) => records.push(record));
      reader.close();
      assert.ok(records.length > 0, event);
      for (const record of records.slice(0, 20)) {
        const whole = new Uint8Array(size);
        whole.set(record, 8);
        const fields = readRecord(format, whole);
        const made = makeContext(target("TRACEPOINT", event), fields as ContextValue, env);
        // Between its fields the kernel leaves what was there.
        for (const f of format.fields.filter((x) => x.offset >= 8 && x.offset + x.size <= words * 8))
          assert.bytes(
            made.ctx.subarray(f.offset, f.offset + f.size),
            whole.subarray(f.offset, f.offset + f.size),
            f.name,
          );
      }
    } finally {
      collection.close();
    }
  }
});

test("XDP, RAW_TRACEPOINT and SYSCALL: what TEST_RUN gives a program is in our context", () => {
  requires({ root: true, capability: ["CAP_BPF", "CAP_PERFMON"], kernel: "5.14" });
  const env = envOf();
  const run = (
    type: ProgTypeName,
    offset: number,
    size: number,
    input: { ctx?: Uint8Array; data?: Uint8Array },
    attach?: AttachTypeName,
  ): number => {
    const name = size === 8 ? "dw" : size === 4 ? "w" : "h";
    const insns = [b.ldxMem(name, 0, 1, offset), ...(type === "SK_LOOKUP" ? [b.alu64Imm("and", 0, 1)] : []), b.exit()];
    const { fd, log } = loadProg(
      progSpec(
        "read",
        BPF_PROG_TYPE[type],
        insns,
        attach === undefined ? {} : { expectedAttachType: BPF_ATTACH_TYPE[attach] },
      ),
    );
    assert.ok(fd >= 0, `${type} ${offset}: ${log}`);
    try {
      return progTestRun(os, fd, input).returnValue;
    } finally {
      os.close(fd);
    }
  };
  const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const xdp = makeContext(target("XDP"), { packet: PACKETS[0]! }, env);
  for (const offset of [12, 16])
    assert.is(run("XDP", offset, 4, { data: PACKETS[0]! }), view(xdp.ctx).getUint32(offset, true), `xdp_md+${offset}`);
  const args = makeContext(target("RAW_TRACEPOINT", "sched_switch"), { args: [true, 0x1122n, 0x3344n] }, env);
  for (const i of [0, 1, 2])
    assert.is(run("RAW_TRACEPOINT", i * 8, 8, { ctx: args.ctx }), Number(view(args.ctx).getBigUint64(i * 8, true)));
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
  assert.is(run("SYSCALL", 4, 4, { ctx: makeContext(target("SYSCALL"), bytes, env).ctx }), 0x08070605);
});
