/** Lists known at compile time (captured arrays and sets, array literals): their items, and the methods that loop over them. */
import type { Block } from "../ir/ir.ts";
import type { Ast, Expr } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import { compare, constInt } from "./ops.ts";
import { within } from "./place.ts";
import { boolean, branchTextEqual, isText, textPlace } from "./strings.ts";
import { sizeOf } from "./types.ts";
import type { FunctionVal, Val } from "./value.ts";
import { ERROR, NOTHING } from "./value.ts";

/** Copies of a body that a list may become. */
const MAX_ITEMS = 256;

/** The items of a list whose length is known; undefined for anything else. */
export function itemsOf(fn: Fn, v: Val, node: Ast): readonly Val[] | undefined {
  if (v.k === "record" && v.tuple) return [...v.fields.values()];
  if (v.k === "place" && v.type.k === "array" && v.indices === undefined) {
    const { element, length } = v.type;
    if (length > MAX_ITEMS) return undefined;
    return Array.from({ length }, (_, i) => fn.settle(within(v, i * sizeOf(element), element), node));
  }
  if (v.k !== "handle") return undefined;
  const { value, name } = v;
  const list: readonly unknown[] | undefined = Array.isArray(value)
    ? value
    : value instanceof Set
      ? [...value]
      : undefined;
  return list?.map((item, i) => fn.module.constant(fn, `${name}[${i}]`, item, node));
}

/** The arguments of a call, or the items of an array literal, with `...list` written out; undefined when reported. */
export function spread(fn: Fn, nodes: readonly (Ast | null)[]): Val[] | undefined {
  const out: Val[] = [];
  for (const node of nodes) {
    const n = node as Expr | { type: "SpreadElement"; argument: Expr } | null;
    if (n?.type !== "SpreadElement") {
      if (n === null) return undefined;
      out.push(fn.value(n));
      continue;
    }
    const { argument } = n;
    const list = fn.expr(argument);
    if (list.k === "error") return undefined;
    const items = itemsOf(fn, list, argument);
    if (items === undefined) {
      fn.report("BPF2006", argument, {
        expected: `an array of at most ${MAX_ITEMS} elements`,
        found: describe(list),
      });
      return undefined;
    }
    out.push(...items);
  }
  return out;
}

export function tuple(items: readonly Val[]): Val {
  return { k: "record", tuple: true, fields: new Map(items.map((v, i) => [String(i), v])) };
}

const METHODS = ["includes", "indexOf", "some", "every", "forEach", "map", "has"] as const;
type Method = (typeof METHODS)[number];

/** A method of a list that a program may call; undefined for other names. */
export function listMember(fn: Fn, list: Val, name: string, node: Ast): Val | undefined {
  const set = list.k === "handle" && list.value instanceof Set;
  if (!METHODS.some((m) => m === name) || (name === "has") !== set) {
    if (name === "length" && list.k === "record" && list.tuple) return constInt(fn, list.fields.size, node);
    return set && name === "size" ? constInt(fn, (list.value as Set<unknown>).size, node) : undefined;
  }
  const method = name as Method;
  return {
    k: "builtin",
    what: `the method ${name}`,
    call: (args, at) => {
      const [arg] = args;
      if (arg === undefined || args.length > 1)
        return fn.report("BPF1010", at, { name, expected: "one argument", got: args.length });
      const items = itemsOf(fn, list, at);
      if (items === undefined || items.length > MAX_ITEMS)
        return fn.report("BPF5002", at, { count: items?.length ?? "too many" });
      const given = fn.value(arg);
      // What a helper writes is written once.
      const v = given.k === "string" ? (textPlace(fn, given, arg) ?? ERROR) : given;
      if (v.k === "error") return ERROR;
      if (method === "includes" || method === "has")
        return boolean(fn, (yes, no) => anyEqual(fn, items, v, at, () => yes, no));
      if (method === "indexOf") return indexOf(fn, items, v, at);
      if (v.k !== "function") return fn.report("BPF2006", arg, { expected: "a function", found: describe(v) });
      return each(fn, method, items, v, at);
    },
  };
}

/** Branches to `yes(i)` at the first item that equals `v`, else to `no`. */
function anyEqual(fn: Fn, items: readonly Val[], v: Val, node: Ast, yes: (index: number) => Block, no: Block): void {
  for (const [i, item] of items.entries()) {
    const next = fn.b.block("other");
    branchEqual(fn, v, item, node, yes(i), next);
    fn.b.at(next);
  }
  fn.b.jmp(no);
}

function branchEqual(fn: Fn, a: Val, b: Val, node: Ast, yes: Block, no: Block): void {
  if (isText(a) && isText(b)) {
    branchTextEqual(fn, a, b, node, yes, no);
    if (!fn.b.terminated) fn.b.jmp(no);
    return;
  }
  const c = compare(fn, "eq", a, b, node);
  if (c === undefined || typeof c === "boolean") fn.b.jmp(c === true ? yes : no);
  else fn.branch("eq", c.a, c.b, c.sign, yes, no);
}

function indexOf(fn: Fn, items: readonly Val[], v: Val, node: Ast): Val {
  const { b } = fn;
  const out = b.func.slot(8, 8, "index");
  b.start(out);
  b.store(b.slotAddr(out), -1, { size: 8 });
  const end = b.block("end");
  const found: [Block, number][] = [];
  anyEqual(
    fn,
    items,
    v,
    node,
    (i) => {
      const block = b.block("found");
      found.push([block, i]);
      return block;
    },
    end,
  );
  for (const [block, i] of found) {
    b.at(block);
    b.store(b.slotAddr(out), i, { size: 8 });
    b.jmp(end);
  }
  b.at(end);
  const index = constInt(fn, -1, node);
  const s = fn.scalar(index, node);
  return s === undefined ? ERROR : { ...s, v: b.load(b.slotAddr(out), { size: 8 }) };
}

/** Calls `f` with each item in turn. */
function each(fn: Fn, method: Method, items: readonly Val[], f: FunctionVal, node: Ast): Val {
  const call = (item: Val, i: number): Val => {
    const args: Val[] = [item, { k: "int", value: BigInt(i), js: i, type: undefined }];
    return fn.lowering.call(fn, f, args.slice(0, Math.max(f.node.params.length, 0)), node);
  };
  if (method === "forEach") {
    items.forEach(call);
    return NOTHING;
  }
  if (method === "map") return tuple(items.map((item, i) => fn.settle(call(item, i), node)));
  const some = method === "some";
  return boolean(fn, (yes, no) => {
    for (const [i, item] of items.entries()) {
      const next = fn.b.block("next");
      fn.lowering.branch(fn, call(item, i), node, some ? yes : next, some ? next : no);
      fn.b.at(next);
    }
    fn.b.jmp(some ? no : yes);
  });
}
