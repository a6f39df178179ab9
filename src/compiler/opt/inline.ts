/** Inlining of subprograms into their callers. */
import type { Block, Func, Inst, Module } from "../ir/ir.ts";

/** Instructions up to which a subprogram is inlined at every call. */
const SMALL = 16;
/** A caller does not grow beyond this. */
const LARGE = 4000;

export function inlineCalls(m: Module): void {
  const byName = new Map(m.funcs.map((f) => [f.name, f]));
  const sizes = new Map(m.funcs.map((f) => [f, sizeOf(f)]));
  const calls = countCalls(m);
  // Callees first, so that what is inlined is already complete.
  for (const f of bottomUp(m, byName)) {
    for (let k = 0; k < f.blocks.length; k++) {
      const b = f.blocks[k]!;
      for (let j = 0; j < b.insts.length; j++) {
        const i = b.insts[j]!;
        const c = i.call?.callee;
        if (c === undefined || c.kind !== "subprog") continue;
        const g = byName.get(c.name);
        if (g === undefined || g === f || g.inline === "never" || g.kind !== "subprog") continue;
        const size = sizes.get(g)!;
        if (g.inline !== "always" && size > SMALL && (calls.get(g.name) ?? 0) !== 1) continue;
        if (sizes.get(f)! + size > LARGE) continue;
        inlineAt(f, b, j, g);
        sizes.set(f, sizes.get(f)! + size);
        break;
      }
    }
  }
}

function sizeOf(f: Func): number {
  let n = 0;
  for (const b of f.blocks) n += b.insts.length + 1;
  return n;
}
function countCalls(m: Module): Map<string, number> {
  const calls = new Map<string, number>();
  for (const f of m.funcs) {
    for (const b of f.blocks) {
      for (const i of b.insts) {
        const c = i.call?.callee;
        if (c !== undefined && c.kind === "subprog") calls.set(c.name, (calls.get(c.name) ?? 0) + 1);
      }
    }
  }
  return calls;
}
function bottomUp(m: Module, byName: ReadonlyMap<string, Func>): Func[] {
  const out: Func[] = [];
  const seen = new Set<Func>();
  const visit = (f: Func): void => {
    if (seen.has(f)) return;
    seen.add(f);
    for (const b of f.blocks) {
      for (const i of b.insts) {
        const c = i.call?.callee;
        const g = c !== undefined && c.kind === "subprog" ? byName.get(c.name) : undefined;
        if (g !== undefined) visit(g);
      }
    }
    out.push(f);
  };
  for (const f of m.funcs) visit(f);
  return out;
}

/** Replaces the call at `b.insts[at]` by a copy of `g`. */
function inlineAt(f: Func, b: Block, at: number, g: Func): void {
  const call = b.insts[at]!;
  const values = new Map<Inst, Inst>();
  const blocks = new Map<Block, Block>();
  const slots = new Map(g.slots.map((s) => [s, f.slot(s.size, s.align, uniqueName(f, `${g.name}.${s.name}`))]));
  g.params.forEach((p, k) => values.set(p, call.args[k]!));

  const join = f.block();
  join.insts = b.insts.slice(at + 1);
  join.term = b.term;
  join.cold = b.cold;
  b.insts = b.insts.slice(0, at);
  const used = call.type !== "void" && g.returns;
  const result = used ? f.blockParam(join, call.type, call.space) : undefined;

  const copyBlocks: Block[] = [];
  for (const x of g.blocks) {
    const c = f.block();
    c.cold = x.cold || b.cold;
    c.unroll = x.unroll;
    blocks.set(x, c);
    copyBlocks.push(c);
    for (const p of x.params) values.set(p, f.blockParam(c, p.type, p.space));
  }
  const cloneInst = (i: Inst): Inst => {
    const c = f.inst(i.op, i.type, [], i.span);
    copyPayload(i, c);
    if (i.slot !== undefined) c.slot = slots.get(i.slot)!;
    return c;
  };
  // All values exist before their operands are filled in: a loop reads later ones.
  const pending: [Inst, Inst][] = [];
  for (const x of g.blocks) {
    const c = blocks.get(x)!;
    for (const i of x.insts) {
      const copy = cloneInst(i);
      values.set(i, copy);
      pending.push([i, copy]);
      c.insts.push(copy);
    }
  }
  const value = (v: Inst): Inst => {
    let r = values.get(v);
    if (r === undefined) {
      // A leaf that is in no block.
      r = cloneInst(v);
      values.set(v, r);
    }
    return r;
  };
  for (const [from, to] of pending) to.args = from.args.map(value);
  for (const x of g.blocks) {
    const c = blocks.get(x)!;
    const t = x.term!;
    if (t.op === "ret") {
      const jump = f.inst("jmp", "void", [], t.span);
      jump.edges = [{ to: join, args: result === undefined ? [] : [value(t.args[0]!)] }];
      c.term = jump;
    } else {
      const copy = cloneInst(t);
      copy.args = t.args.map(value);
      copy.edges = t.edges.map((e) => ({ to: blocks.get(e.to)!, args: e.args.map(value) }));
      c.term = copy;
    }
  }
  const enter = f.inst("jmp", "void", [], call.span);
  enter.edges = [{ to: blocks.get(g.blocks[0]!)!, args: [] }];
  b.term = enter;
  // The call's uses now mean the parameter of the join.
  if (result !== undefined) {
    const fix = (args: Inst[]): void => {
      for (let k = 0; k < args.length; k++) if (args[k] === call) args[k] = result;
    };
    for (const x of f.blocks) {
      for (const i of x.insts) fix(i.args);
      fix(x.term!.args);
      for (const e of x.term!.edges) fix(e.args);
    }
  }
}

function uniqueName(f: Func, name: string): string {
  let n = name;
  for (let k = 2; f.slots.some((s) => s.name === n); k++) n = `${name}.${k}`;
  return n;
}

/** Everything but the operands and edges. */
export function copyPayload(from: Inst, to: Inst): void {
  to.space = from.space;
  to.width = from.width;
  to.size = from.size;
  to.bits = from.bits;
  to.signed = from.signed;
  to.volatile = from.volatile;
  to.invariant = from.invariant;
  to.fetch = from.fetch;
  to.weak = from.weak;
  to.typed = from.typed;
  to.off = from.off;
  to.index = from.index;
  to.bytes = from.bytes;
  to.align = from.align;
  to.value = from.value;
  to.cond = from.cond;
  to.aop = from.aop;
  to.sym = from.sym;
  to.slot = from.slot;
  to.core = from.core;
  to.call = from.call;
  to.cases = from.cases?.slice();
}
