/** Random programs of scalar arithmetic and branches. */
import fc from "fast-check";
import {
  type Insn,
  alu32Imm,
  alu32Reg,
  alu64Imm,
  alu64Reg,
  bswap,
  callHelper,
  endian,
  exit,
  jmp32Imm,
  jmp32Reg,
  jmpImm,
  jmpReg,
  ldImm64,
  ldxMem,
  ldxMemsx,
  mov32Imm,
  mov32Reg,
  mov64Imm,
  mov64Reg,
  movsx32,
  movsx64,
  neg32,
  neg64,
  stMem,
  stxMem,
} from "../../../src/asm/index.ts";

const KTIME = 5;
const reg = fc.integer({ min: 6, max: 9 });
export const imm32 = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      0,
      1,
      -1,
      2,
      3,
      7,
      8,
      10,
      255,
      256,
      0x7fff_ffff,
      -0x8000_0000,
      -0x7fff_ffff,
      -2,
      -8,
      0xffff,
      4096,
      0x1000_0000,
    ),
  },
  { weight: 2, arbitrary: fc.integer({ min: -100, max: 100 }) },
  { weight: 1, arbitrary: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }) },
);
export const imm64 = fc.oneof(
  fc.constantFrom(
    0n,
    1n,
    -1n,
    1n << 63n,
    (1n << 63n) - 1n,
    1n << 32n,
    0xffff_ffffn,
    (1n << 31n) - 1n,
    1n << 31n,
    -(1n << 31n),
    -(1n << 32n),
  ),
  fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  fc.bigInt({ min: -1000n, max: 1000n }),
);
const aluOp = fc.constantFrom(
  "add",
  "sub",
  "mul",
  "and",
  "or",
  "xor",
  "lsh",
  "rsh",
  "arsh",
  "div",
  "mod",
  "sdiv",
  "smod",
) as fc.Arbitrary<"add">;
const cond = fc.constantFrom(
  "jeq",
  "jne",
  "jgt",
  "jge",
  "jlt",
  "jle",
  "jsgt",
  "jsge",
  "jslt",
  "jsle",
  "jset",
) as fc.Arbitrary<"jeq">;

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
  {
    weight: 6,
    arbitrary: fc.tuple(aluOp, width, reg, imm32).map(([op, w, d, k]) => ({ insns: [aluImm(op, w, d, k)] })),
  },
  {
    weight: 5,
    arbitrary: fc
      .tuple(aluOp, width, reg, reg)
      .map(([op, w, d, s]) => ({ insns: [w === 64 ? alu64Reg(op, d, s) : alu32Reg(op, d, s)] })),
  },
  { weight: 1, arbitrary: fc.tuple(width, reg).map(([w, d]) => ({ insns: [w === 64 ? neg64(d) : neg32(d)] })) },
  {
    weight: 2,
    arbitrary: fc.tuple(width, reg, fc.constantFrom(8, 16, 32)).map(([w, d, f]) => ({
      insns: [w === 64 ? movsx64(d, d, f as 8) : f === 32 ? alu32Imm("add", d, 0) : movsx32(d, d, f as 8)],
    })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(reg, fc.constantFrom(16, 32, 64)).map(([d, w]) => ({ insns: [bswap(d, w as 16)] })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(reg, imm32, width)
      .map(([d, k, w]) => ({ insns: [w === 64 ? mov64Imm(d, k) : mov32Imm(d, k)] })),
  },
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

/** Puts the items in a row behind `head`, branches aimed, `tail` last. */
function assemble(head: readonly Insn[], body: readonly Item[], tail: readonly Insn[]): Insn[] {
  const sizes = body.map((b) => ("insns" in b ? b.insns.length : 1));
  const out = [...head];
  body.forEach((b, i) => {
    if ("insns" in b) {
      out.push(...b.insns);
      return;
    }
    let off = b.skip < 0 ? -1 : 0;
    for (let j = i + 1; j <= i + b.skip && j < body.length; j++) off += sizes[j]!;
    for (let j = i - 1; j > i + b.skip && j >= 0; j--) off -= sizes[j]!;
    out.push(b.branch(off));
  });
  out.push(...tail);
  return out;
}

/** Four unknown numbers in r6…r9, arithmetic and forward branches on them. Every register is read last, so that none is dead. */
export const scalarProgram = (maxLength: number): fc.Arbitrary<Insn[]> =>
  fc.array(items, { minLength: 1, maxLength }).map((body) => {
    const head: Insn[] = [];
    for (const r of [6, 7, 8, 9]) head.push(callHelper(KTIME), mov64Reg(r, 0));
    head.push(callHelper(KTIME));
    const tail = [mov64Imm(0, 0), ...[6, 7, 8, 9].map((r) => alu64Reg("add", 0, r)), exit()];
    return assemble(head, body, tail);
  });

const anyReg = fc.integer({ min: 0, max: 7 });
const BYTES = { b: 1, h: 2, w: 4, dw: 8 } as const;
/** An aligned place in the top 24 bytes of the stack. */
const slot = fc
  .tuple(fc.constantFrom("b", "h", "w", "dw") as fc.Arbitrary<keyof typeof BYTES>, fc.integer({ min: 1, max: 24 }))
  .map(([size, n]) => ({ size, off: -Math.ceil(n / BYTES[size]) * BYTES[size] }));

const one = (...insns: Insn[]): Item => ({ insns });

/** Items over r0…r7 and the stack; branches reach up to `back` items back. */
const stackItems = (back: number): fc.Arbitrary<Item> => {
  const reach = fc.integer({ min: -back, max: 6 });
  return fc.oneof(
    { weight: 6, arbitrary: fc.tuple(aluOp, width, anyReg, imm32).map(([op, w, d, k]) => one(aluImm(op, w, d, k))) },
    {
      weight: 4,
      arbitrary: fc
        .tuple(aluOp, width, anyReg, anyReg)
        .map(([op, w, d, s]) => one(w === 64 ? alu64Reg(op, d, s) : alu32Reg(op, d, s))),
    },
    {
      weight: 6,
      arbitrary: fc.tuple(width, anyReg, anyReg).map(([w, d, s]) => one(w === 64 ? mov64Reg(d, s) : mov32Reg(d, s))),
    },
    { weight: 1, arbitrary: fc.tuple(width, anyReg).map(([w, d]) => one(w === 64 ? neg64(d) : neg32(d))) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(width, anyReg, anyReg, fc.constantFrom(8, 16, 32))
        .map(([w, d, s, f]) =>
          one(w === 64 ? movsx64(d, s, f as 8) : f === 32 ? mov32Reg(d, s) : movsx32(d, s, f as 8)),
        ),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(anyReg, fc.constantFrom(16, 32, 64), fc.constantFrom("bswap", "le", "be"))
        .map(([d, w, kind]) => one(kind === "bswap" ? bswap(d, w as 16) : endian(kind as "le", d, w as 16))),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(anyReg, imm32, width).map(([d, k, w]) => one(w === 64 ? mov64Imm(d, k) : mov32Imm(d, k))),
    },
    { weight: 1, arbitrary: fc.tuple(anyReg, imm64).map(([d, k]) => one(...ldImm64(d, k))) },
    { weight: 4, arbitrary: fc.tuple(anyReg, slot).map(([s, { size, off }]) => one(stxMem(size, 10, s, off))) },
    { weight: 4, arbitrary: fc.tuple(anyReg, slot).map(([d, { size, off }]) => one(ldxMem(size, d, 10, off))) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(anyReg, slot)
        .map(([d, { size, off }]) => one(size === "dw" ? ldxMem(size, d, 10, off) : ldxMemsx(size, d, 10, off))),
    },
    { weight: 1, arbitrary: fc.tuple(imm32, slot).map(([k, { size, off }]) => one(stMem(size, 10, off, k))) },
    {
      weight: 7,
      arbitrary: fc.tuple(cond, width, anyReg, imm32, reach).map(([op, w, d, k, skip]) => ({
        skip,
        branch: (off: number) => (w === 64 ? jmpImm(op, d, k, off) : jmp32Imm(op, d, k, off)),
      })),
    },
    {
      weight: 4,
      arbitrary: fc.tuple(cond, width, anyReg, anyReg, reach).map(([op, w, d, s, skip]) => ({
        skip,
        branch: (off: number) => (w === 64 ? jmpReg(op, d, s, off) : jmp32Reg(op, d, s, off)),
      })),
    },
  );
};

/** Eight unknown numbers, copied, linked, spilled, compared; with `back` above 0 also loops. */
export const stackProgram = (maxLength: number, back: number): fc.Arbitrary<Insn[]> =>
  fc.array(stackItems(back), { minLength: 1, maxLength }).map((body) => {
    const head = [0, 1, 2, 3, 4, 5, 6, 7].map((r) => ldxMem("dw", r, 10, -32 - 8 * r));
    return assemble(head, body, [mov64Imm(0, 0), exit()]);
  });
