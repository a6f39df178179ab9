/** Dynptrs, timers, allocated objects, arenas, exceptions and the like. What the kernel can run is compared with it by the corpus. */
import * as b from "../../src/asm/index.ts";
import type { Insn } from "../../src/asm/index.ts";
import { BtfBuilder } from "../../src/btf/index.ts";
import type { InsnRef, MapSpec, ProgSpec } from "../../src/elf/spec.ts";
import { BPF_FUNC, BPF_MAP_TYPE, BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { FAULT, type UserRingBufMap, Vm, type VmFault, type VmOptions, collectionOf } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { mapSpec, progSpec } from "./kernel-run.ts";

const test = suite("vm objects");
const { SYSCALL, XDP, CGROUP_SKB } = BPF_PROG_TYPE;
const ENGINES = ["interp", "jit"] as const;
const EINVAL = -22;

const stack = (reg: number, off: number): Insn[] => [b.mov64Reg(reg, 10), b.add64Imm(reg, off)];
const call = (name: keyof typeof BPF_FUNC, ...args: readonly Insn[]): Insn[] => [...args, b.callHelper(BPF_FUNC[name])];
const int = (value: bigint): number => Number(BigInt.asIntN(32, value));

/** A program from pieces: what is not an instruction names a kfunc or map that the one before uses. */
function prog(
  pieces: readonly (Insn | { kfunc: string } | { map: string; value?: boolean })[],
  more: Partial<ProgSpec> = {},
): ProgSpec {
  const insns: Insn[] = [];
  const refs: InsnRef[] = [];
  for (const piece of pieces) {
    if ("kfunc" in piece) {
      refs.push({ kind: "kfunc", insn: insns.length, name: piece.kfunc, weak: false, btfTypeId: 0 });
      insns.push(b.callKfunc(0));
    } else if ("map" in piece) {
      const insn = insns.length;
      refs.push(
        piece.value === true
          ? { kind: "map-value", insn, map: piece.map, offset: 0 }
          : { kind: "map", insn, map: piece.map },
      );
      insns.push(...(piece.value === true ? b.ldMapValue(1, 0, 0) : b.ldMapFd(1, 0)));
    } else insns.push(piece);
  }
  return progSpec("p", SYSCALL, insns, { ...more, refs: [...refs, ...(more.refs ?? [])] });
}

/** r0 of both engines, which must agree. */
function r0(p: ProgSpec, maps: readonly MapSpec[] = [], options: VmOptions & { btf64?: Uint8Array } = {}): number {
  const results = ENGINES.map((engine) => {
    const spec = { ...collectionOf([p], maps), btf: options.btf64 };
    return int(new Vm(spec, { ...options, engine }).run("p", { ctx: new Uint8Array(64) }).r0);
  });
  assert.is(results[0], results[1], "the engines");
  return results[0]!;
}
function faultOf(p: ProgSpec, maps: readonly MapSpec[] = [], btf?: Uint8Array): VmFault {
  try {
    new Vm({ ...collectionOf([p], maps), btf }).run("p", { ctx: new Uint8Array(64) });
  } catch (error) {
    return error as VmFault;
  }
  throw new Error("no fault");
}

const ARRAY = mapSpec("a", BPF_MAP_TYPE.ARRAY, 4, 64, 1);
const RING = mapSpec("r", BPF_MAP_TYPE.RINGBUF, 0, 0, 4096);

test("dynptrs: bounds, flags, what becomes of one that failed", () => {
  const from = (size: number, flags = 0): (Insn | { map: string; value: boolean })[] => [
    { map: "a", value: true },
    b.mov64Imm(2, size),
    b.mov64Imm(3, flags),
    ...stack(4, -16),
    b.callHelper(BPF_FUNC.dynptr_from_mem),
  ];
  const write = (off: number, size: number): Insn[] => [
    b.stMem("dw", 10, -24, 0x55),
    ...call(
      "dynptr_write",
      ...stack(1, -16),
      b.mov64Imm(2, off),
      ...stack(3, -24),
      b.mov64Imm(4, size),
      b.mov64Imm(5, 0),
    ),
  ];
  const read = call(
    "dynptr_read",
    ...stack(1, -32),
    b.mov64Imm(2, 8),
    ...stack(3, -16),
    b.mov64Imm(4, 8),
    b.mov64Imm(5, 0),
  );
  assert.is(r0(prog([...from(32), b.exit()]), [ARRAY]), 0);
  assert.is(r0(prog([...from(32, 1), b.exit()]), [ARRAY]), EINVAL);
  assert.is(r0(prog([...from(0x100_0000), b.exit()]), [ARRAY]), -7);
  assert.is(r0(prog([...from(32, 1), ...write(0, 8), b.exit()]), [ARRAY]), EINVAL);
  assert.is(r0(prog([...from(32), ...write(25, 8), b.exit()]), [ARRAY]), -7);
  assert.is(r0(prog([...from(32), ...write(8, 8), ...read, b.ldxMem("dw", 0, 10, -32), b.exit()]), [ARRAY]), 0x55);
  const data = (off: number): Insn[] => call("dynptr_data", ...stack(1, -16), b.mov64Imm(2, off), b.mov64Imm(3, 8));
  assert.is(r0(prog([...from(32), ...write(8, 8), ...data(8), b.ldxMem("dw", 0, 0, 0), b.exit()]), [ARRAY]), 0x55);
  assert.is(r0(prog([...from(32), ...data(25), b.exit()]), [ARRAY]), 0);
  // Shortened from both ends, then copied.
  const adjusted = [b.mov64Imm(2, 8), b.mov64Imm(3, 20)];
  assert.is(
    r0(
      prog([
        ...from(32),
        ...stack(1, -16),
        ...adjusted,
        { kfunc: "bpf_dynptr_adjust" },
        ...stack(1, -16),
        { kfunc: "bpf_dynptr_size" },
        b.exit(),
      ]),
      [ARRAY],
    ),
    12,
  );
});

test("a dynptr record of a ring buffer is submitted once", () => {
  const reserve = [
    { map: "r" },
    b.mov64Imm(2, 16),
    b.mov64Imm(3, 0),
    ...stack(4, -16),
    b.callHelper(BPF_FUNC.ringbuf_reserve_dynptr),
  ] as const;
  const submit = call("ringbuf_submit_dynptr", ...stack(1, -16), b.mov64Imm(2, 0));
  const p = prog([...reserve, ...submit, b.mov64Imm(0, 0), b.exit()]);
  for (const engine of ENGINES) {
    const vm = new Vm(collectionOf([p], [RING]), { engine });
    vm.run("p");
    assert.is((vm.map("r") as never as { drain(): Uint8Array[] }).drain()[0]?.length, 16);
  }
  assert.is(faultOf(prog([...reserve, b.mov64Imm(0, 0), b.exit()]), [RING]).code, FAULT.LEAK);
});

test("timers fire on the world's clock", () => {
  const maps = [mapSpec("a", BPF_MAP_TYPE.ARRAY, 4, 32, 2)];
  const value = [
    b.stMem("w", 10, -4, 1),
    { map: "a" },
    ...stack(2, -4),
    b.callHelper(BPF_FUNC.map_lookup_elem),
    b.mov64Reg(6, 0),
  ] as const;
  const pieces = [
    ...value,
    { map: "a" },
    b.mov64Reg(2, 1),
    b.mov64Reg(1, 6),
    b.mov64Imm(3, 1),
    b.callHelper(BPF_FUNC.timer_init),
    b.mov64Reg(7, 0),
    b.mov64Reg(1, 6),
  ] as const;
  const main = prog(pieces);
  const at = main.insns.length;
  const insns = [
    ...main.insns,
    ...b.ldFunc(2, 0),
    b.callHelper(BPF_FUNC.timer_set_callback),
    ...call("timer_start", b.mov64Reg(1, 6), b.mov64Imm(2, 1000), b.mov64Imm(3, 0)),
    b.mov64Reg(0, 7),
    b.exit(),
  ];
  // The callback counts behind the timer, adds its key, and starts the timer anew.
  const target = insns.length;
  const callback = [
    b.ldxMem("w", 0, 2, 0),
    b.add64Imm(0, 1),
    b.ldxMem("dw", 4, 3, 16),
    b.add64Reg(4, 0),
    b.stxMem("dw", 3, 4, 16),
    ...call("timer_start", b.mov64Reg(1, 3), b.mov64Imm(2, 1000), b.mov64Imm(3, 0)),
    b.mov64Imm(0, 0),
    b.exit(),
  ];
  const p = {
    ...main,
    insns: [...insns, ...callback],
    refs: [...main.refs, { kind: "func" as const, insn: at, target }],
  };
  for (const engine of ENGINES) {
    const vm = new Vm(collectionOf([p], maps), { engine });
    const count = (): bigint =>
      new DataView(vm.map("a").lookup(new Uint8Array([1, 0, 0, 0]))!.buffer).getBigUint64(16, true);
    assert.is(vm.run("p").returnValue, 0);
    vm.advance(999);
    assert.is(count(), 0n);
    vm.advance(1);
    assert.is(count(), 2n);
    vm.advance(3000);
    assert.is(count(), 8n);
    assert.is(int(vm.run("p").r0), -16, "the timer is there already");
  }
});

test("user ring buffers are drained sample by sample", () => {
  const ring = mapSpec("u", BPF_MAP_TYPE.USER_RINGBUF, 0, 0, 4096);
  const head = prog([{ map: "u" }]);
  const insns = [
    ...head.insns,
    ...b.ldFunc(2, 0),
    b.stMem("dw", 10, -8, 0),
    ...stack(3, -8),
    b.mov64Imm(4, 0),
    b.callHelper(BPF_FUNC.user_ringbuf_drain),
    b.ldxMem("dw", 1, 10, -8),
    b.alu64Imm("mul", 1, 100),
    b.add64Reg(0, 1),
    b.exit(),
  ];
  const target = insns.length;
  const callback = [
    b.mov64Reg(6, 2),
    ...call("dynptr_data", b.mov64Imm(2, 0), b.mov64Imm(3, 8)),
    b.jmpImm("jeq", 0, 0, 4),
    b.ldxMem("dw", 1, 0, 0),
    b.ldxMem("dw", 2, 6, 0),
    b.add64Reg(2, 1),
    b.stxMem("dw", 6, 2, 0),
    b.mov64Imm(0, 0),
    b.exit(),
  ];
  const p = progSpec("p", SYSCALL, [...insns, ...callback], {
    refs: [...head.refs, { kind: "func", insn: 2, target }],
  });
  for (const engine of ENGINES) {
    const vm = new Vm(collectionOf([p], [ring]), { engine });
    const map = vm.map("u") as UserRingBufMap;
    for (const n of [5, 7]) assert.is(map.submit(new Uint8Array([n, 0, 0, 0, 0, 0, 0, 0])), 0);
    assert.is(map.submit(new Uint8Array(5000)), -7);
    assert.is(vm.run("p").returnValue, 1202);
    assert.is(vm.run("p").returnValue, 0);
  }
});

/** struct node { u64 key; struct bpf_list_node l (24 bytes); }: type 4. */
function nodeTypes(): Uint8Array {
  const builder = new BtfBuilder();
  const u64 = builder.int("unsigned long long", 8);
  builder.add({
    kind: "struct",
    name: "node",
    size: 48,
    members: [{ name: "key", type: u64, bitOffset: 0, bitSize: 0 }],
  });
  return builder.encode();
}

test("objects, and lists of them", () => {
  const btf = nodeTypes();
  const create = [b.mov64Imm(1, 2), b.mov64Imm(2, 0), { kfunc: "bpf_obj_new_impl" }] as const;
  const head = { map: "a", value: true } as const;
  const push = (key: number): (Insn | { kfunc: string } | { map: string; value: boolean })[] => [
    ...create,
    b.stMem("dw", 0, 0, key),
    b.mov64Reg(2, 0),
    b.add64Imm(2, 8),
    head,
    b.mov64Imm(3, 0),
    b.mov64Imm(4, 8),
    { kfunc: "bpf_list_push_back_impl" },
  ];
  const pop = (end: string): (Insn | { kfunc: string } | { map: string; value: boolean })[] => [
    head,
    { kfunc: end },
    b.mov64Reg(6, 0),
    b.ldxMem("dw", 7, 6, -8),
    b.mov64Reg(1, 6),
    b.add64Imm(1, -8),
    b.mov64Imm(2, 0),
    { kfunc: "bpf_obj_drop_impl" },
  ];
  const done = [b.mov64Reg(0, 7), b.exit()];
  assert.is(
    r0(prog([...push(1), ...push(2), ...push(3), ...pop("bpf_list_pop_front"), ...done]), [ARRAY], { btf64: btf }),
    1,
  );
  assert.is(
    r0(prog([...push(1), ...push(2), ...push(3), ...pop("bpf_list_pop_back"), ...done]), [ARRAY], { btf64: btf }),
    3,
  );
  assert.is(r0(prog([head, { kfunc: "bpf_list_pop_front" }, b.exit()]), [ARRAY], { btf64: btf }), 0);
  assert.is(faultOf(prog([...create, b.mov64Imm(0, 0), b.exit()]), [], btf).code, FAULT.LEAK);
  const after = prog([...push(1), ...pop("bpf_list_pop_front"), b.ldxMem("dw", 0, 6, 0), b.exit()]);
  assert.is(faultOf(after, [ARRAY], btf).code, FAULT.RELEASED);
});

test("bpf_throw ends the program from any depth", () => {
  const p = prog([b.callSubprog(1), b.exit(), b.mov64Imm(1, 77), { kfunc: "bpf_throw" }, b.mov64Imm(0, 1), b.exit()]);
  assert.is(r0(p), 77);
});

test("arenas: pages, casts, and the same bytes for both spaces", () => {
  const arena = mapSpec("ar", BPF_MAP_TYPE.ARENA, 0, 0, 4);
  const p = prog([
    { map: "ar" },
    b.mov64Imm(2, 0),
    b.mov64Imm(3, 2),
    b.mov64Imm(4, -1),
    b.mov64Imm(5, 0),
    { kfunc: "bpf_arena_alloc_pages" },
    b.mov64Reg(6, 0),
    b.addrSpaceCast(7, 6, 0, 1),
    b.stMem("dw", 7, 4096, 42),
    b.addrSpaceCast(8, 7, 1, 0),
    b.ldxMem("dw", 0, 6, 4096),
    b.jmpReg("jeq", 8, 6, 1),
    b.mov64Imm(0, 0),
    b.exit(),
  ]);
  assert.is(r0(p, [arena]), 42);
  const many = prog([
    { map: "ar" },
    b.mov64Imm(2, 0),
    b.mov64Imm(3, 5),
    b.mov64Imm(5, 0),
    { kfunc: "bpf_arena_alloc_pages" },
    b.exit(),
  ]);
  assert.is(r0(many, [arena]), 0);
});

test("strings and CPU masks", () => {
  const text = { ...ARRAY, data: new TextEncoder().encode("hello world\0".padEnd(64, "\0")) };
  const of = (name: string, ...args: readonly Insn[]): ProgSpec =>
    prog([{ map: "a", value: true }, ...args, { kfunc: name }, b.exit()]);
  assert.is(r0(of("bpf_strlen"), [text]), 11);
  assert.is(r0(of("bpf_strchr", b.mov64Imm(2, 0x6f)), [text]), 4);
  assert.is(r0(of("bpf_strrchr", b.mov64Imm(2, 0x6f)), [text]), 7);
  assert.is(r0(of("bpf_strchr", b.mov64Imm(2, 0x7a)), [text]), -2);
  assert.is(r0(of("bpf_strnlen", b.mov64Imm(2, 3)), [text]), 3);
  assert.is(r0(of("bpf_strcmp", b.mov64Reg(2, 1)), [text]), 0);
  assert.is(r0(of("bpf_strcmp", b.mov64Reg(2, 1), b.add64Imm(2, 6)), [text]), -1);
  assert.is(r0(of("bpf_strstr", b.mov64Reg(2, 1), b.add64Imm(2, 6)), [text]), 6);
  assert.is(r0(of("bpf_strlen", b.mov64Imm(1, 0)), [text]), -14);
  const mask = prog([
    { kfunc: "bpf_cpumask_create" },
    b.mov64Reg(6, 0),
    b.mov64Imm(1, 2),
    b.mov64Reg(2, 6),
    { kfunc: "bpf_cpumask_set_cpu" },
    b.mov64Reg(1, 6),
    { kfunc: "bpf_cpumask_first" },
    b.mov64Reg(7, 0),
    b.mov64Reg(1, 6),
    { kfunc: "bpf_cpumask_release" },
    b.mov64Reg(0, 7),
    b.exit(),
  ]);
  assert.is(r0(mask, [], { world: { cpus: 4 } }), 2);
});

test("cgroup storage lasts from run to run; redirects are noted", () => {
  const storage = mapSpec("s", BPF_MAP_TYPE.CGROUP_STORAGE, 8, 8, 0);
  const count = {
    ...prog([
      { map: "s" },
      b.mov64Imm(2, 0),
      b.callHelper(BPF_FUNC.get_local_storage),
      b.mov64Imm(1, 1),
      b.atomic("add", "dw", 0, 1, 0),
      b.ldxMem("dw", 0, 0, 0),
      b.exit(),
    ]),
    type: CGROUP_SKB,
  };
  const redirect = {
    ...prog([...call("redirect_peer", b.mov64Imm(1, 3), b.mov64Imm(2, 0)), b.exit()]),
    name: "r",
    type: XDP,
  };
  for (const engine of ENGINES) {
    const vm = new Vm(collectionOf([count, redirect], [storage]), { engine });
    assert.equal(
      [1, 2, 3].map(() => vm.run("p").returnValue),
      [1, 2, 3],
    );
    assert.is(vm.run("r").returnValue, 7);
    assert.equal(vm.world.actions, [{ helper: "redirect_peer", args: [3n, 0n] }]);
  }
});
