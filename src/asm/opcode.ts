/**
 * The bits of the opcode byte, with the kernel's names. The three low bits are the
 * class and decide how the other five are read.
 *
 * ```text
 *  arithmetic and jumps            loads and stores
 *   7       4   3   2     0         7     5 4    3 2     0
 * ┌──────────┬───┬───────┐        ┌────────┬──────┬───────┐
 * │   code   │ s │ class │        │  mode  │ size │ class │
 * └──────────┴───┴───────┘        └────────┴──────┴───────┘
 *   s: 0 = the operand is imm (BPF_K), 1 = it is the source register (BPF_X)
 * ```
 *
 * Source: include/uapi/linux/bpf_common.h, include/uapi/linux/bpf.h and
 * Documentation/bpf/standardization/instruction-set.rst.
 */

// Class: bits 0-2.
export const BPF_LD = 0x00;
export const BPF_LDX = 0x01;
export const BPF_ST = 0x02;
export const BPF_STX = 0x03;
export const BPF_ALU = 0x04;
export const BPF_JMP = 0x05;
export const BPF_JMP32 = 0x06;
export const BPF_ALU64 = 0x07;

// Source operand of arithmetic and jumps: bit 3.
export const BPF_K = 0x00;
export const BPF_X = 0x08;

// Code of arithmetic: bits 4-7.
export const BPF_ADD = 0x00;
export const BPF_SUB = 0x10;
export const BPF_MUL = 0x20;
/** Signed when `off` is 1 (v4). */
export const BPF_DIV = 0x30;
export const BPF_OR = 0x40;
export const BPF_AND = 0x50;
export const BPF_LSH = 0x60;
export const BPF_RSH = 0x70;
export const BPF_NEG = 0x80;
/** Signed when `off` is 1 (v4). */
export const BPF_MOD = 0x90;
export const BPF_XOR = 0xa0;
/** Sign-extending when `off` is 8, 16 or 32 (v4). */
export const BPF_MOV = 0xb0;
export const BPF_ARSH = 0xc0;
/** `imm` is the width: 16, 32 or 64. With class BPF_ALU64 an unconditional swap (v4). */
export const BPF_END = 0xd0;
/** BPF_END, class BPF_ALU: bit 3 says to which byte order. */
export const BPF_TO_LE = 0x00;
export const BPF_TO_BE = 0x08;

// Code of jumps: bits 4-7.
export const BPF_JA = 0x00;
export const BPF_JEQ = 0x10;
export const BPF_JGT = 0x20;
export const BPF_JGE = 0x30;
export const BPF_JSET = 0x40;
export const BPF_JNE = 0x50;
export const BPF_JSGT = 0x60;
export const BPF_JSGE = 0x70;
export const BPF_CALL = 0x80;
export const BPF_EXIT = 0x90;
export const BPF_JLT = 0xa0;
export const BPF_JLE = 0xb0;
export const BPF_JSLT = 0xc0;
export const BPF_JSLE = 0xd0;
/** Conditional pseudo jump; `src` says which: 0 = may_goto. */
export const BPF_JCOND = 0xe0;

// Size of loads and stores: bits 3-4.
export const BPF_W = 0x00;
export const BPF_H = 0x08;
export const BPF_B = 0x10;
export const BPF_DW = 0x18;

// Mode of loads and stores: bits 5-7.
export const BPF_IMM = 0x00;
export const BPF_ABS = 0x20;
export const BPF_IND = 0x40;
export const BPF_MEM = 0x60;
/** Sign-extending load (v4). */
export const BPF_MEMSX = 0x80;
/** `imm` says which operation. */
export const BPF_ATOMIC = 0xc0;

// `imm` of BPF_STX | BPF_ATOMIC. The arithmetic ones reuse BPF_ADD, BPF_OR, BPF_AND, BPF_XOR.
/** The old value goes to the source register. */
export const BPF_FETCH = 0x01;
export const BPF_XCHG = 0xe1;
/** Compares with r0, which gets the old value. */
export const BPF_CMPXCHG = 0xf1;
export const BPF_LOAD_ACQ = 0x100;
export const BPF_STORE_REL = 0x110;

// `off` of BPF_ALU64 | BPF_MOV | BPF_X.
export const BPF_ADDR_SPACE_CAST = 1;

// `src` of BPF_JCOND.
export const BPF_MAY_GOTO = 0;

// `src` of ld_imm64: what its 64 bits are.
export const BPF_PSEUDO_MAP_FD = 1;
export const BPF_PSEUDO_MAP_VALUE = 2;
export const BPF_PSEUDO_BTF_ID = 3;
export const BPF_PSEUDO_FUNC = 4;
export const BPF_PSEUDO_MAP_IDX = 5;
export const BPF_PSEUDO_MAP_IDX_VALUE = 6;

// `src` of a call: 0 is a helper.
export const BPF_PSEUDO_CALL = 1;
export const BPF_PSEUDO_KFUNC_CALL = 2;

/** The opcode byte of ld_imm64, the one instruction of two slots. */
export const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;

// Masks.
export const classOf = (opcode: number): number => opcode & 0x07;
/** Code of arithmetic and jumps, and of an atomic's `imm`. */
export const codeOf = (opcode: number): number => opcode & 0xf0;
export const sourceOf = (opcode: number): number => opcode & 0x08;
export const sizeOf = (opcode: number): number => opcode & 0x18;
export const modeOf = (opcode: number): number => opcode & 0xe0;

/** Registers: r0 result, r1-r5 arguments, r6-r9 kept over calls, r10 frame pointer. */
export const MAX_REG = 10;
