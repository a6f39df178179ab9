/**
 * Follows a kernel's level-2 log of a program of scalar arithmetic and forward branches: the same
 * instructions are done with our scalars, and every register the log prints is compared.
 */
import type { Insn } from "../../../src/asm/index.ts";
import {
  BPF_ALU64,
  BPF_AND,
  BPF_END,
  BPF_JMP,
  BPF_JMP32,
  BPF_LD,
  BPF_MOV,
  BPF_NEG,
  BPF_OR,
  BPF_X,
  classOf,
  codeOf,
  sourceOf,
} from "../../../src/asm/opcode.ts";
import { SCALAR_VALUE } from "../../../src/verifier/constants.ts";
import { regText } from "../../../src/verifier/log-state.ts";
import { RegState, markRegKnown, markRegUnknown, setUnbounded } from "../../../src/verifier/reg-state.ts";
import { scalarAlu, scalarByteSwap } from "../../../src/verifier/scalar/alu.ts";
import { markReg32Known } from "../../../src/verifier/scalar/bits.ts";
import { isBranchTaken, refinePaths } from "../../../src/verifier/scalar/branch.ts";
import { coerceRegToSizeSx, coerceSubregToSizeSx, zextSubreg } from "../../../src/verifier/scalar/extend.ts";
import { boundsViolation, violationText } from "../../../src/verifier/scalar/invariants.ts";
import { regBoundsSync } from "../../../src/verifier/scalar/sync.ts";
import type { FuncState } from "../../../src/verifier/state.ts";

const REGS = [6, 7, 8, 9];
const frame = { frameno: 0 } as FuncState;

interface Run {
  readonly insns: readonly Insn[];
  readonly pending: { state: State; target: number }[];
  /** Broken invariants that we found and the log has yet to show. */
  readonly violations: string[];
}

interface State {
  readonly regs: RegState[];
}

const newState = (): State => ({ regs: Array.from({ length: 10 }, () => new RegState()) });
const copy = (s: State): State => ({ regs: s.regs.map((r) => r.clone()) });

/** What is printed of a register, without ids and precision marks. */
const plain = (text: string): string => text.replace(/^P/, "").replace(/\(id=[^,)]*,?/, "(");

export interface Mismatch {
  readonly insn: number;
  readonly what: string;
  readonly kernel: string;
  readonly ours: string;
}

/** Runs `insns` along `log`. Null when all that is printed agrees. */
export function follow(insns: readonly Insn[], log: string): Mismatch | null {
  const run: Run = { insns, pending: [], violations: [] };
  const { pending } = run;
  let state = newState();
  const lines = log.split("\n");
  let expected = -1;
  for (const line of lines) {
    const from = /^from (\d+) to (\d+):(.*)$/.exec(line);
    if (from !== null) {
      const top = pending.pop();
      const target = Number(from[2]);
      if (top === undefined || top.target !== target) {
        return { insn: Number(from[1]), what: "pending path", kernel: line.slice(0, 40), ours: String(top?.target) };
      }
      state = top.state;
      const bad = compare(state, from[3]!, target);
      if (bad !== null) return bad;
      expected = target;
      continue;
    }
    if (/^(verifier bug|REG INVARIANTS)/.test(line)) {
      const ours = run.violations.shift();
      if (ours !== line) return { insn: expected - 1, what: "violation", kernel: line, ours: ours ?? "none" };
      continue;
    }
    const m = /^(\d+): \([0-9a-f]{2}\) [^;]*(?:; (.*))?$/.exec(line);
    if (m === null) continue;
    const i = Number(m[1]);
    if (expected >= 0 && i !== expected)
      return { insn: expected, what: "next insn", kernel: String(i), ours: String(expected) };
    expected = step(run, i, state);
    if (m[2] !== undefined) {
      const bad = compare(state, m[2], i);
      if (bad !== null) return bad;
    }
  }
  return pending.length > 0 && /^processed/m.test(log)
    ? { insn: -1, what: "pending path", kernel: "none", ours: String(pending[0]!.target) }
    : null;
}

function compare(state: State, printed: string, insn: number): Mismatch | null {
  for (const m of printed.matchAll(/R(\d+)(?:_\w+)?=(P?scalar\((?:[^()]|\([^)]*\))*\)|\S+)/g)) {
    const reg = Number(m[1]);
    if (!REGS.includes(reg)) continue;
    const r = state.regs[reg]!;
    const kernel = plain(m[2]!);
    const ours = plain(regText(frame, r));
    if (kernel !== ours) return { insn, what: `R${reg}`, kernel, ours };
  }
  return null;
}

const src2 = new RegState();
const fake = new RegState();

/** Does the instruction on `state`; the index of the next one as we see it, -1 when unknown. */
function step(run: Run, i: number, state: State): number {
  const { insns, pending } = run;
  const insn = insns[i]!;
  const cls = classOf(insn.opcode);
  const op = codeOf(insn.opcode);
  const dst = state.regs[insn.dst] ?? new RegState();
  const isX = sourceOf(insn.opcode) === BPF_X;
  if (cls === BPF_LD) {
    markRegKnown(dst, insn.imm | 0, insns[i + 1]!.imm | 0);
    dst.type = SCALAR_VALUE;
    return i + 2;
  }
  if (cls === BPF_JMP || cls === BPF_JMP32) {
    if (op === 0x80) {
      markRegUnknown(state.regs[0]!, true);
      return i + 1;
    }
    if (op === 0x90) return -1;
    if (op === 0) return i + 1 + insn.off;
    let src = state.regs[insn.src]!;
    if (!isX) {
      src = src2;
      markRegKnown(src, insn.imm, insn.imm >> 31);
      src.type = SCALAR_VALUE;
    }
    const is32 = cls === BPF_JMP32;
    const taken = isBranchTaken(dst, src, op, is32);
    if (taken >= 0) return taken === 1 ? i + 1 + insn.off : i + 1;
    const other = copy(state);
    pending.push({ state: other, target: i + 1 + insn.off });
    fake.copyFrom(src);
    const src1 = isX ? other.regs[insn.src]! : fake;
    refinePaths(other.regs[insn.dst]!, src1, dst, src, op, is32);
    sanity(run, other.regs[insn.dst]!, "true_reg1");
    sanity(run, src1, "true_reg2");
    sanity(run, dst, "false_reg1");
    sanity(run, src, "false_reg2");
    return i + 1;
  }
  const is32 = cls !== BPF_ALU64;
  if (op === BPF_MOV) {
    if (!isX) {
      markRegKnown(dst, insn.imm, is32 ? 0 : insn.imm >> 31);
      dst.type = SCALAR_VALUE;
      return i + 1;
    }
    const src = state.regs[insn.src]!;
    if (src !== dst) dst.copyFrom(src);
    if (is32) {
      if (insn.off !== 0) coerceSubregToSizeSx(dst, insn.off >> 3);
      zextSubreg(dst);
      regBoundsSync(dst);
    } else if (insn.off !== 0) coerceRegToSizeSx(dst, insn.off >> 3);
  } else if (op === BPF_END) {
    scalarByteSwap(dst, insn.imm, !is32, sourceOf(insn.opcode) === 0);
  } else {
    const src = src2;
    if (isX || op === BPF_NEG) src.copyFrom(op === BPF_NEG ? dst : state.regs[insn.src]!);
    else {
      markRegKnown(src, insn.imm, insn.imm >> 31);
      src.type = SCALAR_VALUE;
    }
    if ((op === BPF_AND || op === BPF_OR) && src.isConst()) fork(state, insn, i, pending);
    if (!scalarAlu(op, is32, dst, src)) markRegUnknown(dst, true);
  }
  sanity(run, dst, "alu");
  return i + 1;
}

/** maybe_fork_scalars, on our small states. */
function fork(state: State, insn: Insn, i: number, pending: { state: State; target: number }[]): void {
  const dst = state.regs[insn.dst]!;
  const is64 = (dst.sminLo & dst.sminHi) === -1 && (dst.smaxLo | dst.smaxHi) === 0;
  if (!is64 && !(dst.s32Min === -1 && dst.s32Max === 0)) return;
  const other = copy(state);
  pending.push({ state: other, target: i });
  if (is64) {
    markRegKnown(other.regs[insn.dst]!, 0, 0);
    markRegKnown(dst, -1, -1);
  } else {
    markReg32Known(other.regs[insn.dst]!, 0);
    markReg32Known(dst, -1);
  }
}

function sanity(run: Run, r: RegState, ctx: string): void {
  const violation = boundsViolation(r);
  if (violation === null) return;
  run.violations.push(violationText(r, ctx, violation).trimEnd());
  setUnbounded(r);
}
