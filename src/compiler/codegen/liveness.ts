/** Which registers are live at the end of each block. */
import type { LBlock, LFunc, LInst } from "./lir.ts";
import { DEF_DST, EFFECTS, fetchesToSrc, FP, IS_ATOMIC, IS_CALL, IS_EXIT, USE_DST, USE_SRC } from "./lir.ts";
import { BPF_CMPXCHG } from "../../asm/opcode.ts";

export interface Liveness {
  /** 32-bit words of one set. */
  readonly words: number;
  /** Block at position `k` of `LFunc.blocks`: words [k·words, (k+1)·words) of its live-out set. */
  readonly out: Uint32Array;
}

export function computeLiveness(f: LFunc): Liveness {
  const n = f.blocks.length;
  const words = (f.regCount + 31) >>> 5;
  const gen = new Uint32Array(n * words);
  const kill = new Uint32Array(n * words);
  const live = new Uint32Array(n * words);
  const out = new Uint32Array(n * words);
  const at = positions(f);
  for (let k = 0; k < n; k++) {
    const b = f.blocks[k]!;
    const base = k * words;
    for (const i of b.insts) scan(i, gen, kill, base);
    if (b.term !== undefined) scan(b.term, gen, kill, base);
    for (let w = base; w < base + words; w++) live[w] = gen[w]!;
  }
  for (let changed = true; changed;) {
    changed = false;
    for (let k = n - 1; k >= 0; k--) {
      const base = k * words;
      for (const s of f.blocks[k]!.succs) {
        const from = at[s.id]! * words;
        for (let w = 0; w < words; w++) out[base + w]! |= live[from + w]!;
      }
      for (let w = base; w < base + words; w++) {
        const v = (gen[w]! | (out[w]! & ~kill[w]!)) >>> 0;
        if (v !== live[w]) {
          live[w] = v;
          changed = true;
        }
      }
    }
  }
  return { words, out };
}

/** Block id → position in `f.blocks`. */
export function positions(f: LFunc): Int32Array {
  let max = 0;
  for (const b of f.blocks) if (b.id > max) max = b.id;
  const at = new Int32Array(max + 1).fill(-1);
  f.blocks.forEach((b: LBlock, k) => (at[b.id] = k));
  return at;
}

function scan(i: LInst, gen: Uint32Array, kill: Uint32Array, base: number): void {
  const e = EFFECTS[i.opcode]!;
  const use = (r: number): void => {
    if (r !== FP && (kill[base + (r >>> 5)]! & (1 << (r & 31))) === 0) gen[base + (r >>> 5)]! |= 1 << (r & 31);
  };
  const def = (r: number): void => {
    kill[base + (r >>> 5)]! |= 1 << (r & 31);
  };
  if ((e & USE_DST) !== 0) use(i.dst);
  if ((e & USE_SRC) !== 0) use(i.src);
  if ((e & DEF_DST) !== 0) def(i.dst);
  if ((e & IS_CALL) !== 0) {
    for (let r = 1; r <= i.nargs; r++) use(r);
    for (let r = 0; r <= 5; r++) def(r);
  } else if ((e & IS_EXIT) !== 0) {
    if (i.nargs > 0) use(0);
  } else if ((e & IS_ATOMIC) !== 0) {
    if (i.imm === BPF_CMPXCHG) {
      use(0);
      def(0);
    } else if (fetchesToSrc(i.imm)) def(i.src);
  }
}
