/**
 * Loops with few and countable iterations are unrolled completely; others get their test at
 * the bottom, behind one in front of the loop.
 *
 * Both copy blocks. Values of the copied blocks that are used elsewhere go through a stack slot on
 * the way, which `promoteSlots` turns back into values and block parameters.
 */
import type { Cfg, Loop } from "../ir/cfg.ts";
import { computeCfg, findLoops } from "../ir/cfg.ts";
import type { Block, Edge, Func, Inst } from "../ir/ir.ts";
import { isLeaf, negateCond } from "../ir/ir.ts";
import { foldBin, foldCond } from "./fold.ts";
import { copyPayload } from "./inline.ts";

/** Instructions that the copies of a loop may add up to. */
const MAX_UNROLLED = 96;
/** The same for a loop that asks for it. */
const MAX_REQUESTED = 4096;
/** Instructions of a header that may be there twice. */
const MAX_HEADER = 2;

/** Rewrites `f` in place; when it returns true, slots have to be promoted. */
export function transformLoops(f: Func): boolean {
  const done = new Set<Block>();
  let changed = false;
  for (let round = 0; round < 64; round++) {
    const cfg = computeCfg(f);
    const loops = findLoops(cfg);
    if (loops.length === 0) return changed;
    // Inner loops come last.
    let next: Loop | undefined;
    for (const l of loops) if (!done.has(cfg.order[l.header]!)) next = l;
    if (next === undefined) return changed;
    const header = cfg.order[next.header]!;
    done.add(header);
    if (unroll(f, cfg, next)) changed = true;
    else {
      const inner = rotate(f, cfg, next, loops);
      if (inner !== undefined) {
        done.add(inner);
        changed = true;
      }
    }
  }
  return changed;
}

function unroll(f: Func, cfg: Cfg, loop: Loop): boolean {
  const header = cfg.order[loop.header]!;
  if (header.unroll === "no") return false;
  let size = 0;
  for (const b of loop.blocks) size += cfg.order[b]!.insts.length + 1;
  const limit = header.unroll === "full" ? MAX_REQUESTED : MAX_UNROLLED;
  const trips = countTrips(cfg, loop, Math.floor(limit / size));
  if (trips === undefined || trips === 0) return false;
  const blocks = loop.blocks.map((b) => cfg.order[b]!);
  demote(f, blocks);
  const inside = new Set(blocks);
  let entries: Edge[] = [];
  for (const p of cfg.preds[loop.header]!) {
    const from = cfg.order[p]!;
    if (!inside.has(from))
      for (const e of from.term!.edges) if (e.to === header && !entries.includes(e)) entries.push(e);
  }
  for (let k = 0; k < trips; k++) {
    const copy = cloneBlocks(f, blocks);
    const first = copy.get(header)!;
    for (const e of entries) e.to = first;
    entries = [];
    for (const b of copy.values()) {
      for (const e of b.term!.edges) {
        if (e.to !== first) continue;
        e.to = header;
        entries.push(e);
      }
    }
  }
  // The last test fails: only the header's copy is left of the loop.
  const last = cloneBlocks(f, [header]).get(header)!;
  const t = last.term!;
  const exit = t.edges.find((e) => !inside.has(e.to))!;
  t.op = "jmp";
  t.args = [];
  t.edges = [exit];
  for (const e of entries) e.to = last;
  return true;
}

/** Iterations of a loop whose header tests a counter from and to constants; undefined when unknown or above `max`. */
function countTrips(cfg: Cfg, loop: Loop, max: number): number | undefined {
  const header = cfg.order[loop.header]!;
  const t = header.term!;
  if (max < 1 || t.op !== "br") return undefined;
  const inside = new Set(loop.blocks);
  const stays = t.edges.map((e) => inside.has(cfg.index[e.to.id]!));
  if (stays[0] === stays[1]) return undefined;
  const cond = stays[0] === true ? t.cond : negateCond(t.cond);
  const [tested, limit] = t.args as [Inst, Inst];
  if (limit.op !== "const" || tested.op !== "param" || !header.params.includes(tested)) return undefined;
  const k = header.params.indexOf(tested);
  let init: bigint | undefined;
  let step: Inst | undefined;
  for (const p of new Set(cfg.preds[loop.header]!)) {
    for (const e of cfg.order[p]!.term!.edges) {
      if (e.to !== header) continue;
      const a = e.args[k]!;
      if (inside.has(p)) {
        if (step !== undefined && step !== a) return undefined;
        step = a;
      } else {
        if (a.op !== "const" || (init !== undefined && init !== a.value)) return undefined;
        init = a.value;
      }
    }
  }
  if (
    init === undefined ||
    step === undefined ||
    step.op !== "add" ||
    step.args[0] !== tested ||
    step.args[1]!.op !== "const"
  )
    return undefined;
  let v = init;
  for (let n = 0; n <= max; n++) {
    if (!foldCond(cond, v, limit.value, t.width)) return n;
    v = foldBin("add", v, step.args[1]!.value, step.width);
  }
  return undefined;
}

/** Moves the header's test to the end of the loop; the block that now begins the loop, or undefined. */
function rotate(f: Func, cfg: Cfg, loop: Loop, loops: readonly Loop[]): Block | undefined {
  const header = cfg.order[loop.header]!;
  const t = header.term!;
  if (t.op !== "br" || loop.blocks.length < 2 || header.insts.length > MAX_HEADER || header.insts.some(copies))
    return undefined;
  const inside = new Set(loop.blocks.map((b) => cfg.order[b]!));
  const into = t.edges.filter((e) => inside.has(e.to));
  if (into.length !== 1) return undefined;
  const body = into[0]!.to;
  // The body must begin only here, and not begin an inner loop.
  if (cfg.preds[cfg.index[body.id]!]!.length !== 1 || loops.some((l) => cfg.order[l.header] === body)) return undefined;
  demote(f, [header]);
  const copy = cloneBlocks(f, [header]).get(header)!;
  for (const b of f.blocks) {
    if (inside.has(b) || b === copy) continue;
    for (const e of b.term!.edges) if (e.to === header) e.to = copy;
  }
  return body;
}
/** What must not run once more in another place. */
function copies(i: Inst): boolean {
  return (
    i.op === "call" || i.op === "store" || i.op === "atomic" || i.op === "memcpy" || i.op === "memset" || i.volatile
  );
}

/** Values of `blocks` that are used outside are stored where they are made and loaded where they are used. */
function demote(f: Func, blocks: readonly Block[]): void {
  const defined = new Map<Inst, Block>();
  for (const b of blocks) {
    for (const p of b.params) defined.set(p, b);
    for (const i of b.insts) if (!isLeaf(i.op)) defined.set(i, b);
  }
  const inside = new Set(blocks);
  const slots = new Map<Inst, Inst>();
  const reload = (v: Inst, into: Inst[]): Inst => {
    if (!defined.has(v)) return v;
    let address = slots.get(v);
    if (address === undefined) {
      address = f.inst("slot", "ptr");
      address.slot = f.slot(8, 8, `loop${f.instCount}`);
      address.space = "stack";
      slots.set(v, address);
    }
    const l = f.inst("load", v.type, [address], v.span);
    l.space = v.space;
    into.push(l);
    return l;
  };
  for (const b of f.blocks) {
    if (inside.has(b)) continue;
    let out: Inst[] | undefined;
    for (let k = 0; k < b.insts.length; k++) {
      const i = b.insts[k]!;
      if (i.args.some((a) => defined.has(a))) {
        out ??= b.insts.slice(0, k);
        i.args = i.args.map((a) => reload(a, out!));
      }
      out?.push(i);
    }
    const t = b.term!;
    if (t.args.some((a) => defined.has(a)) || t.edges.some((e) => e.args.some((a) => defined.has(a)))) {
      out ??= b.insts.slice();
      t.args = t.args.map((a) => reload(a, out!));
      for (const e of t.edges) e.args = e.args.map((a) => reload(a, out!));
    }
    if (out !== undefined) b.insts = out;
  }
  if (slots.size === 0) return;
  for (const b of blocks) {
    const out: Inst[] = [];
    const save = (v: Inst): void => {
      const address = slots.get(v);
      if (address !== undefined) out.push(f.inst("store", "void", [address, v], v.span));
    };
    b.params.forEach(save);
    for (const i of b.insts) {
      out.push(i);
      save(i);
    }
    b.insts = out;
  }
}

/** Copies of blocks, with edges among them going to the copies and all others where they went. */
function cloneBlocks(f: Func, blocks: readonly Block[]): Map<Block, Block> {
  const values = new Map<Inst, Inst>();
  const copies = new Map<Block, Block>();
  const pending: [Inst, Inst][] = [];
  for (const b of blocks) {
    const c = f.block();
    c.cold = b.cold;
    copies.set(b, c);
    for (const p of b.params) values.set(p, f.blockParam(c, p.type, p.space));
    for (const i of b.insts) {
      const n = f.inst(i.op, i.type, [], i.span);
      copyPayload(i, n);
      values.set(i, n);
      pending.push([i, n]);
      c.insts.push(n);
    }
  }
  const value = (v: Inst): Inst => values.get(v) ?? v;
  for (const [from, to] of pending) to.args = from.args.map(value);
  for (const b of blocks) {
    const t = b.term!;
    const n = f.inst(t.op, t.type, t.args.map(value), t.span);
    copyPayload(t, n);
    n.edges = t.edges.map((e) => ({ to: copies.get(e.to) ?? e.to, args: e.args.map(value) }));
    copies.get(b)!.term = n;
  }
  return copies;
}
