/** Random programs of scalar arithmetic and forward branches on r6…r9. */
import fc from "fast-check";
import {
  type Insn,
  alu32Imm,
  alu32Reg,
  alu64Imm,
  alu64Reg,
  bswap,
  callHelper,
  exit,
  jmp32Imm,
  jmp32Reg,
  jmpImm,
  jmpReg,
  ldImm64,
  mov32Imm,
  mov64Imm,
  mov64Reg,
  movsx32,
  movsx64,
  neg32,
  neg64,
} from "../../../src/asm/index.ts";

const KTIME = 5;
const reg = fc.integer({ min: 6, max: 9 });
export const imm32 = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(0, 1, -1, 2, 3, 7, 8, 10, 255, 256, 0x7fff_ffff, -0x8000_0000, -0x7fff_ffff, -2, -8, 0xffff, 4096, 0x1000_0000) },
  { weight: 2, arbitrary: fc.integer({ min: -100, max: 100 }) },
  { weight: 1, arbitrary: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }) },
);
export const imm64 = fc.oneof(
  fc.constantFrom(0n, 1n, -1n, 1n << 63n, (1n << 63n) - 1n, 1n << 32n, 0xffff_ffffn, (1n << 31n) - 1n, 1n << 31n, -(1n << 31n), -(1n << 32n)),
  fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  fc.bigInt({ min: -1000n, max: 1000n }),
);
const aluOp = fc.constantFrom("add", "sub", "mul", "and", "or", "xor", "lsh", "rsh", "arsh", "div", "mod", "sdiv", "smod") as fc.Arbitrary<"add">;
const cond = fc.constantFrom("jeq", "jne", "jgt", "jge", "jlt", "jle", "jsgt", "jsge", "jslt", "jsle", "jset") as fc.Arbitrary<"jeq">;

const isShift = (op: string): boolean => op === "lsh" || op === "rsh" || op === "arsh";
const isDiv = (op: string): boolean => op.endsWith("div") || op.endsWith("mod");

function aluImm(op: "add", width: number, dst: number, imm: number): Insn {
  const k = isShift(op) ? (imm >>> 0) % width : isDiv(op) && imm === 0 ? 3 : imm;
  return width === 64 ? alu64Imm(op, dst, k) : alu32Imm(op, dst, k);
}

/** One item: instructions, or a branch `skip` items ahead. */
type Item = { readonly insns: readonly Insn[] } | { readonly branch: (off: number) => Insn; readonly skip: number };

const width = fc.constantFrom(64, 32);
const items: fc.Arbitrary<Item> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(aluOp, width, reg, imm32).map(([op, w, d, k]) => ({ insns: [aluImm(op, w, d, k)] })) },
  {
    weight: 5,
    arbitrary: fc.tuple(aluOp, width, reg, reg).map(([op, w, d, s]) => ({ insns: [w === 64 ? alu64Reg(op, d, s) : alu32Reg(op, d, s)] })),
  },
  { weight: 1, arbitrary: fc.tuple(width, reg).map(([w, d]) => ({ insns: [w === 64 ? neg64(d) : neg32(d)] })) },
  {
    weight: 2,
    arbitrary: fc.tuple(width, reg, fc.constantFrom(8, 16, 32)).map(([w, d, f]) => ({
      insns: [w === 64 ? movsx64(d, d, f as 8) : f === 32 ? alu32Imm("add", d, 0) : movsx32(d, d, f as 8)],
    })),
  },
  { weight: 1, arbitrary: fc.tuple(reg, fc.constantFrom(16, 32, 64)).map(([d, w]) => ({ insns: [bswap(d, w as 16)] })) },
  { weight: 1, arbitrary: fc.tuple(reg, imm32, width).map(([d, k, w]) => ({ insns: [w === 64 ? mov64Imm(d, k) : mov32Imm(d, k)] })) },
  { weight: 1, arbitrary: fc.tuple(reg, imm64).map(([d, k]) => ({ insns: ldImm64(d, k) })) },
  {
    weight: 7,
    arbitrary: fc.tuple(cond, width, reg, imm32, fc.integer({ min: 0, max: 6 })).map(([op, w, d, k, skip]) => ({
      skip,
      branch: (off: number) => (w === 64 ? jmpImm(op, d, k, off) : jmp32Imm(op, d, k, off)),
    })),
  },
  {
    weight: 5,
    arbitrary: fc.tuple(cond, width, reg, reg, fc.integer({ min: 0, max: 6 })).map(([op, w, d, s, skip]) => ({
      skip,
      branch: (off: number) => (w === 64 ? jmpReg(op, d, s, off) : jmp32Reg(op, d, s, off)),
    })),
  },
);

/** A program: four unknown numbers, the body, and `exit`. It reads every register last, so that none is dead. */
export const scalarProgram = (maxLength: number): fc.Arbitrary<Insn[]> =>
  fc.array(items, { minLength: 1, maxLength }).map((body) => {
    const head: Insn[] = [];
    for (const r of [6, 7, 8, 9]) head.push(callHelper(KTIME), mov64Reg(r, 0));
    head.push(callHelper(KTIME));
    const sizes = body.map((b) => ("insns" in b ? b.insns.length : 1));
    const out = [...head];
    body.forEach((b, i) => {
      if ("insns" in b) out.push(...b.insns);
      else {
        let off = 0;
        for (let j = i + 1; j <= i + b.skip && j < body.length; j++) off += sizes[j]!;
        out.push(b.branch(off));
      }
    });
    out.push(mov64Imm(0, 0));
    for (const r of [6, 7, 8, 9]) out.push(alu64Reg("add", 0, r));
    out.push(exit());
    return out;
  });
