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

/** The edges inside functions as arrays, and where each insn is in env.postorder. */
export interface FlowGraph {
  /** Successors by insn, -1: none. */
  readonly fallthrough: Int32Array;
  readonly jump: Int32Array;
  /** Predecessors of insn i: preds[predStart[i] .. predStart[i + 1]). */
  readonly predStart: Int32Array;
  readonly preds: Int32Array;
  /** Position in env.postorder by insn. */
  readonly position: Int32Array;
}

/** The graph over the insns of env.postorder, which are those that can be reached. */
export function flowGraph(env: Env): FlowGraph {
  const { postorder, len } = env;
  const fallthrough = new Int32Array(len).fill(-1);
  const jump = new Int32Array(len).fill(-1);
  const position = new Int32Array(len);
  const predStart = new Int32Array(len + 1);
  for (let p = 0; p < postorder.length; p++) {
    const i = postorder[p]!;
    const a = fallthroughOf(env, i);
    const b = jumpTargetOf(env, i);
    position[i] = p;
    fallthrough[i] = a;
    jump[i] = b;
    if (a >= 0) predStart[a + 1]!++;
    if (b >= 0) predStart[b + 1]!++;
  }
  for (let i = 0; i < len; i++) predStart[i + 1]! += predStart[i]!;
  const next = predStart.slice();
  const preds = new Int32Array(predStart[len]!);
  for (let p = 0; p < postorder.length; p++) {
    const i = postorder[p]!;
    const a = fallthrough[i]!;
    const b = jump[i]!;
    if (a >= 0) preds[next[a]!++] = i;
    if (b >= 0) preds[next[b]!++] = i;
  }
  return { fallthrough, jump, predStart, preds, position };
}
