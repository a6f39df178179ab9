/** Every instruction against the kernel: the same operands, the same results. `FUZZ_RUNS` sets how many rounds. */
import * as b from "../../src/asm/index.ts";
import type { AluOp, Insn, JmpOp } from "../../src/asm/index.ts";
import { BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { Vm, type VmOptions, collectionOf } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { kernel, mustLoad, progSpec, testRun } from "./kernel-run.ts";
import { Random } from "./random.ts";

const test = suite("vm isa");
const ROUNDS = Math.max(1, Math.ceil(Number(process.env["FUZZ_RUNS"] ?? 300) / 50));
const ALU: AluOp[] = [
  "add",
  "sub",
  "mul",
  "div",
  "sdiv",
  "or",
  "and",
  "lsh",
  "rsh",
  "mod",
  "smod",
  "xor",
  "mov",
  "arsh",
];
const JMP: JmpOp[] = ["jeq", "jgt", "jge", "jset", "jne", "jsgt", "jsge", "jlt", "jle", "jslt", "jsle"];
const SHIFTS = new Set(["lsh", "rsh", "arsh"]);
const DIVISIONS = new Set(["div", "sdiv", "mod", "smod"]);
const needs = { root: true, kernel: "6.6" } as const;

/** What each piece does to r2 (first operand) and r3 (second). */
function check(pieces: readonly { name: string; insns: readonly Insn[] }[], random: Random, operands = 24): void {
  const insns: Insn[] = [b.mov64Reg(6, 1)];
  pieces.forEach((piece, i) => {
    insns.push(b.ldxMem("dw", 2, 6, 0), b.ldxMem("dw", 3, 6, 8), ...piece.insns, b.stxMem("dw", 6, 2, 16 + i * 8));
  });
  insns.push(b.mov64Reg(0, 2), b.exit());
  const prog = progSpec("isa", BPF_PROG_TYPE.SYSCALL, insns);
  const fd = mustLoad(prog);
  const vms = ENGINES.map((engine) => new Vm(collectionOf([prog]), engine));
  try {
    for (let k = 0; k < operands; k++) {
      const ctx = new Uint8Array(16 + pieces.length * 8);
      const view = new DataView(ctx.buffer);
      view.setBigUint64(0, random.u64(), true);
      view.setBigUint64(8, random.u64(), true);
      const expected = testRun(fd, prog.type, { ctx });
      for (const vm of vms) {
        const got = vm.run(prog.name, { ctx });
        const a = new DataView(expected.ctx.buffer);
        const g = new DataView(got.ctx.buffer);
        pieces.forEach((piece, i) => {
          const [want, have] = [a.getBigUint64(16 + i * 8, true), g.getBigUint64(16 + i * 8, true)];
          assert.is(
            have,
            want,
            `${vm.engine} ${piece.name} of 0x${view.getBigUint64(0, true).toString(16)}, 0x${view.getBigUint64(8, true).toString(16)}: 0x${have.toString(16)}, the kernel says 0x${want.toString(16)}`,
          );
        });
        assert.is(got.returnValue, expected.returnValue);
      }
    }
  } finally {
    kernel.close(fd);
  }
}
const ENGINES: readonly VmOptions[] = [{}, { engine: "jit" }];

test("arithmetic", () => {
  requires(needs);
  const random = new Random(1);
  for (let round = 0; round < ROUNDS; round++) {
    check(
      ALU.flatMap((op) => {
        const imm64 = SHIFTS.has(op) ? random.below(64) : random.s32() || 7;
        const imm32 = SHIFTS.has(op) ? random.below(32) : random.s32() || 7;
        return [
          { name: `${op}64 reg`, insns: [b.alu64Reg(op, 2, 3)] },
          { name: `${op}32 reg`, insns: [b.alu32Reg(op, 2, 3)] },
          { name: `${op}64 ${imm64}`, insns: [b.alu64Imm(op, 2, imm64)] },
          { name: `${op}32 ${imm32}`, insns: [b.alu32Imm(op, 2, imm32)] },
        ];
      }),
      random,
    );
  }
});

test("division by zero, by -1, of the smallest number", () => {
  requires(needs);
  const random = new Random(2);
  const pieces = [...DIVISIONS].flatMap((name) => {
    const op = name as AluOp;
    return [0n, -1n, 1n << 63n, 1n << 31n, 0xffff_ffffn].flatMap((second) =>
      [-(1n << 63n), 0x8000_0000n, 5n, -5n].flatMap((first) => [
        {
          name: `${op}64 ${first} by ${second}`,
          insns: [
            ...b.ldImm64(2, BigInt.asIntN(64, first)),
            ...b.ldImm64(3, BigInt.asIntN(64, second)),
            b.alu64Reg(op, 2, 3),
          ],
        },
        {
          name: `${op}32 ${first} by ${second}`,
          insns: [
            ...b.ldImm64(2, BigInt.asIntN(64, first)),
            ...b.ldImm64(3, BigInt.asIntN(64, second)),
            b.alu32Reg(op, 2, 3),
          ],
        },
      ]),
    );
  });
  check(pieces, random, 1);
});

test("negation, byte order, sign extension", () => {
  requires(needs);
  const random = new Random(3);
  check(
    [
      { name: "neg64", insns: [b.neg64(2)] },
      { name: "neg32", insns: [b.neg32(2)] },
      ...([16, 32, 64] as const).flatMap((w) => [
        { name: `le${w}`, insns: [b.endian("le", 2, w)] },
        { name: `be${w}`, insns: [b.endian("be", 2, w)] },
        { name: `bswap${w}`, insns: [b.bswap(2, w)] },
      ]),
      ...([8, 16, 32] as const).map((w) => ({ name: `movsx64 ${w}`, insns: [b.movsx64(2, 3, w)] })),
      ...([8, 16] as const).map((w) => ({ name: `movsx32 ${w}`, insns: [b.movsx32(2, 3, w)] })),
      { name: "mov64", insns: [b.mov64Reg(2, 3)] },
      { name: "mov32", insns: [b.mov32Reg(2, 3)] },
      { name: "ld_imm64", insns: b.ldImm64(2, -0x1234_5678_9abc_def0n) },
    ],
    random,
    200 * ROUNDS,
  );
});

test("branches", () => {
  requires(needs);
  const random = new Random(4);
  const pieces = (): { name: string; insns: Insn[] }[] =>
    JMP.flatMap((op) => {
      const imm = random.s32();
      const take = (branch: Insn): Insn[] => [branch, b.mov64Imm(2, 0), b.ja(1), b.mov64Imm(2, 1)];
      return [
        { name: `${op} reg`, insns: take(b.jmpReg(op, 2, 3, 2)) },
        { name: `${op} ${imm}`, insns: take(b.jmpImm(op, 2, imm, 2)) },
        { name: `${op}32 reg`, insns: take(b.jmp32Reg(op, 2, 3, 2)) },
        { name: `${op}32 ${imm}`, insns: take(b.jmp32Imm(op, 2, imm, 2)) },
      ];
    });
  // In pieces of 11 branches: the verifier follows both sides of each.
  for (let round = 0; round < ROUNDS; round++) {
    const all = pieces();
    for (let i = 0; i < all.length; i += 11) check(all.slice(i, i + 11), random, 60);
  }
  check([{ name: "gotol", insns: [b.jmpImm("jsgt", 2, 5, 1), b.gotol(1), b.mov64Imm(2, 0), b.neg64(2)] }], random);
});

test("loads, stores and atomics on the stack", () => {
  requires(needs);
  const random = new Random(5);
  const setUp = [b.stxMem("dw", 10, 2, -8), b.stxMem("dw", 10, 3, -16)];
  const read = [b.ldxMem("dw", 2, 10, -8)];
  const sizes = ["b", "h", "w", "dw"] as const;
  const bytes = { b: 1, h: 2, w: 4, dw: 8 } as const;
  const pieces: { name: string; insns: Insn[] }[] = [];
  for (const size of sizes) {
    for (let off = -16; off < 0; off += bytes[size]) {
      pieces.push({ name: `load ${size} ${off}`, insns: [...setUp, b.ldxMem(size, 2, 10, off)] });
      pieces.push({ name: `store ${size} ${off}`, insns: [...setUp, b.stxMem(size, 10, 3, off), ...read] });
      pieces.push({
        name: `store imm ${size} ${off}`,
        insns: [...setUp, b.stMem(size, 10, off, random.s32()), ...read],
      });
      if (size !== "dw") pieces.push({ name: `load s${size} ${off}`, insns: [...setUp, b.ldxMemsx(size, 2, 10, off)] });
    }
  }
  for (const size of ["w", "dw"] as const) {
    for (const op of ["add", "or", "and", "xor", "xchg", "cmpxchg"] as const) {
      for (const fetch of op === "xchg" || op === "cmpxchg" ? [true] : [false, true]) {
        const run = [...setUp, b.mov64Reg(0, 2), b.atomic(op, size, 10, 3, -8, fetch)];
        pieces.push({ name: `${op} ${size} ${fetch} memory`, insns: [...run, ...read] });
        pieces.push({
          name: `${op} ${size} ${fetch} register`,
          insns: [...run, b.mov64Reg(2, op === "cmpxchg" ? 0 : 3)],
        });
      }
      if (op === "cmpxchg") {
        const run = [...setUp, b.mov64Reg(0, 3), b.atomic(op, size, 10, 3, -8, true)];
        pieces.push(
          { name: `cmpxchg ${size} other memory`, insns: [...run, ...read] },
          { name: `cmpxchg ${size} other`, insns: [...run, b.mov64Reg(2, 0)] },
        );
      }
    }
  }
  for (let i = 0; i < pieces.length; i += 60) check(pieces.slice(i, i + 60), random, 20 * ROUNDS);
});

test("load_acquire and store_release", () => {
  requires({ root: true, kernel: "6.15" });
  const setUp = [b.stxMem("dw", 10, 2, -8), b.stxMem("dw", 10, 3, -16)];
  check(
    (["b", "h", "w", "dw"] as const).flatMap((size) => [
      { name: `load_acquire ${size}`, insns: [...setUp, b.mov64Reg(4, 10), b.loadAcquire(size, 2, 4, -16)] },
      {
        name: `store_release ${size}`,
        insns: [...setUp, b.mov64Reg(4, 10), b.storeRelease(size, 4, 3, -8), b.ldxMem("dw", 2, 10, -8)],
      },
    ]),
    new Random(6),
    50,
  );
});
