/** Files of the public conformance vectors (bpf_conformance, `tests/*.data`): sections, and the assembly that they are written in. */
import * as b from "../../src/asm/index.ts";
import {
  type AluOp,
  Assembler,
  type AtomicOp,
  type Insn,
  type JmpOp,
  type Size,
  decodeInsns,
} from "../../src/asm/index.ts";

export interface Vector {
  readonly insns: readonly Insn[];
  readonly memory: Uint8Array;
  /** All 64 bits of r0; undefined when the program must not run. */
  readonly result: bigint | undefined;
}

const SUFFIX: Readonly<Record<string, Size>> = { b: "b", h: "h", w: "w", dw: "dw" };
const reg = (text: string | undefined): number => {
  const m = /^%r(\d+)$/.exec(text ?? "");
  if (m === null) throw new Error(`no register: ${text}`);
  return Number(m[1]);
};
const isReg = (text: string | undefined): boolean => text?.startsWith("%") === true;
const int = (text: string): bigint => (text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text.replace("+", "")));
/** An immediate may be written as what its 32 bits are. */
const imm = (text: string): number => Number(BigInt.asIntN(32, int(text)));
const place = (text: string): { base: number; off: number } => {
  const m = /^\[%r(\d+)\s*([+-]\s*\w+)?\]$/.exec(text);
  if (m === null) throw new Error(`no place: ${text}`);
  return { base: Number(m[1]), off: Number(int((m[2] ?? "0").replaceAll(/\s/g, ""))) };
};

/** Where a jump goes: a label, `exit` (the last one), or so many slots on. */
function jump(asm: Assembler, target: string, make: (off: number) => Insn, label: (name: string) => void): void {
  if (/^[+-]/.test(target)) asm.emit(make(Number(int(target))));
  else label(target);
}

/** @throws Error for what it does not know */
export function assemble(text: string): Insn[] {
  const lines = text.split("\n").map((l) => l.replace(/#.*/, "").trim());
  const lastExit = lines.lastIndexOf("exit");
  const asm = new Assembler();
  lines.forEach((line, i) => {
    if (line === "") return;
    const named = /^(\w+):$/.exec(line);
    if (named !== null) return void asm.label(named[1]!);
    if (i === lastExit) asm.label("exit");
    instruction(asm, line);
  });
  return [...asm.finish().insns];
}

function instruction(asm: Assembler, line: string): void {
  const [, name, rest] = /^(lock fetch \w+|lock \w+|call local|\w+)\s*(.*)$/.exec(line)!;
  const args = rest!.split(",").map((a) => a.trim());
  const [x, y, z] = args as [string, string, string];
  const wide = !name!.endsWith("32");
  const plain = name!.replace(/32$/, "");
  if (name === "exit") return void asm.emit(b.exit());
  if (name === "lddw") return void asm.emit(...b.ldImm64(reg(x), BigInt.asIntN(64, int(y))));
  if (name === "call local") return void asm.call(x);
  if (name === "call") {
    if (isReg(x)) asm.emit({ opcode: 0x8d, dst: reg(x), src: 0, off: 0, imm: 0 });
    else asm.emit(b.callHelper(imm(x)));
    return;
  }
  if (name === "ja" || name === "ja32") return jump(asm, x, name === "ja" ? b.ja : b.gotol, (l) => asm.goto(l));
  if (plain in b.JMP_BITS) {
    const op = plain as JmpOp;
    if (isReg(y)) {
      const make = wide ? b.jmpReg : b.jmp32Reg;
      return jump(
        asm,
        z,
        (off) => make(op, reg(x), reg(y), off),
        (l) => (wide ? asm.jmpReg(op, reg(x), reg(y), l) : asm.jmp32Reg(op, reg(x), reg(y), l)),
      );
    }
    const make = wide ? b.jmpImm : b.jmp32Imm;
    return jump(
      asm,
      z,
      (off) => make(op, reg(x), imm(y), off),
      (l) => (wide ? asm.jmpImm(op, reg(x), imm(y), l) : asm.jmp32Imm(op, reg(x), imm(y), l)),
    );
  }
  if (plain in b.ALU_BITS) {
    const op = plain as AluOp;
    if (isReg(y)) asm.emit((wide ? b.alu64Reg : b.alu32Reg)(op, reg(x), reg(y)));
    else asm.emit((wide ? b.alu64Imm : b.alu32Imm)(op, reg(x), imm(y)));
    return;
  }
  if (plain === "neg") return void asm.emit((wide ? b.neg64 : b.neg32)(reg(x)));
  const swap = /^(le|be|swap|bswap)(16|32|64)$/.exec(name!);
  if (swap !== null) {
    const width = Number(swap[2]) as 16 | 32 | 64;
    return void asm.emit(
      swap[1]!.endsWith("swap") ? b.bswap(reg(x), width) : b.endian(swap[1] as "le" | "be", reg(x), width),
    );
  }
  const extend = /^movsx(8|16|32)(32|64)$/.exec(name!);
  if (extend !== null) {
    const from = Number(extend[1]);
    asm.emit(extend[2] === "64" ? b.movsx64(reg(x), reg(y), from as 8) : b.movsx32(reg(x), reg(y), from as 8));
    return;
  }
  const memory = /^(ldxs|ldx|stx|st)(dw|w|h|b)$/.exec(name!);
  if (memory !== null) {
    const size = SUFFIX[memory[2]!]!;
    const { base, off } = place(memory[1]!.startsWith("ld") ? y : x);
    if (memory[1] === "ldxs") asm.emit(b.ldxMemsx(size as "b", reg(x), base, off));
    else if (memory[1] === "ldx") asm.emit(b.ldxMem(size, reg(x), base, off));
    else if (memory[1] === "stx") asm.emit(b.stxMem(size, base, reg(y), off));
    else asm.emit(b.stMem(size, base, off, imm(y)));
    return;
  }
  const lock = /^lock (fetch )?(\w+)$/.exec(plain);
  if (lock !== null) {
    const op = lock[2] as AtomicOp;
    const { base, off } = place(x);
    const fetch = lock[1] !== undefined || op === "xchg" || op === "cmpxchg";
    asm.emit(b.atomic(op, wide ? "dw" : "w", base, reg(y), off, fetch));
    return;
  }
  throw new Error(`unknown instruction: ${line}`);
}

/** @throws Error for a file it cannot read */
export function parseVector(text: string): Vector {
  const sections = new Map<string, string>();
  let current = "";
  for (const line of text.split("\n")) {
    const head = /^-- (.+)$/.exec(line.trim());
    if (head !== null) sections.set((current = head[1]!), "");
    else if (current !== "") sections.set(current, `${sections.get(current)!}${line}\n`);
  }
  const bare = (name: string): string[] =>
    (sections.get(name) ?? "")
      .split("\n")
      .map((l) => l.replace(/#.*/, "").trim())
      .filter((l) => l !== "");
  const asm = sections.get("asm");
  const raw = new BigUint64Array(bare("raw").map((l) => BigInt(l)));
  const result = bare("result")[0];
  return {
    insns: asm === undefined ? decodeInsns(new Uint8Array(raw.buffer)) : assemble(asm),
    memory: new Uint8Array(bare("mem").flatMap((l) => l.split(/\s+/).map((x) => Number.parseInt(x, 16)))),
    result: result === undefined ? undefined : BigInt.asUintN(64, int(result)),
  };
}
