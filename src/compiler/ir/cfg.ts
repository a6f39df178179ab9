/** Order, predecessors, dominators and loops of a function's blocks. Valid until an edge changes. */
import type { Block, Func } from "./ir.ts";

export interface Loop {
  /** Index in `order`. */
  readonly header: number;
  /** Indices of all blocks of the loop, the header first. */
  readonly blocks: readonly number[];
  /** Indices of the blocks that jump back to the header. */
  readonly latches: readonly number[];
}

export interface Cfg {
  /** Reachable blocks in reverse post-order; the entry first. */
  readonly order: Block[];
  /** Block id → index in `order`, -1 when unreachable. */
  readonly index: Int32Array;
  /** Predecessors by index, one entry an edge. */
  readonly preds: number[][];
  /** Immediate dominators by index; the entry's is itself. */
  readonly idom: Int32Array;
}

export function computeCfg(f: Func): Cfg {
  const n = f.blockCount;
  const index = new Int32Array(n).fill(-1);
  const post: Block[] = [];
  const next = new Int32Array(n);
  const seen = new Uint8Array(n);
  const stack: Block[] = [f.blocks[0]!];
  seen[f.blocks[0]!.id] = 1;
  while (stack.length > 0) {
    const b = stack[stack.length - 1]!;
    const edges = b.term!.edges;
    const k = next[b.id]!;
    if (k < edges.length) {
      next[b.id] = k + 1;
      // The last edge first: the first successor then directly follows its block in the result.
      const to = edges[edges.length - 1 - k]!.to;
      if (seen[to.id] === 0) {
        seen[to.id] = 1;
        stack.push(to);
      }
    } else {
      post.push(b);
      stack.pop();
    }
  }
  const order = post.reverse();
  for (let k = 0; k < order.length; k++) index[order[k]!.id] = k;
  const preds: number[][] = order.map(() => []);
  for (let k = 0; k < order.length; k++) {
    for (const e of order[k]!.term!.edges) preds[index[e.to.id]!]!.push(k);
  }
  return { order, index, preds, idom: dominators(preds) };
}

/** Cooper, Harvey and Kennedy's iteration over a reverse post-order. */
function dominators(preds: readonly number[][]): Int32Array {
  const n = preds.length;
  const idom = new Int32Array(n).fill(-1);
  idom[0] = 0;
  for (let changed = true; changed;) {
    changed = false;
    for (let b = 1; b < n; b++) {
      let d = -1;
      for (const p of preds[b]!) {
        if (idom[p]! < 0) continue;
        if (d < 0) {
          d = p;
          continue;
        }
        let x = p;
        while (x !== d) {
          if (x > d) x = idom[x]!;
          else d = idom[d]!;
        }
      }
      if (idom[b] !== d) {
        idom[b] = d;
        changed = true;
      }
    }
  }
  return idom;
}

/** Whether block `a` dominates block `b` (indices). */
export function dominates(cfg: Cfg, a: number, b: number): boolean {
  while (b > a) b = cfg.idom[b]!;
  return a === b;
}

/** Natural loops, inner ones after the loops around them; irreducible cycles are left out. */
export function findLoops(cfg: Cfg): Loop[] {
  const loops: Loop[] = [];
  const mark = new Int32Array(cfg.order.length).fill(-1);
  for (let h = 0; h < cfg.order.length; h++) {
    let latches: number[] | undefined;
    for (const p of cfg.preds[h]!) if (p >= h && dominates(cfg, h, p)) (latches ??= []).push(p);
    if (latches === undefined) continue;
    const blocks = [h];
    mark[h] = h;
    const work = [...latches];
    while (work.length > 0) {
      const b = work.pop()!;
      if (mark[b] === h) continue;
      mark[b] = h;
      blocks.push(b);
      for (const p of cfg.preds[b]!) work.push(p);
    }
    loops.push({ header: h, blocks, latches });
  }
  return loops;
}

/** Loop nesting by block index. */
export function loopDepths(cfg: Cfg, loops: readonly Loop[] = findLoops(cfg)): Int32Array {
  const depth = new Int32Array(cfg.order.length);
  for (const l of loops) for (const b of l.blocks) depth[b]!++;
  return depth;
}
