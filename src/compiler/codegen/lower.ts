/**
 * Making IR legal for a target: constant-size copies become loads and stores, switches
 * become comparisons, signed division without the instruction becomes unsigned, and equal returns are shared.
 */
import type { Block, Func, Inst, Size } from "../ir/ir.ts";
import { negateCond } from "../ir/ir.ts";
import { splitMisaligned } from "./align.ts";
import type { Target } from "./target.ts";
import { widenArithmetic } from "./widen.ts";

/** Rewrites `f` in place. */
export function lower(f: Func, target: Target): void {
  if (target.isa < 3) widenArithmetic(f);
  for (const b of [...f.blocks]) {
    lowerInsts(f, b, target);
    if (b.term!.op === "switch") lowerSwitch(f, b);
    fuseBranch(b);
  }
  splitMisaligned(f, target);
  shareReturns(f);
}

function constant(f: Func, v: bigint): Inst {
  const i = f.inst("const", "int");
  i.value = BigInt.asIntN(64, v);
  return i;
}

/** A branch on the outcome of a comparison becomes that comparison. */
export function fuseBranch(b: Block): void {
  const t = b.term!;
  while (
    t.op === "br" &&
    (t.cond === "ne" || t.cond === "eq") &&
    t.args[0]!.op === "cmp" &&
    t.args[1]!.op === "const" &&
    t.args[1]!.value === 0n
  ) {
    const c = t.args[0]!;
    t.cond = t.cond === "ne" ? c.cond : negateCond(c.cond);
    t.width = c.width;
    t.args = [c.args[0]!, c.args[1]!];
  }
}

function lowerInsts(f: Func, b: Block, target: Target): void {
  let out: Inst[] | undefined;
  for (let k = 0; k < b.insts.length; k++) {
    const i = b.insts[k]!;
    const wide = i.op === "memcpy" || i.op === "memset";
    if (wide || ((i.op === "sdiv" || i.op === "smod") && target.isa < 4)) {
      out ??= b.insts.slice(0, k);
      if (wide) expandMem(f, i, out, target);
      else expandSignedDivision(f, i, out);
    } else out?.push(i);
  }
  if (out !== undefined) b.insts = out;
}

/** Appends the loads and stores of a `memcpy` or `memset` to `out`, the widest that the alignment allows. */
export function expandMem(f: Func, i: Inst, out: Inst[], target: Target): void {
  const byte = i.value & 0xffn;
  const align = i.op === "memset" ? knownAlign(i, [i.args[0]!], target) : knownAlign(i, i.args, target);
  for (let off = 0; off < i.bytes;) {
    let size: Size = align >= 8 ? 8 : align >= 4 ? 4 : align >= 2 ? 2 : 1;
    while (size > i.bytes - off) size = (size / 2) as Size;
    const s = f.inst("store", "void", [], i.span);
    s.size = size;
    s.off = off;
    if (i.op === "memset") {
      s.args = [i.args[0]!, constant(f, byte * 0x0101_0101_0101_0101n)];
    } else {
      const l = f.inst("load", "int", [i.args[1]!], i.span);
      l.size = size;
      l.off = off;
      out.push(l);
      s.args = [i.args[0]!, l];
    }
    out.push(s);
    off += size;
  }
}

/** What all of the addresses are aligned to. The stack is ours: an object there gets the alignment that makes its copies short. */
function knownAlign(i: Inst, addresses: readonly Inst[], target: Target): number {
  let align = 8;
  for (const p of addresses) {
    const base = p.op === "add" && p.args[1]!.op === "const" ? p.args[0]! : p;
    if (base.op !== "slot") {
      const any = target.unaligned !== false && (p.space === "map-value" || p.space === "mem" || p.space === "packet");
      if (!any) align = Math.min(align, i.align);
      continue;
    }
    const off = base === p ? 0 : Number(p.args[1]!.value);
    const slot = base.slot!;
    const wanted = slot.size >= 8 ? 8 : slot.size >= 4 ? 4 : slot.size >= 2 ? 2 : 1;
    if (slot.align < wanted) (slot as { align: number }).align = wanted;
    let a: number = slot.align;
    while (off % a !== 0) a /= 2;
    align = Math.min(align, a);
  }
  return align;
}

function expandSignedDivision(f: Func, i: Inst, out: Inst[]): void {
  const { width } = i;
  const bin = (op: "ashr" | "xor" | "sub" | "udiv" | "umod", a: Inst, b: Inst): Inst => {
    const r = f.inst(op, "int", [a, b], i.span);
    r.width = width;
    out.push(r);
    return r;
  };
  // |x| = (x ^ s) - s with s = x < 0 ? -1 : 0; the quotient's sign is that of both, the remainder's the dividend's.
  const signOf = (v: Inst): Inst => bin("ashr", v, constant(f, BigInt(width - 1)));
  const flip = (v: Inst, s: Inst): Inst => bin("sub", bin("xor", v, s), s);
  const [a, b] = i.args as [Inst, Inst];
  const sa = signOf(a);
  let magnitude: Inst;
  let sb: Inst | undefined;
  if (b.op === "const") {
    const v = BigInt.asIntN(width, b.value);
    magnitude = constant(f, v < 0n ? BigInt.asUintN(width, -v) : v);
    if (v < 0n) sb = constant(f, -1n);
  } else {
    sb = signOf(b);
    magnitude = flip(b, sb);
  }
  const raw = bin(i.op === "sdiv" ? "udiv" : "umod", flip(a, sa), magnitude);
  const sign = i.op === "smod" || sb === undefined ? sa : bin("xor", sa, sb);
  // The last operation takes the place of `i`, so that its uses stay as they are.
  const x = bin("xor", raw, sign);
  i.op = "sub";
  i.args = [x, sign];
  out.push(i);
}

/** A chain of comparisons, or from 6 cases on a binary search for the value. */
function lowerSwitch(f: Func, b: Block): void {
  const t = b.term!;
  const v = t.args[0]!;
  const otherwise = t.edges[t.edges.length - 1]!;
  const seen = new Set<bigint>();
  const cases: { value: bigint; edge: (typeof t.edges)[number] }[] = [];
  t.cases!.forEach((value, k) => {
    const key = t.width === 32 ? BigInt.asIntN(32, value) : value;
    if (seen.has(key)) return;
    seen.add(key);
    cases.push({ value: key, edge: t.edges[k]! });
  });
  cases.sort((x, y) => (x.value < y.value ? -1 : 1));
  const branch = (at: Block, cond: "eq" | "slt", value: bigint): Inst => {
    const br = f.inst("br", "void", [v, constant(f, value)], t.span);
    br.cond = cond;
    br.width = t.width;
    at.term = br;
    return br;
  };
  const build = (at: Block, lo: number, hi: number): void => {
    if (lo === hi) {
      at.term = f.inst("jmp", "void", [], t.span);
      at.term.edges = [{ to: otherwise.to, args: [...otherwise.args] }];
    } else if (hi - lo < 6) {
      const br = branch(at, "eq", cases[lo]!.value);
      const last = hi - lo === 1;
      const rest = last ? undefined : f.block();
      const next = rest === undefined ? { to: otherwise.to, args: [...otherwise.args] } : { to: rest, args: [] };
      br.edges = [cases[lo]!.edge, next];
      if (rest !== undefined) build(rest, lo + 1, hi);
    } else {
      const mid = (lo + hi) >>> 1;
      const br = branch(at, "slt", cases[mid]!.value);
      const left = f.block();
      const right = f.block();
      br.edges = [
        { to: left, args: [] },
        { to: right, args: [] },
      ];
      build(left, lo, mid);
      build(right, mid, hi);
    }
  };
  build(b, 0, cases.length);
}

/** One block for each constant that is returned, one for all other values. */
function shareReturns(f: Func): void {
  const first = new Map<string, Block>();
  for (const b of [...f.blocks]) {
    const t = b.term!;
    if (t.op !== "ret") continue;
    const v = t.args[0];
    const key = v === undefined ? "" : v.op === "const" ? String(v.value) : undefined;
    if (key === undefined) continue;
    const known = first.get(key);
    if (known === undefined) {
      first.set(key, b);
      continue;
    }
    if (known.insts.length > 0 || known.params.length > 0) {
      // The return moves into a block of its own.
      const shared = f.block();
      shared.term = known.term;
      known.term = jump(f, shared, known.term!);
      first.set(key, shared);
      b.term = jump(f, shared, t);
    } else b.term = jump(f, known, t);
  }
}

function jump(f: Func, to: Block, like: Inst): Inst {
  const j = f.inst("jmp", "void", [], like.span);
  j.edges = [{ to, args: [] }];
  return j;
}
