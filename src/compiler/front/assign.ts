/** Declaring and assigning variables; `=`, `+=`, `++`; destructuring. */
import type { AssignmentExpression, Identifier, Pattern, UpdateExpression } from "acorn";
import { assignInto } from "./alias.ts";
import type { Ast, Expr } from "./ast.ts";
import { unwrap } from "./ast.ts";
import type { Fn } from "./context.ts";
import { constType, describe, meetFacts, nameOf } from "./context.ts";
import { memberOfPlace } from "./members.ts";
import { propertyName, storeValue } from "./memory.ts";
import { arithmetic, signOf } from "./ops.ts";
import { Sign } from "./sign.ts";
import { placeAlign, textPlace } from "./strings.ts";
import { literal } from "./texts.ts";
import type { ScalarType } from "./types.ts";
import { BOOL, isScalar, typeName } from "./types.ts";
import type { OptVal, PlaceVal, ScalarVal, Sym, Val, VariableSlot } from "./value.ts";
import { ERROR, UNDEFINED } from "./value.ts";

/** Introduces `name`. `lazy`: a look-up that the next statement checks may be left unread until then. */
export function declare(fn: Fn, node: Identifier, val: Val, mutable: boolean, lazy: boolean): void {
  const sym = mutable ? variable(fn, node.name, val, node) : constant(fn, node.name, val, node, lazy);
  if (!fn.scope.declare(sym)) fn.report("BPF1012", node, { name: node.name });
}

function constant(fn: Fn, name: string, val: Val, node: Ast, lazy: boolean): Sym {
  let v = val;
  if (v.k === "string") v = textPlace(fn, v, node) ?? ERROR;
  else if (v.k === "function" && v.name === "") v = { ...v, name };
  else if (v.k === "void") v = fn.report("BPF2006", node, { expected: "a value", found: "nothing" });
  if (v.k === "opt" && isScalar(v.inner.type) && v.inner.ref !== true && !lazy)
    return { name, mutable: false, val: v, slot: maybeSlot(fn, name, v, v.inner.type) };
  return { name, mutable: false, val: v };
}

/** Copies a scalar that may be undefined: what the map holds later is not what was read. */
function maybeSlot(fn: Fn, name: string, v: OptVal, type: ScalarType): VariableSlot {
  const { b } = fn;
  const slot = b.func.slot(8, 8, name);
  const present = b.func.slot(8, 8, `${name}?`);
  b.start(slot);
  b.start(present);
  const out: VariableSlot & { k: "maybe" } = { k: "maybe", slot, present, type: widen(type), what: v.what };
  storeMaybe(fn, out, v);
  return out;
}

function storeMaybe(fn: Fn, to: VariableSlot & { k: "maybe" }, v: OptVal): void {
  const { b } = fn;
  const there = b.block("defined");
  const missing = b.block("undefined");
  const end = b.block("end");
  fn.branchDefined(v, there, missing);
  b.at(there);
  const value = fn.settle(v.inner, NO_NODE);
  if (value.k === "scalar") b.store(b.slotAddr(to.slot), value.v, { size: 8 });
  b.store(b.slotAddr(to.present), 1, { size: 8 });
  b.jmp(end);
  b.at(missing);
  b.store(b.slotAddr(to.slot), 0, { size: 8 });
  b.store(b.slotAddr(to.present), 0, { size: 8 });
  b.jmp(end);
  b.at(end);
}
const NO_NODE: Ast = { type: "EmptyStatement", start: 0, end: 0 };

/** The address of what may be undefined, or null. */
function definedPointer(fn: Fn, v: OptVal): ScalarVal["v"] {
  const { b } = fn;
  if (v.test === undefined && v.inner.off === 0) return v.inner.base;
  const out = b.func.slot(8, 8, "pointer");
  b.start(out);
  b.store(b.slotAddr(out), b.nullPtr(), { size: 8 });
  const there = b.block("defined");
  const end = b.block("end");
  fn.branchDefined(v, there, end);
  b.at(there);
  b.store(b.slotAddr(out), v.inner.off === 0 ? v.inner.base : b.add(v.inner.base, v.inner.off), { size: 8 });
  b.jmp(end);
  b.at(end);
  return b.load(b.slotAddr(out), {
    size: 8,
    space: v.inner.space === "map" || v.inner.space === "global" ? "map-value" : v.inner.space,
  });
}

function widen(type: ScalarType): ScalarType {
  return type.k === "int" ? { k: "int", bits: 64, sign: type.sign } : type;
}

function variable(fn: Fn, name: string, val: Val, node: Ast): Sym {
  const { b } = fn;
  const refSlot = (ptr: ScalarVal["v"], inner: PlaceVal, nullable: boolean, what: string): Sym => {
    const slot = b.func.slot(8, 8, name);
    b.start(slot);
    b.store(b.slotAddr(slot), ptr, { size: 8 });
    return { name, mutable: true, val, slot: { k: "ref", slot, inner, nullable, what } };
  };
  const v = val.k === "string" ? (textPlace(fn, val, node) ?? ERROR) : fn.settle(val, node);
  switch (v.k) {
    case "int":
    case "scalar": {
      const type = v.k === "int" ? intVariable(v) : widen(v.type);
      const slot = b.func.slot(8, 8, name);
      b.start(slot);
      b.store(b.slotAddr(slot), v.k === "int" ? b.int(v.value) : v.v, { size: 8 });
      return { name, mutable: true, val: v, slot: { k: "scalar", slot, type } };
    }
    case "js":
      if (typeof v.value === "boolean") {
        const slot = b.func.slot(8, 8, name);
        b.start(slot);
        b.store(b.slotAddr(slot), v.value ? 1 : 0, { size: 8 });
        return { name, mutable: true, val: v, slot: { k: "scalar", slot, type: BOOL } };
      }
      if (typeof v.value === "string") {
        const text = literal(fn, v.value);
        const slot = b.func.slot(8, 8, name);
        b.start(slot);
        b.store(b.slotAddr(slot), text.v, { size: 8 });
        return { name, mutable: true, val: v, slot: { k: "scalar", slot, type: text.type } };
      }
      if (v.value === undefined) fn.report("BPF1018", node, { name });
      else
        fn.report("BPF2006", node, {
          expected: "a number, boolean or reference for a variable that changes (use `const`)",
          found: describe(v),
        });
      return { name, mutable: true, val: ERROR };
    case "opt":
      if (isScalar(v.inner.type) && v.inner.ref !== true)
        return { name, mutable: true, val: v, slot: maybeSlot(fn, name, v, v.inner.type) };
      return refSlot(definedPointer(fn, v), { ...v.inner, off: 0, align: placeAlign(fn, v.inner) }, true, v.what);
    case "place":
      if (v.indices === undefined)
        return refSlot(
          v.off === 0 ? v.base : b.add(v.base, v.off),
          { ...v, off: 0, align: placeAlign(fn, v) },
          false,
          name,
        );
      break;
    case "error":
      return { name, mutable: true, val: ERROR };
    default:
      break;
  }
  fn.report("BPF2006", node, {
    expected: "a number, boolean or reference for a variable that changes (use `const`)",
    found: describe(v),
  });
  return { name, mutable: true, val: ERROR };
}

function intVariable(v: Extract<Val, { k: "int" }>): ScalarType {
  const t = constType(v);
  if (v.type === undefined && v.value >= 0n && v.value < 1n << 63n) return { k: "int", bits: 64, sign: new Sign() };
  return widen(t);
}

/** `let x;`: a number variable whose sign the first use decides. */
export function declareEmpty(fn: Fn, node: Identifier): void {
  const zero: Val = { k: "int", value: 0n, js: 0, type: undefined };
  declare(fn, node, zero, true, false);
}

/** Introduces the names of a pattern, taking them from `val`. */
export function declarePattern(fn: Fn, pattern: Pattern, val: Val, mutable: boolean, lazy = false): void {
  destructure(fn, pattern, val, (target, v) => {
    if (target.type === "Identifier")
      declare(fn, target, mutable || v.k === "opt" ? v : fn.settle(v, target), mutable, lazy);
    else fn.report("BPF1001", target, { what: "this pattern", instead: "use plain names" });
  });
}

function destructure(fn: Fn, pattern: Pattern, val: Val, bind: (target: Pattern, v: Val) => void): void {
  if (pattern.type === "ObjectPattern") {
    for (const p of pattern.properties) {
      if (p.type === "RestElement") {
        fn.report("BPF1001", p, { what: "a rest element", instead: "name the fields" });
        continue;
      }
      const name = propertyName(p.key, p.computed);
      if (name === undefined) {
        fn.report("BPF1001", p, { what: "a computed name in a pattern", instead: "name the field" });
        continue;
      }
      destructure(fn, p.value, fieldOf(fn, val, name, p.key), bind);
    }
  } else if (pattern.type === "ArrayPattern") {
    pattern.elements.forEach((p, i) => {
      if (p === null) return;
      if (p.type === "RestElement") fn.report("BPF1001", p, { what: "a rest element", instead: "name the elements" });
      else destructure(fn, p, itemOf(fn, val, i, p), bind);
    });
  } else if (pattern.type === "AssignmentPattern") {
    const missing = val.k === "js" && val.value === undefined;
    destructure(fn, pattern.left, missing ? fn.value(pattern.right) : val, bind);
  } else {
    bind(pattern, val);
  }
}

function fieldOf(fn: Fn, val: Val, name: string, node: Ast): Val {
  if (val.k === "error") return ERROR;
  if (val.k === "record") return val.fields.get(name) ?? UNDEFINED;
  if (val.k === "opt") return fn.report("BPF2007", node, { what: val.what, name: "the value" });
  if (val.k === "builtin")
    return val.member?.(name, node) ?? fn.report("BPF3004", node, { value: val.what, field: name, hint: "" });
  if (val.k === "place" && val.ref !== true) return memberOfPlace(fn, val, name, node);
  const kernel = fn.module.kernelField(fn, val, name, node);
  if (kernel !== undefined) return kernel;
  if (val.k === "handle") {
    if (name in val.value)
      return fn.module.constant(fn, name, (val.value as Readonly<Record<string, unknown>>)[name], node);
  }
  return fn.report("BPF1020", node, { what: "structs, object literals and arrays" });
}

function itemOf(fn: Fn, val: Val, i: number, node: Ast): Val {
  if (val.k === "error") return ERROR;
  if (val.k === "record" && val.tuple) return val.fields.get(String(i)) ?? UNDEFINED;
  if (val.k === "place" && val.type.k === "array") {
    const { element, length } = val.type;
    if (i >= length) return fn.report("BPF2016", node, { index: i, length });
    return fn.settle(elementAt(val, i, element), node);
  }
  if (val.k === "handle" && Array.isArray(val.value)) return fn.module.constant(fn, `[${i}]`, val.value[i], node);
  return fn.report("BPF1020", node, { what: "arrays" });
}

function elementAt(place: PlaceVal, i: number, element: PlaceVal["type"]): PlaceVal {
  const size =
    element.k === "int" || element.k === "enum"
      ? element.bits / 8
      : element.k === "struct"
        ? element.schema.size
        : element.k === "ptr"
          ? 8
          : element.k === "char"
            ? element.length
            : 1;
  return { ...place, type: element, off: place.off + i * size };
}

/** `target = value`, `target += value`, … */
export function assign(fn: Fn, e: AssignmentExpression): Val {
  fn.mark(e);
  if (e.left.type === "ObjectPattern" || e.left.type === "ArrayPattern") {
    const val = fn.value(e.right);
    destructure(fn, e.left, val, (target, v) => assignTo(fn, target as Expr, v, target));
    return val;
  }
  const target = unwrap(e.left);
  if (e.operator === "=") {
    const place = targetOf(fn, target);
    if (place === undefined) return ERROR;
    if (place.k === "place") {
      assignInto(fn, place, e.right, { clean: place.space === "stack", partial: false });
      return place;
    }
    const v = fn.value(e.right);
    fn.mark(e);
    setVariable(fn, place.sym, v, e);
    return v;
  }
  if (e.operator === "??=" || e.operator === "&&=" || e.operator === "||=") {
    return assignWhen(fn, e.operator, target, e);
  }
  return modify(fn, target, e.operator.slice(0, -1), () => fn.value(e.right), e, false);
}

/** `x ??= y`, `x ||= y`, `x &&= y`: assigns only where the old value asks for it. */
function assignWhen(fn: Fn, operator: "??=" | "&&=" | "||=", target: Expr, e: AssignmentExpression): Val {
  const place = targetOf(fn, target);
  if (place === undefined) return ERROR;
  const old = place.k === "place" ? place : place.old;
  const { b } = fn;
  const assigned = b.block("assigned");
  const end = b.block("kept");
  if (operator === "??=") {
    // What is always defined keeps its value.
    if (old.k !== "opt") return fn.settle(old, target);
    fn.branchDefined(old, end, assigned);
  } else {
    const v = old.k === "opt" ? old : fn.scalar(old, target, "a number or boolean");
    if (v === undefined) return ERROR;
    if (v.k === "opt") return fn.report("BPF2007", target, { what: v.what, name: nameOf(target) });
    b.br("ne", v.v, 0, ...(operator === "||=" ? ([end, assigned] as const) : ([assigned, end] as const)));
  }
  const before = fn.facts;
  b.at(assigned);
  const v = fn.value(e.right);
  fn.mark(e);
  if (place.k === "place") storeValue(fn, place, v, e, false);
  else setVariable(fn, place.sym, v, e);
  b.jmp(end);
  b.at(end);
  fn.facts = meetFacts(before, fn.facts);
  const nullish = v.k === "opt" || (v.k === "js" && (v.value === undefined || v.value === null));
  if (operator === "??=" && place.k === "sym" && v.k !== "error" && !nullish) fn.assume([place.sym]);
  return place.k === "sym" ? fn.expr(target) : fn.settle(place, target);
}

/** `++` and `--`. */
export function update(fn: Fn, e: UpdateExpression): Val {
  fn.mark(e);
  const one: Val = { k: "int", value: 1n, js: undefined, type: undefined };
  return modify(fn, unwrap(e.argument), e.operator === "++" ? "+" : "-", () => one, e, !e.prefix);
}

function rightOf(node: Ast): Ast {
  return (node as Partial<AssignmentExpression>).right ?? node;
}

function modify(fn: Fn, target: Expr, op: string, right: () => Val, node: Ast, givesOld: boolean): Val {
  const place = targetOf(fn, target);
  if (place === undefined) return ERROR;
  const old = place.k === "place" ? fn.settle(place, target) : place.old;
  const r = right();
  fn.mark(node);
  const now = arithmetic(fn, op, old, r, node, target, rightOf(node));
  if (now.k === "error") return ERROR;
  if (place.k === "place") storeValue(fn, place, now, node, false);
  else setVariable(fn, place.sym, now, node);
  return givesOld ? old : now;
}

type Target = PlaceVal | { readonly k: "sym"; readonly sym: Sym; readonly old: Val };

function targetOf(fn: Fn, target: Expr): Target | undefined {
  if (target.type === "Identifier") {
    const sym = fn.find(target.name);
    if (sym === undefined) {
      const r = fn.source.resolve(target.name, target);
      if (r.k === "unknown") fn.report("BPF1002", target, { name: target.name });
      else fn.report("BPF1004", target, { name: target.name });
      return undefined;
    }
    if (!sym.mutable) {
      fn.report("BPF1003", target, { name: target.name });
      return undefined;
    }
    return { k: "sym", sym, old: fn.expr(target) };
  }
  if (target.type !== "MemberExpression") {
    fn.report("BPF1001", target, { what: "assigning to this", instead: "assign to a variable, a field or an element" });
    return undefined;
  }
  const v = fn.expr(target);
  if (v.k === "place") {
    if (v.readonly !== undefined) {
      fn.report("BPF2012", target, { what: v.readonly });
      return undefined;
    }
    return v;
  }
  if (v.k === "kplace") fn.report("BPF4004", target, { what: "the kernel" });
  else if (v.k === "opt") fn.report("BPF2007", target, { what: v.what, name: "the value" });
  else if (v.k !== "error") fn.report("BPF2012", target, { what: nameOf(target) });
  return undefined;
}

function assignTo(fn: Fn, target: Expr, v: Val, node: Ast): void {
  const place = targetOf(fn, target);
  if (place === undefined) return;
  if (place.k === "place") storeValue(fn, place, v, node, false);
  else setVariable(fn, place.sym, v, node);
}

function setVariable(fn: Fn, sym: Sym, value: Val, node: Ast): void {
  const { b } = fn;
  const { slot } = sym;
  if (slot === undefined || value.k === "error") return;
  forget(fn, sym);
  const v = fn.settle(value, node);
  if (slot.k === "scalar") {
    if (v.k === "opt") return void fn.report("BPF2007", node, { what: v.what, name: "the value" });
    const s =
      slot.type.k === "literal" ? fn.held(v, node, typeName(slot.type)) : fn.scalar(v, node, typeName(slot.type));
    if (s === undefined) return;
    const problem = (fix: string): void =>
      void fn.report("BPF2008", node, { name: sym.name, have: typeName(slot.type), got: describe(v), fix });
    if ((slot.type.k === "bool") !== (s.type.k === "bool")) return problem("use a second variable");
    if (slot.type.k === "ptr" && (s.type.k !== "ptr" || !samePointer(slot.type, s.type)))
      return problem("use a second variable");
    if (slot.type.k === "literal" && (s.type.k !== "literal" || !slot.type.texts.merge(s.type.texts)))
      return problem(
        s.type.k === "literal"
          ? `it was stored as text above, when it could only be ${typeName(slot.type)}: give it this text before`
          : "use a second variable",
      );
    const open = signOf(slot.type);
    // The variable's first signed or unsigned value decides; afterwards an assignment is a store of 64 bits.
    if (open.kind() === undefined) open.unify(signOf(s.type));
    b.store(b.slotAddr(slot.slot), s.v, { size: 8 });
    return;
  }
  if (slot.k === "maybe") {
    if (v.k === "opt" && isScalar(v.inner.type)) return storeMaybe(fn, slot, v);
    if (v.k === "js" && v.value === undefined) {
      b.store(b.slotAddr(slot.present), 0, { size: 8 });
      return;
    }
    const s = fn.scalar(v, node, typeName(slot.type));
    if (s === undefined) return;
    b.store(b.slotAddr(slot.slot), s.v, { size: 8 });
    b.store(b.slotAddr(slot.present), 1, { size: 8 });
    fn.assume([sym]);
    return;
  }
  const from = v.k === "opt" ? v.inner : v.k === "place" && v.indices === undefined ? v : undefined;
  if (
    from === undefined ||
    from.space !== slot.inner.space ||
    describe(from) !== describe({ ...slot.inner, k: "place" })
  ) {
    return void fn.report("BPF2008", node, {
      name: sym.name,
      have: describe(slot.inner),
      got: describe(v),
      fix: "use a second variable",
    });
  }
  if (v.k === "opt" && !slot.nullable) return void fn.report("BPF2007", node, { what: v.what, name: "the value" });
  b.store(
    b.slotAddr(slot.slot),
    v.k === "opt" ? definedPointer(fn, v) : from.off === 0 ? from.base : b.add(from.base, from.off),
    { size: 8 },
  );
  if (v.k === "place" && slot.nullable) fn.assume([sym]);
}

function samePointer(a: ScalarType & { k: "ptr" }, b: ScalarType & { k: "ptr" }): boolean {
  return (
    a.space === b.space &&
    (a.to?.k !== "kstruct" || (b.to?.k === "kstruct" && a.to.id === b.to.id && a.trust === b.trust))
  );
}

/** An assignment ends what was known of the variable. */
function forget(fn: Fn, sym: Sym): void {
  if (!fn.facts.has(sym)) return;
  const facts = new Map(fn.facts);
  facts.delete(sym);
  fn.facts = facts;
}
