/** Pruning: whether the current state was explored before, and when to remember it (is_state_visited). */
import { BPF_JCOND, BPF_JMP } from "../asm/opcode.ts";
import { BPF_COMPLEXITY_LIMIT_STATES, BPF_ITER_STATE_ACTIVE, EINVAL, SCALAR_VALUE, STACK_ITER } from "./constants.ts";
import { copyState } from "./copy-state.ts";
import { type Env, reject, verifierBug } from "./env.ts";
import {
  EXACT,
  NOT_EXACT,
  RANGE_WITHIN,
  cleanState,
  propagatePrecision,
  regsExact,
  statesEqual,
  statesMaybeLooping,
} from "./equal.ts";
import { exploredIndex, maybeFree } from "./explore-state.ts";
import { pushJmpHistory } from "./history.ts";
import { connectToParent, propagateLiveness } from "./live-marks.ts";
import { printLineInfo, stateText } from "./log-state.ts";
import { inOpenLoop, loopEntryOf, updateLoopEntry } from "./loop-entry.ts";
import { markAllScalarsImprecise } from "./precision.ts";
import { type RegState, markRegUnknown } from "./reg-state.ts";
import { addSccBackedge, incompleteReadMarks, maybeEnterScc } from "./scc.ts";
import { frameOf } from "./stack.ts";
import { type VerifierState, isSpilledSlot, slotByte } from "./state.ts";

function sameCallsites(a: VerifierState, b: VerifierState): boolean {
  if (a.curframe !== b.curframe) return false;
  for (let i = a.curframe; i >= 0; i--) if (a.frames[i]!.callsite !== b.frames[i]!.callsite) return false;
  return true;
}

function iterActiveDepthsDiffer(old: VerifierState, cur: VerifierState): boolean {
  for (let fr = old.curframe; fr >= 0; fr--) {
    const f = old.frames[fr]!;
    for (let i = 0; i < f.stack.length; i++) {
      const s = f.stack[i]!;
      if (slotByte(s.types, 0) !== STACK_ITER || s.reg.iterState !== BPF_ITER_STATE_ACTIVE) continue;
      if (cur.frames[fr]!.stack[i]!.reg.iterDepth !== s.reg.iterDepth) return true;
    }
  }
  return false;
}

const isMayGoto = (env: Env, i: number): boolean => env.code[i] === (BPF_JMP | BPF_JCOND) && env.src[i] === 0;

function iterIsActive(env: Env, cur: VerifierState): boolean {
  const r = cur.frames[cur.curframe]!.regs[1]!;
  const spi = (-(r.off + r.valLo) - 1) >> 3;
  return frameOf(env, r).stack[spi]!.reg.iterState === BPF_ITER_STATE_ACTIVE;
}

function infiniteLoop(env: Env, old: VerifierState, cur: VerifierState, idx: number): never {
  printLineInfo(env, idx, "; ");
  if (!env.has.exactLoopStates) reject(env, EINVAL, `infinite loop detected at insn ${idx}\n`);
  env.log.write(`infinite loop detected at insn ${idx}\n`);
  env.log.write(`cur state:${stateText(env, cur, cur.curframe, true)}`);
  return reject(env, EINVAL, `old state:${stateText(env, old, cur.curframe, true)}`);
}

// How an unfinished state (one on the current path) relates to the current one.
const MISS = 0;
const SKIP = 1;
const HIT_LOOP = 2;
const HIT = 3;

function matchUnfinished(env: Env, old: VerifierState, cur: VerifierState, idx: number): number {
  const frame = old.frames[old.curframe]!;
  if (frame.inAsyncCallbackFn && frame.asyncEntryCnt !== cur.frames[cur.curframe]!.asyncEntryCnt) return SKIP;
  const aux = env.aux[idx]!;
  if (aux.callsIterNext) {
    return statesEqual(env, old, cur, RANGE_WITHIN) && iterIsActive(env, cur) ? HIT_LOOP : SKIP;
  }
  if (isMayGoto(env, idx) && old.mayGotoDepth !== cur.mayGotoDepth && statesEqual(env, old, cur, RANGE_WITHIN))
    return HIT_LOOP;
  if (aux.callsCallback) return statesEqual(env, old, cur, RANGE_WITHIN) ? HIT : SKIP;
  if (!env.has.exactLoopStates) {
    if (statesMaybeLooping(old, cur) && statesEqual(env, old, cur, NOT_EXACT)) infiniteLoop(env, old, cur, idx);
    return MISS;
  }
  if (
    statesMaybeLooping(old, cur) &&
    statesEqual(env, old, cur, EXACT) &&
    !iterActiveDepthsDiffer(old, cur) &&
    old.mayGotoDepth === cur.mayGotoDepth &&
    old.callbackUnrollDepth === cur.callbackUnrollDepth
  ) {
    infiniteLoop(env, old, cur, idx);
  }
  return MISS;
}

function hit(env: Env, old: VerifierState, cur: VerifierState, idx: number, loop: boolean): void {
  old.hitCnt++;
  if (!env.has.staticStackLiveness) propagateLiveness(env, old, cur);
  if (env.aux[env.insnIdx]!.jmpPoint) pushJmpHistory(env, cur, 0, null);
  propagatePrecision(env, old, cur);
  if (!loop || !env.has.sccLoops) return;
  const edge = copyState(cur);
  edge.equalState = old;
  edge.insnIdx = idx;
  addSccBackedge(env, old, edge);
}

/** Marks in `st` may be incomplete: the loop it is in is not explored yet. */
const inUnfinishedLoop = (env: Env, st: VerifierState): boolean =>
  env.has.sccLoops ? incompleteReadMarks(env, st) : inOpenLoop(st);

/** A saved state that never helps is dropped, as soon as nothing can walk over it. */
function evict(env: Env, st: VerifierState): void {
  if (!env.has.sccLoops) {
    if (st.cleaned && !st.usedAsLoopEntry) env.peakStates--;
    return;
  }
  st.inFreeList = true;
  env.freeListSize++;
  env.exploredSize--;
  maybeFree(env, st);
}

/** is_state_visited: true when an explored state covers the current one; else it may be saved. */
export function isStateVisited(env: Env, idx: number): boolean {
  const cur = env.state;
  const force =
    env.testStateFreq || env.aux[idx]!.forceCheckpoint || (cur.jmpHistory.length > 40 && env.has.forcedCheckpoints);
  let addNew = force;
  if (env.jmpsProcessed - env.prevJmpsProcessed >= 2 && env.insnProcessed - env.prevInsnProcessed >= 8) addNew = true;

  const at = exploredIndex(env, idx);
  const list = env.explored[at] ?? null;
  let count = 0;
  if (list !== null) {
    for (let k = list.length - 1; k >= 0; k--) {
      const st = list[k]!;
      if (st.branches !== 0 || st.cleaned || st.insnIdx !== idx || !sameCallsites(st, cur)) continue;
      if (inUnfinishedLoop(env, st)) continue;
      cleanState(env, st);
    }
    // 6.18 takes the visit of a callback for one of a loop only when an earlier state of the list was in one.
    let loop = false;
    for (let k = list.length - 1; k >= 0; k--) {
      const st = list[k]!;
      count++;
      if (st.insnIdx !== idx) continue;
      if (st.branches !== 0) {
        const m = matchUnfinished(env, st, cur, idx);
        if (m === HIT_LOOP || m === HIT) {
          if (m === HIT_LOOP && !env.has.sccLoops) updateLoopEntry(cur, st);
          hit(env, st, cur, idx, m === HIT_LOOP || loop);
          return true;
        }
        if (!force && env.jmpsProcessed - env.prevJmpsProcessed < 20 && env.insnProcessed - env.prevInsnProcessed < 100)
          addNew = false;
      } else {
        loop = inUnfinishedLoop(env, st);
        if (statesEqual(env, st, cur, loop ? RANGE_WITHIN : NOT_EXACT)) {
          if (loop && !env.has.sccLoops) updateLoopEntry(cur, loopEntryOf(st)!);
          hit(env, st, cur, idx, loop);
          return true;
        }
      }
      if (addNew) st.missCnt++;
      const n = env.aux[idx]!.forceCheckpoint && st.branches > 0 ? 64 : 3;
      if (st.missCnt > st.hitCnt * n + n) {
        list.splice(k, 1);
        evict(env, st);
      }
    }
  }
  if (env.maxStatesPerInsn < count) env.maxStatesPerInsn = count;
  if (!env.bpfCapable && count > BPF_COMPLEXITY_LIMIT_STATES) return false;
  if (!addNew) return false;

  env.totalStates++;
  if (env.profile !== null) env.profile.state(env, idx);
  if (env.has.sccLoops) {
    env.exploredSize++;
    env.updatePeakStates();
  } else env.peakStates++;
  env.prevJmpsProcessed = env.jmpsProcessed;
  env.prevInsnProcessed = env.insnProcessed;
  if (env.bpfCapable) markAllScalarsImprecise(cur);
  const saved = copyState(cur);
  saved.insnIdx = idx;
  if (saved.branches !== 1) verifierBug(env, `is_state_visited:branches_to_explore=${saved.branches} insn ${idx}`);
  if (env.has.sccLoops) maybeEnterScc(env, saved);
  cur.parent = saved;
  cur.firstInsnIdx = idx;
  cur.dfsDepth = saved.dfsDepth + 1;
  cur.jmpHistory = [];
  if (!env.has.staticStackLiveness) connectToParent(cur, saved);
  if (list === null) env.explored[at] = [saved];
  else list.push(saved);
  return false;
}

/** find_prev_entry: the state that entered the loop of insn `idx` on the way to `cur`. */
export function findPrevEntry(env: Env, cur: VerifierState | null, idx: number): VerifierState | null {
  const list = env.explored[exploredIndex(env, idx)];
  if (cur === null || list === null || list === undefined) return null;
  for (let k = list.length - 1; k >= 0; k--) {
    const st = list[k]!;
    if (st.insnIdx === idx && st.branches !== 0 && sameCallsites(st, cur) && st.dfsDepth < cur.dfsDepth) return st;
  }
  return null;
}

function maybeWiden(env: Env, old: RegState, cur: RegState): boolean {
  if (old.type !== SCALAR_VALUE || old.type !== cur.type || old.precise || cur.precise) return false;
  return !regsExact(old, cur, env.idMap);
}

/** widen_imprecise_scalars: scalars of `cur` that differ from `old` and need no precision become unknown. */
export function widenImpreciseScalars(env: Env, old: VerifierState, cur: VerifierState): void {
  env.idMap.reset(env.idGen);
  for (let fr = old.curframe; fr >= 0; fr--) {
    const fo = old.frames[fr]!;
    const fc = cur.frames[fr]!;
    for (let i = 0; i < 11; i++)
      if (maybeWiden(env, fo.regs[i]!, fc.regs[i]!)) markRegUnknown(fc.regs[i]!, env.bpfCapable);
    const n = Math.min(fo.stack.length, fc.stack.length);
    for (let i = 0; i < n; i++) {
      const so = fo.stack[i]!;
      const sc = fc.stack[i]!;
      if (!isSpilledSlot(so) || !isSpilledSlot(sc) || !maybeWiden(env, so.reg, sc.reg)) continue;
      markRegUnknown(fc.slotForWrite(i).reg, env.bpfCapable);
    }
  }
}
