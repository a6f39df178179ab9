/** Strongly connected components of the CFG and the visits of them: how 6.18 treats loops of states. */
import type { VerifierState } from "./state.ts";

/** bpf_scc_callchain: call sites down to the frame, then the SCC of the innermost one. */
export interface SccCallchain {
  readonly key: string;
  readonly scc: number;
}

/** bpf_scc_visit */
export interface SccVisit {
  readonly chain: SccCallchain;
  entryState: VerifierState | null;
  backedges: VerifierState[];
}

export interface SccInfo {
  visits: SccVisit[];
}
