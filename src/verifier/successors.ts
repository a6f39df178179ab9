/** Control-flow edges inside a function: where an insn may go next. */
import { BPF_CALL, BPF_EXIT, BPF_JA, BPF_JMP, BPF_JMP32, LD_IMM64, classOf, codeOf } from "../asm/opcode.ts";
import type { Env } from "./env.ts";

/** Offset of a jump: imm for the long jump of class JMP32. */
export const jumpOffset = (env: Env, i: number): number =>
  env.code[i] === (BPF_JMP32 | BPF_JA) ? env.imm[i]! : env.off[i]!;

/** Successor by falling through, or -1. */
export function fallthroughOf(env: Env, i: number): number {
  const code = env.code[i]!;
  const cls = classOf(code);
  if (cls === BPF_JMP || cls === BPF_JMP32) {
    const op = codeOf(code);
    if (op === BPF_EXIT || op === BPF_JA) return -1;
    return i + 1;
  }
  return code === LD_IMM64 ? i + 2 : i + 1;
}

/** Successor by jumping, or -1. */
export function jumpTargetOf(env: Env, i: number): number {
  const code = env.code[i]!;
  const cls = classOf(code);
  if (cls !== BPF_JMP && cls !== BPF_JMP32) return -1;
  const op = codeOf(code);
  if (op === BPF_EXIT || op === BPF_CALL) return -1;
  return i + jumpOffset(env, i) + 1;
}
