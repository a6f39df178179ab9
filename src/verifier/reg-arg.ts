/** Reading and writing registers as operands (check_reg_arg). */
import {
  BPF_ALU,
  BPF_ALU64,
  BPF_CALL,
  BPF_DW,
  BPF_END,
  BPF_JMP,
  BPF_JMP32,
  BPF_PSEUDO_CALL,
  BPF_STX,
  classOf,
  codeOf,
  sizeOf,
} from "../asm/opcode.ts";
import { DST_OP, EACCES, EINVAL, MAX_BPF_REG, NOT_INIT, SCALAR_VALUE, SRC_OP } from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { markRegRead, markRegWritten } from "./live-marks.ts";
import { type RegState, markRegUnknown } from "./reg-state.ts";

/** is_reg64 of a source operand: does the insn look at more than its low word? */
function readIs64(env: Env, r: RegState): boolean {
  const i = env.insnIdx;
  const code = env.code[i]!;
  switch (classOf(code)) {
    case BPF_JMP:
      return !(codeOf(code) === BPF_CALL && env.src[i] === BPF_PSEUDO_CALL);
    case BPF_ALU64:
      return codeOf(code) !== BPF_END || env.imm[i] === 64;
    case BPF_ALU:
      return codeOf(code) === BPF_END && env.imm[i] === 64;
    case BPF_JMP32:
      return false;
    case BPF_STX:
      return r.type !== SCALAR_VALUE || sizeOf(code) === BPF_DW;
    default:
      return true;
  }
}

/** Rejects a read of an uninitialised register or a write to r10; DST_OP makes the register an unknown scalar. */
export function checkRegArg(env: Env, regno: number, what: number): void {
  env.scratchedRegs |= 1 << regno;
  if (regno >= MAX_BPF_REG) reject(env, EINVAL, `R${regno} is invalid\n`);
  const r = env.regs[regno]!;
  if (what === SRC_OP) {
    if (r.type === NOT_INIT) reject(env, EACCES, `R${regno} !read_ok\n`);
    if (regno !== 10 && env.frame.marks !== null) markRegRead(env, env.state.curframe, regno, readIs64(env, r));
    return;
  }
  if (regno === 10) reject(env, EACCES, "frame pointer is read only\n");
  if (env.frame.marks !== null) markRegWritten(env.frame, regno);
  if (what === DST_OP) markRegUnknown(r, env.bpfCapable);
}

/** A pointer that may not leak: always false for those who may leak pointers. */
export const isPointerValue = (env: Env, r: RegState): boolean => !env.allowPtrLeaks && r.type !== SCALAR_VALUE;
