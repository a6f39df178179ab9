/**
 * Register allocation by iterated register coalescing (George and Appel): the interference
 * graph is simplified and coalesced in turns, so that arguments are computed in r1-r5, results
 * stay in r0 and two-address copies vanish. What does not fit is spilled and the graph built anew.
 *
 * Calls define r0-r5, so a value that lives across one can only get r6-r9.
 */
import { BPF_CMPXCHG } from "../../asm/opcode.ts";
import { computeLiveness } from "./liveness.ts";
import type { LFunc, LInst } from "./lir.ts";
import {
  DEF_DST,
  EFFECTS,
  fetchesToSrc,
  FIRST_VREG,
  FP,
  IS_ATOMIC,
  IS_CALL,
  IS_EXIT,
  USE_DST,
  USE_SRC,
} from "./lir.ts";
import { spill } from "./spill.ts";

/** r0-r9 */
const K = 10;
const SIMPLIFY = 1;
const FREEZE = 2;
const SPILL = 3;
const SPILLED = 4;
const COALESCED = 5;
const COLORED = 6;
const STACKED = 7;
const PRECOLORED = 8;

const M_WORK = 0;
const M_ACTIVE = 1;
const M_DONE = 2;

/** Caller-saved registers first: what crosses a call cannot have them anyway. */
const ORDER = [1, 2, 3, 4, 5, 0, 6, 7, 8, 9] as const;

/** How hard a register is to spill: 0 as the program has it, 1 a piece of a spilled one, 2 a single use: never spilled. */
export type SpillLevels = Uint8Array;

/** Gives every virtual register of `f` a machine register, in place; spills add to `f.slots`. */
export function allocateRegisters(f: LFunc): void {
  let levels: SpillLevels = new Uint8Array(f.regCount);
  for (let round = 0; ; round++) {
    const colors = new Coloring(f, levels);
    const spilled = colors.run();
    if (spilled.length === 0) {
      colors.rewrite();
      return;
    }
    if (round > 100) throw new Error(`${f.name}: register allocation does not converge`);
    levels = spill(f, spilled, levels);
  }
}

class Coloring {
  readonly #f: LFunc;
  readonly #n: number;
  readonly #bits: Uint32Array;
  readonly #adj: number[][];
  readonly #degree: Int32Array;
  readonly #levels: SpillLevels;
  /** Before anything was coalesced. */
  readonly #ownDegree: Int32Array;
  readonly #alias: Int32Array;
  readonly #color: Int8Array;
  readonly #state: Uint8Array;
  readonly #cost: Float64Array;
  readonly #moves: number[][];
  readonly #moveDst: number[] = [];
  readonly #moveSrc: number[] = [];
  readonly #moveWeight: number[] = [];
  readonly #moveState: number[] = [];
  #moveWork: number[] = [];
  readonly #simplify: number[] = [];
  readonly #freeze: number[] = [];
  #spillable: number[] = [];
  readonly #stack: number[] = [];

  constructor(f: LFunc, levels: SpillLevels) {
    const n = f.regCount;
    this.#f = f;
    this.#n = n;
    this.#bits = new Uint32Array(((n * (n + 1)) >>> 6) + 1);
    this.#adj = Array.from({ length: n }, () => []);
    this.#moves = Array.from({ length: n }, () => []);
    this.#degree = new Int32Array(n);
    this.#alias = new Int32Array(n);
    this.#color = new Int8Array(n).fill(-1);
    this.#state = new Uint8Array(n);
    this.#cost = new Float64Array(n);
    for (let r = 0; r < FIRST_VREG; r++) {
      this.#state[r] = PRECOLORED;
      this.#color[r] = r;
      this.#degree[r] = 1 << 28;
    }
    this.#levels = levels;
    this.#build(levels);
    this.#ownDegree = this.#degree.slice();
  }

  // Interference

  #interferes(a: number, b: number): boolean {
    const k = a > b ? ((a * (a + 1)) >>> 1) + b : ((b * (b + 1)) >>> 1) + a;
    return (this.#bits[k >>> 5]! & (1 << (k & 31))) !== 0;
  }
  #edge(a: number, b: number): void {
    if (a === b) return;
    const k = a > b ? ((a * (a + 1)) >>> 1) + b : ((b * (b + 1)) >>> 1) + a;
    const bit = 1 << (k & 31);
    if ((this.#bits[k >>> 5]! & bit) !== 0) return;
    this.#bits[k >>> 5]! |= bit;
    if (a >= FIRST_VREG) {
      this.#adj[a]!.push(b);
      this.#degree[a]!++;
    }
    if (b >= FIRST_VREG) {
      this.#adj[b]!.push(a);
      this.#degree[b]!++;
    }
  }

  #build(levels: SpillLevels): void {
    const f = this.#f;
    const { words, out } = computeLiveness(f);
    // A sparse set: `dense[0..count)` are the live registers, `where` their places.
    const dense = new Int32Array(this.#n);
    const where = new Int32Array(this.#n).fill(-1);
    let count = 0;
    const add = (r: number): void => {
      if (where[r]! >= 0 || r === FP) return;
      where[r] = count;
      dense[count++] = r;
    };
    const remove = (r: number): void => {
      const at = where[r]!;
      if (at < 0) return;
      const last = dense[--count]!;
      dense[at] = last;
      where[last] = at;
      where[r] = -1;
    };
    const define = (r: number): void => {
      for (let k = 0; k < count; k++) this.#edge(r, dense[k]!);
    };
    const cost = this.#cost;
    const visit = (i: LInst, weight: number): void => {
      const e = EFFECTS[i.opcode]!;
      if (i.isMove && i.src !== FP) {
        remove(i.src);
        const m = this.#moveDst.length;
        this.#moveDst.push(i.dst);
        this.#moveSrc.push(i.src);
        this.#moveWeight.push(weight);
        this.#moveState.push(M_WORK);
        this.#moveWork.push(m);
        this.#moves[i.dst]!.push(m);
        if (i.src !== i.dst) this.#moves[i.src]!.push(m);
      }
      if ((e & IS_CALL) !== 0) {
        for (let r = 0; r <= 5; r++) {
          define(r);
          remove(r);
        }
        for (let r = 1; r <= i.nargs; r++) add(r);
        return;
      }
      if ((e & IS_EXIT) !== 0) {
        if (i.nargs > 0) add(0);
        return;
      }
      if ((e & DEF_DST) !== 0) {
        define(i.dst);
        cost[i.dst]! += weight;
        remove(i.dst);
      }
      if ((e & IS_ATOMIC) !== 0) {
        if (i.imm === BPF_CMPXCHG) {
          define(0);
          remove(0);
          add(0);
          // The operands are read before r0 is written, but must not be in r0 themselves.
          add(i.dst);
          add(i.src);
          if (i.dst !== FP) this.#edge(i.dst, 0);
          this.#edge(i.src, 0);
        } else if (fetchesToSrc(i.imm)) {
          define(i.src);
          remove(i.src);
          if (i.dst !== FP) this.#edge(i.src, i.dst);
        }
      }
      if ((e & USE_DST) !== 0) {
        add(i.dst);
        cost[i.dst]! += weight;
      }
      if ((e & USE_SRC) !== 0) {
        add(i.src);
        cost[i.src]! += weight;
      }
    };
    for (let k = 0; k < f.blocks.length; k++) {
      const b = f.blocks[k]!;
      while (count > 0) where[dense[--count]!] = -1;
      for (let w = 0; w < words; w++) {
        for (let v = out[k * words + w]!; v !== 0; v &= v - 1) add(w * 32 + (31 - Math.clz32(v & -v)));
      }
      const weight = (b.cold ? 0.1 : 1) * 8 ** Math.min(b.depth, 6);
      if (b.term !== undefined) visit(b.term, weight);
      for (let i = b.insts.length - 1; i >= 0; i--) visit(b.insts[i]!, weight);
    }
    for (let r = FIRST_VREG; r < this.#n; r++) {
      if (levels[r] === 2) cost[r] = Infinity;
      else if (levels[r] === 1) cost[r]! *= 4;
    }
    const weights = this.#moveWeight;
    this.#moveWork.sort((a, b) => weights[a]! - weights[b]! || b - a);
  }

  // The four kinds of step

  /** Registers that could not be coloured. */
  run(): number[] {
    for (let r = FIRST_VREG; r < this.#n; r++) {
      if (this.#degree[r]! >= K) this.#push(r, SPILL);
      else if (this.#moveRelated(r)) this.#push(r, FREEZE);
      else this.#push(r, SIMPLIFY);
    }
    for (;;) {
      const r = this.#take(this.#simplify, SIMPLIFY);
      if (r >= 0) {
        this.#simplifyOne(r);
        continue;
      }
      const m = this.#moveWork.pop();
      if (m !== undefined) {
        if (this.#moveState[m] === M_WORK) this.#coalesce(m);
        continue;
      }
      const z = this.#take(this.#freeze, FREEZE);
      if (z >= 0) {
        this.#freezeMoves(z);
        this.#push(z, SIMPLIFY);
        continue;
      }
      if (!this.#selectSpill()) break;
    }
    return this.#assign();
  }

  #push(r: number, state: number): void {
    this.#state[r] = state;
    if (state === SIMPLIFY) this.#simplify.push(r);
    else if (state === FREEZE) this.#freeze.push(r);
    else this.#spillable.push(r);
  }
  /** The next entry that is still in this state; others are stale. */
  #take(list: number[], state: number): number {
    for (;;) {
      const r = list.pop();
      if (r === undefined) return -1;
      if (this.#state[r] === state) return r;
    }
  }
  #gone(r: number): boolean {
    const s = this.#state[r]!;
    return s === STACKED || s === COALESCED;
  }
  #moveRelated(r: number): boolean {
    for (const m of this.#moves[r]!) if (this.#moveState[m] !== M_DONE) return true;
    return false;
  }
  #find(r: number): number {
    while (this.#state[r] === COALESCED) r = this.#alias[r]!;
    return r;
  }

  #simplifyOne(r: number): void {
    this.#state[r] = STACKED;
    this.#stack.push(r);
    for (const t of this.#adj[r]!) if (!this.#gone(t)) this.#decrement(t);
  }
  #decrement(r: number): void {
    if (r < FIRST_VREG) return;
    const d = this.#degree[r]!--;
    if (d !== K) return;
    this.#enable(r);
    for (const t of this.#adj[r]!) if (!this.#gone(t)) this.#enable(t);
    if (this.#state[r] === SPILL) this.#push(r, this.#moveRelated(r) ? FREEZE : SIMPLIFY);
  }
  #enable(r: number): void {
    for (const m of this.#moves[r]!) {
      if (this.#moveState[m] === M_ACTIVE) {
        this.#moveState[m] = M_WORK;
        this.#moveWork.push(m);
      }
    }
  }

  #coalesce(m: number): void {
    let u = this.#find(this.#moveDst[m]!);
    let v = this.#find(this.#moveSrc[m]!);
    if (v < FIRST_VREG) [u, v] = [v, u];
    if (u === v) {
      this.#moveState[m] = M_DONE;
      this.#release(u);
    } else if (v < FIRST_VREG || this.#interferes(u, v)) {
      this.#moveState[m] = M_DONE;
      this.#release(u);
      this.#release(v);
    } else if (u < FIRST_VREG ? this.#george(u, v) : this.#briggs(u, v) || this.#george(u, v) || this.#george(v, u)) {
      this.#moveState[m] = M_DONE;
      this.#combine(u, v);
      this.#release(u);
    } else this.#moveState[m] = M_ACTIVE;
  }
  #release(r: number): void {
    if (r >= FIRST_VREG && this.#state[r] === FREEZE && this.#degree[r]! < K && !this.#moveRelated(r))
      this.#push(r, SIMPLIFY);
  }
  /** Every neighbour of `v` is harmless to `u`: insignificant, or a neighbour of `u` already. */
  #george(u: number, v: number): boolean {
    for (const t of this.#adj[v]!) {
      if (this.#gone(t)) continue;
      if (
        t < FIRST_VREG ? u >= FIRST_VREG && !this.#interferes(t, u) : this.#degree[t]! >= K && !this.#interferes(t, u)
      )
        return false;
    }
    return true;
  }
  /** The union has fewer than K significant neighbours. */
  #briggs(u: number, v: number): boolean {
    let k = 0;
    for (const t of this.#adj[u]!) {
      if (this.#gone(t)) continue;
      const d = this.#degree[t]!;
      if (t < FIRST_VREG || (this.#interferes(t, v) ? d - 1 : d) >= K) k++;
    }
    for (const t of this.#adj[v]!) {
      if (this.#gone(t) || this.#interferes(t, u)) continue;
      if (t < FIRST_VREG || this.#degree[t]! >= K) k++;
    }
    return k < K;
  }
  #combine(u: number, v: number): void {
    this.#state[v] = COALESCED;
    this.#alias[v] = u;
    this.#moves[u]!.push(...this.#moves[v]!);
    this.#cost[u]! += this.#cost[v]!;
    this.#enable(v);
    for (const t of this.#adj[v]!) {
      if (this.#gone(t)) continue;
      this.#edge(t, u);
      this.#decrement(t);
    }
    if (u >= FIRST_VREG && this.#degree[u]! >= K && this.#state[u] === FREEZE) this.#push(u, SPILL);
  }
  #freezeMoves(r: number): void {
    for (const m of this.#moves[r]!) {
      if (this.#moveState[m] === M_DONE) continue;
      const u = this.#find(this.#moveDst[m]!);
      const v = this.#find(this.#moveSrc[m]!);
      this.#moveState[m] = M_DONE;
      this.#release(u === this.#find(r) ? v : u);
    }
  }
  /** Takes the cheapest register out in the hope that a colour is left for it. */
  #selectSpill(): boolean {
    let best = -1;
    let bestCost = Infinity;
    const rest: number[] = [];
    for (const r of this.#spillable) {
      if (this.#state[r] !== SPILL) continue;
      rest.push(r);
      const c = this.#cost[r]! / this.#degree[r]!;
      if (best < 0 || c < bestCost) {
        best = r;
        bestCost = c;
      }
    }
    this.#spillable = rest;
    if (best < 0) return false;
    this.#push(best, SIMPLIFY);
    this.#freezeMoves(best);
    return true;
  }

  #assign(): number[] {
    const spilled: number[] = [];
    const color = this.#color;
    while (this.#stack.length > 0) {
      const r = this.#stack.pop()!;
      let used = 0;
      for (const t of this.#adj[r]!) {
        const a = this.#find(t);
        if (this.#state[a] === COLORED || a < FIRST_VREG) used |= 1 << color[a]!;
      }
      // A partner of a copy that could not be coalesced may still happen to fit.
      let pick = -1;
      let pickWeight = -1;
      for (const m of this.#moves[r]!) {
        const d = this.#find(this.#moveDst[m]!);
        const other = d === r ? this.#find(this.#moveSrc[m]!) : d;
        const c = color[other]!;
        if (c >= 0 && c < K && (used & (1 << c)) === 0 && this.#moveWeight[m]! > pickWeight) {
          pick = c;
          pickWeight = this.#moveWeight[m]!;
        }
      }
      for (let k = 0; pick < 0 && k < K; k++) if ((used & (1 << ORDER[k]!)) === 0) pick = ORDER[k]!;
      if (pick < 0) {
        this.#state[r] = SPILLED;
        spilled.push(r);
      } else {
        this.#state[r] = COLORED;
        color[r] = pick;
      }
    }
    if (spilled.length === 0) return spilled;
    // Of registers that were coalesced only the longest-lived ones are spilled; the others may find a colour by themselves.
    const longest = new Map<number, number>();
    for (let r = FIRST_VREG; r < this.#n; r++) {
      const root = this.#find(r);
      if (this.#state[root] !== SPILLED || this.#levels[r] === 2) continue;
      const best = longest.get(root);
      if (best === undefined || this.#ownDegree[r]! > this.#ownDegree[best]!) longest.set(root, r);
    }
    return [...longest.values()];
  }

  rewrite(): void {
    const name = new Int32Array(this.#n);
    for (let r = 0; r < this.#n; r++) {
      const c = this.#color[this.#find(r)]!;
      // A register that nothing reads or writes has no node of its own.
      name[r] = c < 0 ? 0 : c;
    }
    for (const b of this.#f.blocks) {
      for (const i of b.insts) rename(i, name);
      if (b.term !== undefined) rename(b.term, name);
      b.insts = b.insts.filter((i) => !(i.isMove && i.dst === i.src));
    }
  }
}

function rename(i: LInst, name: Int32Array): void {
  const e = EFFECTS[i.opcode]!;
  if ((e & (DEF_DST | USE_DST)) !== 0) i.dst = name[i.dst]!;
  if ((e & USE_SRC) !== 0) i.src = name[i.src]!;
}
