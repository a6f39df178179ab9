/** Conditions: branches, and what each way knows. */
import type { Block } from "../ir/ir.ts";
import type { Ast, Expr } from "./ast.ts";
import { unwrap } from "./ast.ts";
import type { Branch, Fn } from "./context.ts";
import { describe, meetFacts } from "./context.ts";
import { coverBranch } from "./cover.ts";
import { compare, nullish, relationOf } from "./ops.ts";
import { branchSame, comparesMemory } from "./same.ts";
import { branchTextEqual, isText } from "./strings.ts";
import { isScalar } from "./types.ts";
import type { OptVal, Sym, Val } from "./value.ts";

const NONE: Branch = { whenTrue: [], whenFalse: [] };

export function cond(fn: Fn, node: Ast, yes: Block, no: Block): Branch {
  const e = unwrap(node);
  switch (e.type) {
    case "LogicalExpression":
      if (e.operator === "&&" || e.operator === "||") return both(fn, e, yes, no);
      break;
    case "UnaryExpression":
      if (e.operator === "!") {
        const known = cond(fn, e.argument, no, yes);
        return { whenTrue: known.whenFalse, whenFalse: known.whenTrue };
      }
      break;
    case "BinaryExpression":
      if (relationOf(e.operator) !== undefined && e.left.type !== "PrivateIdentifier")
        return comparison(fn, e, yes, no);
      break;
    default:
      break;
  }
  fn.mark(e);
  return truth(fn, fn.expr(e), e, yes, no);
}

/** `a && b` and `a || b`. */
function both(fn: Fn, e: Extract<Expr, { type: "LogicalExpression" }>, yes: Block, no: Block): Branch {
  const and = e.operator === "&&";
  const next = fn.b.block(and ? "and" : "or");
  const before = fn.facts;
  const ways = coverBranch(fn, "logical", e, [{ node: e.left, implied: true }, { node: e.right }]);
  const first = and ? cond(fn, e.left, next, no) : cond(fn, e.left, yes, next);
  const afterFirst = fn.facts;
  fn.b.at(next);
  ways.take(1);
  fn.assume(and ? first.whenTrue : first.whenFalse);
  const second = cond(fn, e.right, yes, no);
  // Assignments on either side may have ended what was known before.
  fn.facts = meetFacts(before === afterFirst ? before : afterFirst, restrict(fn, before));
  return and
    ? { whenTrue: [...first.whenTrue, ...second.whenTrue], whenFalse: [] }
    : { whenTrue: [], whenFalse: [...first.whenFalse, ...second.whenFalse] };
}

function restrict(fn: Fn, facts: Fn["facts"]): Fn["facts"] {
  const kept = new Map<Sym, Fn["facts"] extends ReadonlyMap<Sym, infer V> ? V : never>();
  for (const [sym, fact] of facts) if (fn.facts.has(sym)) kept.set(sym, fact);
  return kept;
}

/** The symbol that an expression names, when a check of it can be remembered. */
function symbolOf(fn: Fn, node: Ast): Sym | undefined {
  const e = node as Expr;
  return e.type === "Identifier" ? fn.find(e.name) : undefined;
}

function comparison(fn: Fn, e: Extract<Expr, { type: "BinaryExpression" }>, yes: Block, no: Block): Branch {
  const relation = relationOf(e.operator);
  if (relation === undefined || e.left.type === "PrivateIdentifier") return NONE;
  const left = unwrap(e.left);
  const right = unwrap(e.right);
  const a = fn.value(left);
  const b = fn.value(right);
  fn.mark(e);
  const equality = relation === "eq" || relation === "ne";
  const [same, different] = relation === "ne" ? [no, yes] : [yes, no];
  if (equality && (a.k === "opt" || b.k === "opt")) {
    const [opt, optNode, other, otherNode] = a.k === "opt" ? [a, left, b, right] : [b as OptVal, right, a, left];
    const sym = symbolOf(fn, optNode);
    if (nullish(other)) {
      fn.branchDefined(opt, different, same);
      const known = sym === undefined ? [] : [sym];
      return relation === "eq" ? { whenTrue: [], whenFalse: known } : { whenTrue: known, whenFalse: [] };
    }
    // `v === 5` is false when v is undefined.
    const there = fn.b.block("defined");
    fn.branchDefined(opt, there, different);
    fn.b.at(there);
    equal(fn, fn.settle(opt.inner, optNode), fn.settle(other, otherNode), e, same, different);
    const known = sym === undefined ? [] : [sym];
    return relation === "eq" ? { whenTrue: known, whenFalse: [] } : { whenTrue: [], whenFalse: known };
  }
  if (equality && isText(a) && isText(b)) {
    equal(fn, a, b, e, same, different);
    return NONE;
  }
  if (equality && comparesMemory(a, b)) {
    equal(fn, a, b, e, same, different);
    return NONE;
  }
  const c = compare(fn, relation, a, b, e);
  if (c === undefined) fn.b.jmp(no);
  else if (typeof c === "boolean") fn.b.jmp(c ? yes : no);
  else fn.branch(c.relation, c.a, c.b, c.sign, yes, no);
  const sym = nullable(a) && nullish(b) ? symbolOf(fn, left) : undefined;
  if (sym === undefined || !equality) return NONE;
  return relation === "eq" ? { whenTrue: [], whenFalse: [sym] } : { whenTrue: [sym], whenFalse: [] };
}

function nullable(v: Val): boolean {
  return v.k === "scalar" && v.type.k === "ptr" && v.type.nullable !== undefined;
}

function equal(fn: Fn, a: Val, b: Val, node: Ast, yes: Block, no: Block): void {
  if (isText(a) && isText(b)) {
    if (nullish(a) || nullish(b)) return fn.b.jmp(no);
    branchTextEqual(fn, a, b, node, yes, no);
    if (!fn.b.terminated) fn.b.jmp(no);
    return;
  }
  if (a.k === "place" && b.k === "place" && comparesMemory(a, b)) return branchSame(fn, a, b, yes, no);
  const c = compare(fn, "eq", a, b, node);
  if (c === undefined) fn.b.jmp(no);
  else if (typeof c === "boolean") fn.b.jmp(c ? yes : no);
  else fn.branch("eq", c.a, c.b, c.sign, yes, no);
}

/** JavaScript's truth of a value. */
export function truth(fn: Fn, val: Val, e: Ast, yes: Block, no: Block): Branch {
  const { b } = fn;
  const sym = symbolOf(fn, e);
  if (val.k === "opt") {
    const known = sym === undefined ? [] : [sym];
    if (!isScalar(val.inner.type) || val.inner.ref === true) {
      fn.branchDefined(val, yes, no);
      return { whenTrue: known, whenFalse: [] };
    }
    // A number that is there may still be 0.
    const there = b.block("defined");
    fn.branchDefined(val, there, no);
    b.at(there);
    const v = fn.settle(val.inner, e);
    if (v.k === "scalar") b.br("ne", v.v, 0, yes, no);
    else b.jmp(yes);
    return { whenTrue: known, whenFalse: [] };
  }
  const v = fn.settle(val, e);
  switch (v.k) {
    case "scalar":
      b.br("ne", v.v, 0, yes, no);
      return sym !== undefined && nullable(v) ? { whenTrue: [sym], whenFalse: [] } : NONE;
    case "int":
      b.jmp(v.value === 0n ? no : yes);
      return NONE;
    case "js":
      b.jmp(v.value ? yes : no);
      return NONE;
    case "place":
    case "kplace":
    case "handle":
    case "function":
    case "record":
      if (isText(v)) break;
      b.jmp(yes);
      return NONE;
    case "error":
      b.jmp(no);
      return NONE;
    default:
      break;
  }
  fn.report("BPF2006", e, { expected: "a condition", found: describe(v) });
  b.jmp(no);
  return NONE;
}
