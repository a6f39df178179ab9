/**
 * Rewriting after registers ran out: a spilled register lives in an 8-byte stack slot and is
 * loaded into short-lived ones. Loads are shared up to the next call of a block; a constant
 * is made again in place of being kept at all.
 */
import { BPF_CMPXCHG } from "../../asm/opcode.ts";
import { computeLiveness } from "./liveness.ts";
import type { LBlock, LFunc } from "./lir.ts";
import {
  ADD64_IMM,
  DEF_DST,
  EFFECTS,
  fetchesToSrc,
  FIRST_VREG,
  FP,
  IS_ATOMIC,
  IS_CALL,
  LD_IMM64,
  LDX_DW,
  LInst,
  MOV64,
  MOV64_IMM,
  STX_DW,
  USE_DST,
  USE_SRC,
} from "./lir.ts";

/** Puts `spilled` on the stack; returns the spill levels of all registers, old and new. */
export function spill(f: LFunc, spilled: readonly number[], levels: Uint8Array): Uint8Array {
  const chosen = new Uint8Array(f.regCount);
  for (const r of spilled) chosen[r] = 1;
  const constants = findConstants(f, chosen);
  const slotOf = new Map<number, number>();
  const newLevels: number[] = [];
  const firstNew = f.regCount;
  const temp = (level: number): number => {
    newLevels.push(level);
    return f.regCount++;
  };
  const slot = (r: number): number => {
    let s = slotOf.get(r);
    if (s === undefined) {
      s = f.slots.length;
      (f.slots as { size: number; align: number }[]).push({ size: 8, align: 8 });
      slotOf.set(r, s);
    }
    return s;
  };
  /** Spilled register → the register that holds its value at this point of the block. */
  const held = new Map<number, number>();
  /** Those whose slot does not have the value yet. */
  const dirty = new Set<number>();
  const { words, out: liveOut } = computeLiveness(f);

  for (let at = 0; at < f.blocks.length; at++) {
    const b = f.blocks[at]!;
    held.clear();
    dirty.clear();
    const out: LInst[] = [];
    const lastUse = lastUses(b, chosen);
    const isLive = (r: number, after: number): boolean =>
      (liveOut[at * words + (r >>> 5)]! & (1 << (r & 31))) !== 0 || (lastUse.get(r) ?? -1) >= after;
    /** Writes back what is needed from position `k` on; the registers do not survive a call. */
    const flush = (k: number, span: LInst): void => {
      for (const r of dirty) if (isLive(r, k)) store(r, held.get(r)!, span);
      dirty.clear();
    };
    const load = (r: number, at: LInst): number => {
      const known = held.get(r);
      if (known !== undefined) return known;
      const level = levels[r]! >= 1 ? 2 : 1;
      const t = temp(level);
      const constant = constants.get(r);
      if (constant !== undefined) {
        for (const c of constant) {
          const copy = new LInst(c.opcode, t, c.src, c.off, c.imm, at.span);
          copy.hi = c.hi;
          copy.ref = c.ref;
          copy.core = c.core;
          copy.slot = c.slot;
          out.push(copy);
        }
      } else {
        const l = new LInst(LDX_DW, t, FP, 0, 0, at.span);
        l.slot = slot(r);
        out.push(l);
      }
      if (level === 1) held.set(r, t);
      return t;
    };
    const store = (r: number, t: number, at: LInst): void => {
      const s = new LInst(STX_DW, FP, t, 0, 0, at.span);
      s.slot = slot(r);
      out.push(s);
    };
    const rewrite = (i: LInst, k: number): void => {
      const e = EFFECTS[i.opcode]!;
      if ((e & IS_CALL) !== 0) {
        flush(k, i);
        held.clear();
        out.push(i);
        return;
      }
      const defines = (e & DEF_DST) !== 0;
      const spillDst = (e & (DEF_DST | USE_DST)) !== 0 && i.dst !== FP && chosen[i.dst] === 1;
      const spillSrc = (e & USE_SRC) !== 0 && i.src !== FP && chosen[i.src] === 1;
      if (spillDst && defines && constants.has(i.dst)) return;
      if (spillSrc) {
        const r = i.src;
        const writesSrc = (e & IS_ATOMIC) !== 0 && i.imm !== BPF_CMPXCHG && fetchesToSrc(i.imm);
        i.src = load(r, i);
        if (writesSrc) {
          if (spillDst) i.dst = load(i.dst, i);
          out.push(i);
          store(r, i.src, i);
          return;
        }
      }
      if (!spillDst) {
        out.push(i);
      } else {
        const r = i.dst;
        if ((e & USE_DST) !== 0) i.dst = load(r, i);
        else {
          const level = levels[r]! >= 1 ? 2 : 1;
          i.dst = temp(level);
          if (level === 1) held.set(r, i.dst);
        }
        out.push(i);
        if (defines) {
          if (held.get(r) === i.dst) dirty.add(r);
          else store(r, i.dst, i);
        }
      }
    };
    b.insts.forEach(rewrite);
    const end = b.insts.length;
    if (b.term !== undefined) {
      flush(end + 1, b.term);
      rewrite(b.term, end);
      // `rewrite` appended the terminator itself, which stays in its own place.
      out.pop();
    } else if (dirty.size > 0) flush(end, b.insts[end - 1]!);
    b.insts = out;
  }
  const next = new Uint8Array(f.regCount);
  next.set(levels);
  next.set(newLevels, firstNew);
  return next;
}

/** Position of the last read of each chosen register in a block; the terminator's is the number of instructions. */
function lastUses(b: LBlock, chosen: Uint8Array): Map<number, number> {
  const last = new Map<number, number>();
  const scan = (i: LInst, k: number): void => {
    const e = EFFECTS[i.opcode]!;
    if ((e & USE_DST) !== 0 && chosen[i.dst] === 1) last.set(i.dst, k);
    if ((e & USE_SRC) !== 0 && chosen[i.src] === 1) last.set(i.src, k);
  };
  b.insts.forEach(scan);
  if (b.term !== undefined) scan(b.term, b.insts.length);
  return last;
}

/** Spilled registers whose only definition is a constant or an address that can be made again. */
function findConstants(f: LFunc, chosen: Uint8Array): Map<number, LInst[]> {
  const defs = new Map<number, LInst[]>();
  for (const b of f.blocks) {
    for (const i of b.insts) {
      const e = EFFECTS[i.opcode]!;
      if ((e & DEF_DST) !== 0 && i.dst >= FIRST_VREG && chosen[i.dst] === 1) {
        const list = defs.get(i.dst);
        if (list === undefined) defs.set(i.dst, [i]);
        else list.push(i);
      }
      if ((e & IS_ATOMIC) !== 0 && i.src >= FIRST_VREG && chosen[i.src] === 1 && fetchesToSrc(i.imm))
        defs.set(i.src, [i, i, i]);
    }
  }
  const result = new Map<number, LInst[]>();
  for (const [r, list] of defs) {
    const [a, b] = list as [LInst, LInst?];
    const constant =
      list.length === 1
        ? a.opcode === MOV64_IMM || a.opcode === LD_IMM64
        : list.length === 2 && a.opcode === MOV64 && a.src === FP && b!.opcode === ADD64_IMM && b!.slot >= 0;
    if (constant) result.set(r, list);
  }
  return result;
}
