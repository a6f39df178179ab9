/** Copies of whole states (copy_verifier_state). */
import { VerifierState } from "./state.ts";

/** A copy of `src`; stack slots are shared until written. */
export function copyState(src: VerifierState): VerifierState {
  const d = new VerifierState();
  for (let i = 0; i <= src.curframe; i++) d.frames.push(src.frames[i]!.clone());
  d.curframe = src.curframe;
  d.parent = src.parent;
  d.branches = src.branches;
  d.insnIdx = src.insnIdx;
  d.speculative = src.speculative;
  d.inSleepable = src.inSleepable;
  d.cleaned = src.cleaned;
  d.refs = src.refs.length === 0 ? [] : src.refs.slice();
  d.activeLocks = src.activeLocks;
  d.activePreemptLocks = src.activePreemptLocks;
  d.activeIrqId = src.activeIrqId;
  d.activeLockId = src.activeLockId;
  d.activeLockPtr = src.activeLockPtr;
  d.activeRcuLock = src.activeRcuLock;
  d.firstInsnIdx = src.firstInsnIdx;
  d.lastInsnIdx = src.lastInsnIdx;
  d.equalState = src.equalState;
  d.loopEntry = src.loopEntry;
  d.usedAsLoopEntry = src.usedAsLoopEntry;
  d.jmpHistory =
    src.jmpHistory.length === 0
      ? []
      : src.jmpHistory.map((h) => ({ idx: h.idx, prevIdx: h.prevIdx, flags: h.flags, linked: h.linked }));
  d.dfsDepth = src.dfsDepth;
  d.callbackUnrollDepth = src.callbackUnrollDepth;
  d.mayGotoDepth = src.mayGotoDepth;
  return d;
}
