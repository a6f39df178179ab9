/** Conditions as jump opcodes, and jumps turned round. */
import {
  BPF_JEQ,
  BPF_JGE,
  BPF_JGT,
  BPF_JLE,
  BPF_JLT,
  BPF_JNE,
  BPF_JSET,
  BPF_JSGE,
  BPF_JSGT,
  BPF_JSLE,
  BPF_JSLT,
} from "../../asm/opcode.ts";
import type { Cond } from "../ir/ir.ts";
import type { LInst } from "./lir.ts";

export const JMP_CODE: Readonly<Record<Exclude<Cond, "nset">, number>> = {
  eq: BPF_JEQ,
  ne: BPF_JNE,
  ugt: BPF_JGT,
  uge: BPF_JGE,
  ult: BPF_JLT,
  ule: BPF_JLE,
  sgt: BPF_JSGT,
  sge: BPF_JSGE,
  slt: BPF_JSLT,
  sle: BPF_JSLE,
  set: BPF_JSET,
};

export function isSigned(c: Cond): boolean {
  return c === "sgt" || c === "sge" || c === "slt" || c === "sle";
}

const OPPOSITE = new Map<number, number>([
  [BPF_JEQ, BPF_JNE],
  [BPF_JNE, BPF_JEQ],
  [BPF_JGT, BPF_JLE],
  [BPF_JLE, BPF_JGT],
  [BPF_JGE, BPF_JLT],
  [BPF_JLT, BPF_JGE],
  [BPF_JSGT, BPF_JSLE],
  [BPF_JSLE, BPF_JSGT],
  [BPF_JSGE, BPF_JSLT],
  [BPF_JSLT, BPF_JSGE],
]);
/** Whether the jump's opposite is an instruction of level v2 (`jset` has none). */
export function jumpCanFlip(j: LInst, isa: number): boolean {
  const opposite = OPPOSITE.get(j.opcode & 0xf0);
  if (opposite === undefined) return false;
  return isa >= 2 || opposite === BPF_JEQ || opposite === BPF_JNE || opposite < 0x80;
}
export function flipJump(j: LInst): void {
  j.opcode = (j.opcode & 0x0f) | OPPOSITE.get(j.opcode & 0xf0)!;
}
