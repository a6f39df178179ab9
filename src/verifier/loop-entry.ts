/** Loops of states before 6.17: each state knows the topmost state of the loop it was found to be in (get_loop_entry). */
import type { VerifierState } from "./state.ts";

/** get_loop_entry */
export function loopEntryOf(start: VerifierState): VerifierState | null {
  let top = start.loopEntry;
  while (top !== null && top.loopEntry !== null && top !== top.loopEntry) top = top.loopEntry;
  for (let st: VerifierState | null = start; st !== null && st.loopEntry !== top;) {
    const next: VerifierState | null = st.loopEntry;
    st.loopEntry = top;
    st = next;
  }
  return top;
}

/** update_loop_entry: `cur` is in a loop with `head`, if that is on the current path. */
export function updateLoopEntry(cur: VerifierState, head: VerifierState): void {
  const cur1 = loopEntryOf(cur) ?? cur;
  const head1 = loopEntryOf(head) ?? head;
  if (head1.branches === 0 || head1.dfsDepth > cur1.dfsDepth) return;
  cur.loopEntry = head;
  head.usedAsLoopEntry = true;
}

/** The loop that `st` is in is still being explored. */
export function inOpenLoop(st: VerifierState): boolean {
  const entry = loopEntryOf(st);
  return entry !== null && entry.branches > 0;
}
