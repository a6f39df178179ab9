/**
 * Where stack objects lie: two whose lifetimes do not overlap share bytes. An object is alive
 * from a first mention to a last one that paths connect; a `START` says that what was before is dead.
 */
import { ArgumentError } from "../../core/errors.ts";
import { BPF_DW, BPF_MEM, BPF_STX } from "../../asm/opcode.ts";
import { positions } from "./liveness.ts";
import { ADD64_IMM, EFFECTS, IS_CALL, type LBlock, type LFunc, START } from "./lir.ts";

export interface StackLayout {
  /** Offset from the frame pointer (negative) by slot index; 0 for one that is never used. */
  readonly offsets: Int32Array;
  /** Bytes below the frame pointer, a multiple of 8. */
  readonly size: number;
}

const STORE = BPF_STX | BPF_MEM | BPF_DW;

/** @param pinned Slots whose address is kept in a register or in memory: alive everywhere. */
export function layoutSlots(f: LFunc, pinned: ReadonlySet<number>): StackLayout {
  const n = f.slots.length;
  const offsets = new Int32Array(n);
  if (n === 0) return { offsets, size: 0 };
  const mentioned = new Uint8Array(n);
  for (const b of f.blocks) for (const i of b.insts) if (i.slot >= 0 && i.opcode !== START) mentioned[i.slot] = 1;
  const conflicts = interference(f, pinned, mentioned);
  // Large and strictly aligned ones first: the holes they leave are small.
  const order: number[] = [];
  for (let s = 0; s < n; s++) if (mentioned[s] === 1 && f.slots[s]!.size > 0) order.push(s);
  order.sort((a, b) => f.slots[b]!.align - f.slots[a]!.align || f.slots[b]!.size - f.slots[a]!.size || a - b);
  let size = 0;
  const placed: number[] = [];
  for (const s of order) {
    const { size: bytes, align } = f.slots[s]!;
    if (align !== 1 && align !== 2 && align !== 4 && align !== 8)
      throw new ArgumentError("align", `expected 1, 2, 4 or 8, got ${align}`);
    // `low` is the distance of the first byte from the frame pointer; taken ranges are (end, start] distances.
    let low = Math.ceil(bytes / align) * align;
    for (let moved = true; moved;) {
      moved = false;
      for (const o of placed) {
        if (conflicts !== undefined && !conflicts[s * n + o]) continue;
        const oLow = -offsets[o]!;
        const oHigh = oLow - f.slots[o]!.size;
        if (low > oHigh && low - bytes < oLow) {
          low = Math.ceil((oLow + bytes) / align) * align;
          moved = true;
        }
      }
    }
    offsets[s] = -low;
    placed.push(s);
    if (low > size) size = low;
  }
  return { offsets, size: Math.ceil(size / 8) * 8 };
}

/** A place where an object is touched, or (`start`) where what it held before is dead. */
interface Mention {
  readonly slot: number;
  readonly start: boolean;
  /** Nothing that was in the object before is wanted any more. */
  readonly kills: boolean;
}

/** The mentions of a block in order. A call touches what its arguments point to: spills may lie before it. */
function mentionsOf(f: LFunc, b: LBlock): Mention[] {
  const out: Mention[] = [];
  let addresses: Mention[] = [];
  for (const i of b.insts) {
    if (i.slot >= 0) {
      const start = i.opcode === START;
      const kills = start || (i.opcode === STORE && i.off === 0 && f.slots[i.slot]!.size === 8);
      const mention = { slot: i.slot, start, kills };
      out.push(mention);
      if (i.opcode === ADD64_IMM) addresses.push(mention);
    }
    if (addresses.length > 0 && (EFFECTS[i.opcode]! & IS_CALL) !== 0) {
      out.push(...addresses);
      addresses = [];
    }
  }
  return out;
}

/** From the objects alive behind `m` to those alive before it. */
function liveBefore(live: Uint32Array, m: Mention): void {
  const bit = 1 << (m.slot & 31);
  if (m.kills) live[m.slot >>> 5]! &= ~bit;
  else live[m.slot >>> 5]! |= bit;
}

/** n × n: whether two slots are alive at once; undefined when all are. */
function interference(f: LFunc, pinned: ReadonlySet<number>, mentioned: Uint8Array): Uint8Array | undefined {
  const n = f.slots.length;
  if (n === 1) return undefined;
  const blocks = f.blocks.length;
  const at = positions(f);
  const words = (n + 31) >>> 5;
  // Backward: a mention follows before a start. Forward: a mention came before.
  const later = new Uint32Array(blocks * words);
  const laterOut = new Uint32Array(blocks * words);
  const before = new Uint32Array(blocks * words);
  const beforeOut = new Uint32Array(blocks * words);
  const mentions = f.blocks.map((b) => mentionsOf(f, b));
  for (let changed = true; changed;) {
    changed = false;
    for (let k = blocks - 1; k >= 0; k--) {
      const b = f.blocks[k]!;
      const base = k * words;
      const live = new Uint32Array(words);
      for (const s of b.succs) for (let w = 0; w < words; w++) live[w]! |= later[at[s.id]! * words + w]!;
      for (let w = 0; w < words; w++) laterOut[base + w] = live[w]!;
      for (let j = mentions[k]!.length - 1; j >= 0; j--) liveBefore(live, mentions[k]![j]!);
      for (let w = 0; w < words; w++) {
        if (later[base + w] !== live[w]) {
          later[base + w] = live[w]!;
          changed = true;
        }
      }
    }
  }
  for (let changed = true; changed;) {
    changed = false;
    for (let k = 0; k < blocks; k++) {
      const b = f.blocks[k]!;
      const base = k * words;
      const seen = before.slice(base, base + words);
      for (const m of mentions[k]!) if (!m.start) seen[m.slot >>> 5]! |= 1 << (m.slot & 31);
      for (let w = 0; w < words; w++) beforeOut[base + w] = seen[w]!;
      for (const s of b.succs) {
        for (let w = 0; w < words; w++) {
          const x = at[s.id]! * words + w;
          const v = (before[x]! | seen[w]!) >>> 0;
          if (v !== before[x]) {
            before[x] = v;
            changed = true;
          }
        }
      }
    }
  }
  const conflicts = new Uint8Array(n * n);
  const pair = (s: number, live: Uint32Array, seen: Uint32Array): void => {
    for (let w = 0; w < words; w++) {
      for (let v = (live[w]! & seen[w]!) >>> 0; v !== 0; v &= v - 1) {
        const o = w * 32 + (31 - Math.clz32(v & -v));
        conflicts[s * n + o] = 1;
        conflicts[o * n + s] = 1;
      }
    }
  };
  for (let k = 0; k < blocks; k++) {
    const base = k * words;
    // Forward sets per mention, then backward with the live ones.
    const seenAt: Uint32Array[] = [];
    const seen = before.slice(base, base + words);
    for (const m of mentions[k]!) {
      seenAt.push(seen.slice());
      if (!m.start) seen[m.slot >>> 5]! |= 1 << (m.slot & 31);
    }
    const live = laterOut.slice(base, base + words);
    for (let j = mentions[k]!.length - 1; j >= 0; j--) {
      const m = mentions[k]![j]!;
      // At a mention the slot is in use, whatever is alive across it conflicts.
      if (!m.start) pair(m.slot, live, seenAt[j]!);
      liveBefore(live, m);
      if (!m.start) pair(m.slot, live, seenAt[j]!);
    }
  }
  for (const p of pinned) {
    for (let s = 0; s < n; s++) if (mentioned[s] === 1) conflicts[p * n + s] = conflicts[s * n + p] = 1;
  }
  return conflicts;
}
