/**
 * Which encodings are instructions. The kernel spreads these rules over
 * bpf_opcode_in_insntable, resolve_pseudo_ldimm64 and do_check (kernel/bpf/core.c,
 * kernel/bpf/verifier.c); here they are in one place, with its words first in each message.
 *
 * The rules are about encoding only. That a shift is too wide, a divisor is zero or a
 * jump leaves the program is the verifier's to say.
 */
import { DecodeError } from "../core/errors.ts";
import type { Insn } from "./insn.ts";
import * as op from "./opcode.ts";

/** What an opcode byte alone says about how the other fields are read. */
export const FORM = {
  ILLEGAL: 0,
  ALU_K: 1,
  ALU_X: 2,
  /** div and mod, whose `off` chooses the sign. */
  DIV_K: 3,
  DIV_X: 4,
  MOV_K: 5,
  /** mov, movsx or addr_space_cast, by `off`. */
  MOV_X: 6,
  NEG: 7,
  END: 8,
  BSWAP: 9,
  LDX: 10,
  LDSX: 11,
  ST: 12,
  STX: 13,
  ATOMIC: 14,
  LD_IMM64: 15,
  LD_ABS: 16,
  LD_IND: 17,
  JA: 18,
  GOTOL: 19,
  MAY_GOTO: 20,
  BRANCH_K: 21,
  BRANCH_X: 22,
  CALL: 23,
  EXIT: 24,
} as const;
export type Form = (typeof FORM)[keyof typeof FORM];

/** `FORM_OF[opcode]`, 256 entries of `FORM`. */
export const FORM_OF: Uint8Array = buildForms();

function buildForms(): Uint8Array {
  const forms = new Uint8Array(256);
  for (const width of [op.BPF_ALU, op.BPF_ALU64]) {
    for (const code of [
      op.BPF_ADD,
      op.BPF_SUB,
      op.BPF_MUL,
      op.BPF_OR,
      op.BPF_AND,
      op.BPF_LSH,
      op.BPF_RSH,
      op.BPF_XOR,
      op.BPF_ARSH,
    ]) {
      forms[width | code | op.BPF_K] = FORM.ALU_K;
      forms[width | code | op.BPF_X] = FORM.ALU_X;
    }
    for (const code of [op.BPF_DIV, op.BPF_MOD]) {
      forms[width | code | op.BPF_K] = FORM.DIV_K;
      forms[width | code | op.BPF_X] = FORM.DIV_X;
    }
    forms[width | op.BPF_MOV | op.BPF_K] = FORM.MOV_K;
    forms[width | op.BPF_MOV | op.BPF_X] = FORM.MOV_X;
    forms[width | op.BPF_NEG] = FORM.NEG;
  }
  forms[op.BPF_ALU | op.BPF_END | op.BPF_TO_LE] = FORM.END;
  forms[op.BPF_ALU | op.BPF_END | op.BPF_TO_BE] = FORM.END;
  forms[op.BPF_ALU64 | op.BPF_END] = FORM.BSWAP;
  for (const size of [op.BPF_B, op.BPF_H, op.BPF_W, op.BPF_DW]) {
    forms[op.BPF_LDX | op.BPF_MEM | size] = FORM.LDX;
    forms[op.BPF_ST | op.BPF_MEM | size] = FORM.ST;
    forms[op.BPF_STX | op.BPF_MEM | size] = FORM.STX;
    forms[op.BPF_STX | op.BPF_ATOMIC | size] = FORM.ATOMIC;
    if (size === op.BPF_DW) continue;
    forms[op.BPF_LDX | op.BPF_MEMSX | size] = FORM.LDSX;
    forms[op.BPF_LD | op.BPF_ABS | size] = FORM.LD_ABS;
    forms[op.BPF_LD | op.BPF_IND | size] = FORM.LD_IND;
  }
  forms[op.LD_IMM64] = FORM.LD_IMM64;
  forms[op.BPF_JMP | op.BPF_JA] = FORM.JA;
  forms[op.BPF_JMP32 | op.BPF_JA] = FORM.GOTOL;
  forms[op.BPF_JMP | op.BPF_JCOND] = FORM.MAY_GOTO;
  forms[op.BPF_JMP | op.BPF_CALL] = FORM.CALL;
  forms[op.BPF_JMP | op.BPF_EXIT] = FORM.EXIT;
  for (const width of [op.BPF_JMP, op.BPF_JMP32]) {
    for (let code = op.BPF_JEQ; code <= op.BPF_JSLE; code += 0x10) {
      if (code === op.BPF_CALL || code === op.BPF_EXIT) continue;
      forms[width | code | op.BPF_K] = FORM.BRANCH_K;
      forms[width | code | op.BPF_X] = FORM.BRANCH_X;
    }
  }
  return forms;
}

/** Why an encoding is not an instruction: the field at fault and a sentence. */
export interface IllegalInsn {
  readonly field: "opcode" | "dst" | "src" | "off" | "imm" | "next";
  readonly message: string;
}

const wrong = (field: IllegalInsn["field"], kernel: string, got: number, expected: string): IllegalInsn => ({
  field,
  message: `${kernel}: ${field} is ${got}, expected ${expected}`,
});

/** 1 for every slot, 2 for the first of ld_imm64. */
export function insnSlots(insn: Insn): 1 | 2 {
  return insn.opcode === op.LD_IMM64 ? 2 : 1;
}

/**
 * Undefined when slot `index` starts an instruction that the newest kernel decodes, else
 * why not. The second slot of an ld_imm64 starts none. As in the kernel, `off` of exit and
 * the second `imm` of a subprogram's address are not looked at.
 */
export function checkInsn(insns: readonly Insn[], index: number): IllegalInsn | undefined {
  const insn = insns[index];
  if (insn === undefined) {
    return { field: "next", message: `expected an instruction at slot ${index}, the program has ${insns.length}` };
  }
  const { opcode, dst, src, off, imm } = insn;
  const form = FORM_OF[opcode];
  if (dst > op.MAX_REG || dst < 0) return wrong("dst", `R${dst} is invalid`, dst, "a register 0-10");
  // The pseudo sources of other instructions are ranges of their own.
  if (src > op.MAX_REG || src < 0) return wrong("src", `R${src} is invalid`, src, "a register 0-10");
  switch (form) {
    case FORM.ALU_K:
    case FORM.MOV_K:
    case FORM.DIV_K: {
      const name = form === FORM.MOV_K ? "BPF_MOV uses reserved fields" : "BPF_ALU uses reserved fields";
      if (src !== 0) return wrong("src", name, src, "0");
      if (off !== 0 && !(form === FORM.DIV_K && off === 1))
        return wrong("off", name, off, form === FORM.DIV_K ? "0 or 1 (signed)" : "0");
      return undefined;
    }
    case FORM.ALU_X:
      if (imm !== 0) return wrong("imm", "BPF_ALU uses reserved fields", imm, "0");
      return off === 0 ? undefined : wrong("off", "BPF_ALU uses reserved fields", off, "0");
    case FORM.DIV_X:
      if (imm !== 0) return wrong("imm", "BPF_ALU uses reserved fields", imm, "0");
      return off === 0 || off === 1 ? undefined : wrong("off", "BPF_ALU uses reserved fields", off, "0 or 1 (signed)");
    case FORM.MOV_X:
      return checkMovX(op.classOf(opcode) === op.BPF_ALU64, off, imm);
    case FORM.NEG:
      if (src !== 0) return wrong("src", "BPF_NEG uses reserved fields", src, "0");
      if (off !== 0) return wrong("off", "BPF_NEG uses reserved fields", off, "0");
      return imm === 0 ? undefined : wrong("imm", "BPF_NEG uses reserved fields", imm, "0");
    case FORM.END:
    case FORM.BSWAP:
      if (src !== 0) return wrong("src", "BPF_END uses reserved fields", src, "0");
      if (off !== 0) return wrong("off", "BPF_END uses reserved fields", off, "0");
      return imm === 16 || imm === 32 || imm === 64
        ? undefined
        : wrong("imm", "BPF_END uses reserved fields", imm, "16, 32 or 64");
    case FORM.LDX:
    case FORM.LDSX:
      return imm === 0 ? undefined : wrong("imm", "BPF_LDX uses reserved fields", imm, "0");
    case FORM.ST:
      return src === 0 ? undefined : wrong("src", "BPF_ST uses reserved fields", src, "0");
    case FORM.STX:
      return imm === 0 ? undefined : wrong("imm", "BPF_STX uses reserved fields", imm, "0");
    case FORM.ATOMIC:
      return checkAtomic(op.sizeOf(opcode), imm);
    case FORM.LD_IMM64:
      return checkWide(insns, index, insn);
    case FORM.LD_ABS:
    case FORM.LD_IND:
      if (dst !== 0) return wrong("dst", "BPF_LD_[ABS|IND] uses reserved fields", dst, "0");
      if (off !== 0) return wrong("off", "BPF_LD_[ABS|IND] uses reserved fields", off, "0");
      return form === FORM.LD_ABS && src !== 0
        ? wrong("src", "BPF_LD_[ABS|IND] uses reserved fields", src, "0")
        : undefined;
    case FORM.JA:
    case FORM.GOTOL:
      if (dst !== 0) return wrong("dst", "BPF_JA uses reserved fields", dst, "0");
      if (src !== 0) return wrong("src", "BPF_JA uses reserved fields", src, "0");
      if (form === FORM.JA) return imm === 0 ? undefined : wrong("imm", "BPF_JA uses reserved fields", imm, "0");
      return off === 0 ? undefined : wrong("off", "BPF_JA uses reserved fields", off, "0");
    case FORM.MAY_GOTO:
      if (src !== op.BPF_MAY_GOTO) return wrong("src", "invalid may_goto", src, "0");
      if (dst !== 0) return wrong("dst", "invalid may_goto", dst, "0");
      return imm === 0 ? undefined : wrong("imm", "invalid may_goto", imm, "0");
    case FORM.BRANCH_K:
      return src === 0 ? undefined : wrong("src", "BPF_JMP/JMP32 uses reserved fields", src, "0");
    case FORM.BRANCH_X:
      return imm === 0 ? undefined : wrong("imm", "BPF_JMP/JMP32 uses reserved fields", imm, "0");
    case FORM.CALL:
      if (src > op.BPF_PSEUDO_KFUNC_CALL) {
        return wrong("src", "BPF_CALL uses reserved fields", src, "0 (helper), 1 (subprogram) or 2 (kernel function)");
      }
      if (dst !== 0) return wrong("dst", "BPF_CALL uses reserved fields", dst, "0");
      return off === 0 || src === op.BPF_PSEUDO_KFUNC_CALL
        ? undefined
        : wrong("off", "BPF_CALL uses reserved fields", off, "0");
    case FORM.EXIT:
      if (dst !== 0) return wrong("dst", "BPF_EXIT uses reserved fields", dst, "0");
      if (src !== 0) return wrong("src", "BPF_EXIT uses reserved fields", src, "0");
      return imm === 0 ? undefined : wrong("imm", "BPF_EXIT uses reserved fields", imm, "0");
    default:
      return illegalOpcode(insns, index, opcode);
  }
}

function checkMovX(is64: boolean, off: number, imm: number): IllegalInsn | undefined {
  if (is64 && off === op.BPF_ADDR_SPACE_CAST) {
    return imm === 1 || imm === 0x1_0000
      ? undefined
      : wrong("imm", "addr_space_cast insn can only convert between address space 1 and 0", imm, "1 or 65536");
  }
  if (imm !== 0) return wrong("imm", "BPF_MOV uses reserved fields", imm, "0");
  if (off === 0 || off === 8 || off === 16 || (is64 && off === 32)) return undefined;
  return wrong(
    "off",
    "BPF_MOV uses reserved fields",
    off,
    is64 ? "0, 8, 16, 32 (sign-extending) or 1 (addr_space_cast)" : "0, 8 or 16",
  );
}

function checkAtomic(size: number, imm: number): IllegalInsn | undefined {
  switch (imm) {
    case op.BPF_LOAD_ACQ:
    case op.BPF_STORE_REL:
      return undefined;
    case op.BPF_ADD:
    case op.BPF_OR:
    case op.BPF_AND:
    case op.BPF_XOR:
    case op.BPF_ADD | op.BPF_FETCH:
    case op.BPF_OR | op.BPF_FETCH:
    case op.BPF_AND | op.BPF_FETCH:
    case op.BPF_XOR | op.BPF_FETCH:
    case op.BPF_XCHG:
    case op.BPF_CMPXCHG:
      return size === op.BPF_W || size === op.BPF_DW
        ? undefined
        : { field: "opcode", message: "invalid atomic operand size: expected 4 or 8 bytes" };
    default:
      return {
        field: "imm",
        message: `BPF_ATOMIC uses invalid atomic opcode ${(imm >>> 0).toString(16).padStart(2, "0")}: expected add, or, and, xor (with or without fetch), xchg, cmpxchg, load_acquire or store_release`,
      };
  }
}

function checkWide(insns: readonly Insn[], index: number, insn: Insn): IllegalInsn | undefined {
  const next = insns[index + 1];
  if (next === undefined) return { field: "next", message: "invalid bpf_ld_imm64 insn: the second slot is missing" };
  if (next.opcode !== 0 || next.dst !== 0 || next.src !== 0 || next.off !== 0) {
    return { field: "next", message: "invalid bpf_ld_imm64 insn: all but imm of the second slot must be 0" };
  }
  if (insn.off !== 0) return wrong("off", "BPF_LD_IMM64 uses reserved fields", insn.off, "0");
  if (insn.src > op.BPF_PSEUDO_MAP_IDX_VALUE) return wrong("src", "unrecognized bpf_ld_imm64 insn", insn.src, "0-6");
  if ((insn.src === op.BPF_PSEUDO_MAP_FD || insn.src === op.BPF_PSEUDO_MAP_IDX) && next.imm !== 0) {
    return {
      field: "next",
      message: `unrecognized bpf_ld_imm64 insn: the second imm is ${next.imm}, expected 0 beside a map`,
    };
  }
  return undefined;
}

function illegalOpcode(insns: readonly Insn[], index: number, opcode: number): IllegalInsn {
  const hex = `unknown opcode ${opcode.toString(16).padStart(2, "0")}`;
  if (opcode === 0 && insns[index - 1]?.opcode === op.LD_IMM64) {
    return { field: "opcode", message: `${hex}: this is the second slot of the ld_imm64 before it` };
  }
  if (opcode === (op.BPF_JMP | op.BPF_CALL | op.BPF_X)) {
    return { field: "opcode", message: `${hex}: the kernel has no indirect call (callx)` };
  }
  return { field: "opcode", message: hex };
}

/** The error for an illegal slot; offsets are in bytes from the program's start. */
export function illegalInsnError(index: number, illegal: IllegalInsn): DecodeError {
  return new DecodeError("program", illegal.message, {
    offset: index * 8,
    path: ["insns", `[${index}]`, illegal.field],
    code: "ILLEGAL_INSN",
  });
}
