/** Loops of states (6.16+): visits of strongly connected components, and the back edges found in each. */
import { frameInsnIdx } from "./state.ts";
import type { Env } from "./env.ts";
import { verifierBug } from "./env.ts";
import { propagatePrecision } from "./equal.ts";
import { markAllScalarsPrecise } from "./precision.ts";
import type { VerifierState } from "./state.ts";

/** One visit of an SCC through one chain of call sites (bpf_scc_visit). */
export interface SccVisit {
  /** Call sites down to the frame that is in the SCC. */
  readonly callsites: readonly number[];
  entryState: VerifierState | null;
  /** Copies of states that were found equal to a state of the loop; newest last. */
  backedges: VerifierState[];
}

export interface SccInfo {
  readonly visits: SccVisit[];
}

const MAX_BACKEDGE_ITERS = 64;
const callsites: number[] = [];

/** compute_scc_callchain: the SCC of the outermost frame that is in one; 0 if none. Leaves the call sites in `callsites`. */
function computeChain(env: Env, st: VerifierState): number {
  callsites.length = 0;
  for (let i = 0; i <= st.curframe; i++) {
    const idx = frameInsnIdx(st, i);
    const scc = env.aux[idx]!.scc;
    if (scc !== 0) return scc;
    if (i < st.curframe) callsites.push(idx);
  }
  return 0;
}

function lookup(env: Env, scc: number): SccVisit | null {
  const info = env.sccInfo[scc];
  if (info === null || info === undefined) return null;
  for (const v of info.visits) {
    const c = v.callsites;
    if (c.length !== callsites.length) continue;
    let same = true;
    for (let i = 0; i < c.length && same; i++) same = c[i] === callsites[i];
    if (same) return v;
  }
  return null;
}

function chainText(scc: number): string {
  let text = "(";
  for (const c of callsites) {
    if (c === 0) break;
    text += `${c},`;
  }
  return `${text}${scc})`;
}

/** maybe_enter_scc */
export function maybeEnterScc(env: Env, st: VerifierState): void {
  const scc = computeChain(env, st);
  if (scc === 0) return;
  let visit = lookup(env, scc);
  if (visit === null) {
    visit = { callsites: callsites.slice(), entryState: null, backedges: [] };
    const info = env.sccInfo[scc];
    if (info === null || info === undefined) env.sccInfo[scc] = { visits: [visit] };
    else info.visits.push(visit);
  }
  if (visit.entryState === null) {
    visit.entryState = st;
    if (env.log.level2) env.log.write(`SCC enter ${chainText(scc)}\n`);
  }
}

/** maybe_exit_scc: all paths from the loop's entry are explored, so marks travel along its back edges until nothing changes. */
export function maybeExitScc(env: Env, st: VerifierState): void {
  const scc = computeChain(env, st);
  if (scc === 0) return;
  const visit = lookup(env, scc);
  if (visit === null) {
    if (!st.speculative) verifierBug(env, `scc exit: no visit info for call chain ${chainText(scc)}`);
    return;
  }
  if (visit.entryState !== st) return;
  if (env.log.level2) env.log.write(`SCC exit ${chainText(scc)}\n`);
  visit.entryState = null;
  env.numBackedges -= visit.backedges.length;
  propagateBackedges(env, visit);
}

function propagateBackedges(env: Env, visit: SccVisit): void {
  let i = 0;
  let changed: boolean;
  do {
    if (i++ > MAX_BACKEDGE_ITERS) {
      if (env.log.level2) env.log.write("propagate_backedges: too many iterations\n");
      for (let k = visit.backedges.length - 1; k >= 0; k--) markAllScalarsPrecise(env, visit.backedges[k]!);
      break;
    }
    changed = false;
    for (let k = visit.backedges.length - 1; k >= 0; k--) {
      const st = visit.backedges[k]!;
      if (propagatePrecision(env, st.equalState!, st)) changed = true;
    }
  } while (changed);
  visit.backedges = [];
}

/** add_scc_backedge: `edge` is equal to `st`, a state in a loop. */
export function addSccBackedge(env: Env, st: VerifierState, edge: VerifierState): void {
  const scc = computeChain(env, st);
  if (scc === 0) verifierBug(env, `add backedge: no SCC in verification path, insn_idx ${st.insnIdx}`);
  const visit = lookup(env, scc);
  if (visit === null) verifierBug(env, `add backedge: no visit info for call chain ${chainText(scc)}`);
  if (env.log.level2) env.log.write(`SCC backedge ${chainText(scc)}\n`);
  visit.backedges.push(edge);
  env.numBackedges++;
  env.updatePeakStates();
}

/** incomplete_read_marks: `st` is in a loop whose back edges are not yet accounted for. */
export function incompleteReadMarks(env: Env, st: VerifierState): boolean {
  if (env.numBackedges === 0) return false;
  const scc = computeChain(env, st);
  if (scc === 0) return false;
  const visit = lookup(env, scc);
  return visit !== null && visit.backedges.length > 0;
}
