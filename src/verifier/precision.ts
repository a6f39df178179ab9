/**
 * Precision: which scalars' values a program's safety rests on. Marks are found by walking the
 * executed path backwards from the use of a number to where it was made (mark_chain_precision).
 */
import {
  BPF_ABS,
  BPF_ALU,
  BPF_ALU64,
  BPF_CALL,
  BPF_CMPXCHG,
  BPF_END,
  BPF_EXIT,
  BPF_FETCH,
  BPF_IND,
  BPF_JMP,
  BPF_JMP32,
  BPF_LD,
  BPF_LDX,
  BPF_LOAD_ACQ,
  BPF_MOV,
  BPF_NEG,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_ST,
  BPF_STX,
  BPF_X,
  classOf,
  codeOf,
  modeOf,
  sourceOf,
} from "../asm/opcode.ts";
import type { Backtrack } from "./backtrack.ts";
import { SCALAR_VALUE } from "./constants.ts";
import { type Env, verifierBug } from "./env.ts";
import {
  INSN_F_DST_REG_STACK,
  INSN_F_SRC_REG_STACK,
  INSN_F_STACK_ACCESS,
  stackAccessFrame,
  stackAccessSpi,
} from "./history.ts";
import { markChainInFrame } from "./old/precision.ts";
import { insnText } from "./log-insn.ts";
import { stateText } from "./log-state.ts";
import { type HistEntry, type VerifierState, isSpilledSlot } from "./state.ts";
import { findSubprog, isGlobalSubprog } from "./subprog.ts";

const ARGS = 0x3e;
const BPF_FUNC_TAIL_CALL = 12;
const BPF_ATOMIC_MODE = 0xc0;

function syncLinked(bt: Backtrack, hist: HistEntry | null): void {
  if (hist === null || hist.linked === null) return;
  const some = hist.linked.some((e) => (e.isReg ? bt.hasReg(e.frameno, e.regno) : bt.hasSlot(e.frameno, e.regno)));
  if (!some) return;
  for (const e of hist.linked) {
    if (e.isReg) bt.setReg(e.frameno, e.regno);
    else bt.setSlot(e.frameno, e.regno);
  }
}

const hex = (n: number): string => (n >>> 0).toString(16);

/** backtrack_insn. False: give up and mark everything (-ENOTSUPP). */
function backtrackInsn(env: Env, idx: number, subseqIdx: number, hist: HistEntry | null, bt: Backtrack): boolean {
  const code = env.code[idx]!;
  if (code === 0) return true;
  const cls = classOf(code);
  const op = codeOf(code);
  const dreg = env.dst[idx]!;
  const sreg = env.src[idx]!;
  const fr = bt.frame;
  if (env.log.level2) {
    env.log.write(
      `mark_precise: frame${fr}: regs=${bt.regText(fr)} stack=${bt.slotText(fr)} before ${idx}: ${insnText(env, idx)}`,
    );
  }
  syncLinked(bt, hist);
  const fetches =
    env.has.atomicFetchPrecision &&
    cls === BPF_STX &&
    modeOf(code) === BPF_ATOMIC_MODE &&
    (env.imm[idx]! & BPF_FETCH) !== 0;
  if (cls === BPF_ALU || cls === BPF_ALU64) {
    if (!bt.hasReg(fr, dreg)) return true;
    if (op === BPF_END || op === BPF_NEG) return true;
    if (op === BPF_MOV) {
      bt.clearReg(fr, dreg);
      if (sourceOf(code) === BPF_X && sreg !== 10) bt.setReg(fr, sreg);
    } else if (sourceOf(code) === BPF_X && sreg !== 10) bt.setReg(fr, sreg);
  } else if (
    cls === BPF_LDX ||
    fetches ||
    (cls === BPF_STX && modeOf(code) === BPF_ATOMIC_MODE && env.imm[idx] === BPF_LOAD_ACQ)
  ) {
    const loaded = fetches ? (env.imm[idx] === BPF_CMPXCHG ? 0 : sreg) : dreg;
    if (!bt.hasReg(fr, loaded)) return true;
    bt.clearReg(fr, loaded);
    if (hist === null || (hist.flags & INSN_F_STACK_ACCESS) === 0) return true;
    bt.setSlot(stackAccessFrame(hist.flags), stackAccessSpi(hist.flags));
  } else if (cls === BPF_STX || cls === BPF_ST) {
    if (bt.hasReg(fr, dreg)) return false;
    if (hist === null || (hist.flags & INSN_F_STACK_ACCESS) === 0) return true;
    const spi = stackAccessSpi(hist.flags);
    const frame = stackAccessFrame(hist.flags);
    if (!bt.hasSlot(frame, spi)) return true;
    bt.clearSlot(frame, spi);
    if (cls === BPF_STX) bt.setReg(fr, sreg);
  } else if (cls === BPF_JMP || cls === BPF_JMP32) {
    if (cls === BPF_JMP && op === BPF_CALL) {
      if (backtrackCall(env, idx, subseqIdx, bt)) return true;
      if (env.src[idx] === BPF_PSEUDO_KFUNC_CALL && env.imm[idx] === 0) return false;
      bt.clearReg(fr, 0);
      if ((bt.regs[fr]! & ARGS) !== 0) verifierBug(env, `backtracking call unexpected regs ${hex(bt.regs[fr]!)}`);
      if (env.src[idx] === 0 && env.imm[idx] === BPF_FUNC_TAIL_CALL && subseqIdx - idx !== 1) enter(env, bt);
    } else if (op === BPF_EXIT) {
      const fromCall =
        subseqIdx - 1 >= 0 && env.code[subseqIdx - 1] === 0x85 && env.src[subseqIdx - 1] === BPF_PSEUDO_CALL;
      const ofCallback = subseqIdx >= 0 && env.aux[subseqIdx]!.callsCallback;
      if (ofCallback && !env.has.callbackArgsKept) bt.regs[fr]! &= ~ARGS;
      if ((fromCall || !env.has.callbackArgsKept) && (bt.regs[fr]! & ARGS) !== 0)
        verifierBug(env, `backtracking exit unexpected regs ${hex(bt.regs[fr]!)}`);
      const r0 = fromCall && bt.hasReg(fr, 0);
      bt.clearReg(fr, 0);
      enter(env, bt);
      if (r0) bt.setReg(bt.frame, 0);
      return true;
    } else if (sourceOf(code) === BPF_X) {
      if (!bt.hasReg(fr, dreg) && !bt.hasReg(fr, sreg)) return true;
      if (hist === null || (hist.flags & INSN_F_SRC_REG_STACK) === 0) bt.setReg(fr, sreg);
      if (hist === null || (hist.flags & INSN_F_DST_REG_STACK) === 0) bt.setReg(fr, dreg);
    }
  } else if (cls === BPF_LD) {
    if (!bt.hasReg(fr, dreg)) return true;
    bt.clearReg(fr, dreg);
    if (modeOf(code) === BPF_IND || modeOf(code) === BPF_ABS) return false;
  }
  syncLinked(bt, hist);
  return true;
}

function enter(env: Env, bt: Backtrack): void {
  if (bt.frame === 7) verifierBug(env, `subprog enter from frame ${bt.frame}`);
  bt.frame++;
}

function leave(env: Env, bt: Backtrack): void {
  if (bt.frame === 0) verifierBug(env, "subprog exit from frame 0");
  bt.frame--;
}

/** Calls of subprograms and callbacks; false: a plain helper or kfunc call. */
function backtrackCall(env: Env, idx: number, subseqIdx: number, bt: Backtrack): boolean {
  const fr = bt.frame;
  if (env.src[idx] === BPF_PSEUDO_CALL) {
    const subprog = findSubprog(env, idx + env.imm[idx]! + 1);
    if (isGlobalSubprog(env, subprog)) {
      if (idx + 1 !== subseqIdx) verifierBug(env, "extra insn from subprog");
      if ((bt.regs[fr]! & ARGS) !== 0) verifierBug(env, `global subprog unexpected regs ${hex(bt.regs[fr]!)}`);
      bt.clearReg(fr, 0);
      return true;
    }
    if ((bt.regs[fr]! & ~ARGS) !== 0) verifierBug(env, `static subprog unexpected regs ${hex(bt.regs[fr]!)}`);
    if ((bt.slotsLo[fr]! | bt.slotsHi[fr]!) !== 0) {
      verifierBug(env, `static subprog leftover stack slots ${hex(bt.slotsHi[fr]!)}${hex(bt.slotsLo[fr]!)}`);
    }
    const args = bt.regs[fr]! & ARGS;
    bt.regs[fr] = 0;
    leave(env, bt);
    bt.regs[bt.frame]! |= args;
    return true;
  }
  if (idx !== subseqIdx - 1 && env.seams.isSyncCallbackCallingInsn(env, idx)) {
    if ((bt.regs[fr]! & ~ARGS) !== 0) verifierBug(env, `callback unexpected regs ${hex(bt.regs[fr]!)}`);
    if ((bt.slotsLo[fr]! | bt.slotsHi[fr]!) !== 0) verifierBug(env, "callback leftover stack slots");
    bt.regs[fr] = 0;
    leave(env, bt);
    return true;
  }
  return false;
}

/** Every scalar of every earlier state on this path becomes precise (mark_all_scalars_precise). */
export function markAllScalarsPrecise(env: Env, start: VerifierState): void {
  const level2 = env.log.level2;
  if (level2) env.log.write(`mark_precise: frame${start.curframe}: falling back to forcing all scalars precise\n`);
  for (let st = start.parent; st !== null; st = st.parent) {
    for (let i = 0; i <= st.curframe; i++) {
      const f = st.frames[i]!;
      for (let j = 0; j < 10; j++) {
        const r = f.regs[j]!;
        if (r.type !== SCALAR_VALUE || r.precise) continue;
        r.precise = true;
        if (level2) env.log.write(`force_precise: frame${i}: forcing r${j} to be precise\n`);
      }
      for (let j = 0; j < f.stack.length; j++) {
        const s = f.stack[j]!;
        if (!isSpilledSlot(s) || s.reg.type !== SCALAR_VALUE || s.reg.precise) continue;
        f.slotForWrite(j).reg.precise = true;
        if (level2) env.log.write(`force_precise: frame${i}: forcing fp${-(j + 1) * 8} to be precise\n`);
      }
    }
  }
}

/** mark_all_scalars_imprecise */
export function markAllScalarsImprecise(st: VerifierState): void {
  for (let i = 0; i <= st.curframe; i++) {
    const f = st.frames[i]!;
    for (let j = 0; j < 10; j++) {
      const r = f.regs[j]!;
      if (r.type === SCALAR_VALUE) r.precise = false;
    }
    for (let j = 0; j < f.stack.length; j++) {
      const s = f.stack[j]!;
      if (isSpilledSlot(s) && s.reg.type === SCALAR_VALUE && s.reg.precise) f.slotForWrite(j).reg.precise = false;
    }
  }
}

/** The insn before `i` in `st`, its history consumed down to `box.cnt`; -1 when the state begins here. */
function prevInsn(st: VerifierState, i: number, box: { cnt: number }): number {
  const cnt = box.cnt;
  const h = st.jmpHistory;
  if (i === st.firstInsnIdx) {
    if (cnt === 0) return -1;
    if (cnt === 1 && h[0]!.idx === i) return -1;
  }
  if (cnt > 0 && h[cnt - 1]!.idx === i) {
    box.cnt = cnt - 1;
    return h[cnt - 1]!.prevIdx;
  }
  return i - 1;
}

/**
 * __mark_chain_precision from `start` for register `regno` of its frame (-1: what `bt` already has set).
 * Returns whether some mark is new.
 */
export function markChain(env: Env, start: VerifierState, regno: number): boolean {
  if (!env.bpfCapable) return false;
  const bt = env.bt;
  let st = start;
  let firstIdx = st.firstInsnIdx;
  let lastIdx = start.insnIdx;
  let subseqIdx = -1;
  let skipFirst = true;
  let changed = false;
  bt.frame = start.curframe;
  if (regno >= 0) {
    if (st.frames[bt.frame]!.regs[regno]!.type !== SCALAR_VALUE) verifierBug(env, "backtracking misuse");
    bt.setReg(bt.frame, regno);
  }
  if (bt.empty()) return false;
  const level2 = env.log.level2;
  const box = { cnt: 0 };
  for (;;) {
    box.cnt = st.jmpHistory.length;
    if (level2)
      env.log.write(
        `mark_precise: frame${bt.frame}: last_idx ${lastIdx} first_idx ${firstIdx} subseq_idx ${subseqIdx} \n`,
      );
    if (lastIdx < 0) {
      const f0 = st.frames[0]!;
      if (
        st.curframe === 0 &&
        f0.subprogno > 0 &&
        f0.callsite === -1 &&
        (bt.slotsLo[bt.frame]! | bt.slotsHi[bt.frame]!) === 0 &&
        (bt.regs[bt.frame]! & ~ARGS) === 0
      ) {
        for (let i = 1; i <= 5; i++) {
          if (!bt.hasReg(bt.frame, i)) continue;
          bt.clearReg(bt.frame, i);
          if (f0.regs[i]!.type === SCALAR_VALUE) {
            f0.regs[i]!.precise = true;
            changed = true;
          }
        }
        return changed;
      }
      verifierBug(
        env,
        `backtracking func entry subprog ${f0.subprogno} reg_mask ${hex(bt.regs[bt.frame]!)} stack_mask ${hex(bt.slotsLo[bt.frame]!)}`,
      );
    }
    for (let i = lastIdx; ;) {
      let ok = true;
      if (skipFirst) skipFirst = false;
      else {
        const h = st.jmpHistory;
        const hist = box.cnt > 0 && h[box.cnt - 1]!.idx === i ? h[box.cnt - 1]! : null;
        ok = backtrackInsn(env, i, subseqIdx, hist, bt);
      }
      if (!ok) {
        markAllScalarsPrecise(env, start);
        bt.reset();
        return changed;
      }
      if (bt.empty()) return changed;
      subseqIdx = i;
      const before = i;
      i = prevInsn(st, i, box);
      if (i < 0) {
        if (before === 0 && st.firstInsnIdx !== 0) verifierBug(env, `backtracking idx ${i}`);
        break;
      }
      if (i >= env.len) verifierBug(env, `backtracking idx ${i}`);
    }
    if (st.parent === null) break;
    st = st.parent;
    for (let fr = bt.frame; fr >= 0; fr--) {
      const f = st.frames[fr]!;
      if (bt.regs[fr] !== 0) {
        for (let i = 0; i < 10; i++) {
          if (!bt.hasReg(fr, i)) continue;
          const r = f.regs[i]!;
          if (r.type !== SCALAR_VALUE || r.precise) bt.clearReg(fr, i);
          else {
            r.precise = true;
            changed = true;
          }
        }
      }
      if ((bt.slotsLo[fr]! | bt.slotsHi[fr]!) !== 0) {
        for (let i = 0; i < 64; i++) {
          if (!bt.hasSlot(fr, i)) continue;
          if (i >= f.stack.length) verifierBug(env, `stack slot ${i}, total slots ${f.stack.length}`);
          const s = f.stack[i]!;
          if (!isSpilledSlot(s) || s.reg.type !== SCALAR_VALUE || s.reg.precise) bt.clearSlot(fr, i);
          else {
            f.slotForWrite(i).reg.precise = true;
            changed = true;
          }
        }
      }
      if (level2) {
        env.log.write(
          `mark_precise: frame${fr}: parent state regs=${bt.regText(fr)} stack=${bt.slotText(fr)}: ${stateText(env, st, fr, true)}`,
        );
      }
    }
    if (bt.empty()) return changed;
    subseqIdx = firstIdx;
    lastIdx = st.lastInsnIdx;
    firstIdx = st.firstInsnIdx;
  }
  if (!bt.empty()) {
    markAllScalarsPrecise(env, start);
    bt.reset();
  }
  return changed;
}

/** mark_chain_precision of register `regno` of the current frame. */
export function markChainPrecision(env: Env, regno: number): void {
  if (env.has.callPrecision) markChain(env, env.state, regno);
  else markChainInFrame(env, env.state.curframe, regno, -1);
}
