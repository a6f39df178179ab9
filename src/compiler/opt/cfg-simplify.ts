/** Cleaning up the graph of blocks: unreachable ones, straight lines, jumps to jumps, branches decided by an argument. */
import { computeCfg } from "../ir/cfg.ts";
import type { Block, Edge, Func, Inst } from "../ir/ir.ts";
import { foldCond } from "./fold.ts";
import { Replacements } from "./util.ts";

/** Rewrites `f` in place; whether anything changed. */
export function simplifyBlocks(f: Func): boolean {
  let changed = false;
  for (let round = 0; round < 12; round++) {
    let again = dropUnreachable(f);
    again = foldTrivialBranches(f) || again;
    again = removeTrivialParams(f) || again;
    again = mergeStraight(f) || again;
    again = threadEdges(f) || again;
    if (!again) break;
    changed = true;
  }
  return changed;
}

function dropUnreachable(f: Func): boolean {
  const seen = new Set<Block>([f.blocks[0]!]);
  for (const b of seen) for (const e of b.term!.edges) seen.add(e.to);
  if (seen.size === f.blocks.length) return false;
  f.blocks = f.blocks.filter((b) => seen.has(b));
  return true;
}

function sameArgs(a: Edge, b: Edge): boolean {
  return (
    a.to === b.to &&
    a.args.every(
      (x, k) => x === b.args[k] || (x.op === "const" && b.args[k]!.op === "const" && x.value === b.args[k]!.value),
    )
  );
}

function foldTrivialBranches(f: Func): boolean {
  let changed = false;
  for (const b of f.blocks) {
    const t = b.term!;
    if (t.op !== "br") continue;
    let k = -1;
    if (sameArgs(t.edges[0]!, t.edges[1]!)) k = 0;
    else if (t.args[0]!.op === "const" && t.args[1]!.op === "const")
      k = foldCond(t.cond, t.args[0]!.value, t.args[1]!.value, t.width) ? 0 : 1;
    if (k < 0) continue;
    t.op = "jmp";
    t.edges = [t.edges[k]!];
    t.args = [];
    changed = true;
  }
  return changed;
}

/** A parameter that gets the same value over every edge (or itself) is that value. */
function removeTrivialParams(f: Func): boolean {
  const incoming = new Map<Block, Edge[]>();
  for (const b of f.blocks) {
    for (const e of b.term!.edges) {
      if (e.args.length === 0) continue;
      const list = incoming.get(e.to);
      if (list === undefined) incoming.set(e.to, [e]);
      else list.push(e);
    }
  }
  const replace = new Replacements();
  for (let again = true; again;) {
    again = false;
    for (const [b, edges] of incoming) {
      for (let k = b.params.length - 1; k >= 0; k--) {
        const p = b.params[k]!;
        let same: Inst | undefined;
        let trivial = true;
        for (const e of edges) {
          const a = replace.get(e.args[k]!);
          if (a === p || a === same || (same !== undefined && equalLeaf(a, same))) continue;
          if (same !== undefined) {
            trivial = false;
            break;
          }
          same = a;
        }
        if (!trivial || same === undefined) continue;
        replace.set(p, same);
        b.params.splice(k, 1);
        for (const e of edges) e.args.splice(k, 1);
        again = true;
      }
      b.params.forEach((p, k) => (p.index = k));
    }
  }
  replace.applyTo(f);
  return replace.any;
}
function equalLeaf(a: Inst, b: Inst): boolean {
  return a.op === "const" && b.op === "const" && a.value === b.value && a.type === b.type;
}

/** A block whose only way in is another's only way out is appended to it. */
function mergeStraight(f: Func): boolean {
  const preds = new Int32Array(f.blockCount);
  for (const b of f.blocks) for (const e of b.term!.edges) preds[e.to.id]!++;
  const gone = new Set<Block>();
  for (const b of f.blocks) {
    if (gone.has(b)) continue;
    for (;;) {
      const t = b.term!;
      if (t.op !== "jmp") break;
      const { to } = t.edges[0]!;
      if (preds[to.id] !== 1 || to === b || to === f.blocks[0] || to.params.length > 0) break;
      b.insts = b.insts.concat(to.insts);
      b.term = to.term;
      b.cold = b.cold && to.cold;
      gone.add(to);
    }
  }
  if (gone.size === 0) return false;
  f.blocks = f.blocks.filter((b) => !gone.has(b));
  return true;
}

/** Edges into blocks without instructions go on to where such a block sends them. */
function threadEdges(f: Func): boolean {
  const candidates = new Set<Block>();
  for (const b of f.blocks) if (b.insts.length === 0 && b !== f.blocks[0]) candidates.add(b);
  if (candidates.size === 0) return false;
  // Parameters that are read outside of their own terminator pin the block.
  const owner = new Map<Inst, Block>();
  for (const c of candidates) for (const p of c.params) owner.set(p, c);
  if (owner.size > 0) {
    const pin = (v: Inst, user: Block | undefined): void => {
      if (v.op !== "param") return;
      const c = owner.get(v);
      if (c !== undefined && c !== user) candidates.delete(c);
    };
    for (const b of f.blocks) {
      for (const i of b.insts) for (const a of i.args) pin(a, undefined);
      for (const a of b.term!.args) pin(a, b);
      for (const e of b.term!.edges) for (const a of e.args) pin(a, b);
    }
  }
  const returns = new Map<bigint, Block>();
  let changed = false;
  for (const b of [...f.blocks]) {
    for (const e of b.term!.edges) {
      for (let hops = 0; hops < 8; hops++) {
        const c = e.to;
        if (!candidates.has(c) || c === b) break;
        const next = follow(f, c, e, returns);
        if (next === undefined || next.to === c) break;
        e.to = next.to;
        e.args = next.args;
        changed = true;
      }
    }
  }
  return changed;
}

/** Where an edge into `c` really leads; undefined when that is not known. */
function follow(f: Func, c: Block, e: Edge, returns: Map<bigint, Block>): Edge | undefined {
  const t = c.term!;
  const value = (v: Inst): Inst => {
    const k = v.op === "param" ? c.params.indexOf(v) : -1;
    return k < 0 ? v : e.args[k]!;
  };
  const through = (x: Edge): Edge => ({ to: x.to, args: x.args.map(value) });
  switch (t.op) {
    case "jmp":
      return through(t.edges[0]!);
    case "br": {
      const [a, b] = [value(t.args[0]!), value(t.args[1]!)];
      if (a.op !== "const" || b.op !== "const") return undefined;
      return through(t.edges[foldCond(t.cond, a.value, b.value, t.width) ? 0 : 1]!);
    }
    case "ret": {
      if (t.args.length === 0 || c.params.length === 0) return undefined;
      const v = value(t.args[0]!);
      if (v.op !== "const" || v === t.args[0]) return undefined;
      let r = returns.get(v.value);
      if (r === undefined) {
        r = f.block();
        r.term = f.inst("ret", "void", [v], t.span);
        r.cold = c.cold;
        returns.set(v.value, r);
      }
      return { to: r, args: [] };
    }
    default:
      return undefined;
  }
}

/** Blocks in reverse post-order, so that printed IR reads from top to bottom. */
export function orderBlocks(f: Func): void {
  f.blocks = computeCfg(f).order;
}
