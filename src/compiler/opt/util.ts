/** What several passes need: constants, replacement of values, use counts, pointer roots. */
import type { Block, Func, Inst } from "../ir/ir.ts";

export function constInst(f: Func, v: bigint): Inst {
  const i = f.inst("const", "int");
  i.value = BigInt.asIntN(64, v);
  return i;
}

/** Values that took the place of others, by instruction id; chains are followed. */
export class Replacements {
  readonly #to: (Inst | undefined)[] = [];
  any = false;

  set(from: Inst, to: Inst): void {
    this.#to[from.id] = to;
    this.any = true;
  }
  get(i: Inst): Inst {
    let r = this.#to[i.id];
    if (r === undefined) return i;
    for (let next = this.#to[r.id]; next !== undefined; next = this.#to[r.id]) r = next;
    return r;
  }
  apply(args: Inst[]): void {
    for (let k = 0; k < args.length; k++) args[k] = this.get(args[k]!);
  }
  applyTo(f: Func): void {
    if (!this.any) return;
    for (const b of f.blocks) {
      for (const i of b.insts) this.apply(i.args);
      const t = b.term!;
      this.apply(t.args);
      for (const e of t.edges) this.apply(e.args);
    }
  }
}

/** Uses of each value by instruction id. */
export function countUses(f: Func): Int32Array {
  const uses = new Int32Array(f.instCount);
  for (const b of f.blocks) {
    for (const i of b.insts) for (const a of i.args) uses[a.id]!++;
    for (const a of b.term!.args) uses[a.id]!++;
    for (const e of b.term!.edges) for (const a of e.args) uses[a.id]!++;
  }
  return uses;
}

/** Whether the instruction must stay even when nobody uses its result. */
export function hasEffect(i: Inst): boolean {
  switch (i.op) {
    case "store":
    case "atomic":
    case "memcpy":
    case "memset":
    case "start":
      return true;
    case "load":
      return i.volatile;
    case "call":
      return !i.call!.pure;
    default:
      return false;
  }
}

/** A pointer as what it was derived from and a constant distance; NaN when the distance varies. */
export interface Root {
  readonly base: Inst;
  readonly off: number;
}

/** Follows constant and variable additions down to the pointer they started from. */
export function rootOf(p: Inst): Root {
  let off = 0;
  while ((p.op === "add" || p.op === "sub") && p.type === "ptr") {
    const [a, b] = p.args as [Inst, Inst];
    const ptr = a.type === "ptr" ? a : b;
    const delta = ptr === a ? b : a;
    if (delta.op === "const") off += p.op === "add" ? Number(delta.value) : -Number(delta.value);
    else off = NaN;
    p = ptr;
  }
  return { base: p, off };
}

/**
 * Removes instructions whose results nobody needs and parameters that nobody reads. Starts from what has an
 * effect, so values that only feed each other around a loop go as well.
 */
export function removeDead(f: Func): boolean {
  const live = new Uint8Array(f.instCount);
  const work: Inst[] = [];
  const need = (i: Inst): void => {
    if (live[i.id] === 1) return;
    live[i.id] = 1;
    work.push(i);
  };
  // Parameter → the arguments that its edges pass for it.
  const incoming = new Map<Inst, Inst[]>();
  for (const b of f.blocks) {
    for (const e of b.term!.edges) {
      for (let k = 0; k < e.args.length; k++) {
        const p = e.to.params[k]!;
        const list = incoming.get(p);
        if (list === undefined) incoming.set(p, [e.args[k]!]);
        else list.push(e.args[k]!);
      }
    }
    for (const i of b.insts) if (hasEffect(i)) need(i);
    for (const a of b.term!.args) need(a);
  }
  for (let i = work.pop(); i !== undefined; i = work.pop()) {
    for (const a of i.args) need(a);
    if (i.op === "param") for (const a of incoming.get(i) ?? []) need(a);
  }
  let changed = false;
  const trimmed = new Set<Block>();
  for (const b of f.blocks) {
    const kept = b.insts.filter((i) => live[i.id] === 1);
    if (kept.length !== b.insts.length) {
      b.insts = kept;
      changed = true;
    }
    if (b.params.some((p) => live[p.id] === 0)) trimmed.add(b);
  }
  if (trimmed.size > 0) {
    changed = true;
    for (const b of f.blocks) {
      for (const e of b.term!.edges)
        if (trimmed.has(e.to)) e.args = e.args.filter((_, k) => live[e.to.params[k]!.id] === 1);
    }
    for (const b of trimmed) {
      b.params = b.params.filter((p) => live[p.id] === 1);
      b.params.forEach((p, k) => (p.index = k));
    }
  }
  return changed;
}
