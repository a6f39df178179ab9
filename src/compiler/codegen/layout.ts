/** Order of blocks after register allocation: empty ones vanish, equal exits merge, most jumps fall through. */
import { BPF_ALU, BPF_CMPXCHG, BPF_LDX, BPF_MOV, BPF_ST, BPF_STX } from "../../asm/opcode.ts";
import type { LFunc, LInst, LRef } from "./lir.ts";
import { DEF_DST, EFFECTS, EXIT, FP, IS_ATOMIC, IS_CALL, IS_EXIT, LBlock, MOV64_IMM, USE_DST, USE_SRC } from "./lir.ts";

const MOV32_IMM = BPF_ALU | BPF_MOV;

/** Cleans up the blocks of `f` and puts them into the order in which they are emitted. */
export function layoutBlocks(f: LFunc): void {
  forwardEmpty(f);
  mergeEqual(f);
  mergeTails(f);
  forwardEmpty(f);
  shareExit(f);
  mergeChains(f);
  f.blocks = order(f);
}

/** Edges to a block that does nothing go to where it leads. */
function forwardEmpty(f: LFunc): void {
  const target = (b: LBlock): LBlock => {
    for (let hops = 0; hops < 1000 && b.insts.length === 0 && b.term === undefined && b.succs[0] !== b; hops++)
      b = b.succs[0]!;
    return b;
  };
  for (const b of f.blocks) {
    for (let k = 0; k < b.succs.length; k++) b.succs[k] = target(b.succs[k]!);
    if (b.term !== undefined && b.succs.length === 2 && b.succs[0] === b.succs[1]) {
      b.term = undefined;
      b.succs.pop();
    }
  }
  if (f.blocks[0]!.insts.length === 0 && f.blocks[0]!.term === undefined) {
    const first = target(f.blocks[0]!);
    f.blocks = [first, ...f.blocks.filter((b) => b !== first)];
  }
  dropUnreachable(f);
}

function dropUnreachable(f: LFunc): void {
  const seen = new Set<LBlock>([f.blocks[0]!]);
  for (const b of seen) for (const s of b.succs) seen.add(s);
  if (seen.size !== f.blocks.length) f.blocks = f.blocks.filter((b) => seen.has(b));
}

function sameInst(a: LInst, b: LInst): boolean {
  return (
    a.opcode === b.opcode &&
    a.dst === b.dst &&
    a.src === b.src &&
    a.off === b.off &&
    a.imm === b.imm &&
    a.hi === b.hi &&
    a.slot === b.slot &&
    a.nargs === b.nargs &&
    sameRef(a.ref, b.ref) &&
    a.core === b.core &&
    samePointer(a, b)
  );
}
/** Whether two equal memory accesses go through pointers of the same kind. */
function samePointer(a: LInst, b: LInst): boolean {
  const cls = a.opcode & 7;
  if (cls !== BPF_LDX && cls !== BPF_ST && cls !== BPF_STX) return true;
  const base = cls === BPF_LDX ? a.src : a.dst;
  return base === FP || (a.space === b.space && a.space !== "unknown");
}
function sameRef(a: LRef | undefined, b: LRef | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined || a.kind !== b.kind) return false;
  switch (a.kind) {
    case "map":
      return a.map === (b as typeof a).map;
    case "map-value":
      return a.map === (b as typeof a).map && a.offset === (b as typeof a).offset;
    default:
      return a.name === (b as typeof a).name;
  }
}

/** Instructions at the end of two blocks that are worth one jump. */
const MIN_TAIL = 3;

/** Blocks that go on to the same place and end in the same instructions share these. */
function mergeTails(f: LFunc): void {
  let max = 0;
  for (const b of f.blocks) if (b.id > max) max = b.id;
  const groups = new Map<string, LBlock[]>();
  for (const b of f.blocks) {
    const n = b.insts.length;
    if (n < 2 || (b.term !== undefined && b.term.opcode !== EXIT)) continue;
    const last = b.insts[n - 1]!;
    const key = `${b.term === undefined ? b.succs[0]!.id : `x${b.term.nargs}`} ${last.opcode} ${last.dst} ${last.imm} ${last.off}`;
    const list = groups.get(key);
    if (list === undefined) groups.set(key, [b]);
    else if (list.length < 24) list.push(b);
  }
  for (const list of groups.values()) {
    for (let k = 1; k < list.length; k++) {
      const b = list[k]!;
      let best: LBlock | undefined;
      let length = 0;
      for (let j = 0; j < k; j++) {
        // A block that already gave its tail away goes on to that tail, no longer to where the group goes.
        if (!sameWayOut(list[j]!, b)) continue;
        const n = commonTail(list[j]!, b);
        if (n > length) {
          best = list[j]!;
          length = n;
        }
      }
      const whole = best !== undefined && (length === best.insts.length || length === b.insts.length);
      if (best === undefined || length < (whole ? 2 : MIN_TAIL)) continue;
      // The tail becomes a block of its own, unless it is all that one of the two does.
      let tail = length === best.insts.length ? best : length === b.insts.length ? b : undefined;
      if (tail === undefined) {
        tail = new LBlock(++max);
        tail.depth = Math.min(best.depth, b.depth);
        tail.cold = best.cold && b.cold;
        tail.insts = best.insts.slice(best.insts.length - length);
        tail.term = best.term;
        tail.succs = best.succs;
        f.blocks.splice(f.blocks.indexOf(best) + 1, 0, tail);
        list.push(tail);
      }
      for (const x of [best, b]) {
        if (x === tail) continue;
        x.insts = x.insts.slice(0, x.insts.length - length);
        x.term = undefined;
        x.succs = [tail];
      }
    }
  }
}
function sameWayOut(a: LBlock, b: LBlock): boolean {
  if (a.term === undefined || b.term === undefined) return a.term === b.term && a.succs[0] === b.succs[0];
  return sameInst(a.term, b.term);
}
function commonTail(a: LBlock, b: LBlock): number {
  let n = 0;
  while (
    n < a.insts.length &&
    n < b.insts.length &&
    sameInst(a.insts[a.insts.length - 1 - n]!, b.insts[b.insts.length - 1 - n]!)
  )
    n++;
  return n;
}

/** Blocks with the same instructions and the same way out become one; short ones only, where it is common. */
function mergeEqual(f: LFunc): void {
  for (let changed = true; changed;) {
    changed = false;
    const byKey = new Map<string, LBlock[]>();
    const into = new Map<LBlock, LBlock>();
    for (const b of f.blocks) {
      if (b.insts.length > 6) continue;
      const key = `${b.insts.length} ${b.term?.opcode ?? -1} ${b.insts[0]?.opcode ?? 0} ${b.insts[0]?.imm ?? 0} ${b.succs.map((s) => s.id).join(" ")}`;
      const same = byKey.get(key);
      if (same === undefined) {
        byKey.set(key, [b]);
        continue;
      }
      const twin = same.find(
        (o) =>
          o.insts.every((i, k) => sameInst(i, b.insts[k]!)) &&
          (o.term === undefined ? b.term === undefined : b.term !== undefined && sameInst(o.term, b.term)),
      );
      if (twin === undefined) same.push(b);
      else if (b !== f.blocks[0]) into.set(b, twin);
    }
    if (into.size === 0) break;
    for (const b of f.blocks) {
      for (let k = 0; k < b.succs.length; k++) {
        const t = into.get(b.succs[k]!);
        if (t !== undefined) {
          b.succs[k] = t;
          changed = true;
        }
      }
      if (b.term !== undefined && b.succs.length === 2 && b.succs[0] === b.succs[1]) {
        b.term = undefined;
        b.succs.pop();
      }
    }
    dropUnreachable(f);
  }
}

/**
 * One `exit` for all. A block that only sets r0 and leaves, and that one conditional jump leads to, sets r0 before that
 * jump, which then goes to the `exit` itself.
 */
function shareExit(f: LFunc): void {
  const leaving = f.blocks.filter((b) => b.term?.opcode === EXIT);
  if (leaving.length < 2) return;
  const nargs = leaving[0]!.term!.nargs;
  if (leaving.some((b) => b.term!.nargs !== nargs)) return;
  let max = 0;
  for (const b of f.blocks) if (b.id > max) max = b.id;
  const exit = new LBlock(max + 1);
  exit.term = leaving[0]!.term;
  for (const b of leaving) {
    b.term = undefined;
    b.succs = [exit];
  }
  f.blocks.push(exit);
  const preds = new Map<LBlock, LBlock[]>();
  for (const b of f.blocks) {
    for (const s of b.succs) {
      const list = preds.get(s);
      if (list === undefined) preds.set(s, [b]);
      else list.push(b);
    }
  }
  const live = r0LiveAtStart(f);
  // One block reaches the exit by falling into it; only further ones gain by going there from the jump.
  let others = leaving.length;
  for (const b of leaving) {
    const from = preds.get(b);
    if (others < 2 || b.insts.length !== 1 || from?.length !== 1) continue;
    const [set] = b.insts as [LInst];
    const p = from[0]!;
    if (
      set.dst !== 0 ||
      (set.opcode !== MOV64_IMM && set.opcode !== MOV32_IMM) ||
      p.term === undefined ||
      readsR0(p.term)
    )
      continue;
    const other = p.succs[0] === b ? p.succs[1]! : p.succs[0]!;
    if (other === b || live.has(other)) continue;
    p.insts.push(set);
    p.succs = p.succs.map((s) => (s === b ? exit : s));
    b.insts = [];
    others--;
  }
  dropUnreachable(f);
}
function readsR0(i: LInst): boolean {
  const e = EFFECTS[i.opcode]!;
  return (
    ((e & USE_DST) !== 0 && i.dst === 0) ||
    ((e & USE_SRC) !== 0 && i.src === 0) ||
    ((e & IS_ATOMIC) !== 0 && i.imm === BPF_CMPXCHG) ||
    ((e & IS_EXIT) !== 0 && i.nargs > 0)
  );
}
/** Blocks at whose start r0 is still read later. */
function r0LiveAtStart(f: LFunc): Set<LBlock> {
  const live = new Set<LBlock>();
  for (let changed = true; changed;) {
    changed = false;
    for (let k = f.blocks.length - 1; k >= 0; k--) {
      const b = f.blocks[k]!;
      if (live.has(b)) continue;
      let state: boolean | undefined;
      for (const i of b.insts) {
        const e = EFFECTS[i.opcode]!;
        if (readsR0(i)) state = true;
        else if ((e & IS_CALL) !== 0 || ((e & DEF_DST) !== 0 && i.dst === 0)) state = false;
        if (state !== undefined) break;
      }
      state ??= (b.term !== undefined && readsR0(b.term)) || b.succs.some((s) => live.has(s));
      if (state) {
        live.add(b);
        changed = true;
      }
    }
  }
  return live;
}

/** A block whose only way in is another's only way out is appended to it. */
function mergeChains(f: LFunc): void {
  const preds = countPreds(f);
  const gone = new Set<LBlock>();
  for (const b of f.blocks) {
    if (gone.has(b)) continue;
    while (b.term === undefined && b.succs.length === 1) {
      const s = b.succs[0]!;
      if (preds.get(s) !== 1 || s === b || s === f.blocks[0]) break;
      b.insts = b.insts.concat(s.insts);
      b.term = s.term;
      b.succs = s.succs;
      b.cold ||= s.cold;
      gone.add(s);
    }
  }
  if (gone.size > 0) f.blocks = f.blocks.filter((b) => !gone.has(b));
}

function countPreds(f: LFunc): Map<LBlock, number> {
  const preds = new Map<LBlock, number>();
  for (const b of f.blocks) for (const s of b.succs) preds.set(s, (preds.get(s) ?? 0) + 1);
  return preds;
}

function order(f: LFunc): LBlock[] {
  const at = new Map<LBlock, number>();
  f.blocks.forEach((b, k) => at.set(b, k));
  const preds = countPreds(f);
  const waiting = new Map(preds);
  const placed = new Set<LBlock>();
  const out: LBlock[] = [];
  const rest = [...f.blocks].sort((a, b) => Number(a.cold) - Number(b.cold) || at.get(a)! - at.get(b)!);
  let next = 0;
  let b: LBlock | undefined = f.blocks[0];
  while (b !== undefined) {
    placed.add(b);
    out.push(b);
    for (const s of b.succs) waiting.set(s, waiting.get(s)! - 1);
    let best: LBlock | undefined;
    let bestScore = -Infinity;
    for (const s of b.succs) {
      if (placed.has(s)) continue;
      // Deep code first (a loop stays together); a block that others still fall into can wait.
      const score =
        (s.cold ? -1000 : 0) +
        s.depth * 10 +
        (waiting.get(s) === 0 ? 5 : 0) +
        (s.term?.opcode === EXIT && s.insts.length <= 2 ? -1 : 0) -
        at.get(s)! / f.blocks.length;
      if (score > bestScore) {
        best = s;
        bestScore = score;
      }
    }
    while (best === undefined && next < rest.length) {
      const r = rest[next++]!;
      if (!placed.has(r)) best = r;
    }
    b = best;
  }
  return out;
}
