/**
 * One walk over the blocks in dominance order that folds, simplifies, merges equal values,
 * forwards what was stored or loaded before, and decides branches by those taken before.
 */
import type { Target } from "../codegen/target.ts";
import type { Cfg } from "../ir/cfg.ts";
import { computeCfg, dominates, findLoops } from "../ir/cfg.ts";
import type { Block, Cond, Edge, Func, Inst, Slot, Width } from "../ir/ir.ts";
import { isLeaf, negateCond } from "../ir/ir.ts";
import type { Fact } from "./facts.ts";
import { implies } from "./facts.ts";
import { foldUnary } from "./fold.ts";
import { escapedSlots, Memory } from "./memory.ts";
import { Simplifier } from "./simplify.ts";
import { constInst, countUses, Replacements } from "./util.ts";

/** Returns whether a branch was decided: blocks may then be unreachable. */
export function numberValues(f: Func, target: Target): boolean {
  return new Numbering(f, target).run();
}

interface Entry {
  readonly inst: Inst;
  readonly block: number;
}

class Numbering {
  readonly #f: Func;
  readonly #cfg: Cfg;
  readonly #simplifier: Simplifier;
  readonly #replace = new Replacements();
  readonly #table = new Map<number, Entry[]>();
  readonly #leaves = new Map<string | bigint | Slot, Inst>();
  /** What the only edge into a block says. */
  readonly #facts: (Fact | undefined)[];
  readonly #memory: (Memory | undefined)[];
  readonly #target: Target;
  #decided = false;

  constructor(f: Func, target: Target) {
    this.#f = f;
    this.#target = target;
    this.#cfg = computeCfg(f);
    this.#simplifier = new Simplifier(f, target, countUses(f));
    this.#facts = Array.from<undefined>({ length: this.#cfg.order.length });
    this.#memory = Array.from<undefined>({ length: this.#cfg.order.length });
  }

  run(): boolean {
    const { order, preds } = this.#cfg;
    const escaped = escapedSlots(this.#f);
    const loops = new Map(findLoops(this.#cfg).map((l) => [l.header, l]));
    const dead = new Uint8Array(order.length);
    for (let b = 0; b < order.length; b++) {
      const block = order[b]!;
      // Edges that are still taken after what was decided so far; a loop's back edges are not known yet.
      const from: number[] = [];
      let complete = true;
      for (const p of preds[b]!) {
        if (p >= b) complete = false;
        else if (dead[p] === 0 && order[p]!.term!.edges.some((e) => e.to === block)) from.push(p);
      }
      if (b > 0 && from.length === 0) {
        dead[b] = 1;
        continue;
      }
      this.#facts[b] = complete && from.length === 1 ? this.#edgeFact(from[0]!, block) : undefined;
      if (complete) this.#params(block, from);
      let memory: Memory | undefined;
      for (const p of from) {
        if (memory === undefined) memory = this.#memory[p]!.copy();
        else memory.intersect(this.#memory[p]!);
      }
      memory ??= new Memory(escaped);
      if (!complete) {
        const loop = loops.get(b);
        if (loop === undefined) memory.clear();
        else if (memory.entries.length > 0) {
          for (const x of loop.blocks) for (const i of order[x]!.insts) if (i.op !== "load") memory.apply(i);
        }
      }
      this.#block(block, b, memory);
      this.#memory[b] = memory;
    }
    this.#replace.applyTo(this.#f);
    this.#f.blocks = order.slice();
    return this.#decided;
  }

  #edgeFact(from: number, block: Block): Fact | undefined {
    const t = this.#cfg.order[from]!.term!;
    if (t.op !== "br" || t.edges[0]!.to === t.edges[1]!.to) return undefined;
    const taken = t.edges[0]!.to === block;
    return { cond: taken ? t.cond : negateCond(t.cond), a: t.args[0]!, b: t.args[1]!, width: t.width };
  }

  /**
   * A parameter for which every edge passes the same value is that value. A constant counts as the value where a branch
   * on the way found them equal.
   */
  #params(block: Block, from: readonly number[]): void {
    for (let k = 0; k < block.params.length; k++) {
      let same: Inst | undefined;
      let equalAll = true;
      let constants: [number, Edge, Inst][] | undefined;
      for (const p of from) {
        for (const e of this.#cfg.order[p]!.term!.edges) {
          if (e.to !== block) continue;
          const a = e.args[k]!;
          if (a.op === "const") (constants ??= []).push([p, e, a]);
          else {
            if (same !== undefined && a !== same) equalAll = false;
            same = a;
          }
        }
      }
      if (constants !== undefined && equalAll) {
        if (same === undefined) {
          same = constants[0]![2];
          equalAll = constants.every((c) => c[2] === same);
        } else equalAll = constants.every(([p, e, c]) => this.#equalOnEdge(same!, c, p, e));
      }
      if (equalAll && same !== undefined && same !== block.params[k]) this.#become(block.params[k]!, same);
    }
  }
  #equalOnEdge(x: Inst, c: Inst, from: number, edge: Edge): boolean {
    const t = this.#cfg.order[from]!.term!;
    if (t.op === "br" && t.edges[0]!.to !== t.edges[1]!.to && t.width === 64) {
      const cond = t.edges[0] === edge ? t.cond : negateCond(t.cond);
      if (cond === "eq" && t.args[0] === x && t.args[1] === c) return true;
    }
    return this.#decide("eq", x, c, 64, from) === true;
  }

  #become(i: Inst, v: Inst): void {
    this.#replace.set(i, v);
    this.#simplifier.merged(i, v);
  }

  #block(block: Block, b: number, memory: Memory): void {
    const kept: Inst[] = [];
    for (const i of block.insts) {
      if (isLeaf(i.op)) continue;
      this.#resolve(i.args);
      const r = this.#simplifier.simplify(i);
      if (this.#simplifier.extra.length > 0) {
        for (const x of this.#simplifier.extra) {
          this.#resolve(x.args);
          const same = this.#lookup(x, hashOf(x), b);
          if (same !== undefined) this.#become(x, same);
          else kept.push(x);
        }
        this.#simplifier.extra.length = 0;
      }
      if (r !== i) {
        this.#become(i, this.#leaf(r));
        continue;
      }
      // Rewriting may have made new constants.
      this.#resolve(i.args);
      if (i.op === "cmp") {
        const known = this.#decide(i.cond, i.args[0]!, i.args[1]!, i.width, b);
        if (known !== undefined) {
          this.#become(i, this.#leaf(constInst(this.#f, known ? 1n : 0n)));
          continue;
        }
      }
      if (i.op === "load") {
        const v = this.#load(i, memory);
        if (v !== undefined) {
          if (v !== i) this.#become(i, v);
          else kept.push(i);
          continue;
        }
      } else if (i.op === "store") {
        if (this.#store(i, memory)) continue;
        kept.push(i);
        continue;
      }
      const hash = hashOf(i);
      if (hash !== 0) {
        const same = this.#lookup(i, hash, b);
        if (same !== undefined) {
          this.#become(i, same);
          continue;
        }
      }
      memory.apply(i);
      kept.push(i);
    }
    block.insts = kept;
    this.#term(block, b);
  }

  #resolve(args: Inst[]): void {
    for (let k = 0; k < args.length; k++) args[k] = this.#leaf(this.#replace.get(args[k]!));
  }
  /** Equal leaves become one, so that operands can be compared by identity. */
  #leaf(v: Inst): Inst {
    let key: string | bigint | Slot;
    switch (v.op) {
      case "const":
        if (v.type !== "int") key = `n${v.value}`;
        else key = v.value;
        break;
      case "slot":
        key = v.slot!;
        break;
      case "map":
        key = `m${v.sym}`;
        break;
      case "mapval":
        key = `v${v.off} ${v.sym}`;
        break;
      default:
        return v;
    }
    const known = this.#leaves.get(key);
    if (known !== undefined) return known;
    this.#leaves.set(key, v);
    return v;
  }

  #lookup(i: Inst, hash: number, b: number): Inst | undefined {
    const list = this.#table.get(hash);
    if (list === undefined) {
      this.#table.set(hash, [{ inst: i, block: b }]);
      return undefined;
    }
    for (const e of list) if (equal(e.inst, i) && dominates(this.#cfg, e.block, b)) return e.inst;
    list.push({ inst: i, block: b });
    return undefined;
  }

  /** The value that the load gives, `i` itself once it became an extension of that, or undefined. */
  #load(i: Inst, memory: Memory): Inst | undefined {
    if (i.volatile || i.core !== undefined) return undefined;
    const { base, off } = memory.root(i.args[0]!, i.off);
    if (Number.isNaN(off)) return undefined;
    const bits = i.size * 8;
    const c = memory.findConstant(base, off, i.size);
    if (c !== undefined && (i.type === "int" || (c.value.value === 0n && i.size === 8))) {
      const shift = this.#target.endian === "little" ? off - c.off : c.off + c.size - off - i.size;
      const raw = BigInt.asUintN(bits, BigInt.asUintN(64, c.value.value) >> BigInt(shift * 8));
      const v = constInst(this.#f, i.signed ? BigInt.asIntN(bits, raw) : raw);
      v.type = i.type;
      return this.#leaf(v);
    }
    const k = memory.find(base, off, i.size);
    if (k === undefined) {
      if (!i.invariant) memory.add({ base, off, size: i.size, value: i, from: i.signed ? "sext" : "zext" });
      return undefined;
    }
    const v = this.#replace.get(k.value);
    if (i.size === 8 || k.from === (i.signed ? "sext" : "zext"))
      return v.type === i.type || i.type === "int" || v.op === "const" ? v : undefined;
    if (!i.signed && this.#simplifier.bounds.max(v) <= 2 ** bits - 1) return v;
    if (v.op === "const") {
      const r = constInst(this.#f, 0n);
      const ext = this.#f.inst(i.signed ? "sext" : "zext", "int", [v]);
      ext.bits = bits;
      r.value = foldUnary(ext, v.value, true);
      return this.#leaf(r);
    }
    // Extending a register takes as long as loading again, except for 32 bits.
    if (bits !== 32 || v.type === "ptr" || (i.signed && this.#target.isa < 4)) return undefined;
    i.op = i.signed ? "sext" : "zext";
    i.bits = bits;
    i.off = 0;
    i.args = [v];
    this.#simplifier.used(v);
    return i;
  }

  /** Whether the store changes nothing. */
  #store(i: Inst, memory: Memory): boolean {
    const { base, off } = memory.root(i.args[0]!, i.off);
    const v = i.args[1]!;
    if (!i.volatile && i.core === undefined && !Number.isNaN(off)) {
      const k = memory.find(base, off, i.size);
      // What was just loaded from there, or stored there, is there already.
      if (k !== undefined && k.value === v) return true;
      memory.write(base, off, i.size);
      memory.add({ base, off, size: i.size, value: v, from: "store" });
    } else memory.write(base, off, i.size);
    return false;
  }

  #decide(cond: Cond, x: Inst, y: Inst, width: Width, b: number): boolean | undefined {
    for (let d = b, hops = 0; hops < 64; hops++) {
      const fact = this.#facts[d];
      if (fact !== undefined) {
        const r = implies(fact, cond, x, y, width);
        if (r !== undefined) return r;
      }
      const up = this.#cfg.idom[d]!;
      if (up === d) break;
      d = up;
    }
    return undefined;
  }

  #term(block: Block, b: number): void {
    const t = block.term!;
    this.#resolve(t.args);
    for (const e of t.edges) this.#resolve(e.args);
    if (t.op === "br") {
      let r = this.#simplifier.condition(t);
      this.#resolve(t.args);
      r ??= this.#decide(t.cond, t.args[0]!, t.args[1]!, t.width, b);
      if (r !== undefined) this.#jump(t, r ? 0 : 1);
    } else if (t.op === "switch" && t.args[0]!.op === "const") {
      const v = t.width === 32 ? BigInt.asIntN(32, t.args[0]!.value) : t.args[0]!.value;
      const k = t.cases!.findIndex((c) => (t.width === 32 ? BigInt.asIntN(32, c) : c) === v);
      this.#jump(t, k < 0 ? t.edges.length - 1 : k);
    }
  }
  #jump(t: Inst, k: number): void {
    t.op = "jmp";
    t.edges = [t.edges[k]!];
    t.args = [];
    t.cases = undefined;
    this.#decided = true;
  }
}

/** 0 for an operation that is not merged. */
function hashOf(i: Inst): number {
  switch (i.op) {
    case "store":
    case "atomic":
    case "memcpy":
    case "memset":
    case "start":
    case "opaque":
      return 0;
    case "load":
      if (i.volatile || !i.invariant) return 0;
      break;
    case "call":
      if (!i.call!.pure || i.call!.mem.length > 0) return 0;
      break;
    default:
  }
  let h = i.op.length * 31 + i.op.charCodeAt(0) + i.op.charCodeAt(i.op.length - 1) * 7;
  h = (h * 31 + i.width + i.bits + i.off) | 0;
  for (const a of i.args) h = (h * 31 + a.id + 1) | 0;
  return h === 0 ? 1 : h;
}

function equal(a: Inst, b: Inst): boolean {
  if (
    a.op !== b.op ||
    a.type !== b.type ||
    a.width !== b.width ||
    a.bits !== b.bits ||
    a.off !== b.off ||
    a.cond !== b.cond ||
    a.size !== b.size ||
    a.signed !== b.signed ||
    a.args.length !== b.args.length ||
    a.core !== b.core
  ) {
    return false;
  }
  for (let k = 0; k < a.args.length; k++) if (a.args[k] !== b.args[k]) return false;
  if (a.op !== "call") return true;
  const x = a.call!.callee;
  const y = b.call!.callee;
  return x.kind === "helper" && y.kind === "helper"
    ? x.id === y.id
    : x.kind === "kfunc" && y.kind === "kfunc" && x.name === y.name;
}
