/** Helpers that the world answers, called by programs in the VM. */
import * as b from "../../../src/asm/build.ts";
import type { Insn } from "../../../src/asm/index.ts";
import { BPF_FUNC, BPF_PROG_TYPE } from "../../../src/uapi/index.ts";
import { worldHelpers } from "../../../src/testing/world/helpers.ts";
import { packagedKernel } from "../../../src/testing/world/kernel-types.ts";
import { KernelObjects } from "../../../src/testing/world/objects.ts";
import { ipBytes } from "../../../src/testing/world/packet/addresses.ts";
import { KernelWorld } from "../../../src/testing/world/world.ts";
import { VmWorldMemory } from "../../../src/testing/world-memory.ts";
import { Vm, collectionOf } from "../../../src/vm/index.ts";
import { assert, suite } from "../../harness.ts";
import { progSpec } from "../../vm/kernel-run.ts";

const test = suite("world helpers");

interface Setting {
  readonly vm: Vm;
  readonly world: KernelWorld;
}
function setting(
  insns: readonly Insn[],
  engine: "interp" | "jit",
  type: keyof typeof BPF_PROG_TYPE = "SYSCALL",
  kernel = "6.12",
): Setting {
  let world: KernelWorld | undefined;
  const vm = new Vm(collectionOf([progSpec("main", BPF_PROG_TYPE[type], insns)]), {
    engine,
    mocks: worldHelpers(() => world!),
  });
  world = new KernelWorld(new KernelObjects(packagedKernel(kernel).btf, new VmWorldMemory(vm.memory)));
  return { vm, world };
}
const call = (name: keyof typeof BPF_FUNC): Insn => b.callHelper(BPF_FUNC[name]);
const both = (check: (engine: "interp" | "jit") => void): void => {
  check("interp");
  check("jit");
};

test("the current task is a struct task_struct that programs read through its pointers", () => {
  both((engine) => {
    for (const kernel of ["6.1", "6.12", "6.18"]) {
      const { btf } = packagedKernel(kernel);
      const offset = (struct: string, member: string): number =>
        btf.findByName(struct, "struct")!.members.find((m) => m.name === member)!.bitOffset / 8;
      // task->real_parent->tgid
      const insns = [
        call("get_current_task_btf"),
        b.ldxMem("dw", 1, 0, offset("task_struct", "real_parent")),
        b.ldxMem("w", 0, 1, offset("task_struct", "tgid")),
        b.exit(),
      ];
      const { vm, world } = setting(insns, engine, "TRACING", kernel);
      world.current = world.task({ pid: 5, parent: { pid: 77 } });
      assert.is(vm.run("main").returnValue, 77, `${kernel} ${engine}`);
      world.current = world.task({ pid: 6, parent: { pid: 88 } });
      assert.is(vm.run("main").returnValue, 88);
    }
  });
});

test("bpf_d_path gives a file's path, cgroup helpers the ids of the current task's groups", () => {
  both((engine) => {
    const path = [
      b.ldxMem("dw", 1, 1, 0),
      b.mov64Reg(2, 10),
      b.add64Imm(2, -64),
      b.mov64Imm(3, 64),
      call("d_path"),
      b.ldxMem("b", 1, 10, -63),
      b.alu64Imm("lsh", 1, 8),
      b.alu64Reg("or", 0, 1),
      b.exit(),
    ];
    const { vm, world } = setting(path, engine);
    const file = world.file("/etc/passwd");
    const ctx = new Uint8Array(BigUint64Array.of(world.objects.addressOf(file, "f_path")).buffer);
    // "/etc/passwd" and its NUL, and the "e".
    assert.is(vm.run("main", { ctx }).returnValue, 12 | (0x65 << 8));
    const level = setting([b.mov64Imm(1, 1), call("get_current_ancestor_cgroup_id"), b.exit()], engine);
    level.world.current = level.world.task({ cgroup: { id: 30, parent: { id: 20, parent: { id: 10 } } } });
    assert.is(level.vm.run("main").r0, 20n);
    const own = setting([call("get_current_cgroup_id"), b.exit()], engine);
    own.world.current = own.world.task({ cgroup: { id: 30, parent: { id: 20 } } });
    assert.is(own.vm.run("main").r0, 30n);
  });
});

/** Looks a TCP socket of the tuple on the stack up, releases it if `release`, and gives its mark (or 0). */
const lookupProgram = (release: boolean): Insn[] => [
  b.ldxMem("w", 2, 1, 0),
  b.stxMem("w", 10, 2, -16),
  b.ldxMem("w", 2, 1, 4),
  b.stxMem("w", 10, 2, -12),
  b.ldxMem("w", 2, 1, 8),
  b.stxMem("w", 10, 2, -8),
  b.mov64Reg(2, 10),
  b.add64Imm(2, -16),
  b.mov64Imm(3, 12),
  b.mov64Imm(4, -1),
  b.mov64Imm(5, 0),
  call("sk_lookup_tcp"),
  b.jmpImm("jne", 0, 0, 2),
  b.mov64Imm(0, 0),
  b.exit(),
  b.ldxMem("w", 6, 0, 16),
  ...(release ? [b.mov64Reg(1, 0), call("sk_release")] : []),
  b.mov64Reg(0, 6),
  b.exit(),
];

test("socket look-ups find the connected socket first, then who listens; a socket that is kept is a leak", () => {
  both((engine) => {
    const { vm, world } = setting(lookupProgram(true), engine);
    world.socket({ local: "0.0.0.0", localPort: 80, mark: 1 });
    world.socket({ local: "10.0.0.1", localPort: 80, mark: 2 });
    world.socket({ local: "10.0.0.1", localPort: 80, remote: "10.9.9.9", remotePort: 4000, mark: 3 });
    world.socket({ protocol: "udp", local: "10.0.0.1", localPort: 81, mark: 4 });
    const from = (remote: string, remotePort: number, local: string, localPort: number): number => {
      const ctx = new Uint8Array(12);
      ctx.set(ipBytes(remote));
      ctx.set(ipBytes(local), 4);
      new DataView(ctx.buffer).setUint16(8, remotePort);
      new DataView(ctx.buffer).setUint16(10, localPort);
      return vm.run("main", { ctx }).returnValue;
    };
    assert.equal(
      [
        from("10.9.9.9", 4000, "10.0.0.1", 80),
        from("10.9.9.9", 4001, "10.0.0.1", 80),
        from("10.9.9.9", 1, "10.0.0.2", 80),
        from("10.9.9.9", 1, "10.0.0.1", 81),
      ],
      [3, 2, 1, 0],
    );
  });
  const { vm, world } = setting(lookupProgram(false), "interp");
  world.socket({ localPort: 0, mark: 9 });
  assert.throws(
    () => vm.run("main", { ctx: new Uint8Array(12) }),
    /the socket that bpf_sk_lookup_tcp gave is not given back/,
  );
});

test("bpf_fib_lookup follows the longest prefix to the neighbour", () => {
  // Copies the 64 bytes of params from ctx to the stack, looks up, and copies them back.
  const copy = (back: boolean): Insn[] =>
    Array.from({ length: 8 }, (_, i) =>
      back
        ? [b.ldxMem("dw", 2, 10, -64 + i * 8), b.stxMem("dw", 6, 2, i * 8)]
        : [b.ldxMem("dw", 2, 6, i * 8), b.stxMem("dw", 10, 2, -64 + i * 8)],
    ).flat();
  const insns = [
    b.mov64Reg(6, 1),
    ...copy(false),
    b.mov64Reg(1, 6),
    b.mov64Reg(2, 10),
    b.add64Imm(2, -64),
    b.mov64Imm(3, 64),
    b.mov64Imm(4, 0),
    call("fib_lookup"),
    b.mov64Reg(7, 0),
    ...copy(true),
    b.mov64Reg(0, 7),
    b.exit(),
  ];
  both((engine) => {
    const { vm, world } = setting(insns, engine);
    world.device({ ifindex: 2, name: "eth0", mtu: 1400 });
    world.route({ to: "0.0.0.0/0", ifindex: 2, via: "10.0.0.254", dmac: "02:00:00:00:00:fe" });
    world.route({ to: "10.0.0.0/8", ifindex: 3, dmac: "02:00:00:00:00:0a", smac: "02:00:00:00:00:03" });
    world.route({ to: "10.1.0.0/16", ifindex: 4, type: "blackhole" });
    world.route({ to: "10.2.0.0/16", ifindex: 5 });
    const lookup = (
      to: string,
      length = 0,
    ): { result: number; ifindex: number; dst: number[]; dmac: number[]; mtu: number } => {
      const ctx = new Uint8Array(64);
      ctx[0] = 2;
      new DataView(ctx.buffer).setUint16(6, length, true);
      ctx.set(ipBytes(to), 32);
      const run = vm.run("main", { ctx });
      const view = new DataView(run.ctx.buffer);
      return {
        result: run.returnValue,
        ifindex: view.getUint32(8, true),
        dst: [...run.ctx.subarray(32, 36)],
        dmac: [...run.ctx.subarray(58, 64)],
        mtu: view.getUint16(6, true),
      };
    };
    assert.equal(lookup("10.3.0.1", 100), {
      result: 0,
      ifindex: 3,
      dst: [10, 3, 0, 1],
      dmac: [2, 0, 0, 0, 0, 10],
      mtu: 1500,
    });
    assert.equal(lookup("192.0.2.1"), {
      result: 0,
      ifindex: 2,
      dst: [10, 0, 0, 254],
      dmac: [2, 0, 0, 0, 0, 0xfe],
      mtu: 0,
    });
    assert.is(lookup("10.1.2.3").result, 1);
    assert.is(lookup("10.2.2.3").result, 7);
    assert.equal([lookup("192.0.2.1", 1401).result, lookup("192.0.2.1", 1401).mtu], [8, 1400]);
    world.routes.length = 0;
    assert.is(lookup("192.0.2.1").result, 4);
  });
});

test("per-CPU variables have a value a CPU", () => {
  both((engine) => {
    const insns = [
      b.ldxMem("w", 2, 1, 8),
      b.ldxMem("dw", 1, 1, 0),
      call("per_cpu_ptr"),
      b.jmpImm("jne", 0, 0, 1),
      b.exit(),
      b.ldxMem("w", 0, 0, 0),
      b.exit(),
    ];
    const { vm, world } = setting(insns, engine);
    const variable = world.perCpuVariable("unsigned int", [11, 22, 33]);
    const at = (cpu: number): number => {
      const ctx = new Uint8Array(16);
      new DataView(ctx.buffer).setBigUint64(0, variable.address, true);
      new DataView(ctx.buffer).setUint32(8, cpu, true);
      return vm.run("main", { ctx }).returnValue;
    };
    assert.equal([at(0), at(1), at(2), at(3)], [11, 22, 33, 0]);
  });
});

test("socket options, groups of sockets, types and symbols by name, registers of the task", () => {
  both((engine) => {
    const option = (name: "getsockopt" | "setsockopt"): Insn[] => [
      b.mov64Reg(1, 6),
      b.mov64Imm(2, 6),
      b.mov64Imm(3, 1),
      b.mov64Reg(4, 10),
      b.add64Imm(4, -4),
      b.mov64Imm(5, 4),
      call(name),
    ];
    const roundTrip = setting(
      [
        b.mov64Reg(6, 1),
        b.stMem("w", 10, -4, 77),
        ...option("setsockopt"),
        b.stMem("w", 10, -4, 0),
        ...option("getsockopt"),
        b.ldxMem("w", 0, 10, -4),
        b.exit(),
      ],
      engine,
    );
    assert.is(roundTrip.vm.run("main").returnValue, 77);
    const unset = setting([b.mov64Reg(6, 1), ...option("getsockopt"), b.exit()], engine);
    assert.throws(() => unset.vm.run("main"), /nothing is known of the socket's option 1 of level 6/);

    const group = setting([b.ldxMem("dw", 1, 1, 0), b.mov64Imm(2, 1), call("sk_ancestor_cgroup_id"), b.exit()], engine);
    const cgroup = group.world.cgroup({ id: 9, parent: { id: 8, parent: { id: 1 } } });
    const socket = group.world.socket({ localPort: 1, cgroup });
    assert.is(group.vm.run("main", { ctx: new Uint8Array(BigUint64Array.of(socket.address).buffer) }).r0, 8n);

    const regs = setting(
      [call("get_current_task_btf"), b.mov64Reg(1, 0), call("task_pt_regs"), b.ldxMem("dw", 0, 0, 128), b.exit()],
      engine,
      "TRACING",
    );
    regs.world.regsOf(regs.world.current.address).set({ ip: 0x401000n });
    assert.is(regs.vm.run("main").r0, 0x401000n);

    const words = (text: string): Insn[] =>
      Array.from(text.padEnd(16, "\0"), (c, i) => b.stMem("b", 10, i - 16, c.charCodeAt(0)));
    const find = setting(
      [
        ...words("task_struct"),
        b.mov64Reg(1, 10),
        b.add64Imm(1, -16),
        b.mov64Imm(2, 12),
        b.mov64Imm(3, 4),
        b.mov64Imm(4, 0),
        call("btf_find_by_name_kind"),
        b.exit(),
      ],
      engine,
    );
    assert.is(find.vm.run("main").returnValue, packagedKernel("6.12").btf.findId("task_struct", "struct"));
  });
});

test("a sysctl is read and rewritten", () => {
  both((engine) => {
    const buffer = (size: number): Insn[] => [
      b.mov64Reg(1, 6),
      b.mov64Reg(2, 10),
      b.add64Imm(2, -32),
      b.mov64Imm(3, size),
    ];
    const name = setting(
      [
        b.mov64Reg(6, 1),
        ...buffer(32),
        b.mov64Imm(4, 1),
        call("sysctl_get_name"),
        b.ldxMem("w", 1, 10, -32),
        b.alu64Imm("lsh", 1, 8),
        b.alu64Reg("or", 0, 1),
        b.exit(),
      ],
      engine,
    );
    name.world.sysctl = { name: "net/ipv4/tcp_mem", current: "1 2 3\n", next: "4 5 6" };
    const r0 = name.vm.run("main").r0;
    assert.is(r0, BigInt("tcp_mem".length) | (0x5f706374n << 8n));
    const next = setting(
      [b.mov64Reg(6, 1), b.stMem("w", 10, -32, 0x0039), ...buffer(2), call("sysctl_set_new_value"), b.exit()],
      engine,
    );
    next.world.sysctl = { name: "x/y", current: "1", next: "2" };
    assert.is(next.vm.run("main").returnValue, 0);
    assert.is(next.world.sysctl.next, "9");
    next.world.sysctl = { name: "x/y", current: "1" };
    assert.is(next.vm.run("main").returnValue | 0, -22);
    next.world.sysctl = undefined;
    const read = setting([b.mov64Reg(6, 1), ...buffer(8), call("sysctl_get_current_value"), b.exit()], engine);
    assert.throws(() => read.vm.run("main"), /nothing is known of the sysctl/);
  });
});
