/** Control flow of one function of a program: blocks in reverse postorder, dominators, loops. */
import { FORM, FORM_OF } from "../../asm/index.ts";
import type { Image } from "../image.ts";

export interface CfgBlock {
  /** Slots [start, end). */
  readonly start: number;
  readonly end: number;
  /** Blocks that may follow, by reverse postorder: where a branch goes when taken, then when not. */
  readonly next: readonly number[];
  /** Blocks that this one immediately dominates. */
  readonly children: number[];
  /** Two or more forward edges come in. */
  merge: boolean;
  /** A back edge comes in: how many slots the loop spans, else 0. */
  loop: number;
  /** Registers that the block writes, one bit for each; calls write r0-r5. */
  readonly writes: number;
  /** Registers that the loop of which this is the head writes. */
  loopWrites: number;
  /** Registers that this block and those it dominates write. */
  subWrites: number;
}

export interface Cfg {
  /** In reverse postorder; the first is the entry. */
  readonly blocks: readonly CfgBlock[];
  /** Every loop has one way in. */
  readonly reducible: boolean;
}

const endsBlock = (form: number): boolean => (form >= FORM.JA && form <= FORM.BRANCH_X) || form === FORM.EXIT;

function successors(image: Image, slot: number): number[] {
  switch (FORM_OF[image.columns.opcode[slot]!]!) {
    case FORM.JA:
    case FORM.GOTOL:
      return [image.target[slot]!];
    case FORM.MAY_GOTO:
    case FORM.BRANCH_K:
    case FORM.BRANCH_X:
      return [image.target[slot]!, slot + 1];
    case FORM.EXIT:
      return [];
    case FORM.LD_IMM64:
      return [slot + 2];
    default:
      return [slot + 1];
  }
}

export function buildCfg(image: Image, entry: number): Cfg {
  const n = image.columns.length;
  // Which slots start a block: the entry and every target of a jump that can be reached.
  const leader = new Uint8Array(n);
  const seen = new Uint8Array(n);
  leader[entry] = 1;
  const work = [entry];
  while (work.length > 0) {
    let slot = work.pop()!;
    while (slot < n && seen[slot] === 0) {
      seen[slot] = 1;
      const next = successors(image, slot);
      if (endsBlock(FORM_OF[image.columns.opcode[slot]!]!)) {
        for (const to of next) {
          if (to < n) leader[to] = 1;
          work.push(to);
        }
        break;
      }
      slot = next[0]!;
    }
  }
  return order(image, entry, leader);
}

function order(image: Image, entry: number, leader: Uint8Array): Cfg {
  const n = image.columns.length;
  const endOf = new Map<number, number>();
  const nextOf = (start: number): number[] => {
    let slot = start;
    for (;;) {
      const next = successors(image, slot);
      const form = FORM_OF[image.columns.opcode[slot]!]!;
      const after = form === FORM.LD_IMM64 ? slot + 2 : slot + 1;
      if (endsBlock(form) || after >= n || leader[after] === 1) {
        endOf.set(start, after);
        return next.filter((to) => to < n);
      }
      slot = after;
    }
  };
  // Depth first without recursion; a block is numbered when all it leads to is.
  const succ = new Map<number, number[]>([[entry, nextOf(entry)]]);
  const post: number[] = [];
  const stack = [{ start: entry, i: 0 }];
  while (stack.length > 0) {
    const top = stack.at(-1)!;
    const next = succ.get(top.start)!;
    if (top.i === next.length) {
      post.push(top.start);
      stack.pop();
      continue;
    }
    const to = next[top.i++]!;
    if (succ.has(to)) continue;
    succ.set(to, nextOf(to));
    stack.push({ start: to, i: 0 });
  }
  const starts = post.reverse();
  const index = new Map(starts.map((start, i) => [start, i]));
  const blocks: CfgBlock[] = starts.map((start) => ({
    start,
    end: endOf.get(start)!,
    next: succ.get(start)!.map((to) => index.get(to)!),
    children: [],
    merge: false,
    loop: 0,
    writes: writesOf(image, start, endOf.get(start)!),
    loopWrites: 0,
    subWrites: 0,
  }));
  return { blocks, reducible: analyse(blocks) };
}

function writesOf(image: Image, start: number, end: number): number {
  let mask = 0;
  for (let slot = start; slot < end; slot++) {
    const form = FORM_OF[image.columns.opcode[slot]!]!;
    mask |= form === FORM.CALL || form === FORM.LD_ABS || form === FORM.LD_IND ? 0b11_1111 : image.writes[slot]!;
    if (form === FORM.LD_IMM64) slot++;
  }
  return mask;
}

/** Dominators (Cooper, Harvey and Kennedy), then loops and merges. True when the graph is reducible. */
function analyse(blocks: readonly CfgBlock[]): boolean {
  const preds: number[][] = blocks.map(() => []);
  blocks.forEach((block, i) => {
    for (const to of new Set(block.next)) preds[to]!.push(i);
  });
  const idom = new Int32Array(blocks.length).fill(-1);
  idom[0] = 0;
  const meet = (a: number, b: number): number => {
    let [x, y] = [a, b];
    while (x !== y) {
      while (x > y) x = idom[x]!;
      while (y > x) y = idom[y]!;
    }
    return x;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (let i = 1; i < blocks.length; i++) {
      let dom = -1;
      for (const p of preds[i]!) if (idom[p] !== -1) dom = dom === -1 ? p : meet(dom, p);
      if (idom[i] !== dom) {
        idom[i] = dom;
        changed = true;
      }
    }
  }
  const dominates = (a: number, b: number): boolean => {
    let x = b;
    while (x > a) x = idom[x]!;
    return x === a;
  };
  let reducible = true;
  blocks.forEach((block, i) => {
    if (i > 0) blocks[idom[i]!]!.children.push(i);
    const forward = preds[i]!.filter((p) => p < i);
    // Both ways of one branch to the same place are two edges.
    const edges = forward.reduce((sum, p) => sum + blocks[p]!.next.filter((to) => to === i).length, 0);
    block.merge = edges > 1;
    for (const p of preds[i]!) {
      if (p < i) continue;
      if (!dominates(i, p)) reducible = false;
      block.loop = Math.max(block.loop, blocks[p]!.end - block.start, 1);
    }
  });
  for (let i = blocks.length - 1; i >= 0; i--) {
    const block = blocks[i]!;
    block.subWrites = block.children.reduce((mask, c) => mask | blocks[c]!.subWrites, block.writes);
    if (reducible && block.loop > 0) block.loopWrites = loopWrites(blocks, preds, i);
  }
  return reducible;
}

/** What the blocks of the loop with this head write: those that reach a back edge without passing the head. */
function loopWrites(blocks: readonly CfgBlock[], preds: readonly number[][], head: number): number {
  const seen = new Set([head]);
  const work = preds[head]!.filter((p) => p >= head);
  let mask = blocks[head]!.writes;
  for (let p = work.pop(); p !== undefined; p = work.pop()) {
    if (seen.has(p)) continue;
    seen.add(p);
    mask |= blocks[p]!.writes;
    work.push(...preds[p]!);
  }
  return mask;
}
