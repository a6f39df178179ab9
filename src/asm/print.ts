/**
 * Instructions as text, exactly the kernel's own: what the verifier's log and
 * `bpftool prog dump xlated` print (kernel/bpf/disasm.c, without the "(b7) " in front).
 * Where the kernel's text loses something that the parser needs, ours adds it:
 * `map[idx:3]`, `btf[id:7]`, `fd_idx:1` after a module's kfunc, `.insn` for what is no instruction.
 */
import { checkInsn, FORM, FORM_OF } from "./check.ts";
import { fromHalves } from "../core/int.ts";
import { helperName as defaultHelperName } from "./names.ts";
import type { Insn } from "./insn.ts";
import * as op from "./opcode.ts";

export interface PrintOptions {
  /** Name of a helper; default the kernel's, "bpf_map_lookup_elem". */
  readonly helperName?: (id: number) => string | undefined;
  /** Name of a kernel function by BTF id; default none, printed "kernel-function". */
  readonly kfuncName?: (btfId: number, fdIndex: number) => string | undefined;
  /**
   * Symbol at a slot: the map or kernel variable that an ld_imm64 loads (`map[counts]`), or the
   * name of the subprogram or kernel function called. By slot, because before loading the
   * instruction itself holds 0.
   */
  readonly symbol?: (slot: number) => string | undefined;
  /** What the number in `map[…:5]` is: "id" (default, as in loaded programs) or "fd". */
  readonly mapNumber?: "id" | "fd";
  /**
   * The slots come out of the kernel (`bpf_prog_info.xlated_prog_insns`), after its rewrites: a call of a
   * subprogram has its distance in `off`, and forms only the kernel makes have its text (`nospec`).
   */
  readonly xlated?: boolean;
  /** Text of a jump's target instead of `pc+5`; undefined keeps that. `target` is a slot index. */
  readonly target?: (target: number) => string | undefined;
}

const REG = Array.from({ length: 16 }, (_, i) => `r${i}`);
const WREG = Array.from({ length: 16 }, (_, i) => `w${i}`);

const ALU_TEXT: readonly string[] = ["+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "", "%=", "^=", "=", "s>>="];
const JMP_TEXT: readonly string[] = ["", "==", ">", ">=", "&", "!=", "s>", "s>=", "", "", "<", "<=", "s<", "s<="];
const ATOMIC_TEXT: Readonly<Record<number, string>> = {
  [op.BPF_ADD]: "add",
  [op.BPF_OR]: "or",
  [op.BPF_AND]: "and",
  [op.BPF_XOR]: "xor",
};
// By size bits >> 3: w, h, b, dw.
const UNSIGNED: readonly string[] = ["u32", "u16", "u8", "u64"];
const SIGNED: readonly string[] = ["s32", "s16", "s8", "s64"];

const plus = (n: number): string => (n < 0 ? `${n}` : `+${n}`);
const hex = (n: number): string => `0x${(n >>> 0).toString(16)}`;

/**
 * The text of the instruction at slot `index`, without slot number and opcode. Total: a slot
 * that starts no instruction gives `.insn opcode, dst, src, off, imm`, which parses back.
 *
 * @example
 * printInsn([ldxMem("dw", 1, 6, 8)], 0); // "r1 = *(u64 *)(r6 +8)"
 */
export function printInsn(insns: readonly Insn[], index: number, options: PrintOptions = {}): string {
  const insn = insns[index];
  if (insn === undefined) return "";
  const internal = options.xlated === true ? internalText(insn, index, options) : undefined;
  if (internal !== undefined) return internal;
  if (checkInsn(insns, index) !== undefined) return rawText(insn);
  const { opcode, off, imm } = insn;
  const form = FORM_OF[opcode];
  const dst = REG[insn.dst]!;
  const src = REG[insn.src]!;
  const code = opcode >> 4;
  switch (form) {
    case FORM.ALU_K:
    case FORM.DIV_K:
    case FORM.MOV_K:
    case FORM.ALU_X:
    case FORM.DIV_X: {
      const regs = op.classOf(opcode) === op.BPF_ALU64 ? REG : WREG;
      const sign = off === 1 ? "s" : "";
      const right = op.sourceOf(opcode) === op.BPF_X ? regs[insn.src]! : `${imm}`;
      return `${regs[insn.dst]!} ${sign}${ALU_TEXT[code]!} ${right}`;
    }
    case FORM.MOV_X: {
      const regs = op.classOf(opcode) === op.BPF_ALU64 ? REG : WREG;
      if (off === op.BPF_ADDR_SPACE_CAST) return `${dst} = addr_space_cast(${src}, ${imm >>> 16}, ${imm & 0xffff})`;
      return `${regs[insn.dst]!} = ${off === 0 ? "" : `(s${off})`}${regs[insn.src]!}`;
    }
    case FORM.NEG: {
      const reg = (op.classOf(opcode) === op.BPF_ALU64 ? REG : WREG)[insn.dst]!;
      return `${reg} = -${reg}`;
    }
    case FORM.END:
      return `${dst} = ${(opcode & op.BPF_TO_BE) === 0 ? "le" : "be"}${imm} ${dst}`;
    case FORM.BSWAP:
      return `${dst} = bswap${imm} ${dst}`;
    case FORM.LDX:
      return `${dst} = *(${sizeText(opcode)} *)(${src} ${plus(off)})`;
    case FORM.LDSX:
      return `${dst} = *(${SIGNED[op.sizeOf(opcode) >> 3]!} *)(${src} ${plus(off)})`;
    case FORM.ST:
      return `*(${sizeText(opcode)} *)(${dst} ${plus(off)}) = ${imm}`;
    case FORM.STX:
      return `*(${sizeText(opcode)} *)(${dst} ${plus(off)}) = ${src}`;
    case FORM.ATOMIC:
      return atomicText(insn);
    case FORM.LD_IMM64:
      return `${dst} = ${wideText(insns, index, options)}`;
    case FORM.LD_ABS:
      return `r0 = *(${sizeText(opcode)} *)skb[${imm}]`;
    case FORM.LD_IND:
      return `r0 = *(${sizeText(opcode)} *)skb[${src} + ${imm}]`;
    case FORM.JA:
      return `goto ${targetText(index, off, options)}`;
    case FORM.GOTOL:
      return `gotol ${targetText(index, imm, options)}`;
    case FORM.MAY_GOTO:
      return `may_goto ${targetText(index, off, options)}`;
    case FORM.CALL:
      return callText(insn, index, options);
    case FORM.EXIT:
      // The kernel prints "exit" here too; the text must keep what the slot holds.
      return off === 0 ? "exit" : rawText(insn);
    default: {
      const regs = op.classOf(opcode) === op.BPF_JMP ? REG : WREG;
      const right = op.sourceOf(opcode) === op.BPF_X ? regs[insn.src]! : hex(imm);
      return `if ${regs[insn.dst]!} ${JMP_TEXT[code]!} ${right} goto ${targetText(index, off, options)}`;
    }
  }
}

/** Forms that programs have only after the verifier's rewrites. */
function internalText({ opcode, dst, src, off, imm }: Insn, index: number, options: PrintOptions): string | undefined {
  if (opcode === (op.BPF_JMP | op.BPF_CALL) && src === op.BPF_PSEUDO_CALL) return subprogText(index, off, options);
  if (opcode === (op.BPF_ST | BPF_NOSPEC)) return "nospec";
  if (opcode === (op.BPF_ALU64 | op.BPF_MOV | op.BPF_X) && off === BPF_ADDR_PERCPU) {
    return `r${dst} = &(void __percpu *)(r${src})`;
  }
  // Zero-extension of what a 32-bit operation left.
  if (opcode === (op.BPF_ALU | op.BPF_MOV | op.BPF_X) && off === 0 && imm === 1) return `w${dst} = w${src}`;
  return undefined;
}

/** Mode of the kernel's speculation barrier, and `off` of its mov to a per-CPU address. */
const BPF_NOSPEC = 0xc0;
const BPF_ADDR_PERCPU = -1;

const sizeText = (opcode: number): string => UNSIGNED[op.sizeOf(opcode) >> 3]!;

/** `.insn` and the fields of a slot as they are. */
function rawText({ opcode, dst, src, off, imm }: Insn): string {
  return `.insn 0x${opcode.toString(16).padStart(2, "0")}, ${dst}, ${src}, ${off}, ${imm}`;
}

function targetText(index: number, off: number, options: PrintOptions): string {
  return options.target?.(index + off + 1) ?? `pc${plus(off)}`;
}

function atomicText({ opcode, dst, src, off, imm }: Insn): string {
  const size = sizeText(opcode);
  if (imm === op.BPF_LOAD_ACQ) return `r${dst} = load_acquire((${size} *)(r${src} ${plus(off)}))`;
  const memory = `(${size} *)(r${dst} ${plus(off)})`;
  if (imm === op.BPF_STORE_REL) return `store_release(${memory}, r${src})`;
  const name = op.sizeOf(opcode) === op.BPF_DW ? "atomic64" : "atomic";
  if (imm === op.BPF_XCHG) return `r${src} = ${name}_xchg(${memory}, r${src})`;
  if (imm === op.BPF_CMPXCHG) return `r0 = ${name}_cmpxchg(${memory}, r0, r${src})`;
  const code = op.codeOf(imm);
  if ((imm & op.BPF_FETCH) !== 0) return `r${src} = ${name}_fetch_${ATOMIC_TEXT[code]!}(${memory}, r${src})`;
  return `lock *${memory} ${ALU_TEXT[code >> 4]!} r${src}`;
}

function wideText(insns: readonly Insn[], index: number, options: PrintOptions): string {
  const lo = insns[index]!.imm;
  const hi = insns[index + 1]!.imm;
  const pseudo = insns[index]!.src;
  if (pseudo === 0) return `0x${fromHalves(lo, hi).toString(16)}`;
  const symbol = options.symbol?.(index);
  switch (pseudo) {
    case op.BPF_PSEUDO_MAP_FD:
      return `map[${symbol ?? `${options.mapNumber ?? "id"}:${lo >>> 0}`}]`;
    case op.BPF_PSEUDO_MAP_VALUE:
      return `map[${symbol ?? `${options.mapNumber ?? "id"}:${lo >>> 0}`}][0]+${hi >>> 0}`;
    case op.BPF_PSEUDO_MAP_IDX:
      return `map[idx:${lo >>> 0}]`;
    case op.BPF_PSEUDO_MAP_IDX_VALUE:
      return `map[idx:${lo >>> 0}]+${hi >>> 0}`;
    case op.BPF_PSEUDO_FUNC:
      if (hi !== 0) return `subprog[${plus(lo)},${hi}]`;
      return `subprog[${options.target?.(index + lo + 1) ?? plus(lo)}]`;
    default:
      return `btf[${symbol ?? `id:${lo >>> 0}${hi === 0 ? "" : `,fd:${hi >>> 0}`}`}]`;
  }
}

function callText({ src, off, imm }: Insn, index: number, options: PrintOptions): string {
  if (src === 0) return `call ${(options.helperName ?? defaultHelperName)(imm) ?? "unknown"}#${imm}`;
  if (src === op.BPF_PSEUDO_CALL) return subprogText(index, imm, options);
  const name = options.kfuncName?.(imm, off) ?? options.symbol?.(index) ?? "kernel-function";
  return `call ${name}#${imm}${off === 0 ? "" : ` fd_idx:${off}`}`;
}

function subprogText(index: number, distance: number, options: PrintOptions): string {
  const label = options.target?.(index + distance + 1);
  if (label !== undefined) return `call ${label}`;
  const symbol = options.symbol?.(index);
  return `call pc${plus(distance)}${symbol === undefined ? "" : `#${symbol}`}`;
}
