/**
 * Dead and mergeable stores to the stack. Every byte of a slot that only seen accesses touch is followed
 * backwards: a store of bytes that are overwritten or never read goes, one of which only a part is needed
 * shrinks, and neighbouring constants are stored at once.
 */
import { computeCfg } from "../ir/cfg.ts";
import type { Func, Inst, Size, Slot } from "../ir/ir.ts";
import { escapedSlots } from "./memory.ts";
import { constInst, rootOf } from "./util.ts";

/** Rewrites `f` in place; whether anything changed. */
export function removeDeadStores(f: Func, littleEndian: boolean): boolean {
  const escaped = escapedSlots(f);
  const start = new Map<Slot, number>();
  let bytes = 0;
  for (const s of f.slots) {
    if (escaped.has(s)) continue;
    start.set(s, bytes);
    bytes += s.size;
  }
  if (bytes === 0) return false;
  return new DeadStores(f, start, bytes, littleEndian).run();
}

class DeadStores {
  readonly #f: Func;
  readonly #start: ReadonlyMap<Slot, number>;
  readonly #words: number;
  readonly #little: boolean;
  #live!: Uint32Array;
  #changed = false;

  constructor(f: Func, start: ReadonlyMap<Slot, number>, bytes: number, little: boolean) {
    this.#f = f;
    this.#start = start;
    this.#words = (bytes + 31) >>> 5;
    this.#little = little;
  }

  run(): boolean {
    const cfg = computeCfg(this.#f);
    const { order } = cfg;
    const n = order.length;
    const words = this.#words;
    const liveIn = new Uint32Array(n * words);
    const out = (b: number): Uint32Array => {
      const live = new Uint32Array(words);
      for (const e of order[b]!.term!.edges) {
        const base = cfg.index[e.to.id]! * words;
        for (let w = 0; w < words; w++) live[w]! |= liveIn[base + w]!;
      }
      return live;
    };
    for (let again = true; again;) {
      again = false;
      for (let b = n - 1; b >= 0; b--) {
        this.#live = out(b);
        const { insts } = order[b]!;
        for (let k = insts.length - 1; k >= 0; k--) this.#visit(insts[k]!);
        for (let w = 0; w < words; w++) {
          if (liveIn[b * words + w] !== this.#live[w]) {
            liveIn[b * words + w] = this.#live[w]!;
            again = true;
          }
        }
      }
    }
    for (let b = 0; b < n; b++) {
      this.#live = out(b);
      const block = order[b]!;
      const kept: Inst[] = [];
      for (let k = block.insts.length - 1; k >= 0; k--) {
        const i = block.insts[k]!;
        if (i.op === "store") this.#store(i, kept);
        else kept.push(i);
        this.#visit(i);
      }
      block.insts = kept.reverse();
      this.#merge(block.insts);
    }
    return this.#changed;
  }

  #mark(from: number, size: number, live: boolean): void {
    for (let k = from; k < from + size; k++) {
      if (live) this.#live[k >>> 5]! |= 1 << (k & 31);
      else this.#live[k >>> 5]! &= ~(1 << (k & 31));
    }
  }
  #isLive(k: number): boolean {
    return (this.#live[k >>> 5]! & (1 << (k & 31))) !== 0;
  }
  /** The tracked bytes behind a pointer: all of the slot where the distance varies. */
  #bytes(p: Inst, off: number, size: number): { from: number; size: number; exact: boolean } | undefined {
    const r = rootOf(p);
    if (r.base.op !== "slot") return undefined;
    const slot = r.base.slot!;
    const from = this.#start.get(slot);
    if (from === undefined) return undefined;
    const at = r.off + off;
    if (Number.isNaN(at) || at < 0 || at + size > slot.size) return { from, size: slot.size, exact: false };
    return { from: from + at, size, exact: true };
  }
  #read(p: Inst, off: number, size: number): void {
    const r = this.#bytes(p, off, size);
    if (r !== undefined) this.#mark(r.from, r.size, true);
  }
  #write(p: Inst, off: number, size: number): void {
    const r = this.#bytes(p, off, size);
    if (r !== undefined && r.exact) this.#mark(r.from, r.size, false);
  }

  #visit(i: Inst): void {
    switch (i.op) {
      case "load":
        this.#read(i.args[0]!, i.off, i.size);
        break;
      case "store":
        this.#write(i.args[0]!, i.off, i.size);
        break;
      case "atomic":
        this.#read(i.args[0]!, i.off, i.size);
        break;
      case "memset":
        this.#write(i.args[0]!, 0, i.bytes);
        break;
      case "memcpy":
        this.#write(i.args[0]!, 0, i.bytes);
        this.#read(i.args[1]!, 0, i.bytes);
        break;
      case "start": {
        const from = this.#start.get(i.slot!);
        if (from !== undefined) this.#mark(from, i.slot!.size, false);
        break;
      }
      case "call":
        for (const m of i.call!.mem)
          if (m.mode === "out" && m.size !== undefined) this.#write(i.args[m.arg]!, 0, m.size);
        for (const m of i.call!.mem) {
          if (m.mode === "out") continue;
          if (m.size === undefined) this.#read(i.args[m.arg]!, NaN, 0);
          else this.#read(i.args[m.arg]!, 0, m.size);
        }
        break;
      default:
    }
  }

  /** Appends what is left of a store. */
  #store(i: Inst, kept: Inst[]): void {
    const r = i.volatile || i.core !== undefined ? undefined : this.#bytes(i.args[0]!, i.off, i.size);
    if (r === undefined || !r.exact) {
      kept.push(i);
      return;
    }
    let { size } = i;
    let { off } = i;
    let from = r.from;
    const dead = (at: number, n: number): boolean => {
      for (let k = at; k < at + n; k++) if (this.#isLive(k)) return false;
      return true;
    };
    if (dead(from, size)) {
      this.#changed = true;
      return;
    }
    if (i.args[1]!.op === "const") {
      let shift = 0;
      while (size > 1) {
        const half = (size / 2) as Size;
        if (dead(from + half, half)) {
          size = half;
          if (!this.#little) shift += half;
        } else if (dead(from, half)) {
          size = half;
          off += half;
          from += half;
          if (this.#little) shift += half;
        } else break;
      }
      if (size !== i.size) {
        const v = i.args[1]!.value;
        i.size = size;
        i.off = off;
        i.args = [i.args[0]!, constInst(this.#f, BigInt.asUintN(size * 8, BigInt.asUintN(64, v) >> BigInt(shift * 8)))];
        this.#changed = true;
      }
    }
    kept.push(i);
  }

  /** Joins constant stores to neighbouring bytes of a slot when nothing in between touches them. */
  #merge(insts: Inst[]): void {
    for (let again = true; again;) {
      again = false;
      for (let k = 0; k < insts.length; k++) {
        const a = insts[k]!;
        if (!this.#isConstStore(a) || a.size === 8) continue;
        const ra = rootOf(a.args[0]!);
        const at = ra.off + a.off;
        const slot = ra.base.slot!;
        for (let j = k + 1; j < insts.length && j < k + 12; j++) {
          const b = insts[j]!;
          if (!this.#isConstStore(b)) {
            // Only what cannot look at the slot may lie between the two.
            if (b.op === "load" && rootOf(b.args[0]!).base.slot !== slot) continue;
            if (
              b.op === "load" ||
              b.op === "call" ||
              b.op === "atomic" ||
              b.op === "memcpy" ||
              b.op === "memset" ||
              b.op === "start"
            )
              break;
            if (b.op === "store") {
              const r = rootOf(b.args[0]!);
              const from = r.off + b.off;
              if (r.base.op === "slot" && r.base.slot === slot && !(from >= at + a.size || from + b.size <= at)) break;
            }
            continue;
          }
          const rb = rootOf(b.args[0]!);
          if (rb.base.slot !== slot) continue;
          const bt = rb.off + b.off;
          const lo = Math.min(at, bt);
          const wide = (a.size * 2) as Size;
          if (b.size !== a.size || Math.abs(at - bt) !== a.size || lo % wide !== 0 || slot.align < wide) {
            if (bt < at + a.size && at < bt + b.size) break;
            continue;
          }
          const [low, high] = at < bt === this.#little ? [a, b] : [b, a];
          const bits = BigInt(a.size * 8);
          const v =
            BigInt.asUintN(Number(bits), low.args[1]!.value) |
            (BigInt.asUintN(Number(bits), high.args[1]!.value) << bits);
          const signed = BigInt.asIntN(64, v);
          if (wide === 8 && (signed < -0x8000_0000n || signed > 0x7fff_ffffn)) continue;
          b.size = wide;
          b.off -= bt - lo;
          b.args = [b.args[0]!, constInst(this.#f, v)];
          insts.splice(k, 1);
          this.#changed = true;
          again = true;
          break;
        }
        if (again) break;
      }
    }
  }
  #isConstStore(i: Inst): boolean {
    if (i.op !== "store" || i.volatile || i.core !== undefined || i.args[1]!.op !== "const") return false;
    const r = rootOf(i.args[0]!);
    return r.base.op === "slot" && !Number.isNaN(r.off) && this.#start.has(r.base.slot!);
  }
}
