/**
 * Loop bodies and callbacks that the kernel calls: `bpf_loop`, `bpf_for_each_map_elem`. The body becomes a
 * function of its own; the variables it uses travel in a struct on the caller's stack.
 */
import type { Identifier } from "acorn";
import { FuncBuilder } from "../ir/builder.ts";
import type { Inst, Space, Type } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import { assignedNames, walk } from "./ast.ts";
import type { Fn } from "./context.ts";
import { Scope } from "./scope.ts";
import { SIGNED } from "./sign.ts";
import type { Sym, Val } from "./value.ts";
import { NOTHING } from "./value.ts";

export interface CallbackParam {
  readonly name: string;
  readonly type: Type;
  readonly space: Space;
}

export interface Outlined {
  /** Parameters before the context. */
  readonly params: readonly CallbackParam[];
  /** What the body consists of: its names decide what travels. */
  readonly nodes: readonly Ast[];
  readonly label: string | undefined;
  /** A loop: `break`, `continue` and `return` of the program may be in it. */
  readonly loop: boolean;
  /** Emits the body, given the parameters. */
  readonly body: (params: readonly Inst[]) => void;
  /** Emits the call, given the callback's address and the context. */
  readonly call: (func: Inst, context: Inst, bytes: number) => void;
}

/** One value in the context struct. */
interface Cell {
  readonly off: number;
  readonly v: () => Inst;
  readonly pointer: Space | undefined;
}

/** Compiles a body out of line. */
export function outline(fn: Fn, o: Outlined): void {
  const outer = fn.b;
  const cells: Cell[] = [];
  const put = (v: () => Inst, pointer: Space | undefined): Cell => {
    const cell = { off: cells.length * 8, v, pointer };
    cells.push(cell);
    return cell;
  };
  const changing = assignedIn(fn, o.nodes);
  const captured = [...usedSyms(fn, o.nodes)].map((sym) => capture(fn, sym, changing.has(sym), put));
  const ctxCell = put(() => fn.ctx, "ctx");
  const ended = o.loop ? put(() => outer.int(0), undefined) : undefined;
  const result = o.loop ? put(() => outer.int(0), undefined) : undefined;
  const bytes = cells.length * 8;
  const slot = outer.func.slot(bytes, 8, "context");
  outer.start(slot);
  for (const c of cells) outer.store(outer.slotAddr(slot), c.v(), { size: 8, off: c.off });

  // The callback
  const name = fn.module.unique(`${fn.program.name}__${o.loop ? "loop" : "callback"}`);
  const inner = new FuncBuilder(name, "callback");
  const params = o.params.map((p) => inner.param(p.type, p.space));
  const context = inner.param("ptr", "unknown");
  fn.module.paramNames.set(name, [...o.params.map((p) => p.name), "context"]);
  inner.span = outer.span;
  const outside = fn.enter(inner);
  const { saved } = outside;
  const load = (c: Cell): Inst =>
    inner.load(context, { size: 8, off: c.off, ...(c.pointer === undefined ? {} : { space: c.pointer }) });
  fn.ctx = load(ctxCell);
  for (const c of captured) fn.captured.set(c.sym, c.inside(load));
  const writeBack = (): void => {
    for (const c of captured) c.save((cell, v) => inner.store(context, v, { size: 8, off: cell.off }));
  };
  const stop = inner.block("stop");
  const next = inner.block("next");
  fn.jumps = o.loop
    ? [
        { label: undefined, breakTo: stop, continueTo: next },
        ...(o.label === undefined ? [] : [{ label: o.label, breakTo: stop, continueTo: next }]),
      ]
    : [];
  fn.returns = o.loop
    ? {
        kind: "callback",
        give: (f, v, node) => {
          const settled = v === undefined ? NOTHING : f.settle(v, node);
          const value =
            settled.k === "scalar" || settled.k === "int"
              ? f.scalar(settled, node)?.v
              : settled.k === "js" && typeof settled.value === "boolean"
                ? f.scalar(settled, node)?.v
                : undefined;
          if (saved.returns?.kind === "inline" && v !== undefined && value === undefined)
            f.report("BPF1001", node, {
              what: "returning this from inside this loop",
              instead: "assign it to a variable and return after the loop",
            });
          if (result !== undefined && value !== undefined) inner.store(context, value, { size: 8, off: result.off });
          if (ended !== undefined) inner.store(context, 1, { size: 8, off: ended.off });
          inner.jmp(stop);
        },
      }
    : {
        kind: "callback",
        give: (f, v, node) => {
          const settled = v === undefined ? NOTHING : f.settle(v, node);
          if (
            settled.k === "scalar" ||
            settled.k === "int" ||
            (settled.k === "js" && typeof settled.value === "boolean")
          ) {
            const s = f.scalar(settled, node);
            if (s !== undefined) inner.br("ne", s.v, 0, stop, next);
          } else inner.jmp(next);
        },
      };
  fn.scope = new Scope(saved.scope);
  o.body(params);
  if (!fn.ended) inner.jmp(next);
  for (const [block, value] of [
    [stop, 1],
    [next, 0],
  ] as const) {
    inner.at(block);
    writeBack();
    fn.cleanUp();
    inner.ret(value);
  }
  for (const c of captured) fn.captured.delete(c.sym);
  fn.leave(outside);

  // The call, and what it changed
  o.call(outer.funcAddr(name), outer.slotAddr(slot), bytes);
  for (const c of captured)
    c.restore((cell) =>
      outer.load(outer.slotAddr(slot), {
        size: 8,
        off: cell.off,
        ...(cell.pointer === undefined ? {} : { space: cell.pointer }),
      }),
    );
  const facts = new Map(fn.facts);
  for (const sym of changing) facts.delete(sym);
  fn.facts = facts;
  if (ended !== undefined && result !== undefined && hasReturn(o.nodes)) {
    const leave = outer.block("leave");
    const stay = outer.block("stay");
    outer.br("ne", outer.load(outer.slotAddr(slot), { size: 8, off: ended.off }), 0, leave, stay);
    outer.at(leave);
    const v = outer.load(outer.slotAddr(slot), { size: 8, off: result.off });
    fn.leaveLoops();
    fn.returns.give(fn, { k: "scalar", type: { k: "int", bits: 64, sign: SIGNED }, v }, o.nodes[0]!);
    outer.at(stay);
  }
}

function hasReturn(nodes: readonly Ast[]): boolean {
  let found = false;
  for (const n of nodes) {
    walk(n, (x) => {
      if (x.type === "ReturnStatement") found = true;
      return (
        !found &&
        x.type !== "ArrowFunctionExpression" &&
        x.type !== "FunctionExpression" &&
        x.type !== "FunctionDeclaration"
      );
    });
  }
  return found;
}

/** Variables of the program that these nodes name, those of local functions they call included. */
function usedSyms(fn: Fn, nodes: readonly Ast[], scope = fn.scope, seen = new Set<Sym>()): Set<Sym> {
  for (const node of nodes) {
    walk(node, (n) => {
      if (n.type !== "Identifier") return;
      const sym = fn.find((n as Identifier).name, scope);
      if (sym === undefined || seen.has(sym)) return;
      seen.add(sym);
      if (sym.val.k === "function" && sym.val.scope !== undefined) usedSyms(fn, [sym.val.node], sym.val.scope, seen);
    });
  }
  return seen;
}

function assignedIn(fn: Fn, nodes: readonly Ast[]): Set<Sym> {
  const out = new Set<Sym>();
  const names = assignedNames(nodes);
  for (const sym of usedSyms(fn, nodes)) {
    if (names.has(sym.name)) out.add(sym);
    if (sym.val.k !== "function") continue;
    for (const name of assignedNames([sym.val.node.body])) {
      const assigned = fn.find(name, sym.val.scope ?? fn.scope);
      if (assigned !== undefined) out.add(assigned);
    }
  }
  return out;
}

interface Captured {
  readonly sym: Sym;
  /** The symbol inside the callback. */
  readonly inside: (load: (c: Cell) => Inst) => Sym;
  /** Puts what the callback left back into the context. */
  readonly save: (store: (c: Cell, v: Inst) => void) => void;
  /** Takes it from there after the call. */
  readonly restore: (load: (c: Cell) => Inst) => void;
}

function capture(
  fn: Fn,
  sym: Sym,
  changes: boolean,
  put: (v: () => Inst, pointer: Space | undefined) => Cell,
): Captured {
  const outer = fn.b;
  const { slot } = sym;
  const nothing = (): void => {};
  if (slot === undefined) {
    const known = fn.facts.get(sym);
    const val =
      known === undefined || sym.val.k !== "opt" ? sym.val : known === true ? (sym.val.value ?? sym.val.inner) : known;
    const rebuild = move(val, put);
    return {
      sym,
      inside: (load) => ({ name: sym.name, mutable: false, val: rebuild(load) }),
      save: nothing,
      restore: nothing,
    };
  }
  const slots = slot.k === "maybe" ? [slot.slot, slot.present] : [slot.slot];
  const space =
    slot.k === "ref"
      ? spaceOf(slot.inner.space)
      : slot.k === "scalar" && slot.type.k === "ptr" && slot.type.space === "kernel"
        ? "btf"
        : undefined;
  const cells = slots.map((s) =>
    put(() => outer.load(outer.slotAddr(s), { size: 8, ...(space === undefined ? {} : { space }) }), space),
  );
  const fact = fn.facts.has(sym) && !changes;
  let local: typeof slots = [];
  return {
    sym,
    inside: (load) => {
      local = slots.map((s) => fn.b.func.slot(8, 8, s.name));
      local.forEach((s, i) => {
        fn.b.start(s);
        fn.b.store(fn.b.slotAddr(s), load(cells[i]!), { size: 8 });
      });
      const inner =
        slot.k === "maybe" ? { ...slot, slot: local[0]!, present: local[1]! } : { ...slot, slot: local[0]! };
      return {
        name: sym.name,
        mutable: sym.mutable,
        val: sym.val,
        slot: inner.k === "ref" && fact ? { ...inner, nullable: false } : inner,
      };
    },
    save: (store) => {
      if (changes)
        local.forEach((s, i) =>
          store(cells[i]!, fn.b.load(fn.b.slotAddr(s), { size: 8, ...(space === undefined ? {} : { space }) })),
        );
    },
    restore: (load) => {
      if (changes) slots.forEach((s, i) => outer.store(outer.slotAddr(s), load(cells[i]!), { size: 8 }));
    },
  };
}

function spaceOf(space: string): Space {
  return space === "map" || space === "global" ? "map-value" : (space as Space);
}

/** Puts the registers of a value into cells; the result makes the value again from them. */
function move(val: Val, put: (v: () => Inst, pointer: Space | undefined) => Cell): (load: (c: Cell) => Inst) => Val {
  switch (val.k) {
    case "scalar": {
      const c = put(() => val.v, val.type.k === "ptr" && val.type.space === "kernel" ? "btf" : undefined);
      return (load) => ({ ...val, v: load(c) });
    }
    case "place": {
      const c = put(() => val.base, spaceOf(val.space));
      const indices = val.indices?.map((i) => ({ i, c: put(() => i.index, undefined) }));
      return (load) => ({
        ...val,
        base: load(c),
        ...(indices === undefined ? {} : { indices: indices.map(({ i, c: at }) => ({ ...i, index: load(at) })) }),
      });
    }
    case "kplace": {
      const c = put(() => val.base, "btf");
      const { dynamic } = val;
      const d = dynamic === undefined ? undefined : put(() => dynamic, undefined);
      return (load) => ({ ...val, base: load(c), ...(d === undefined ? {} : { dynamic: load(d) }) });
    }
    case "opt": {
      const c = put(() => val.ptr, spaceOf(val.inner.space));
      return (load) => {
        const ptr = load(c);
        return { ...val, ptr, inner: { ...val.inner, base: ptr } };
      };
    }
    case "record": {
      const fields = [...val.fields].map(([name, v]) => [name, move(v, put)] as const);
      return (load) => ({ ...val, fields: new Map(fields.map(([name, f]) => [name, f(load)])) });
    }
    default:
      return () => val;
  }
}
