/** What a program does wrong is found, named, and shown at its source line. No kernel needed. */
import { readFileSync } from "node:fs";
import * as b from "../../src/asm/index.ts";
import { FORM, type Insn } from "../../src/asm/index.ts";
import type { MapSpec, ProgSpec } from "../../src/elf/spec.ts";
import { BPF_FUNC, BPF_MAP_TYPE, BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { FAULT, Vm, VmFault, type VmOptions, collectionOf, runProgram } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { mapSpec, progSpec } from "./kernel-run.ts";

const test = suite("vm faults");
const { SYSCALL, XDP, SCHED_CLS, TRACING } = BPF_PROG_TYPE;
const HASH = mapSpec("h", BPF_MAP_TYPE.HASH, 8, 8, 4);
const ARRAY = mapSpec("a", BPF_MAP_TYPE.ARRAY, 4, 8, 4);
const RING = mapSpec("r", BPF_MAP_TYPE.RINGBUF, 0, 0, 4096);
const MAPS = [HASH, ARRAY, RING];

function faultOf(
  insns: readonly Insn[],
  options: VmOptions & { type?: number; refs?: ProgSpec["refs"]; maps?: readonly MapSpec[] } = {},
): VmFault {
  const prog = progSpec("bad", options.type ?? SYSCALL, insns, {
    refs: options.refs ?? [],
    lines: insns.map((_, insn) => ({ insn, file: "bad.ts", text: `line ${insn + 1}`, line: insn + 1, col: 3 })),
  });
  try {
    runProgram(prog, { ...options, maps: options.maps ?? MAPS });
  } catch (error) {
    if (error instanceof VmFault) return error;
    throw error;
  }
  throw new Error("no fault");
}
function expectFault(
  insns: readonly Insn[],
  code: string,
  message: RegExp,
  line: number,
  options: Parameters<typeof faultOf>[1] = {},
): void {
  const fault = faultOf(insns, options);
  assert.is(fault.code, code, fault.message);
  assert.match(fault.message, message);
  assert.is(fault.diagnostics[0]?.labels[0]?.span.line, line);
  assert.is(fault.diagnostics[0]?.labels[0]?.span.file, "bad.ts");
}
const end = [b.mov64Imm(0, 0), b.exit()];

test("the interpreter's literals are those of the instruction tables", () => {
  const text = ["interp", "alu"]
    .map((f) => readFileSync(new URL(`../../src/vm/${f}.ts`, import.meta.url), "utf8"))
    .join("");
  const literals = [...text.matchAll(/case (0x[0-9a-f]+|\d+) \/\* (\w+) \*\/:/g)];
  const names: Readonly<Record<string, unknown>> = { ...b, ...FORM };
  assert.ok(literals.length > 50);
  for (const [, value, name] of literals) assert.is(Number(value), names[name!], name);
});

test("registers without a value", () => {
  expectFault([b.mov64Reg(0, 3), b.exit()], FAULT.UNINIT_REG, /r3 is read but has no value/, 1);
  expectFault([b.exit()], FAULT.UNINIT_REG, /r0, its result, has no value/, 1);
  expectFault(
    [...[b.callHelper(BPF_FUNC.ktime_get_ns)], b.mov64Reg(0, 1), b.exit()],
    FAULT.UNINIT_REG,
    /r1 is read/,
    2,
  );
  expectFault([b.callHelper(BPF_FUNC.strtol), b.exit()], FAULT.UNINIT_REG, /r2, an argument of the helper/, 1);
});

test("stack: outside, never written, too deep", () => {
  expectFault(
    [b.ldxMem("dw", 0, 10, -8), b.exit()],
    FAULT.UNINIT_STACK,
    /8 bytes at r10-8, which were never written/,
    1,
  );
  expectFault([b.stMem("w", 10, -8, 1), b.ldxMem("dw", 0, 10, -8), b.exit()], FAULT.UNINIT_STACK, /never written/, 2);
  expectFault(
    [b.stMem("dw", 10, -520, 1), ...end],
    FAULT.OUT_OF_BOUNDS,
    /offset -8 of the stack, which has 512 bytes/,
    1,
  );
  expectFault([b.stMem("dw", 10, 0, 1), ...end], FAULT.OUT_OF_BOUNDS, /offset 512 of the stack/, 1);
  expectFault([b.callSubprog(-1)], FAULT.CALL_DEPTH, /too deep/, 1);
  assert.is(
    runProgram(progSpec("ok", SYSCALL, [b.ldxMem("dw", 0, 10, -8), b.exit()]), { uninit: "allow" }).returnValue,
    0,
  );
});

test("packets and contexts end where they end", () => {
  const load = [b.ldxMem("w", 2, 1, 0), b.ldxMem("w", 0, 2, 62), b.exit()];
  expectFault(load, FAULT.OUT_OF_BOUNDS, /offset 62 of the packet, which has 64 bytes/, 2, { type: XDP });
  expectFault([b.ldxMem("w", 0, 1, 24), b.exit()], FAULT.OUT_OF_BOUNDS, /of the context, which has 24 bytes/, 1, {
    type: XDP,
  });
  assert.match(faultOf(load, { type: XDP }).diagnostics[0]?.help ?? "", /data_end/);
});

const lookup = (map: string, more: readonly Insn[]): { insns: Insn[]; refs: ProgSpec["refs"] } => ({
  insns: [
    b.stMem("dw", 10, -8, 0),
    ...b.ldMapFd(1, 0),
    b.mov64Reg(2, 10),
    b.add64Imm(2, -8),
    b.callHelper(BPF_FUNC.map_lookup_elem),
    ...more,
  ],
  refs: [{ kind: "map", insn: 1, map }],
});

test("map values: NULL, beyond the end, the neighbour", () => {
  const missing = lookup("h", [b.ldxMem("dw", 0, 0, 0), b.exit()]);
  expectFault(missing.insns, FAULT.OUT_OF_BOUNDS, /the pointer is NULL/, 7, missing);
  const beyond = lookup("a", [b.ldxMem("dw", 0, 0, 8), b.exit()]);
  expectFault(
    beyond.insns,
    FAULT.OUT_OF_BOUNDS,
    /offset 8 of the value at index 0 of map a, which has 8 bytes/,
    7,
    beyond,
  );
});

test("ring buffer records: used after submit, never submitted, submitted twice", () => {
  const reserve = (more: readonly Insn[]): { insns: Insn[]; refs: ProgSpec["refs"] } => ({
    insns: [
      ...b.ldMapFd(1, 0),
      b.mov64Imm(2, 16),
      b.mov64Imm(3, 0),
      b.callHelper(BPF_FUNC.ringbuf_reserve),
      b.mov64Reg(6, 0),
      ...more,
    ],
    refs: [{ kind: "map", insn: 0, map: "r" }],
  });
  const submit = [b.mov64Reg(1, 6), b.mov64Imm(2, 0), b.callHelper(BPF_FUNC.ringbuf_submit)];
  const after = reserve([...submit, b.stMem("dw", 6, 0, 1), ...end]);
  expectFault(after.insns, FAULT.RELEASED, /a record of ring buffer r, which was given back/, 10, after);
  const leak = reserve(end);
  expectFault(leak.insns, FAULT.LEAK, /a record of ring buffer r is not given back/, 5, leak);
  const twice = reserve([...submit, ...submit, ...end]);
  expectFault(twice.insns, FAULT.RELEASED, /no reserved record/, 12, twice);
  const over = reserve([b.stMem("dw", 6, 16, 1), ...end]);
  expectFault(over.insns, FAULT.OUT_OF_BOUNDS, /offset 16 of a record of ring buffer r, which has 16 bytes/, 7, over);
});

test("what is not modelled is named, and a mock answers it", () => {
  const insns = [b.mov64Imm(1, 0), b.callHelper(BPF_FUNC.sk_release), b.exit()];
  expectFault(insns, FAULT.NOT_MODELLED, /helper bpf_sk_release#86 is not modelled/, 2);
  const prog = progSpec("mocked", SYSCALL, [b.mov64Imm(1, 41), b.callHelper(BPF_FUNC.sk_release), b.exit()]);
  for (const engine of ["interp", "jit"] as const) {
    assert.is(runProgram(prog, { engine, mocks: { sk_release: ([a]) => a! + 1n } }).returnValue, 42);
  }
  const kfunc = [b.mov64Imm(1, 5), b.callKfunc(0), b.exit()];
  const refs = [{ kind: "kfunc", insn: 1, name: "bpf_nothing", weak: false, btfTypeId: 0 }] as const;
  expectFault(kfunc, FAULT.NOT_MODELLED, /kernel function bpf_nothing is not modelled/, 2, { refs });
  assert.is(
    runProgram(progSpec("k", SYSCALL, kfunc, { refs }), { mocks: { bpf_nothing: ([a]) => a! * 2n } }).returnValue,
    10,
  );
  assert.throwsCode(
    () => runProgram(progSpec("x", SYSCALL, end), { maps: [mapSpec("ops", BPF_MAP_TYPE.STRUCT_OPS, 4, 8, 1)] }),
    "NOT_SUPPORTED",
    /STRUCT_OPS/,
  );
});

test("endless loops end with the budget, in both engines", () => {
  const insns = [b.mov64Imm(0, 0), b.add64Imm(0, 1), b.ja(-2)];
  for (const engine of ["interp", "jit"] as const) {
    const fault = faultOf(insns, { engine, budget: 10_000 });
    assert.is(fault.code, FAULT.BUDGET);
    assert.is(fault.prog, "bad");
  }
});

test("compiled code stays inside the VM's memory", () => {
  for (const insns of [
    [...b.ldImm64(2, 0x1234_5678_9abcn), b.ldxMem("dw", 0, 2, 0), b.exit()],
    [b.mov64Imm(2, 16), b.stMem("dw", 2, 0, 1), ...end],
    [b.mov64Imm(2, -8), b.ldxMem("w", 0, 2, 0), b.exit()],
  ]) {
    assert.is(faultOf(insns, { engine: "jit" }).code, FAULT.OUT_OF_BOUNDS);
    assert.is(faultOf(insns).code, FAULT.OUT_OF_BOUNDS);
  }
});

test("typed kernel pointers read as zero where there is nothing", () => {
  const prog = progSpec("t", TRACING, [b.ldxMem("dw", 2, 1, 0), b.ldxMem("dw", 0, 2, 64), b.exit()]);
  for (const engine of ["interp", "jit"] as const)
    assert.is(runProgram(prog, { engine, ctx: new Uint8Array(8) }).returnValue, 0);
});

test("damaged programs are typed errors", () => {
  assert.throwsCode(() => runProgram(progSpec("e", SYSCALL, [])), "ARGUMENT");
  assert.throwsCode(() => runProgram(progSpec("e", SYSCALL, [b.ja(5)])), "ILLEGAL_INSN", /jump out of range/);
  assert.throwsCode(
    () => runProgram(progSpec("e", SYSCALL, [{ opcode: 0xff, dst: 0, src: 0, off: 0, imm: 0 }])),
    "ILLEGAL_INSN",
  );
  for (const engine of ["interp", "jit"] as const)
    assert.is(faultOf([b.mov64Imm(0, 0)], { engine }).code, FAULT.ILLEGAL);
  assert.throwsCode(() => runProgram(progSpec("e", SCHED_CLS, end), { data: new Uint8Array(5) }), "ARGUMENT", /^data/);
});

test("an irreducible graph runs through the table of blocks", () => {
  // Two blocks that jump into each other, entered from either side.
  const insns = [
    b.ldxMem("dw", 2, 1, 0),
    b.mov64Imm(0, 0),
    b.jmpImm("jset", 2, 1, 2),
    b.add64Imm(0, 3),
    b.add64Imm(2, 1),
    b.alu64Imm("mul", 0, 5),
    b.add64Imm(2, 1),
    b.jmpImm("jlt", 2, 40, -5),
    b.exit(),
  ];
  const prog = progSpec("i", SYSCALL, insns);
  for (let n = 0; n < 40; n++) {
    const ctx = new Uint8Array(8);
    ctx[0] = n;
    assert.is(runProgram(prog, { engine: "jit", ctx }).r0, runProgram(prog, { ctx }).r0);
  }
});

test("stepping, breakpoints by line, registers", () => {
  const insns = [
    b.mov64Imm(0, 0),
    b.mov64Imm(2, 3),
    b.alu64Reg("add", 0, 2),
    b.add64Imm(2, -1),
    b.jmpImm("jne", 2, 0, -3),
    b.exit(),
  ];
  const prog = progSpec("s", SYSCALL, insns, {
    lines: [
      { insn: 0, file: "s.ts", text: "", line: 1, col: 1 },
      { insn: 2, file: "s.ts", text: "", line: 2, col: 1 },
      { insn: 5, file: "s.ts", text: "", line: 3, col: 1 },
    ],
  });
  const run = new Vm(collectionOf([prog])).interpret("s");
  assert.is(run.step(), "paused");
  assert.is(run.insn, 1);
  assert.is(run.isKnown(2), false);
  assert.is(run.breakAt("s.ts", 2), true);
  assert.is(run.breakAt("s.ts", 9), false);
  const seen: bigint[] = [];
  while (run.exec(1000) === "breakpoint") seen.push(run.reg(2));
  assert.equal(seen, [3n, 2n, 1n]);
  assert.is(run.exited, true);
  assert.is(run.reg(0), 6n);
});

test("tail calls: 33 of them, then the program goes on", () => {
  const progs = mapSpec("progs", BPF_MAP_TYPE.PROG_ARRAY, 4, 4, 2, { initialSlots: [{ key: 1, target: "again" }] });
  const insns = [
    b.mov64Reg(6, 1),
    b.ldxMem("dw", 2, 6, 0),
    b.add64Imm(2, 1),
    b.stxMem("dw", 6, 2, 0),
    ...b.ldMapFd(2, 0),
    b.mov64Imm(3, 1),
    b.callHelper(BPF_FUNC.tail_call),
    b.ldxMem("dw", 0, 6, 0),
    b.exit(),
  ];
  const prog = progSpec("again", SYSCALL, insns, { refs: [{ kind: "map", insn: 4, map: "progs" }] });
  for (const engine of ["interp", "jit"] as const)
    assert.is(runProgram(prog, { engine, maps: [progs], ctx: new Uint8Array(8) }).returnValue, 34);
});

test("tail calls out of subprograms nest deeper than calls do", () => {
  const progs = mapSpec("progs", BPF_MAP_TYPE.PROG_ARRAY, 4, 4, 1, { initialSlots: [{ key: 0, target: "deep" }] });
  // The program calls a function that tail-calls the program; every return adds one.
  const insns = [
    b.callSubprog(2),
    b.add64Imm(0, 1),
    b.exit(),
    ...b.ldMapFd(2, 0),
    b.mov64Imm(3, 0),
    b.callHelper(BPF_FUNC.tail_call),
    b.mov64Imm(0, 100),
    b.exit(),
  ];
  const prog = progSpec("deep", SYSCALL, insns, { refs: [{ kind: "map", insn: 3, map: "progs" }] });
  for (const engine of ["interp", "jit"] as const)
    assert.is(runProgram(prog, { engine, maps: [progs] }).returnValue, 134);
});
