/** What every compiled module has: its imports and locals, and WebAssembly's opcodes by those of BPF. */
import * as op from "../../asm/opcode.ts";
import { I32, I64, W } from "./bytes.ts";

/** Functions that the module imports, in order. */
export const IMPORTS = {
  /** (check, low half, high half of the lowest address it is for, less `LOW`): a bad address. */
  fault: 0,
  /** (slot): out of fuel. */
  budget: 1,
  /** (slot): too many nested calls. */
  depth: 2,
  /** (helper, slot): registers are in memory. */
  helper: 3,
  /** (slot) */
  kfunc: 4,
  /** (slot) → 1 when another program ran in this one's place. */
  tail: 5,
  /** (offset, size, slot) → 1 when the packet has the bytes. */
  packet: 6,
  /** (map pointer, key) → value */
  lookup: 7,
  /** (map pointer, key, value, flags) → errno */
  update: 8,
  /** (slot): there is no such instruction. */
  illegal: 9,
} as const;
/** Parameter and result counts of the imports; all are i32. */
export const IMPORT_TYPES: readonly (readonly [params: number, results: number])[] = [
  [3, 0],
  [1, 0],
  [1, 0],
  [2, 0],
  [1, 0],
  [1, 1],
  [3, 1],
  [2, 1],
  [4, 1],
  [1, 0],
];
export const IMPORT_NAMES = Object.keys(IMPORTS);

/** Imported globals: instructions left (i32), bytes from `LOW` on at which an access may begin (i64). */
export const FUEL = 0;
export const SPAN = 1;

// Locals. r1-r5 and r10 are parameters.
export const REG = [6, 0, 1, 2, 3, 4, 7, 8, 9, 10, 5];
export const T0 = 11;
export const T1 = 12;
/** A copy of `SPAN`: an imported global takes two loads to read. */
export const SPAN_NOW = 13;
export const FP = 14;
export const FUEL_LEFT = 15;
export const LOOPS_LEFT = 16;
export const A0 = 17;
export const A1 = 18;
export const STATE = 19;
/** Addresses that were checked, from here on. */
export const CHECKED = 20;
/** Checks whose address is kept; further ones stand for one access each. */
export const MAX_CHECKED = 200;
/** Locals that are not parameters: r0, r6-r9, two temporaries and the span, then numbers of 32 bits. */
export const LOCALS = [
  [8, I64],
  [CHECKED - FP, I32],
] as const;

export const ALU64: Readonly<Record<number, number>> = {
  [op.BPF_ADD]: W.i64_add,
  [op.BPF_SUB]: W.i64_sub,
  [op.BPF_MUL]: W.i64_mul,
  [op.BPF_OR]: W.i64_or,
  [op.BPF_AND]: W.i64_and,
  [op.BPF_XOR]: W.i64_xor,
  [op.BPF_LSH]: W.i64_shl,
  [op.BPF_RSH]: W.i64_shr_u,
  [op.BPF_ARSH]: W.i64_shr_s,
};
export const ALU32: Readonly<Record<number, number>> = {
  [op.BPF_ADD]: W.i32_add,
  [op.BPF_SUB]: W.i32_sub,
  [op.BPF_MUL]: W.i32_mul,
  [op.BPF_OR]: W.i32_or,
  [op.BPF_AND]: W.i32_and,
  [op.BPF_XOR]: W.i32_xor,
  [op.BPF_LSH]: W.i32_shl,
  [op.BPF_RSH]: W.i32_shr_u,
  [op.BPF_ARSH]: W.i32_shr_s,
};
/** Comparison by code: 64 bits, 32 bits. */
export const COMPARE: Readonly<Record<number, readonly [number, number]>> = {
  [op.BPF_JEQ]: [W.i64_eq, W.i32_eq],
  [op.BPF_JNE]: [W.i64_ne, W.i32_ne],
  [op.BPF_JGT]: [W.i64_gt_u, W.i32_gt_u],
  [op.BPF_JGE]: [W.i64_ge_u, W.i32_ge_u],
  [op.BPF_JLT]: [W.i64_lt_u, W.i32_lt_u],
  [op.BPF_JLE]: [W.i64_le_u, W.i32_le_u],
  [op.BPF_JSGT]: [W.i64_gt_s, W.i32_gt_s],
  [op.BPF_JSGE]: [W.i64_ge_s, W.i32_ge_s],
  [op.BPF_JSLT]: [W.i64_lt_s, W.i32_lt_s],
  [op.BPF_JSLE]: [W.i64_le_s, W.i32_le_s],
};
/** By size shift: unsigned load, signed load, store. */
export const LOAD_U = [W.i64_load8_u, W.i64_load16_u, W.i64_load32_u, W.i64_load];
export const LOAD_S = [W.i64_load8_s, W.i64_load16_s, W.i64_load32_s, W.i64_load];
export const STORE = [W.i64_store8, W.i64_store16, W.i64_store32, W.i64_store];
export const SIZE_SHIFT = [2, 1, 0, 3];
