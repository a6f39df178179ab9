/**
 * Which stack slots may still be read (kernel/bpf/liveness.c of 6.18): reads and writes are
 * noted per call chain and insn while paths are explored, and spread backwards over the CFG
 * whenever a path ends. A slot nobody reads any more is dropped from saved states.
 */
import { type Env, verifierBug } from "./env.ts";
import type { StackLiveness } from "./live-marks.ts";
import { type FlowGraph, flowGraph } from "./successors.ts";
import type { VerifierState } from "./state.ts";

// Words of an insn's record: 64-bit slot masks as (lo, hi).
const READ = 0;
const WRITE = 2;
const WRITE_ACC = 4;
const LIVE = 6;
const WORDS = 8;

/**
 * Insns of a function whose masks have to be computed anew, as bits by position in the postorder. The kernel passes
 * over the whole function each time; only these can change, which makes 44,713 insns of pyperf180 9 times faster.
 */
class Pending {
  readonly #bits: Int32Array;
  /** Words that may have bits. */
  lo: number;
  hi = -1;

  constructor(count: number) {
    this.#bits = new Int32Array((count + 31) >> 5);
    this.lo = this.#bits.length;
  }

  add(at: number): void {
    const w = at >> 5;
    this.#bits[w]! |= 1 << (at & 31);
    if (w < this.lo) this.lo = w;
    if (w > this.hi) this.hi = w;
  }

  /** Takes the first position at or after `from` out; -1 when there is none. */
  take(from: number): number {
    for (let w = from >> 5; w <= this.hi; w++) {
      const bits = w === from >> 5 ? this.#bits[w]! & (-1 << (from & 31)) : this.#bits[w]!;
      if (bits === 0) continue;
      const bit = 31 - Math.clz32(bits & -bits);
      this.#bits[w]! &= ~(1 << bit);
      return (w << 5) + bit;
    }
    return -1;
  }

  /** A new pass: the first position to look at. */
  begin(): number {
    const from = this.lo << 5;
    this.lo = this.#bits.length;
    return from;
  }

  end(): void {
    if (this.lo === this.#bits.length) this.hi = -1;
  }
}

/** What is known of one function called through one chain of call sites. */
class FuncInstance {
  readonly outer: FuncInstance | null;
  /** Call insn in `outer` that leads here. */
  readonly callsite: number;
  readonly depth: number;
  readonly start: number;
  readonly insnCnt: number;
  readonly poStart: number;
  readonly poEnd: number;
  updated = false;
  mustWriteDropped = false;
  readonly frames: (Int32Array | null)[];
  readonly pending: (Pending | null)[];
  readonly mustWriteSet: Uint8Array;
  readonly inner = new Map<number, FuncInstance>();

  constructor(env: Env, outer: FuncInstance | null, callsite: number, start: number) {
    const subprog = env.subprogs.findIndex((s) => s.start === start);
    if (subprog < 0) verifierBug(env, `live stack: no subprog at ${start}`);
    this.outer = outer;
    this.callsite = callsite;
    this.depth = outer === null ? 0 : outer.depth + 1;
    this.start = start;
    const next = env.subprogs[subprog + 1];
    this.insnCnt = (next === undefined ? env.len : next.start) - start;
    this.poStart = env.subprogs[subprog]!.postorderStart;
    this.poEnd = next === undefined ? env.postorder.length : next.postorderStart;
    this.frames = new Array<Int32Array | null>(this.depth + 1).fill(null);
    this.pending = new Array<Pending | null>(this.depth + 1).fill(null);
    this.mustWriteSet = new Uint8Array(this.insnCnt);
  }

  masks(frame: number): Int32Array {
    let m = this.frames[frame];
    if (m === null || m === undefined) {
      m = new Int32Array(this.insnCnt * WORDS);
      this.frames[frame] = m;
      this.pending[frame] = new Pending(this.poEnd - this.poStart);
    }
    return m;
  }

  #sites(): string {
    return this.outer === null ? "" : `${this.outer.#sites()}${this.callsite},`;
  }

  /** "(callsite,…,start)" */
  chain(): string {
    return `(${this.#sites()}${this.start})`;
  }
}

function slotList(lo: number, hi: number): string {
  const out: number[] = [];
  for (let i = 0; i < 32; i++) if ((lo >>> i) & 1) out.push(-(i + 1) * 8);
  for (let i = 0; i < 32; i++) if ((hi >>> i) & 1) out.push(-(i + 33) * 8);
  return out.join(",");
}

/** The analysis of one verification run. */
export class LiveStack implements StackLiveness {
  readonly #env: Env;
  readonly #roots = new Map<number, FuncInstance>();
  #cur: FuncInstance | null = null;
  readonly #accLo = new Int32Array(8);
  readonly #accHi = new Int32Array(8);
  #writeIdx = 0;
  readonly #query: FuncInstance[] = [];
  #queryFrame = 0;
  #queryIdx = 0;
  readonly #flow: FlowGraph;

  constructor(env: Env) {
    this.#env = env;
    this.#flow = flowGraph(env);
  }

  /** The masks of insn `idx` have to be computed anew. */
  #touch(inst: FuncInstance, frame: number, idx: number): void {
    inst.pending[frame]!.add(this.#flow.position[idx]! - inst.poStart);
  }

  #touchPredecessors(inst: FuncInstance, frame: number, idx: number): void {
    const { predStart, preds, position } = this.#flow;
    const p = inst.pending[frame]!;
    for (let k = predStart[idx]!; k < predStart[idx + 1]!; k++) p.add(position[preds[k]!]! - inst.poStart);
  }

  #lookup(st: VerifierState, frameno: number): FuncInstance {
    const env = this.#env;
    const start0 = env.subprogs[st.frames[0]!.subprogno]!.start;
    let inst: FuncInstance | undefined = this.#roots.get(start0);
    if (inst === undefined) {
      inst = new FuncInstance(env, null, start0, start0);
      this.#roots.set(start0, inst);
    }
    for (let i = 1; i <= frameno; i++) {
      const f = st.frames[i]!;
      const start = env.subprogs[f.subprogno]!.start;
      const key = f.callsite * 0x100_0000 + start;
      let next: FuncInstance | undefined = inst.inner.get(key);
      if (next === undefined) {
        next = new FuncInstance(env, inst, f.callsite, start);
        inst.inner.set(key, next);
      }
      inst = next;
    }
    return inst;
  }

  #current(): FuncInstance {
    if (this.#cur === null) {
      const st = this.#env.state;
      this.#cur = this.#lookup(st, st.curframe);
    }
    return this.#cur;
  }

  /** The call chain changes: forget the cached instance. */
  resetCallchain(): void {
    this.#cur = null;
  }

  /** Slot `spi` of frame `frame` is read by the insn `idx`. */
  markRead(frame: number, idx: number, spi: number): void {
    const lo = spi < 32 ? 1 << spi : 0;
    const hi = spi < 32 ? 0 : 1 << (spi - 32);
    this.#markRead(this.#current(), frame, idx, lo, hi);
  }

  #markRead(inst: FuncInstance, frame: number, idx: number, lo: number, hi: number): void {
    const m = inst.masks(frame);
    const w = (idx - inst.start) * WORDS;
    const newLo = m[w + READ]! | lo;
    const newHi = m[w + READ + 1]! | hi;
    if (newLo === m[w + READ]! && newHi === m[w + READ + 1]!) return;
    if ((newLo & ~m[w + LIVE]!) !== 0 || (newHi & ~m[w + LIVE + 1]!) !== 0) inst.updated = true;
    m[w + READ] = newLo;
    m[w + READ + 1] = newHi;
    this.#touch(inst, frame, idx);
  }

  /** A new insn begins: no slot written yet. */
  beginInsn(idx: number): void {
    this.#begin(this.#current(), idx);
  }

  #begin(inst: FuncInstance, idx: number): void {
    this.#writeIdx = idx;
    for (let i = 0; i <= inst.depth; i++) {
      this.#accLo[i] = 0;
      this.#accHi[i] = 0;
    }
  }

  /** Slot `spi` of `frame` is surely overwritten, all eight bytes, by the insn begun last. */
  markWrite(frame: number, spi: number): void {
    if (spi < 32) this.#accLo[frame]! |= 1 << spi;
    else this.#accHi[frame]! |= 1 << (spi - 32);
  }

  /** The insn is done: its writes join what other paths wrote there. */
  commitInsn(): void {
    if (this.#cur !== null) this.#commit(this.#cur);
  }

  #commit(inst: FuncInstance): void {
    const idx = this.#writeIdx - inst.start;
    const seen = inst.mustWriteSet[idx] === 1;
    for (let frame = 0; frame <= inst.depth; frame++) {
      let lo = this.#accLo[frame]!;
      let hi = this.#accHi[frame]!;
      if (lo === 0 && hi === 0 && (!seen || inst.frames[frame] === null)) continue;
      const m = inst.masks(frame);
      const w = idx * WORDS;
      // 6.18 keeps the previous mask in 32 bits: slots below fp-256 are lost at a second visit.
      const oldLo = m[w + WRITE]!;
      if (seen) {
        lo &= oldLo;
        hi = 0;
      }
      if (oldLo !== lo || hi !== 0) {
        m[w + WRITE] = lo;
        m[w + WRITE + 1] = hi;
        inst.updated = true;
        this.#touch(inst, frame, this.#writeIdx);
      }
      if ((oldLo & ~lo) !== 0) inst.mustWriteDropped = true;
    }
    inst.mustWriteSet[idx] = 1;
    this.#writeIdx = 0;
  }

  #logChange(
    inst: FuncInstance,
    what: string,
    frame: number,
    idx: number,
    oLo: number,
    oHi: number,
    nLo: number,
    nHi: number,
  ): void {
    const cLo = oLo ^ nLo;
    const cHi = oHi ^ nHi;
    if (cLo === 0 && cHi === 0) return;
    let text = `${inst.chain()} frame ${frame} insn ${idx} `;
    if ((nLo & cLo) !== 0 || (nHi & cHi) !== 0) text += `+${what} ${slotList(nLo & cLo, nHi & cHi)} `;
    if ((~nLo & cLo) !== 0 || (~nHi & cHi) !== 0) text += `-${what} ${slotList(~nLo & cLo, ~nHi & cHi)}`;
    this.#env.log.write(`${text}\n`);
  }

  #updateInsn(inst: FuncInstance, frame: number, m: Int32Array, idx: number): boolean {
    const env = this.#env;
    const a = this.#flow.fallthrough[idx]!;
    const b = this.#flow.jump[idx]!;
    if (a < 0 && b < 0) return false;
    let liveLo = 0;
    let liveHi = 0;
    let accLo = -1;
    let accHi = -1;
    if (a >= 0) {
      const s = (a - inst.start) * WORDS;
      liveLo |= m[s + LIVE]!;
      liveHi |= m[s + LIVE + 1]!;
      accLo &= m[s + WRITE_ACC]!;
      accHi &= m[s + WRITE_ACC + 1]!;
    }
    if (b >= 0) {
      const s = (b - inst.start) * WORDS;
      liveLo |= m[s + LIVE]!;
      liveHi |= m[s + LIVE + 1]!;
      accLo &= m[s + WRITE_ACC]!;
      accHi &= m[s + WRITE_ACC + 1]!;
    }
    const w = (idx - inst.start) * WORDS;
    accLo |= m[w + WRITE]!;
    accHi |= m[w + WRITE + 1]!;
    liveLo = (liveLo & ~m[w + WRITE]!) | m[w + READ]!;
    liveHi = (liveHi & ~m[w + WRITE + 1]!) | m[w + READ + 1]!;
    const changed =
      liveLo !== m[w + LIVE]! ||
      liveHi !== m[w + LIVE + 1]! ||
      accLo !== m[w + WRITE_ACC]! ||
      accHi !== m[w + WRITE_ACC + 1]!;
    if (!changed) return false;
    if (
      env.log.level2 &&
      ((m[w + READ]! | m[w + READ + 1]! | m[w + WRITE]! | m[w + WRITE + 1]!) !== 0 ||
        idx === inst.start ||
        env.aux[idx]!.prunePoint)
    ) {
      this.#logChange(inst, "live", frame, idx, m[w + LIVE]!, m[w + LIVE + 1]!, liveLo, liveHi);
      this.#logChange(inst, "written", frame, idx, m[w + WRITE_ACC]!, m[w + WRITE_ACC + 1]!, accLo, accHi);
    }
    m[w + LIVE] = liveLo;
    m[w + LIVE + 1] = liveHi;
    m[w + WRITE_ACC] = accLo;
    m[w + WRITE_ACC + 1] = accHi;
    return true;
  }

  /** One pass in postorder over what is pending; marks made behind it wait for the next. */
  #pass(inst: FuncInstance, frame: number): boolean {
    const m = inst.frames[frame];
    const pending = inst.pending[frame];
    if (m === null || m === undefined || pending === null || pending === undefined) return false;
    const { postorder } = this.#env;
    let changed = false;
    for (let at = pending.take(pending.begin()); at >= 0; at = pending.take(at + 1)) {
      const idx = postorder[inst.poStart + at]!;
      if (!this.#updateInsn(inst, frame, m, idx)) continue;
      changed = true;
      this.#touchPredecessors(inst, frame, idx);
    }
    pending.end();
    return changed;
  }

  /** What all paths write from an insn on is computed from nothing again. */
  #forgetWrites(inst: FuncInstance): void {
    for (let frame = 0; frame <= inst.depth; frame++) {
      const m = inst.frames[frame];
      if (m === null || m === undefined) continue;
      for (let w = 0; w < m.length; w += WORDS) {
        if ((m[w + WRITE_ACC]! | m[w + WRITE_ACC + 1]!) === 0) continue;
        m[w + WRITE_ACC] = 0;
        m[w + WRITE_ACC + 1] = 0;
        const idx = inst.start + w / WORDS;
        this.#touch(inst, frame, idx);
        this.#touchPredecessors(inst, frame, idx);
      }
    }
  }

  #update(inst: FuncInstance): void {
    const env = this.#env;
    if (inst.mustWriteDropped) this.#forgetWrites(inst);
    let cnt = 0;
    let changed: boolean;
    do {
      cnt++;
      changed = false;
      for (let frame = 0; frame <= inst.depth; frame++) if (this.#pass(inst, frame)) changed = true;
    } while (changed);
    if (env.log.level2) env.log.write(`${inst.chain()} live stack update done in ${cnt} iterations\n`);
    if (inst.outer !== null) this.#propagate(inst, inst.outer);
  }

  #propagate(inst: FuncInstance, outer: FuncInstance): void {
    this.#begin(outer, inst.callsite);
    for (let frame = 0; frame < inst.depth; frame++) {
      const m = inst.frames[frame];
      if (m === null || m === undefined) continue;
      this.#accLo[frame]! |= m[WRITE_ACC]!;
      this.#accHi[frame]! |= m[WRITE_ACC + 1]!;
      this.#markRead(outer, frame, inst.callsite, m[LIVE]!, m[LIVE + 1]!);
    }
    this.#commit(outer);
  }

  /** A path ends or a function returns: spread what was noted, innermost frame first. */
  update(): void {
    this.#cur = null;
    const st = this.#env.state;
    for (let frame = st.curframe; frame >= 0; frame--) {
      const inst = this.#lookup(st, frame);
      if (!inst.updated) continue;
      this.#update(inst);
      inst.updated = false;
      inst.mustWriteDropped = false;
    }
  }

  /** Prepares `slotAlive` for the frames of `st` at its insn. */
  queryInit(st: VerifierState): void {
    for (let i = 0; i <= st.curframe; i++) this.#query[i] = this.#lookup(st, i);
    this.#queryFrame = st.curframe;
    this.#queryIdx = st.insnIdx;
  }

  /** May slot `spi` of frame `frameno` be read from here on? */
  slotAlive(frameno: number, spi: number): boolean {
    const cur = this.#query[this.#queryFrame]!;
    if (liveBefore(cur, this.#queryIdx, frameno, spi)) return true;
    for (let i = frameno; i < this.#queryFrame; i++) {
      const inst = this.#query[i]!;
      const callsite = this.#query[i + 1]!.callsite;
      const at = this.#env.aux[callsite]!.callsCallback ? callsite : callsite + 1;
      if (liveBefore(inst, at, frameno, spi)) return true;
    }
    return false;
  }
}

function liveBefore(inst: FuncInstance, idx: number, frame: number, spi: number): boolean {
  const m = inst.frames[frame];
  if (m === null || m === undefined) return false;
  const w = (idx - inst.start) * WORDS + LIVE;
  return spi < 32 ? ((m[w]! >>> spi) & 1) !== 0 : ((m[w + 1]! >>> (spi - 32)) & 1) !== 0;
}
