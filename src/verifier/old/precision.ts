/**
 * Precision before 6.4 (mark_chain_precision): one register or stack slot of one frame is followed back to
 * where it was made; at a call, or at an access of the stack through another register than r10, all scalars
 * of the path become precise instead.
 */
import {
  BPF_ABS,
  BPF_ALU,
  BPF_ALU64,
  BPF_ATOMIC,
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
} from "../../asm/opcode.ts";
import { SCALAR_VALUE } from "../constants.ts";
import { type Env, verifierBug } from "../env.ts";
import { regIsRead, slotIsRead } from "../live-marks.ts";
import { hex64 } from "../log-num.ts";
import { insnText } from "../log-insn.ts";
import { stateText } from "../log-state.ts";
import { type VerifierState, isSpilledSlot } from "../state.ts";

const FP = 10;
const ARGS = 0x3e;

/** What is still wanted: registers and stack slots of one frame, as bits. */
class Wanted {
  regs = 0;
  lo = 0;
  hi = 0;
  get none(): boolean {
    return (this.regs | this.lo | this.hi) === 0;
  }
  hasSlot(i: number): boolean {
    return ((i < 32 ? this.lo >>> i : this.hi >>> (i - 32)) & 1) !== 0;
  }
  setSlot(i: number): void {
    if (i < 32) this.lo |= 1 << i;
    else this.hi |= 1 << (i - 32);
  }
  clearSlot(i: number): void {
    if (i < 32) this.lo &= ~(1 << i);
    else this.hi &= ~(1 << (i - 32));
  }
  text(): string {
    return `regs=${this.regs.toString(16)} stack=${hex64(this.lo, this.hi).slice(2)}`;
  }
}

/** backtrack_insn. False: give up. */
function stepBack(env: Env, idx: number, w: Wanted): boolean {
  const code = env.code[idx]!;
  if (code === 0) return true;
  if (env.log.level2) env.log.write(`${w.text()} before ${idx}: ${insnText(env, idx)}`);
  const cls = classOf(code);
  const op = codeOf(code);
  const dreg = 1 << env.dst[idx]!;
  const sreg = 1 << env.src[idx]!;
  const fetches = cls === BPF_STX && modeOf(code) === BPF_ATOMIC && (env.imm[idx]! & BPF_FETCH) !== 0;
  if (cls === BPF_ALU || cls === BPF_ALU64) {
    if ((w.regs & dreg) === 0 || op === BPF_END || op === BPF_NEG) return true;
    if (op === BPF_MOV) w.regs &= ~dreg;
    if (sourceOf(code) === BPF_X) w.regs |= sreg;
  } else if (cls === BPF_LDX || (fetches && env.has.atomicFetchPrecision)) {
    const loaded = fetches ? (env.imm[idx] === BPF_CMPXCHG ? 1 : sreg) : dreg;
    const base = fetches ? env.dst[idx]! : env.src[idx]!;
    if ((w.regs & loaded) === 0) return true;
    w.regs &= ~loaded;
    if (base === FP) w.setSlot((-env.off[idx]! - 1) >> 3);
  } else if (cls === BPF_STX || cls === BPF_ST) {
    if ((w.regs & dreg) !== 0) return false;
    if (env.dst[idx] !== FP) return true;
    const spi = (-env.off[idx]! - 1) >> 3;
    if (!w.hasSlot(spi)) return true;
    w.clearSlot(spi);
    if (cls === BPF_STX) w.regs |= sreg;
  } else if (cls === BPF_JMP || cls === BPF_JMP32) {
    if (op === BPF_CALL) return stepBackCall(env, idx, w);
    if (op === BPF_EXIT) return false;
    if (sourceOf(code) === BPF_X && (w.regs & (dreg | sreg)) !== 0) w.regs |= dreg | sreg;
  } else if (cls === BPF_LD) {
    if ((w.regs & dreg) === 0) return true;
    w.regs &= ~dreg;
    if (modeOf(code) === BPF_IND || modeOf(code) === BPF_ABS) return false;
  }
  return true;
}

function stepBackCall(env: Env, idx: number, w: Wanted): boolean {
  const src = env.src[idx]!;
  if (src === BPF_PSEUDO_CALL || (src === BPF_PSEUDO_KFUNC_CALL && env.imm[idx] === 0)) return false;
  if (env.seams.isSyncCallbackCallingInsn(env, idx) || env.seams.isAsyncCallbackCallingInsn(env, idx)) return false;
  w.regs &= ~1;
  if ((w.regs & 0x3f) !== 0) verifierBug(env, `backtracking call unexpected regs ${w.regs.toString(16)}`);
  return true;
}

function markAll(start: VerifierState): void {
  for (let st = start.parent; st !== null; st = st.parent) {
    for (let i = 0; i <= st.curframe; i++) {
      const f = st.frames[i]!;
      for (let j = 0; j < FP; j++) if (f.regs[j]!.type === SCALAR_VALUE) f.regs[j]!.precise = true;
      for (let j = 0; j < f.stack.length; j++) {
        const s = f.stack[j]!;
        if (isSpilledSlot(s) && s.reg.type === SCALAR_VALUE) f.slotForWrite(j).reg.precise = true;
      }
    }
  }
}

/** The insn before `i` in `st`, whose history is used down to `box.cnt`; -1: the state begins here. */
function insnBefore(st: VerifierState, i: number, box: { cnt: number }): number {
  const h = st.jmpHistory;
  if (i === st.firstInsnIdx && (box.cnt === 0 || (box.cnt === 1 && h[0]!.idx === i))) return -1;
  if (box.cnt > 0 && h[box.cnt - 1]!.idx === i) return h[--box.cnt]!.prevIdx;
  return i - 1;
}

/** Marks in a parent state what is wanted of it; what is no scalar is wanted no more. 1: something was new, 0: nothing, -1: give up. */
function markIn(env: Env, st: VerifierState, frame: number, w: Wanted): number {
  const f = st.frames[frame]!;
  let fresh = 0;
  for (let i = 0; i < 32; i++) {
    if (((w.regs >>> i) & 1) === 0) continue;
    const r = f.regs[i]!;
    if (r.type !== SCALAR_VALUE) {
      w.regs &= ~(1 << i);
      continue;
    }
    if (!r.precise) fresh = 1;
    r.precise = true;
  }
  for (let i = 0; i < 64; i++) {
    if (!w.hasSlot(i)) continue;
    if (i >= f.stack.length) return -1;
    const s = f.stack[i]!;
    if (!isSpilledSlot(s) || s.reg.type !== SCALAR_VALUE) {
      w.clearSlot(i);
      continue;
    }
    if (s.reg.precise) continue;
    fresh = 1;
    f.slotForWrite(i).reg.precise = true;
  }
  if (env.log.level2) {
    env.log.write(
      `parent ${fresh === 1 ? "didn't have" : "already had"} ${w.text()} marks:${stateText(env, st, frame, true)}`,
    );
  }
  return fresh;
}

/** __mark_chain_precision of register `regno` (or, when that is -1, slot `spi`) of frame `frame` of the current state. */
export function markChainInFrame(env: Env, frame: number, regno: number, spi: number): void {
  if (!env.bpfCapable) return;
  let st = env.state;
  const w = new Wanted();
  if (regno >= 0) w.regs = 1 << regno;
  else {
    const s = st.frames[frame]!.stack[spi]!;
    if (!isSpilledSlot(s) || s.reg.type !== SCALAR_VALUE) return;
    w.setSlot(spi);
  }
  let firstIdx = st.firstInsnIdx;
  let lastIdx = env.insnIdx;
  let skipFirst = true;
  const box = { cnt: 0 };
  for (;;) {
    box.cnt = st.jmpHistory.length;
    if (env.log.level2) env.log.write(`last_idx ${lastIdx} first_idx ${firstIdx}\n`);
    if (lastIdx < 0) {
      const f0 = st.frames[0]!;
      if (st.curframe !== 0 || f0.subprogno === 0 || (w.lo | w.hi | (w.regs & ~ARGS)) !== 0)
        verifierBug(env, `backtracking func entry subprog ${f0.subprogno} ${w.text()}`);
      for (let i = 1; i <= 5; i++) {
        if (((w.regs >>> i) & 1) !== 0 && f0.regs[i]!.type === SCALAR_VALUE) f0.regs[i]!.precise = true;
      }
      return;
    }
    for (let i = lastIdx; i >= 0;) {
      if (skipFirst) skipFirst = false;
      else if (!stepBack(env, i, w)) {
        markAll(st);
        return;
      }
      if (w.none) return;
      i = insnBefore(st, i, box);
      if (i >= env.len) verifierBug(env, `backtracking idx ${i}`);
    }
    if (st.parent === null) return;
    st = st.parent;
    const fresh = markIn(env, st, frame, w);
    if (fresh < 0) markAll(st);
    if (fresh <= 0 || w.none) return;
    lastIdx = st.lastInsnIdx;
    firstIdx = st.firstInsnIdx;
  }
}

/** propagate_precision: each precise scalar of `old` is followed back on its own from the current state. */
export function propagatePrecisionOneByOne(env: Env, old: VerifierState): void {
  const note = (fr: number, what: string): void => {
    if (env.log.level2) env.log.write(`frame ${fr}: propagating ${what}\n`);
  };
  for (let fr = old.curframe; fr >= 0; fr--) {
    const f = old.frames[fr]!;
    for (let i = 0; i < FP; i++) {
      const r = f.regs[i]!;
      if (r.type !== SCALAR_VALUE || !r.precise || !regIsRead(f, i)) continue;
      note(fr, `r${i}`);
      markChainInFrame(env, fr, i, -1);
    }
    for (let i = 0; i < f.stack.length; i++) {
      const s = f.stack[i]!;
      if (!isSpilledSlot(s) || s.reg.type !== SCALAR_VALUE || !s.reg.precise || !slotIsRead(f, i)) continue;
      note(fr, `fp${-(i + 1) * 8}`);
      markChainInFrame(env, fr, -1, i);
    }
  }
}
