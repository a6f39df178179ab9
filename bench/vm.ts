/** Programs in user space: the JIT against the kernel's own (duration of PROG_TEST_RUN), and the way from bytes to a first result. */
import * as b from "../src/asm/index.ts";
import { Assembler, type Insn } from "../src/asm/index.ts";
import type { InsnRef, MapSpec, ProgSpec } from "../src/elf/spec.ts";
import { check, mapCreateRaw, progLoad, progTestRun, realKernel } from "../src/syscall/index.ts";
import { BPF_FUNC, BPF_MAP_TYPE, BPF_PROG_TYPE } from "../src/uapi/index.ts";
import { Vm, collectionOf } from "../src/vm/index.ts";
import { type Row, median, row, withGeomean } from "./row.ts";

const kernel = realKernel();
const map = (name: string, type: number, keySize: number, valueSize: number, maxEntries: number): MapSpec => ({
  name,
  type,
  keySize,
  valueSize,
  maxEntries,
  flags: 0,
  mapExtra: 0n,
  numaNode: undefined,
  btfKeyTypeId: 0,
  btfValueTypeId: 0,
  structOps: undefined,
  inner: undefined,
  initialSlots: [],
  data: undefined,
  frozen: false,
  pinning: "none",
  variables: [],
});
const MEM = map("mem", BPF_MAP_TYPE.ARRAY, 4, 4096, 1);
const COUNTS = map("counts", BPF_MAP_TYPE.ARRAY, 4, 8, 256);
const TABLE = map("table", BPF_MAP_TYPE.HASH, 8, 8, 1024);
const MAPS = [MEM, COUNTS, TABLE];

interface Case {
  readonly name: string;
  readonly asm: Assembler;
}

/** `count` times `body`, whose counter is r9; r7 is the memory, r8 the result. */
function looped(name: string, count: number, body: (asm: Assembler) => void, times = 1): Case {
  const asm = new Assembler();
  asm.loadMapValue(7, "mem", 0).emit(b.mov64Imm(8, 1), b.mov64Imm(9, 0)).label("loop");
  for (let i = 0; i < times; i++) body(asm);
  asm.emit(b.add64Imm(9, 1)).jmpImm("jlt", 9, count, "loop").emit(b.mov64Reg(0, 8), b.exit());
  return { name, asm };
}

const multiply = (asm: Assembler): Assembler => asm.emit(...b.ldImm64(1, 0x100_0000_01b3n), b.alu64Reg("mul", 8, 1));

function cases(): Case[] {
  return [
    looped("fnv", 4000, (asm) => {
      asm.emit(b.mov64Reg(2, 7), b.add64Reg(2, 9), b.ldxMem("b", 3, 2, 0), b.alu64Reg("xor", 8, 3));
      multiply(asm);
    }),
    looped("xorshift32", 5000, (asm) =>
      asm.emit(
        b.mov32Reg(2, 8),
        b.alu32Imm("lsh", 2, 13),
        b.alu32Reg("xor", 8, 2),
        b.mov32Reg(2, 8),
        b.alu32Imm("rsh", 2, 17),
        b.alu32Reg("xor", 8, 2),
        b.mov32Reg(2, 8),
        b.alu32Imm("lsh", 2, 5),
        b.alu32Reg("xor", 8, 2),
      ),
    ),
    looped("divide", 3000, (asm) => {
      multiply(asm);
      asm.emit(b.mov64Reg(2, 8), b.alu64Imm("div", 2, 1_000_003), b.alu64Imm("mod", 2, 977), b.add64Reg(8, 2));
    }),
    looped(
      "copy",
      500,
      (asm) => {
        asm.emit(b.mov64Reg(2, 7), b.mov64Reg(3, 9), b.alu64Imm("lsh", 3, 3), b.add64Reg(2, 3));
        asm.emit(b.ldxMem("dw", 4, 2, 0), b.add64Reg(4, 9), b.stxMem("dw", 2, 4, 8), b.add64Reg(8, 4));
      },
      6,
    ),
    looped("array map", 1000, (asm) =>
      asm
        .emit(b.mov64Reg(2, 9), b.alu64Imm("and", 2, 255), b.stxMem("w", 10, 2, -4))
        .loadMap(1, "counts")
        .emit(b.mov64Reg(2, 10), b.add64Imm(2, -4), b.callHelper(BPF_FUNC.map_lookup_elem), b.jmpImm("jeq", 0, 0, 1))
        .emit(b.atomic("add", "dw", 0, 8, 0)),
    ),
    looped("hash map", 400, (asm) => {
      multiply(asm);
      asm
        .emit(b.mov64Reg(2, 8), b.alu64Imm("and", 2, 511), b.stxMem("dw", 10, 2, -8), b.stxMem("dw", 10, 9, -16))
        .loadMap(1, "table")
        .emit(b.mov64Reg(2, 10), b.add64Imm(2, -8), b.callHelper(BPF_FUNC.map_lookup_elem), b.jmpImm("jeq", 0, 0, 2))
        .emit(b.atomic("add", "dw", 0, 9, 0), b.ja(8))
        .loadMap(1, "table")
        .emit(b.mov64Reg(2, 10), b.add64Imm(2, -8), b.mov64Reg(3, 10), b.add64Imm(3, -16), b.mov64Imm(4, 0))
        .emit(b.callHelper(BPF_FUNC.map_update_elem));
    }),
    collatz(),
  ];
}

/** Branches on data; the verifier takes its loop by may_goto. */
function collatz(): Case {
  const asm = new Assembler();
  asm
    .emit(b.mov64Imm(8, 0), b.mov64Imm(9, 1))
    .label("next")
    .mayGoto("done")
    .emit(b.mov64Reg(2, 9))
    .label("step")
    .mayGoto("done");
  asm
    .emit(b.add64Imm(8, 1))
    .jmpImm("jset", 2, 1, "odd")
    .emit(b.alu64Imm("rsh", 2, 1))
    .goto("more");
  asm.label("odd").emit(b.mov64Reg(3, 2), b.alu64Imm("lsh", 3, 1), b.add64Reg(2, 3), b.add64Imm(2, 1));
  asm.label("more").jmpImm("jgt", 2, 1, "step").emit(b.add64Imm(9, 1)).jmpImm("jle", 9, 300, "next");
  asm.label("done").emit(b.mov64Reg(0, 8), b.exit());
  return { name: "collatz", asm };
}

function progOf(name: string, asm: Assembler): ProgSpec {
  const { insns, refs } = asm.finish();
  return {
    name,
    section: "xdp",
    type: BPF_PROG_TYPE.XDP,
    expectedAttachType: 0,
    attachTo: undefined,
    autoload: true,
    flags: 0,
    insns,
    refs: refs.flatMap((r): InsnRef[] =>
      r.kind === "map" || r.kind === "map-value" ? [r] : r.kind === "kfunc" ? [] : [],
    ),
    funcs: [],
    lines: [],
    coreRelos: [],
  };
}

const DATA = new Uint8Array(64);

/** Nanoseconds of one run, as the kernel measures it. */
function kernelRun(prog: ProgSpec): { ns: number; returnValue: number } {
  const fds = new Map(
    MAPS.map((m) => [m.name, check(kernel, mapCreateRaw(kernel, { ...m, numaNode: 0 }), "BPF_MAP_CREATE")]),
  );
  const insns: Insn[] = [...prog.insns];
  for (const ref of prog.refs) if ("map" in ref) insns[ref.insn] = { ...insns[ref.insn]!, imm: fds.get(ref.map)! };
  const { result, log } = progLoad(kernel, {
    type: prog.type,
    insns: b.encodeInsns(insns),
    logLevel: 1,
    logSize: 1 << 20,
  });
  if (result < 0) throw new Error(`${prog.name}: ${log.split("\n").slice(-8).join("\n")}`);
  const { returnValue } = progTestRun(kernel, result, { data: DATA });
  const ns = median(
    Array.from({ length: 7 }, () => progTestRun(kernel, result, { data: DATA, repeat: 300 }).durationNs),
  );
  for (const fd of [result, ...fds.values()]) kernel.close(fd);
  return { ns, returnValue };
}

function vmRun(prog: ProgSpec, engine: "jit" | "interp"): { ns: number; returnValue: number; executed: number } {
  const vm = new Vm(collectionOf([prog], MAPS), { engine });
  const { returnValue, executed } = vm.run(prog.name, { data: DATA });
  const repeat = engine === "jit" ? 400 : 10;
  for (let i = 0; i < repeat; i++) vm.run(prog.name, { data: DATA });
  // CPU time: what else runs on the machine does not count, as it does not in the kernel's duration.
  const ns = median(
    Array.from({ length: 9 }, () => {
      const before = process.cpuUsage();
      for (let i = 0; i < repeat; i++) vm.run(prog.name, { data: DATA });
      const { user, system } = process.cpuUsage(before);
      return ((user + system) * 1000) / repeat;
    }),
  );
  return { ns, returnValue, executed };
}

/** From instructions to the first result, for 1,000 instructions. */
function cold(): Row {
  const asm = new Assembler().emit(b.mov64Imm(0, 1), b.mov64Imm(2, 3));
  for (let i = 0; i < 332; i++) asm.emit(b.alu64Imm("mul", 0, 31 + i), b.alu64Reg("xor", 0, 2), b.add64Imm(2, i));
  const prog = progOf("cold", asm.emit(b.mov32Reg(0, 0), b.exit()));
  const ms = median(
    Array.from({ length: 9 }, () => {
      const start = performance.now();
      new Vm(collectionOf([prog]), { engine: "jit" }).run("cold", { data: DATA });
      return performance.now() - start;
    }),
  );
  return row("vm", "1000 insns", "cold", "ms", ms, 3, "limit");
}

export async function run(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { name, asm } of cases()) {
    const prog = progOf(name.replace(" ", "_"), asm);
    const theirs = kernelRun(prog);
    const jit = vmRun(prog, "jit");
    const interp = vmRun(prog, "interp");
    if (jit.returnValue !== theirs.returnValue || interp.returnValue !== theirs.returnValue) {
      throw new Error(
        `${name}: the JIT gives ${jit.returnValue}, the interpreter ${interp.returnValue}, the kernel ${theirs.returnValue}`,
      );
    }
    rows.push(row("vm", name, "jit", "us", jit.ns / 1000, theirs.ns / 1000, "kernel"));
    rows.push(row("vm", name, "interp", "us", interp.ns / 1000, theirs.ns / 1000, "kernel"));
  }
  return [...withGeomean(rows), cold()];
}
