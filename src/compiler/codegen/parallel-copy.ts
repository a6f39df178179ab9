/** Copies that are meant to happen all at once, in an order (with temporaries) that does the same. */

/** @param moves Destination and source; destinations differ. Consumed. */
export function sequence(moves: [dst: number, src: number][], temp: () => number): [dst: number, src: number][] {
  const out: [number, number][] = [];
  while (moves.length > 0) {
    const free = moves.findIndex(([d]) => !moves.some(([, s]) => s === d));
    if (free >= 0) {
      out.push(moves[free]!);
      moves.splice(free, 1);
      continue;
    }
    // Only cycles are left: free the first destination by saving what it holds.
    const saved = temp();
    const d = moves[0]![0];
    out.push([saved, d]);
    for (const m of moves) if (m[1] === d) m[1] = saved;
  }
  return out;
}
