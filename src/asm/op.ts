/**
 * Instructions by meaning: `toOp` reads raw slots into a union with one case for each
 * kind of instruction, `fromOp` writes it back. Both are total: an encoding that is no
 * instruction is a typed error, an `Op` that fits no encoding too.
 *
 * Loops that must not allocate read the raw fields (`FORM_OF`, `InsnColumns`) instead.
 */
import { ArgumentError } from "../core/errors.ts";
import * as build from "./build.ts";
import type { AluOp, AtomicOp, JmpOp, Size } from "./build.ts";
import { checkInsn, FORM, FORM_OF, illegalInsnError } from "./check.ts";
import type { Insn } from "./insn.ts";
import * as op from "./opcode.ts";

/** The second operand of arithmetic, stores and branches. `imm` is s32, sign-extended for 64-bit work. */
export type Operand = { readonly kind: "reg"; readonly reg: number } | { readonly kind: "imm"; readonly imm: number };

/** What the 64 bits of an ld_imm64 are. `lo` and `hi` of a constant are its halves as s32. */
export type WideValue =
  | { readonly kind: "const"; readonly lo: number; readonly hi: number }
  | { readonly kind: "map-fd"; readonly fd: number }
  | { readonly kind: "map-value"; readonly fd: number; readonly offset: number }
  | { readonly kind: "btf-id"; readonly btfId: number; readonly btfFd: number }
  /** Slots from the second slot of this instruction to the subprogram. */
  | { readonly kind: "func"; readonly off: number }
  | { readonly kind: "map-idx"; readonly index: number }
  | { readonly kind: "map-idx-value"; readonly index: number; readonly offset: number };

/** Jump offsets (`off`) count slots from the following instruction; memory offsets count bytes. */
export type Op =
  | { readonly kind: "alu"; readonly op: AluOp; readonly width: 32 | 64; readonly dst: number; readonly src: Operand }
  | { readonly kind: "neg"; readonly width: 32 | 64; readonly dst: number }
  /** `dst = (s<from>) src`. */
  | {
      readonly kind: "movsx";
      readonly width: 32 | 64;
      readonly from: 8 | 16 | 32;
      readonly dst: number;
      readonly src: number;
    }
  | { readonly kind: "end"; readonly to: "le" | "be" | "swap"; readonly width: 16 | 32 | 64; readonly dst: number }
  | {
      readonly kind: "addr-space-cast";
      readonly dst: number;
      readonly src: number;
      readonly toSpace: number;
      readonly fromSpace: number;
    }
  | {
      readonly kind: "load";
      readonly size: Size;
      readonly signed: boolean;
      readonly dst: number;
      readonly src: number;
      readonly off: number;
    }
  | { readonly kind: "store"; readonly size: Size; readonly dst: number; readonly off: number; readonly src: Operand }
  /** `fetch` is always true for xchg and cmpxchg. */
  | {
      readonly kind: "atomic";
      readonly op: AtomicOp;
      readonly fetch: boolean;
      readonly size: "w" | "dw";
      readonly dst: number;
      readonly src: number;
      readonly off: number;
    }
  | {
      readonly kind: "load-acquire";
      readonly size: Size;
      readonly dst: number;
      readonly src: number;
      readonly off: number;
    }
  | {
      readonly kind: "store-release";
      readonly size: Size;
      readonly dst: number;
      readonly src: number;
      readonly off: number;
    }
  | { readonly kind: "ld-abs"; readonly size: "b" | "h" | "w"; readonly imm: number }
  | { readonly kind: "ld-ind"; readonly size: "b" | "h" | "w"; readonly src: number; readonly imm: number }
  | { readonly kind: "ld-imm64"; readonly dst: number; readonly value: WideValue }
  /** `long`: gotol, whose offset is 32 bits. */
  | { readonly kind: "goto"; readonly long: boolean; readonly off: number }
  | { readonly kind: "may-goto"; readonly off: number }
  | {
      readonly kind: "branch";
      readonly op: JmpOp;
      readonly width: 32 | 64;
      readonly dst: number;
      readonly src: Operand;
      readonly off: number;
    }
  | { readonly kind: "call-helper"; readonly id: number }
  | { readonly kind: "call-subprog"; readonly off: number }
  | { readonly kind: "call-kfunc"; readonly btfId: number; readonly fdIndex: number }
  | { readonly kind: "exit" };

const ALU_NAMES: Readonly<Record<number, AluOp>> = {
  [op.BPF_ADD]: "add",
  [op.BPF_SUB]: "sub",
  [op.BPF_MUL]: "mul",
  [op.BPF_DIV]: "div",
  [op.BPF_OR]: "or",
  [op.BPF_AND]: "and",
  [op.BPF_LSH]: "lsh",
  [op.BPF_RSH]: "rsh",
  [op.BPF_MOD]: "mod",
  [op.BPF_XOR]: "xor",
  [op.BPF_MOV]: "mov",
  [op.BPF_ARSH]: "arsh",
};
const JMP_NAMES: Readonly<Record<number, JmpOp>> = Object.fromEntries(
  Object.entries(build.JMP_BITS).map(([name, code]) => [code, name as JmpOp]),
);
const ATOMIC_NAMES: Readonly<Record<number, AtomicOp>> = {
  [op.BPF_ADD]: "add",
  [op.BPF_OR]: "or",
  [op.BPF_AND]: "and",
  [op.BPF_XOR]: "xor",
  [op.BPF_XCHG]: "xchg",
  [op.BPF_CMPXCHG]: "cmpxchg",
};

/** Access size of a load or store opcode. */
export function sizeName(opcode: number): Size {
  switch (op.sizeOf(opcode)) {
    case op.BPF_B:
      return "b";
    case op.BPF_H:
      return "h";
    case op.BPF_W:
      return "w";
    default:
      return "dw";
  }
}

/** Access size in bytes of a load or store opcode. */
export function sizeBytes(opcode: number): 1 | 2 | 4 | 8 {
  switch (op.sizeOf(opcode)) {
    case op.BPF_B:
      return 1;
    case op.BPF_H:
      return 2;
    case op.BPF_W:
      return 4;
    default:
      return 8;
  }
}

/**
 * The instruction that starts at slot `index`.
 *
 * @throws DecodeError (code "ILLEGAL_INSN", byte offset and field in it) when none does.
 * @example
 * toOp([exit()], 0); // { kind: "exit" }
 */
export function toOp(insns: readonly Insn[], index: number): Op {
  const illegal = checkInsn(insns, index);
  if (illegal !== undefined) throw illegalInsnError(index, illegal);
  return read(insns, index);
}

function read(insns: readonly Insn[], index: number): Op {
  const insn = insns[index]!;
  const { opcode, dst, src, off, imm } = insn;
  const form = FORM_OF[opcode];
  switch (form) {
    case FORM.ALU_K:
    case FORM.ALU_X:
    case FORM.DIV_K:
    case FORM.DIV_X:
    case FORM.MOV_K:
      return { kind: "alu", op: aluName(opcode, off), width: aluWidth(opcode), dst, src: operand(insn) };
    case FORM.MOV_X: {
      const width = aluWidth(opcode);
      if (off === 0) return { kind: "alu", op: "mov", width, dst, src: operand(insn) };
      if (off === op.BPF_ADDR_SPACE_CAST) {
        return { kind: "addr-space-cast", dst, src, toSpace: imm >>> 16, fromSpace: imm & 0xffff };
      }
      return { kind: "movsx", width, from: off as 8 | 16 | 32, dst, src };
    }
    case FORM.NEG:
      return { kind: "neg", width: aluWidth(opcode), dst };
    case FORM.END:
      return { kind: "end", to: (opcode & op.BPF_TO_BE) === 0 ? "le" : "be", width: imm as 16 | 32 | 64, dst };
    case FORM.BSWAP:
      return { kind: "end", to: "swap", width: imm as 16 | 32 | 64, dst };
    case FORM.LDX:
    case FORM.LDSX:
      return { kind: "load", size: sizeName(opcode), signed: form === FORM.LDSX, dst, src, off };
    case FORM.ST:
      return { kind: "store", size: sizeName(opcode), dst, off, src: { kind: "imm", imm } };
    case FORM.STX:
      return { kind: "store", size: sizeName(opcode), dst, off, src: { kind: "reg", reg: src } };
    case FORM.ATOMIC:
      return readAtomic(insn);
    case FORM.LD_IMM64:
      return { kind: "ld-imm64", dst, value: wideValue(src, imm, insns[index + 1]!.imm) };
    case FORM.LD_ABS:
      return { kind: "ld-abs", size: sizeName(opcode) as "b" | "h" | "w", imm };
    case FORM.LD_IND:
      return { kind: "ld-ind", size: sizeName(opcode) as "b" | "h" | "w", src, imm };
    case FORM.JA:
      return { kind: "goto", long: false, off };
    case FORM.GOTOL:
      return { kind: "goto", long: true, off: imm };
    case FORM.MAY_GOTO:
      return { kind: "may-goto", off };
    case FORM.CALL:
      if (src === op.BPF_PSEUDO_CALL) return { kind: "call-subprog", off: imm };
      if (src === op.BPF_PSEUDO_KFUNC_CALL) return { kind: "call-kfunc", btfId: imm, fdIndex: off };
      return { kind: "call-helper", id: imm };
    case FORM.EXIT:
      return { kind: "exit" };
    default:
      return {
        kind: "branch",
        op: JMP_NAMES[op.codeOf(opcode)]!,
        width: op.classOf(opcode) === op.BPF_JMP ? 64 : 32,
        dst,
        src: operand(insn),
        off,
      };
  }
}

const aluWidth = (opcode: number): 32 | 64 => (op.classOf(opcode) === op.BPF_ALU64 ? 64 : 32);

function aluName(opcode: number, off: number): AluOp {
  const name = ALU_NAMES[op.codeOf(opcode)]!;
  if (off !== 1) return name;
  return name === "div" ? "sdiv" : "smod";
}

function operand(insn: Insn): Operand {
  return op.sourceOf(insn.opcode) === op.BPF_X ? { kind: "reg", reg: insn.src } : { kind: "imm", imm: insn.imm };
}

function readAtomic({ opcode, dst, src, off, imm }: Insn): Op {
  const size = sizeName(opcode);
  if (imm === op.BPF_LOAD_ACQ) return { kind: "load-acquire", size, dst, src, off };
  if (imm === op.BPF_STORE_REL) return { kind: "store-release", size, dst, src, off };
  const name = ATOMIC_NAMES[imm] ?? ATOMIC_NAMES[imm & ~op.BPF_FETCH]!;
  return { kind: "atomic", op: name, fetch: (imm & op.BPF_FETCH) !== 0, size: size as "w" | "dw", dst, src, off };
}

function wideValue(pseudo: number, lo: number, hi: number): WideValue {
  switch (pseudo) {
    case op.BPF_PSEUDO_MAP_FD:
      return { kind: "map-fd", fd: lo };
    case op.BPF_PSEUDO_MAP_VALUE:
      return { kind: "map-value", fd: lo, offset: hi };
    case op.BPF_PSEUDO_BTF_ID:
      return { kind: "btf-id", btfId: lo, btfFd: hi };
    case op.BPF_PSEUDO_FUNC:
      return { kind: "func", off: lo };
    case op.BPF_PSEUDO_MAP_IDX:
      return { kind: "map-idx", index: lo };
    case op.BPF_PSEUDO_MAP_IDX_VALUE:
      return { kind: "map-idx-value", index: lo, offset: hi };
    default:
      return { kind: "const", lo, hi };
  }
}

/**
 * The slots of `o`: two for ld-imm64, else one.
 *
 * @throws ArgumentError naming the field that does not fit.
 */
export function fromOp(o: Op): Insn[] {
  switch (o.kind) {
    case "alu":
      if (o.src.kind === "reg") return [(o.width === 64 ? build.alu64Reg : build.alu32Reg)(o.op, o.dst, o.src.reg)];
      return [(o.width === 64 ? build.alu64Imm : build.alu32Imm)(o.op, o.dst, o.src.imm)];
    case "neg":
      return [(o.width === 64 ? build.neg64 : build.neg32)(o.dst)];
    case "movsx":
      return [o.width === 64 ? build.movsx64(o.dst, o.src, o.from) : build.movsx32(o.dst, o.src, o.from as 8 | 16)];
    case "end":
      return [o.to === "swap" ? build.bswap(o.dst, o.width) : build.endian(o.to, o.dst, o.width)];
    case "addr-space-cast":
      return [build.addrSpaceCast(o.dst, o.src, o.toSpace, o.fromSpace)];
    case "load":
      return [
        o.signed
          ? build.ldxMemsx(o.size as "b" | "h" | "w", o.dst, o.src, o.off)
          : build.ldxMem(o.size, o.dst, o.src, o.off),
      ];
    case "store":
      if (o.src.kind === "reg") return [build.stxMem(o.size, o.dst, o.src.reg, o.off)];
      return [build.stMem(o.size, o.dst, o.off, o.src.imm)];
    case "atomic":
      return [build.atomic(o.op, o.size, o.dst, o.src, o.off, o.fetch)];
    case "load-acquire":
      return [build.loadAcquire(o.size, o.dst, o.src, o.off)];
    case "store-release":
      return [build.storeRelease(o.size, o.dst, o.src, o.off)];
    case "ld-abs":
      return [build.ldAbs(o.size, o.imm)];
    case "ld-ind":
      return [build.ldInd(o.size, o.src, o.imm)];
    case "ld-imm64":
      return fromWide(o.dst, o.value);
    case "goto":
      return [o.long ? build.gotol(o.off) : build.ja(o.off)];
    case "may-goto":
      return [build.mayGoto(o.off)];
    case "branch": {
      if (o.src.kind === "reg")
        return [(o.width === 64 ? build.jmpReg : build.jmp32Reg)(o.op, o.dst, o.src.reg, o.off)];
      return [(o.width === 64 ? build.jmpImm : build.jmp32Imm)(o.op, o.dst, o.src.imm, o.off)];
    }
    case "call-helper":
      return [build.callHelper(o.id)];
    case "call-subprog":
      return [build.callSubprog(o.off)];
    case "call-kfunc":
      return [build.callKfunc(o.btfId, o.fdIndex)];
    case "exit":
      return [build.exit()];
    default:
      throw unknownKind("op.kind", o);
  }
}

function fromWide(dst: number, value: WideValue): Insn[] {
  switch (value.kind) {
    case "const":
      return build.ldImm64(dst, (BigInt(value.hi) << 32n) | BigInt(value.lo >>> 0));
    case "map-fd":
      return build.ldMapFd(dst, value.fd);
    case "map-value":
      return build.ldMapValue(dst, value.fd, value.offset);
    case "btf-id":
      return build.ldBtfId(dst, value.btfId, value.btfFd);
    case "func":
      return build.ldFunc(dst, value.off);
    case "map-idx":
      return build.ldMapIdx(dst, value.index);
    case "map-idx-value":
      return build.ldMapIdxValue(dst, value.index, value.offset);
    default:
      throw unknownKind("op.value.kind", value);
  }
}

/** What the types rule out, a caller in JavaScript may still pass. */
function unknownKind(argument: string, got: never): ArgumentError {
  const kind = (got as { kind?: unknown } | undefined)?.kind;
  return new ArgumentError(argument, `expected a kind of instruction, got ${String(kind)}`);
}

const V2_JUMPS: ReadonlySet<JmpOp> = new Set(["jlt", "jle", "jslt", "jsle"]);

/**
 * The instruction-set version (clang's `-mcpu=v1` … `v4`) that first has this instruction.
 * What came after v4 (may_goto, addr_space_cast, load_acquire, store_release) counts as 4;
 * `minKernel` tells it apart.
 */
export function minIsa(o: Op): 1 | 2 | 3 | 4 {
  switch (o.kind) {
    case "movsx":
    case "addr-space-cast":
    case "load-acquire":
    case "store-release":
    case "may-goto":
      return 4;
    case "alu":
      return o.op === "sdiv" || o.op === "smod" ? 4 : 1;
    case "end":
      return o.to === "swap" ? 4 : 1;
    case "load":
      return o.signed ? 4 : 1;
    case "goto":
      return o.long ? 4 : 1;
    case "atomic":
      return o.op === "add" && !o.fetch ? 1 : 3;
    case "branch":
      if (o.width === 32) return 3;
      return V2_JUMPS.has(o.op) ? 2 : 1;
    default:
      return 1;
  }
}

/** The Linux version that first takes this instruction, such as "6.6". */
export function minKernel(o: Op): string {
  switch (o.kind) {
    case "load-acquire":
    case "store-release":
      return "6.15";
    case "may-goto":
    case "addr-space-cast":
      return "6.9";
    case "call-subprog":
      return "4.16";
    case "call-kfunc":
      return "5.13";
    case "ld-imm64":
      return WIDE_SINCE[o.value.kind];
    case "ld-abs":
    case "ld-ind":
      return "3.19";
    default:
      return ISA_SINCE[minIsa(o)][o.kind === "atomic" ? 1 : 0]!;
  }
}

const WIDE_SINCE: Readonly<Record<WideValue["kind"], string>> = {
  const: "3.18",
  "map-fd": "3.18",
  "map-value": "5.2",
  "btf-id": "5.10",
  func: "5.13",
  "map-idx": "5.14",
  "map-idx-value": "5.14",
};

/** By version: since when in general, and for atomics. */
const ISA_SINCE: Readonly<Record<1 | 2 | 3 | 4, readonly [string, string]>> = {
  1: ["3.18", "3.18"],
  2: ["4.14", "4.14"],
  3: ["5.1", "5.12"],
  4: ["6.6", "6.6"],
};
