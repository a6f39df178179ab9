/** The stack of paths still to explore, and the tree of states behind them. */
import { BPF_COMPLEXITY_LIMIT_JMP_SEQ, EFAULT } from "./constants.ts";
import { copyState } from "./copy-state.ts";
import { type Env, reject, verifierBug } from "./env.ts";
import { updateLoopEntry } from "./loop-entry.ts";
import { incompleteReadMarks, maybeExitScc } from "./scc.ts";
import { type FuncState, VerifierState } from "./state.ts";

/** explored_state: which list of saved states an insn belongs to, in the current frame's calling context. */
export const exploredIndex = (env: Env, idx: number): number => ((idx ^ env.frame.callsite) >>> 0) % env.len;

/** push_stack: a copy of the current state will be explored later from `insnIdx`. The copy may be changed by the caller. */
export function pushStack(env: Env, insnIdx: number, prevInsnIdx: number, speculative: boolean): VerifierState {
  const st = copyState(env.state);
  st.speculative = st.speculative || speculative;
  env.head.push({ state: st, insnIdx, prevInsnIdx, logPos: env.log.pos });
  checkDepth(env);
  if (st.parent !== null) st.parent.branches++;
  return st;
}

function checkDepth(env: Env): void {
  if (env.head.length > BPF_COMPLEXITY_LIMIT_JMP_SEQ)
    reject(env, EFAULT, `The sequence of ${env.head.length} jumps is too complex.\n`);
}

/** push_async_cb: a fresh state for an asynchronous callback. Its frame 0 is `frame`. */
export function pushAsyncState(
  env: Env,
  insnIdx: number,
  prevInsnIdx: number,
  frame: FuncState,
  isSleepable: boolean,
): VerifierState {
  const st = new VerifierState();
  env.head.push({ state: st, insnIdx, prevInsnIdx, logPos: env.log.pos });
  checkDepth(env);
  st.branches = 1;
  st.inSleepable = isSleepable;
  st.frames.push(frame);
  return st;
}

/** maybe_free_verifier_state: an evicted state that nothing can need any more. */
export function maybeFree(env: Env, st: VerifierState): void {
  if (!st.inFreeList || st.branches !== 0 || incompleteReadMarks(env, st)) return;
  st.inFreeList = false;
  st.frames = [];
  st.jmpHistory = [];
  env.freeListSize--;
}

/** update_branch_counts: a path has ended; so have its ancestors that have no other path. */
export function updateBranchCounts(env: Env, start: VerifierState): void {
  let st: VerifierState | null = start;
  while (st !== null) {
    const br: number = --st.branches;
    if (br < 0) verifierBug(env, `update_branch_counts:branches_to_explore=${br}`);
    if (br !== 0) break;
    if (env.has.sccLoops) maybeExitScc(env, st);
    const parent: VerifierState | null = st.parent;
    if (parent !== null && st.loopEntry !== null) updateLoopEntry(parent, st.loopEntry);
    if (st !== start) maybeFree(env, st);
    st = parent;
  }
}

/** pop_stack: the next pending path becomes the current state; false when none is left. */
export function popStack(env: Env, popLog: boolean): boolean {
  const elem = env.head.pop();
  if (elem === undefined) return false;
  env.state = elem.state;
  if (popLog) env.log.reset(elem.logPos);
  env.insnIdx = elem.insnIdx;
  env.prevInsnIdx = elem.prevInsnIdx;
  return true;
}
