/**
 * Stack objects become SSA values: every part of a slot that is only loaded and stored
 * directly, always at the same offset and size, is a variable. Block parameters are made where a
 * variable is read and paths meet, as in Braun et al., "Simple and Efficient Construction of SSA Form".
 */
import type { Cfg } from "../ir/cfg.ts";
import { computeCfg } from "../ir/cfg.ts";
import type { Block, Func, Inst, Slot } from "../ir/ir.ts";
import { constInst, Replacements, rootOf } from "./util.ts";

interface Access {
  readonly inst: Inst;
  readonly off: number;
  readonly size: number;
}

interface Variable {
  readonly index: number;
  readonly off: number;
  readonly size: number;
}

/** Promotes what it can in `f`; whether anything was. */
export function promoteSlots(f: Func): boolean {
  if (f.slots.length === 0) return false;
  const accesses = collect(f);
  const variableOf = new Map<Inst, Variable[]>();
  let count = 0;
  const promoted = new Set<Slot>();
  for (const [slot, list] of accesses) {
    if (list === undefined) continue;
    const parts = partition(list);
    let whole = true;
    for (const part of parts) {
      if (part === undefined) whole = false;
    }
    for (const part of parts) {
      if (part === undefined) continue;
      const vars = new Map<number, Variable>();
      for (const piece of part.pieces) vars.set(piece.off, { index: count++, off: piece.off, size: piece.size });
      for (const a of part.accesses) {
        const covered: Variable[] = [];
        for (const v of vars.values()) if (v.off >= a.off && v.off < a.off + a.size) covered.push(v);
        variableOf.set(a.inst, covered);
      }
    }
    if (whole) promoted.add(slot);
  }
  if (count === 0) return false;
  new Promotion(f, count, variableOf, promoted).run();
  f.slots = f.slots.filter((s) => !promoted.has(s));
  // Slot ids stay dense, so that tables can be indexed by them.
  renumberSlots(f);
  return true;
}

/** Loads and stores of each slot; undefined for one whose address is used in any other way. */
function collect(f: Func): Map<Slot, Access[] | undefined> {
  const accesses = new Map<Slot, Access[] | undefined>();
  for (const s of f.slots) accesses.set(s, []);
  const escape = (v: Inst): void => {
    const { base } = rootOf(v);
    if (base.op === "slot") accesses.set(base.slot!, undefined);
  };
  for (const b of f.blocks) {
    for (const i of b.insts) {
      if (i.op === "load" || i.op === "store") {
        const { base, off } = rootOf(i.args[0]!);
        if (base.op === "slot") {
          const at = off + i.off;
          if (i.volatile || i.core !== undefined || Number.isNaN(at) || at < 0 || at + i.size > base.slot!.size)
            escape(i.args[0]!);
          else accesses.get(base.slot!)?.push({ inst: i, off: at, size: i.size });
        }
        if (i.op === "store") escape(i.args[1]!);
      } else if ((i.op !== "add" && i.op !== "sub") || i.type !== "ptr") {
        // Pointer arithmetic alone does not use the slot; what uses its result is seen by `rootOf`.
        for (const a of i.args) escape(a);
      }
    }
    for (const a of b.term!.args) escape(a);
    for (const e of b.term!.edges) for (const a of e.args) escape(a);
  }
  return accesses;
}

interface Part {
  readonly accesses: Access[];
  readonly pieces: { off: number; size: number }[];
}

/** Groups of accesses that touch each other; undefined for one that cannot be cut into variables. */
function partition(list: Access[]): (Part | undefined)[] {
  const sorted = [...list].sort((a, b) => a.off - b.off || b.size - a.size);
  const parts: (Part | undefined)[] = [];
  for (let k = 0; k < sorted.length;) {
    let end = sorted[k]!.off + sorted[k]!.size;
    const group: Access[] = [];
    while (k < sorted.length && sorted[k]!.off < end) {
      end = Math.max(end, sorted[k]!.off + sorted[k]!.size);
      group.push(sorted[k++]!);
    }
    parts.push(cut(group));
  }
  return parts;
}

/** A store of a constant can be cut; everything else must be one piece. */
function cut(group: Access[]): Part | undefined {
  const first = group[0]!;
  if (group.every((a) => a.off === first.off && a.size === first.size)) {
    return { accesses: group, pieces: [{ off: first.off, size: first.size }] };
  }
  const cuttable = (a: Access): boolean => a.inst.op === "store" && a.inst.args[1]!.op === "const";
  const rigid = new Map<number, number>();
  for (const a of group) {
    if (cuttable(a)) continue;
    const size = rigid.get(a.off);
    if (size !== undefined && size !== a.size) return undefined;
    rigid.set(a.off, a.size);
  }
  // What the rigid ones leave of the constants becomes pieces of its own.
  const pieces: { off: number; size: number }[] = [];
  const end = Math.max(...group.map((a) => a.off + a.size));
  const starts = [...rigid.keys()].sort((a, b) => a - b);
  let at = first.off;
  for (const s of [...starts, end]) {
    if (s < at) return undefined;
    while (at < s) {
      let size = 1;
      while (size < 8 && at % (size * 2) === 0 && at + size * 2 <= s) size *= 2;
      pieces.push({ off: at, size });
      at += size;
    }
    if (s !== end || rigid.has(s)) {
      pieces.push({ off: s, size: rigid.get(s)! });
      at = s + rigid.get(s)!;
    }
  }
  for (const a of group) {
    // A constant must cover whole pieces.
    for (const p of pieces) {
      const overlaps = p.off < a.off + a.size && a.off < p.off + p.size;
      if (overlaps && (p.off < a.off || p.off + p.size > a.off + a.size)) return undefined;
    }
  }
  return { accesses: group, pieces };
}

function renumberSlots(f: Func): void {
  f.slots.forEach((s, k) => ((s as { id: number }).id = k));
}

class Promotion {
  readonly #f: Func;
  readonly #cfg: Cfg;
  readonly #variables: ReadonlyMap<Inst, Variable[]>;
  readonly #promoted: ReadonlySet<Slot>;
  readonly #count: number;
  /** Block index × variable → value at the end of what was seen of the block. */
  readonly #current: (Inst | undefined)[];
  /** Whether a block was walked: its own stores are known. */
  readonly #replace = new Replacements();
  readonly #made: { block: number; param: Inst; variable: number }[] = [];
  readonly #isPtr: Uint8Array;
  readonly #space: (Inst["space"] | undefined)[];

  constructor(f: Func, count: number, variables: ReadonlyMap<Inst, Variable[]>, promoted: ReadonlySet<Slot>) {
    this.#f = f;
    this.#cfg = computeCfg(f);
    this.#count = count;
    this.#variables = variables;
    this.#promoted = promoted;
    this.#current = Array.from<Inst | undefined>({ length: this.#cfg.order.length * count });
    this.#isPtr = new Uint8Array(count);
    this.#space = Array.from<undefined>({ length: count });
    for (const [i, vars] of variables) {
      if (i.op !== "load" || i.type !== "ptr") continue;
      this.#isPtr[vars[0]!.index] = 1;
      this.#space[vars[0]!.index] ??= i.space;
    }
  }

  run(): void {
    const { order } = this.#cfg;
    for (let b = 0; b < order.length; b++) this.#walk(b, order[b]!);
    // Arguments may need parameters in further blocks, which come at the end of the list.
    for (let k = 0; k < this.#made.length; k++) {
      const { block, variable } = this.#made[k]!;
      const to = order[block]!;
      for (const p of new Set(this.#cfg.preds[block]!)) {
        for (const e of order[p]!.term!.edges) if (e.to === to) e.args.push(this.#read(p, variable));
      }
    }
    this.#f.blocks = order.slice();
    this.#replace.applyTo(this.#f);
  }

  #walk(b: number, block: Block): void {
    const base = b * this.#count;
    const kept: Inst[] = [];
    for (const i of block.insts) {
      if (this.#isGone(i)) continue;
      const vars = this.#variables.get(i);
      if (vars === undefined) {
        kept.push(i);
      } else if (i.op === "store") {
        const v = i.args[1]!;
        if (vars.length === 1 && vars[0]!.size === i.size) this.#current[base + vars[0]!.index] = v;
        else {
          const start = rootOf(i.args[0]!).off + i.off;
          for (const x of vars) {
            this.#current[base + x.index] = constInst(
              this.#f,
              BigInt.asUintN(x.size * 8, BigInt.asUintN(64, v.value) >> BigInt((x.off - start) * 8)),
            );
          }
        }
      } else {
        const v = this.#read(b, vars[0]!.index);
        if (i.size === 8) this.#replace.set(i, v);
        else {
          i.op = i.signed ? "sext" : "zext";
          i.bits = i.size * 8;
          i.args = [v];
          i.off = 0;
          kept.push(i);
        }
      }
    }
    block.insts = kept;
  }

  /** A declaration of, or an address in, a slot that is no more. */
  #isGone(i: Inst): boolean {
    if (i.op === "start") return this.#promoted.has(i.slot!);
    if ((i.op !== "add" && i.op !== "sub") || i.type !== "ptr") return false;
    const { base } = rootOf(i);
    return base.op === "slot" && this.#promoted.has(base.slot!);
  }

  /** The variable's value at the end of block `b` (as far as it was walked). */
  #read(b: number, variable: number): Inst {
    const path: number[] = [];
    let v: Inst | undefined;
    for (;;) {
      v = this.#current[b * this.#count + variable];
      if (v !== undefined) break;
      path.push(b);
      const preds = this.#cfg.preds[b]!;
      if (b === 0) {
        v = this.#f.inst("undef", this.#isPtr[variable] === 1 ? "ptr" : "int");
        break;
      }
      if (preds.length === 1) {
        b = preds[0]!;
        continue;
      }
      v = this.#f.blockParam(this.#cfg.order[b]!, this.#isPtr[variable] === 1 ? "ptr" : "int", this.#space[variable]);
      this.#made.push({ block: b, param: v, variable });
      break;
    }
    for (const p of path) this.#current[p * this.#count + variable] = v;
    return v;
  }
}
