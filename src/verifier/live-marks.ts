/**
 * Liveness by marks (before 6.18): every register and stack slot of a state notes whether it was read or
 * written, and which one of the parent state it came from. A read walks up that chain until a write screens it
 * (mark_reg_read). Static analyses replaced it: of registers in 6.15, of the stack in 6.18.
 */
import { MAX_BPF_REG } from "./constants.ts";
import { type Env, verifierBug } from "./env.ts";
import type { FuncState, VerifierState } from "./state.ts";

export const REG_LIVE_READ32 = 1;
export const REG_LIVE_READ64 = 2;
export const REG_LIVE_READ = 3;
export const REG_LIVE_WRITTEN = 4;
export const REG_LIVE_DONE = 8;

const BPF_REG_FP = MAX_BPF_REG - 1;
/** Where a stack slot is in a frame's marks; registers come before. */
const SLOT0 = 16;

/** Marks and parents of one frame, by place: registers r0-r9, then stack slots from SLOT0 on. */
export class FrameMarks {
  /** REG_LIVE_*; a slot beyond the end has none. */
  readonly live: number[];
  /** The frame of an earlier state that holds what this place came from, and where there; null: made on this way. */
  readonly parent: (FrameMarks | null)[];
  readonly parentPlace: number[];

  constructor(from?: FrameMarks) {
    this.live = from === undefined ? new Array<number>(SLOT0).fill(0) : from.live.slice();
    this.parent = from === undefined ? new Array<FrameMarks | null>(SLOT0).fill(null) : from.parent.slice();
    this.parentPlace = from === undefined ? new Array<number>(SLOT0).fill(0) : from.parentPlace.slice();
  }

  clone(): FrameMarks {
    return new FrameMarks(this);
  }

  /** Has places for `slots` stack slots. */
  grow(slots: number): void {
    for (let i = this.live.length; i < SLOT0 + slots; i++) {
      this.live.push(0);
      this.parent.push(null);
      this.parentPlace.push(0);
    }
  }
}

/** "_rwD" after a register's or slot's name in a printed state. */
export function marksText(live: number): string {
  if (live === 0) return "";
  return `_${live & REG_LIVE_READ ? "r" : ""}${live & REG_LIVE_WRITTEN ? "w" : ""}${live & REG_LIVE_DONE ? "D" : ""}`;
}

export const regMarksText = (f: FuncState, regno: number): string =>
  f.marks === null ? "" : marksText(f.marks.live[regno]!);
export const slotMarksText = (f: FuncState, spi: number): string =>
  f.marks === null ? "" : marksText(f.marks.live[SLOT0 + spi] ?? 0);

/** mark_reg_read from `place` of `start`. `own`: a write there screens the read; else `start` is the first to be marked. */
function walk(env: Env, start: FrameMarks, place: number, flag: number, own: boolean): void {
  const clear = flag === REG_LIVE_READ64 ? ~REG_LIVE_READ32 : -1;
  let m = start;
  let at = place;
  let cnt = 0;
  if (!own) {
    m.live[at] = (m.live[at]! | flag) & clear;
    cnt++;
  }
  for (;;) {
    const parent = m.parent[at]!;
    if (parent === null || (m.live[at]! & REG_LIVE_WRITTEN) !== 0) break;
    at = m.parentPlace[at]!;
    m = parent;
    const live = m.live[at]!;
    if ((live & REG_LIVE_DONE) !== 0) verifierBug(env, "read of what is no longer live");
    if ((live & REG_LIVE_READ) === flag || (live & REG_LIVE_READ64) !== 0) break;
    m.live[at] = (live | flag) & clear;
    cnt++;
  }
  if (env.longestMarkReadWalk < cnt) env.longestMarkReadWalk = cnt;
}

/** A register of the current state is read. */
export function markRegRead(env: Env, frameno: number, regno: number, is64: boolean): void {
  walk(env, env.state.frames[frameno]!.marks!, regno, is64 ? REG_LIVE_READ64 : REG_LIVE_READ32, true);
}

export function markRegWritten(f: FuncState, regno: number): void {
  f.marks!.live[regno]! |= REG_LIVE_WRITTEN;
}

/** A whole register is taken over, its way back included: arguments of a call, r0 of a return, a pointer added to. */
export function copyRegMarks(dst: FuncState, dstRegno: number, src: FuncState, srcRegno: number): void {
  if (dst.marks === null || src.marks === null) return;
  dst.marks.live[dstRegno] = src.marks.live[srcRegno]!;
  dst.marks.parent[dstRegno] = src.marks.parent[srcRegno]!;
  dst.marks.parentPlace[dstRegno] = src.marks.parentPlace[srcRegno]!;
}

/** What is_state_visited does after saving: `cur`'s parent is the saved copy, nothing is read or written yet. */
export function connectToParent(cur: VerifierState, saved: VerifierState): void {
  for (let j = 0; j <= cur.curframe; j++) {
    const f = cur.frames[j]!;
    const m = f.marks!;
    const from = saved.frames[j]!.marks!;
    m.grow(f.stack.length);
    from.grow(f.stack.length);
    m.live.fill(0);
    const connect = (place: number): void => {
      m.parent[place] = from;
      m.parentPlace[place] = place;
    };
    for (let i = j < cur.curframe ? 6 : 0; i < BPF_REG_FP; i++) connect(i);
    for (let i = 0; i < f.stack.length; i++) connect(SLOT0 + i);
  }
}

/** propagate_liveness: what `old`'s continuation reads, `cur` reads. */
export function propagateLiveness(env: Env, old: VerifierState, cur: VerifierState): void {
  for (let frame = 0; frame <= old.curframe; frame++) {
    const from = old.frames[frame]!;
    const to = cur.frames[frame]!;
    to.marks!.grow(to.stack.length);
    from.marks!.grow(from.stack.length);
    const pass = (place: number): void => {
      const has = to.marks!.live[place]! & REG_LIVE_READ;
      const flag = from.marks!.live[place]! & REG_LIVE_READ;
      if (has !== REG_LIVE_READ64 && flag !== 0 && has !== flag) walk(env, to.marks!, place, flag, false);
    };
    for (let i = frame < old.curframe ? 6 : 0; i < BPF_REG_FP; i++) pass(i);
    const n = Math.min(from.stack.length, to.stack.length);
    for (let i = 0; i < n; i++) pass(SLOT0 + i);
  }
}

/** Is register `regno` of an explored state read by what follows? */
export const regIsRead = (f: FuncState, regno: number): boolean => (f.marks!.live[regno]! & REG_LIVE_READ) !== 0;
export const slotIsRead = (f: FuncState, spi: number): boolean =>
  ((f.marks!.live[SLOT0 + spi] ?? 0) & REG_LIVE_READ) !== 0;
/** Nothing may mark the frame any more. */
export function markDone(f: FuncState): void {
  const { live } = f.marks!;
  f.marks!.grow(f.stack.length);
  for (let i = 0; i < BPF_REG_FP; i++) live[i]! |= REG_LIVE_DONE;
  for (let i = 0; i < f.stack.length; i++) live[SLOT0 + i]! |= REG_LIVE_DONE;
}

/** Where the checks report reads and writes of stack slots, and saved states ask what is alive. */
export interface StackLiveness {
  resetCallchain(): void;
  /** Slot `spi` of frame `frame` is read by the insn `idx`. */
  markRead(frame: number, idx: number, spi: number): void;
  beginInsn(idx: number): void;
  /** Slot `spi` of `frame` is surely overwritten, all eight bytes, by the insn begun last. */
  markWrite(frame: number, spi: number): void;
  commitInsn(): void;
  /** A path ends or a function returns. */
  update(): void;
  /** Prepares `slotAlive` for `st`. */
  queryInit(st: VerifierState): void;
  /** May slot `spi` of frame `frameno` be read from here on? */
  slotAlive(frameno: number, spi: number): boolean;
}

/** The stack's marks behind the same calls as the static analysis (live-stack.ts). */
export class MarkedStack implements StackLiveness {
  readonly #env: Env;
  #queried: VerifierState | null = null;

  constructor(env: Env) {
    this.#env = env;
  }

  markRead(frame: number, _idx: number, spi: number): void {
    const m = this.#env.state.frames[frame]!.marks!;
    m.grow(spi + 1);
    walk(this.#env, m, SLOT0 + spi, REG_LIVE_READ64, true);
  }

  markWrite(frame: number, spi: number): void {
    const m = this.#env.state.frames[frame]!.marks!;
    m.grow(spi + 1);
    m.live[SLOT0 + spi]! |= REG_LIVE_WRITTEN;
  }

  queryInit(st: VerifierState): void {
    this.#queried = st;
  }

  slotAlive(frameno: number, spi: number): boolean {
    return slotIsRead(this.#queried!.frames[frameno]!, spi);
  }

  resetCallchain(): void {}
  beginInsn(): void {}
  commitInsn(): void {}
  update(): void {}
}
