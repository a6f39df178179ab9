/**
 * One function for each instruction form, with the kernel's macro names in camel case
 * (`BPF_MOV64_IMM` is `mov64Imm`). Arguments are checked: a register is 0-10, `off` is
 * s16, `imm` is s32; anything else is an `ArgumentError`.
 *
 * Jump offsets count slots from the next instruction; `Assembler` does that by labels.
 */
import { hi32, lo32 } from "../core/int.ts";
import { ArgumentError } from "../core/errors.ts";
import type { Insn } from "./insn.ts";
import * as op from "./opcode.ts";

/** Access size: 1, 2, 4 or 8 bytes. */
export type Size = "b" | "h" | "w" | "dw";
/** Two-operand arithmetic. `sdiv` and `smod` are v4. */
export type AluOp =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "sdiv"
  | "or"
  | "and"
  | "lsh"
  | "rsh"
  | "mod"
  | "smod"
  | "xor"
  | "mov"
  | "arsh";
/** Conditions of jumps. The `s` ones compare signed. */
export type JmpOp = "jeq" | "jgt" | "jge" | "jset" | "jne" | "jsgt" | "jsge" | "jlt" | "jle" | "jslt" | "jsle";
/** Read-modify-write on memory. `xchg` and `cmpxchg` always fetch. */
export type AtomicOp = "add" | "or" | "and" | "xor" | "xchg" | "cmpxchg";

/** Opcode bits by size name. */
export const SIZE_BITS: Readonly<Record<Size, number>> = { b: op.BPF_B, h: op.BPF_H, w: op.BPF_W, dw: op.BPF_DW };
/** Opcode bits by arithmetic name. */
export const ALU_BITS: Readonly<Record<AluOp, number>> = {
  add: op.BPF_ADD,
  sub: op.BPF_SUB,
  mul: op.BPF_MUL,
  div: op.BPF_DIV,
  sdiv: op.BPF_DIV,
  or: op.BPF_OR,
  and: op.BPF_AND,
  lsh: op.BPF_LSH,
  rsh: op.BPF_RSH,
  mod: op.BPF_MOD,
  smod: op.BPF_MOD,
  xor: op.BPF_XOR,
  mov: op.BPF_MOV,
  arsh: op.BPF_ARSH,
};
/** Opcode bits by condition name. */
export const JMP_BITS: Readonly<Record<JmpOp, number>> = {
  jeq: op.BPF_JEQ,
  jgt: op.BPF_JGT,
  jge: op.BPF_JGE,
  jset: op.BPF_JSET,
  jne: op.BPF_JNE,
  jsgt: op.BPF_JSGT,
  jsge: op.BPF_JSGE,
  jlt: op.BPF_JLT,
  jle: op.BPF_JLE,
  jslt: op.BPF_JSLT,
  jsle: op.BPF_JSLE,
};
/** `imm` by atomic name, without BPF_FETCH where that is a choice. */
export const ATOMIC_BITS: Readonly<Record<AtomicOp, number>> = {
  add: op.BPF_ADD,
  or: op.BPF_OR,
  and: op.BPF_AND,
  xor: op.BPF_XOR,
  xchg: op.BPF_XCHG,
  cmpxchg: op.BPF_CMPXCHG,
};

function bits<K extends string>(table: Readonly<Record<K, number>>, name: K, argument: string): number {
  const value = Object.hasOwn(table, name) ? table[name] : undefined;
  if (value === undefined) {
    throw new ArgumentError(argument, `expected one of ${Object.keys(table).join(", ")}, got ${name}`);
  }
  return value;
}

function reg(value: number, argument: string): number {
  if (!Number.isInteger(value) || value < 0 || value > op.MAX_REG) {
    throw new ArgumentError(argument, `expected a register 0-10, got ${String(value)}`);
  }
  return value;
}

function s16(value: number, argument = "off"): number {
  if ((value << 16) >> 16 !== value) {
    throw new ArgumentError(argument, `expected a 16-bit signed integer, got ${String(value)}`);
  }
  return value;
}

function s32(value: number, argument = "imm"): number {
  if ((value | 0) !== value) {
    throw new ArgumentError(
      argument,
      `expected a 32-bit signed integer, got ${String(value)}${value > 0x7fff_ffff && value <= 0xffff_ffff ? `: write ${value | 0} (imm is sign-extended), or use ldImm64` : ""}`,
    );
  }
  return value;
}

function raw(opcode: number, dst: number, src: number, off: number, imm: number): Insn {
  // -0 passes the range checks and would differ from what decoding gives.
  return { opcode, dst: dst + 0, src: src + 0, off: off | 0, imm: imm | 0 };
}

/** Signed division and remainder are the unsigned opcodes with off 1. */
const aluOff = (name: AluOp): number => (name === "sdiv" || name === "smod" ? 1 : 0);

/** `dst op= imm`, 64 bits; imm is sign-extended. `alu64Imm("add", 1, 8)` is `r1 += 8`. */
export function alu64Imm(name: AluOp, dst: number, imm: number): Insn {
  return raw(op.BPF_ALU64 | op.BPF_K | bits(ALU_BITS, name, "op"), reg(dst, "dst"), 0, aluOff(name), s32(imm));
}
/** `dst op= src`, 64 bits. */
export function alu64Reg(name: AluOp, dst: number, src: number): Insn {
  return raw(op.BPF_ALU64 | op.BPF_X | bits(ALU_BITS, name, "op"), reg(dst, "dst"), reg(src, "src"), aluOff(name), 0);
}
/** `dst op= imm` on the low 32 bits; the high 32 become zero. */
export function alu32Imm(name: AluOp, dst: number, imm: number): Insn {
  return raw(op.BPF_ALU | op.BPF_K | bits(ALU_BITS, name, "op"), reg(dst, "dst"), 0, aluOff(name), s32(imm));
}
/** `dst op= src` on the low 32 bits; the high 32 become zero. */
export function alu32Reg(name: AluOp, dst: number, src: number): Insn {
  return raw(op.BPF_ALU | op.BPF_X | bits(ALU_BITS, name, "op"), reg(dst, "dst"), reg(src, "src"), aluOff(name), 0);
}

export const mov64Imm = (dst: number, imm: number): Insn => alu64Imm("mov", dst, imm);
export const mov64Reg = (dst: number, src: number): Insn => alu64Reg("mov", dst, src);
export const mov32Imm = (dst: number, imm: number): Insn => alu32Imm("mov", dst, imm);
export const mov32Reg = (dst: number, src: number): Insn => alu32Reg("mov", dst, src);
export const add64Imm = (dst: number, imm: number): Insn => alu64Imm("add", dst, imm);
export const add64Reg = (dst: number, src: number): Insn => alu64Reg("add", dst, src);

/** `dst = -dst`. */
export function neg64(dst: number): Insn {
  return raw(op.BPF_ALU64 | op.BPF_NEG, reg(dst, "dst"), 0, 0, 0);
}
export function neg32(dst: number): Insn {
  return raw(op.BPF_ALU | op.BPF_NEG, reg(dst, "dst"), 0, 0, 0);
}

/** `dst = (s8|s16|s32) src`, sign-extended to 64 bits (v4, kernel 6.6). */
export function movsx64(dst: number, src: number, from: 8 | 16 | 32): Insn {
  if (from !== 8 && from !== 16 && from !== 32)
    throw new ArgumentError("from", `expected 8, 16 or 32, got ${String(from)}`);
  return raw(op.BPF_ALU64 | op.BPF_MOV | op.BPF_X, reg(dst, "dst"), reg(src, "src"), from, 0);
}
/** `dst = (s8|s16) src`, sign-extended to 32 bits, the high 32 zero (v4, kernel 6.6). */
export function movsx32(dst: number, src: number, from: 8 | 16): Insn {
  if (from !== 8 && from !== 16) throw new ArgumentError("from", `expected 8 or 16, got ${String(from)}`);
  return raw(op.BPF_ALU | op.BPF_MOV | op.BPF_X, reg(dst, "dst"), reg(src, "src"), from, 0);
}

/** Low `width` bits of dst to (or from) this byte order, zero-extended: `dst = be16 dst`. */
export function endian(to: "le" | "be", dst: number, width: 16 | 32 | 64): Insn {
  if (to !== "le" && to !== "be") throw new ArgumentError("to", `expected "le" or "be", got ${String(to)}`);
  return raw(
    op.BPF_ALU | op.BPF_END | (to === "be" ? op.BPF_TO_BE : op.BPF_TO_LE),
    reg(dst, "dst"),
    0,
    0,
    endWidth(width),
  );
}
/** Swaps the low `width` bits of dst, zero-extended (v4, kernel 6.6). */
export function bswap(dst: number, width: 16 | 32 | 64): Insn {
  return raw(op.BPF_ALU64 | op.BPF_END, reg(dst, "dst"), 0, 0, endWidth(width));
}
function endWidth(width: number): number {
  if (width !== 16 && width !== 32 && width !== 64)
    throw new ArgumentError("width", `expected 16, 32 or 64, got ${String(width)}`);
  return width;
}

/** `dst = src` between arena (1) and kernel (0) address space (kernel 6.9). */
export function addrSpaceCast(dst: number, src: number, toSpace: number, fromSpace: number): Insn {
  for (const [value, name] of [
    [toSpace, "toSpace"],
    [fromSpace, "fromSpace"],
  ] as const) {
    if (!Number.isInteger(value) || value < 0 || value > 0xffff)
      throw new ArgumentError(name, `expected 0-65535, got ${String(value)}`);
  }
  return raw(
    op.BPF_ALU64 | op.BPF_MOV | op.BPF_X,
    reg(dst, "dst"),
    reg(src, "src"),
    op.BPF_ADDR_SPACE_CAST,
    (toSpace << 16) | fromSpace,
  );
}

/** `dst = *(size *)(src + off)`, zero-extended. */
export function ldxMem(size: Size, dst: number, src: number, off: number): Insn {
  return raw(op.BPF_LDX | op.BPF_MEM | bits(SIZE_BITS, size, "size"), reg(dst, "dst"), reg(src, "src"), s16(off), 0);
}
/** `dst = *(size *)(src + off)`, sign-extended to 64 bits (v4, kernel 6.6). */
export function ldxMemsx(size: "b" | "h" | "w", dst: number, src: number, off: number): Insn {
  if ((size as Size) === "dw")
    throw new ArgumentError("size", "expected b, h or w, got dw: 8 bytes need no sign extension");
  return raw(op.BPF_LDX | op.BPF_MEMSX | bits(SIZE_BITS, size, "size"), reg(dst, "dst"), reg(src, "src"), s16(off), 0);
}
/** `*(size *)(dst + off) = src`. */
export function stxMem(size: Size, dst: number, src: number, off: number): Insn {
  return raw(op.BPF_STX | op.BPF_MEM | bits(SIZE_BITS, size, "size"), reg(dst, "dst"), reg(src, "src"), s16(off), 0);
}
/** `*(size *)(dst + off) = imm`; 8 bytes get imm sign-extended. */
export function stMem(size: Size, dst: number, off: number, imm: number): Insn {
  return raw(op.BPF_ST | op.BPF_MEM | bits(SIZE_BITS, size, "size"), reg(dst, "dst"), 0, s16(off), s32(imm));
}

/**
 * Atomic read-modify-write of `*(size *)(dst + off)` with src. With `fetch` the old value
 * goes to src (always so for xchg); cmpxchg compares with r0 and leaves the old value there.
 * Plain add is v1; everything else v3 (kernel 5.12).
 */
export function atomic(name: AtomicOp, size: "w" | "dw", dst: number, src: number, off: number, fetch = false): Insn {
  if (size !== "w" && size !== "dw") throw new ArgumentError("size", `expected w or dw, got ${String(size)}`);
  return raw(
    op.BPF_STX | op.BPF_ATOMIC | SIZE_BITS[size],
    reg(dst, "dst"),
    reg(src, "src"),
    s16(off),
    bits(ATOMIC_BITS, name, "op") | (fetch ? op.BPF_FETCH : 0),
  );
}
/** `dst = load_acquire((size *)(src + off))` (kernel 6.15). */
export function loadAcquire(size: Size, dst: number, src: number, off: number): Insn {
  return raw(
    op.BPF_STX | op.BPF_ATOMIC | bits(SIZE_BITS, size, "size"),
    reg(dst, "dst"),
    reg(src, "src"),
    s16(off),
    op.BPF_LOAD_ACQ,
  );
}
/** `store_release((size *)(dst + off), src)` (kernel 6.15). */
export function storeRelease(size: Size, dst: number, src: number, off: number): Insn {
  return raw(
    op.BPF_STX | op.BPF_ATOMIC | bits(SIZE_BITS, size, "size"),
    reg(dst, "dst"),
    reg(src, "src"),
    s16(off),
    op.BPF_STORE_REL,
  );
}

/** `r0 = *(size *)skb[imm]`, network byte order; leaves the program when out of bounds. Needs r6 = ctx. */
export function ldAbs(size: "b" | "h" | "w", imm: number): Insn {
  if ((size as Size) === "dw") throw new ArgumentError("size", "expected b, h or w, got dw");
  return raw(op.BPF_LD | op.BPF_ABS | bits(SIZE_BITS, size, "size"), 0, 0, 0, s32(imm));
}
/** `r0 = *(size *)skb[src + imm]`. */
export function ldInd(size: "b" | "h" | "w", src: number, imm: number): Insn {
  if ((size as Size) === "dw") throw new ArgumentError("size", "expected b, h or w, got dw");
  return raw(op.BPF_LD | op.BPF_IND | bits(SIZE_BITS, size, "size"), 0, reg(src, "src"), 0, s32(imm));
}

function wide(dst: number, pseudo: number, lo: number, hi: number): [Insn, Insn] {
  return [raw(op.LD_IMM64, reg(dst, "dst"), pseudo, 0, lo), raw(0, 0, 0, 0, hi)];
}
/**
 * `dst = value`, two slots. `value` may be given signed or unsigned.
 * @throws ArgumentError when it does not fit 64 bits.
 */
export function ldImm64(dst: number, value: bigint | number): [Insn, Insn] {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new ArgumentError("value", `expected an integer, got ${String(value)}: use a bigint above 2^53`);
  }
  const big = BigInt(value);
  if (big < -(1n << 63n) || big >= 1n << 64n) throw new ArgumentError("value", `expected 64 bits, got ${big}`);
  return wide(dst, 0, lo32(big) | 0, hi32(BigInt.asUintN(64, big)) | 0);
}
/** `dst =` the map with this fd. */
export function ldMapFd(dst: number, fd: number): [Insn, Insn] {
  return wide(dst, op.BPF_PSEUDO_MAP_FD, s32(fd, "fd"), 0);
}
/** `dst =` the address of entry 0 of the array map with this fd, plus `offset` bytes (kernel 5.2). */
export function ldMapValue(dst: number, fd: number, offset: number): [Insn, Insn] {
  return wide(dst, op.BPF_PSEUDO_MAP_VALUE, s32(fd, "fd"), s32(offset, "offset"));
}
/** `dst =` the address of the kernel variable with this BTF id; `btfFd` is 0 for vmlinux (kernel 5.10). */
export function ldBtfId(dst: number, btfId: number, btfFd = 0): [Insn, Insn] {
  return wide(dst, op.BPF_PSEUDO_BTF_ID, s32(btfId, "btfId"), s32(btfFd, "btfFd"));
}
/** `dst =` the address of the subprogram `off` slots after the next slot (kernel 5.13). */
export function ldFunc(dst: number, off: number): [Insn, Insn] {
  return wide(dst, op.BPF_PSEUDO_FUNC, s32(off, "off"), 0);
}
/** `dst =` the map at `index` of `fd_array` (kernel 5.14). */
export function ldMapIdx(dst: number, index: number): [Insn, Insn] {
  return wide(dst, op.BPF_PSEUDO_MAP_IDX, s32(index, "index"), 0);
}
/** `dst =` the address of entry 0 of the map at `index` of `fd_array`, plus `offset` bytes (kernel 5.14). */
export function ldMapIdxValue(dst: number, index: number, offset: number): [Insn, Insn] {
  return wide(dst, op.BPF_PSEUDO_MAP_IDX_VALUE, s32(index, "index"), s32(offset, "offset"));
}

/** `goto pc+off`. */
export function ja(off: number): Insn {
  return raw(op.BPF_JMP | op.BPF_JA, 0, 0, s16(off), 0);
}
/** `gotol pc+off`: 32-bit offset (v4, kernel 6.6). */
export function gotol(off: number): Insn {
  return raw(op.BPF_JMP32 | op.BPF_JA, 0, 0, 0, s32(off, "off"));
}
/** `may_goto pc+off`: jumps once the loop's budget is used up (kernel 6.9). */
export function mayGoto(off: number): Insn {
  return raw(op.BPF_JMP | op.BPF_JCOND, 0, op.BPF_MAY_GOTO, s16(off), 0);
}
/** `if dst OP imm goto pc+off`, 64 bits; imm is sign-extended. */
export function jmpImm(name: JmpOp, dst: number, imm: number, off: number): Insn {
  return raw(op.BPF_JMP | op.BPF_K | bits(JMP_BITS, name, "op"), reg(dst, "dst"), 0, s16(off), s32(imm));
}
/** `if dst OP src goto pc+off`, 64 bits. */
export function jmpReg(name: JmpOp, dst: number, src: number, off: number): Insn {
  return raw(op.BPF_JMP | op.BPF_X | bits(JMP_BITS, name, "op"), reg(dst, "dst"), reg(src, "src"), s16(off), 0);
}
/** `if dst OP imm goto pc+off` on the low 32 bits (v3, kernel 5.1). */
export function jmp32Imm(name: JmpOp, dst: number, imm: number, off: number): Insn {
  return raw(op.BPF_JMP32 | op.BPF_K | bits(JMP_BITS, name, "op"), reg(dst, "dst"), 0, s16(off), s32(imm));
}
/** `if dst OP src goto pc+off` on the low 32 bits (v3, kernel 5.1). */
export function jmp32Reg(name: JmpOp, dst: number, src: number, off: number): Insn {
  return raw(op.BPF_JMP32 | op.BPF_X | bits(JMP_BITS, name, "op"), reg(dst, "dst"), reg(src, "src"), s16(off), 0);
}

/** `call` of the helper with this id: `callHelper(14)` is bpf_get_current_pid_tgid. */
export function callHelper(id: number): Insn {
  return raw(op.BPF_JMP | op.BPF_CALL, 0, 0, 0, s32(id, "id"));
}
/** `call pc+off`: the subprogram `off` slots after the next one (kernel 4.16). */
export function callSubprog(off: number): Insn {
  return raw(op.BPF_JMP | op.BPF_CALL, 0, op.BPF_PSEUDO_CALL, 0, s32(off, "off"));
}
/** `call` of the kernel function with this BTF id; `fdIndex` is the slot of its module's BTF in `fd_array`, 0 for vmlinux (kernel 5.13). */
export function callKfunc(btfId: number, fdIndex = 0): Insn {
  return raw(op.BPF_JMP | op.BPF_CALL, 0, op.BPF_PSEUDO_KFUNC_CALL, s16(fdIndex, "fdIndex"), s32(btfId, "btfId"));
}
/** `exit` with r0. */
export function exit(): Insn {
  return raw(op.BPF_JMP | op.BPF_EXIT, 0, 0, 0, 0);
}
