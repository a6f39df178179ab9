/** What memory is known to hold at a point: values stored to it or loaded from it, by pointer root. */
import type { Func, Inst, Size, Slot } from "../ir/ir.ts";
import { rootOf } from "./util.ts";

export interface Known {
  readonly base: Inst;
  readonly off: number;
  readonly size: Size;
  readonly value: Inst;
  /** A load's own sign; a store gives the raw value. */
  readonly from: "store" | "zext" | "sext";
}

/** Slots that something other than the accesses the compiler sees may read or write. */
export function escapedSlots(f: Func): Set<Slot> {
  const escaped = new Set<Slot>();
  const escape = (v: Inst): void => {
    const { base } = rootOf(v);
    if (base.op === "slot") escaped.add(base.slot!);
  };
  for (const b of f.blocks) {
    for (const i of b.insts) {
      switch (i.op) {
        case "load":
        case "memcpy":
        case "memset":
          break;
        case "store":
        case "atomic":
          for (let k = 1; k < i.args.length; k++) escape(i.args[k]!);
          break;
        case "add":
        case "sub":
          if (i.type !== "ptr") i.args.forEach(escape);
          break;
        case "call":
          i.args.forEach((a, k) => {
            if (!i.call!.mem.some((m) => m.arg === k)) escape(a);
          });
          break;
        default:
          i.args.forEach(escape);
      }
    }
    const t = b.term!;
    t.args.forEach(escape);
    for (const e of t.edges) e.args.forEach(escape);
  }
  return escaped;
}

export function sameBase(a: Inst, b: Inst): boolean {
  return (
    a === b ||
    (a.op === "slot" && b.op === "slot" && a.slot === b.slot) ||
    (a.op === "mapval" && b.op === "mapval" && a.sym === b.sym)
  );
}

/** Spaces that never overlap each other. */
const SEPARATE: ReadonlySet<string> = new Set(["ctx", "stack", "map-value", "packet", "btf"]);

export class Memory {
  #known: Known[] = [];
  readonly #escaped: ReadonlySet<Slot>;

  constructor(escaped: ReadonlySet<Slot>, known: Known[] = []) {
    this.#escaped = escaped;
    this.#known = known;
  }
  copy(): Memory {
    return new Memory(this.#escaped, this.#known.slice());
  }
  get entries(): readonly Known[] {
    return this.#known;
  }
  /** Keeps only what `other` knows as well. */
  intersect(other: Memory): void {
    this.#known = this.#known.filter((k) =>
      other.#known.some(
        (o) =>
          o.off === k.off && o.size === k.size && o.value === k.value && o.from === k.from && sameBase(o.base, k.base),
      ),
    );
  }

  root(p: Inst, off: number): { base: Inst; off: number } {
    const r = rootOf(p);
    return { base: r.base, off: r.off + off + (r.base.op === "mapval" ? r.base.off : 0) };
  }
  find(base: Inst, off: number, size: Size): Known | undefined {
    const list = this.#known;
    for (let k = list.length - 1; k >= 0; k--) {
      const e = list[k]!;
      if (e.off === off && e.size === size && sameBase(e.base, base)) return e;
    }
    return undefined;
  }
  /** A store of a constant that covers the whole access. */
  findConstant(base: Inst, off: number, size: Size): Known | undefined {
    return this.#known.find(
      (e) =>
        e.from === "store" &&
        e.value.op === "const" &&
        e.off <= off &&
        off + size <= e.off + e.size &&
        sameBase(e.base, base),
    );
  }
  add(k: Known): void {
    if (Number.isNaN(k.off)) return;
    this.#known.push(k);
    if (this.#known.length > 64) this.#known.shift();
  }
  clear(): void {
    this.#known = [];
  }
  /** Something of this size is written at `base + off` (NaN: anywhere from `base`). */
  write(base: Inst, off: number, size: number): void {
    const list = this.#known;
    let kept = 0;
    for (let k = 0; k < list.length; k++) {
      const e = list[k]!;
      if (!this.#mayOverlap(e, base, off, size)) list[kept++] = e;
    }
    list.length = kept;
  }
  #mayOverlap(e: Known, base: Inst, off: number, size: number): boolean {
    if (sameBase(e.base, base)) return Number.isNaN(off) || (e.off < off + size && off < e.off + e.size);
    if (e.base.op === "slot" && base.op === "slot") return false;
    if (e.base.op === "slot" && !this.#escaped.has(e.base.slot!)) return false;
    if (base.op === "slot" && !this.#escaped.has(base.slot!)) return false;
    const s = e.base.space;
    const t = base.space;
    return s === t || !SEPARATE.has(s) || !SEPARATE.has(t);
  }

  /** The effects of an instruction that is no load. */
  apply(i: Inst): void {
    switch (i.op) {
      case "store":
      case "atomic": {
        const r = this.root(i.args[0]!, i.off);
        this.write(r.base, r.off, i.size);
        return;
      }
      case "memcpy":
      case "memset": {
        const r = this.root(i.args[0]!, 0);
        this.write(r.base, r.off, i.bytes);
        return;
      }
      case "start":
        this.#known = this.#known.filter((e) => e.base.op !== "slot" || e.base.slot !== i.slot);
        return;
      case "call": {
        const c = i.call!;
        if (c.clobbers !== "none") {
          const all = c.clobbers === "all";
          this.#known = this.#known.filter((e) =>
            e.base.op === "slot" ? !this.#escaped.has(e.base.slot!) : e.base.space === "ctx" ? !all : false,
          );
        }
        for (let k = 0; k < i.args.length; k++) {
          if (i.args[k]!.type !== "ptr" || c.mem.some((m) => m.arg === k)) continue;
          const { base } = rootOf(i.args[k]!);
          if (base.op === "slot") this.write(base, NaN, 0);
        }
        for (const m of c.mem) {
          if (m.mode === "in") continue;
          const r = this.root(i.args[m.arg]!, 0);
          if (m.size === undefined) this.write(r.base, NaN, 0);
          else this.write(r.base, r.off, m.size);
        }
        return;
      }
      default:
    }
  }
}
