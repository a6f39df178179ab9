/** Expressions: from the syntax tree to values. */
import type {
  AssignmentExpression, CallExpression, Identifier, Literal, MemberExpression, ObjectExpression, SequenceExpression, TemplateLiteral, UnaryExpression, UpdateExpression,
} from "acorn";
import type { Schema } from "../../probe/schema-types.ts";
import { isSchema } from "../../probe/schema.ts";
import type { Block, Slot } from "../ir/ir.ts";
import type { Ast, Expr, FunctionNode } from "./ast.ts";
import { unwrap } from "./ast.ts";
import { assign, update } from "./assign.ts";
import type { Fn } from "./context.ts";
import { describe, describeHandle, meetFacts, nameOf } from "./context.ts";
import { globalName } from "./globals.ts";
import { kernelMember, lacksKernelField } from "./kernel-access.ts";
import { mapMember } from "./maps.ts";
import { propertyName, storeInto, storeValue } from "./memory.ts";
import { isGlobal, isMap, isProgram } from "./module.ts";
import { arithmetic, cast, compareValue, constInt, relationOf, unary } from "./ops.ts";
import { elementOf, memberOfPlace } from "./members.ts";
import { hint } from "./report.ts";
import { boolean, isText, textMember } from "./strings.ts";
import { commonType, fromSchema, isScalar, sizeOf } from "./types.ts";
import type { Facts, PlaceVal, ScalarVal, Sym, Val } from "./value.ts";
import { ERROR, NOTHING, UNDEFINED } from "./value.ts";

export function expr(fn: Fn, node: Ast): Val {
  const e = unwrap(node);
  switch (e.type) {
    case "Literal":
      return literal(fn, e);
    case "Identifier":
      return identifier(fn, e);
    case "MemberExpression":
      return member(fn, e);
    case "ChainExpression":
      return chain(fn, e.expression);
    case "CallExpression":
      fn.mark(e);
      return call(fn, e);
    case "BinaryExpression":
      return binary(fn, e);
    case "LogicalExpression":
      return logical(fn, e);
    case "UnaryExpression":
      return unaryExpr(fn, e);
    case "UpdateExpression":
      return update(fn, e as UpdateExpression);
    case "AssignmentExpression":
      return assign(fn, e as AssignmentExpression);
    case "ConditionalExpression":
      return conditional(fn, e);
    case "TemplateLiteral":
      return template(fn, e);
    case "SequenceExpression":
      return sequence(fn, e);
    case "ArrowFunctionExpression":
    case "FunctionExpression":
      return { k: "function", name: (e as { id?: Identifier | null }).id?.name ?? "", node: e as FunctionNode, source: fn.source, scope: fn.scope };
    case "ObjectExpression":
      return objectLiteral(fn, e);
    case "ArrayExpression": {
      const fields = new Map<string, Val>();
      for (const [i, item] of e.elements.entries()) {
        if (item === null || item.type === "SpreadElement") return unsupported(fn, item ?? e, "a hole or spread in an array", "write the elements");
        fields.set(String(i), fn.value(item));
      }
      return { k: "record", fields, tuple: true };
    }
    default:
      return fn.report("BPF1001", e, { what: constructName(e.type), instead: INSTEAD[e.type] ?? "write it with numbers, structs and functions" });
  }
}

const NAMES: Readonly<Record<string, string>> = {
  AwaitExpression: "`await`", YieldExpression: "`yield`", NewExpression: "`new`", ThisExpression: "`this`", ClassExpression: "a class",
  TaggedTemplateExpression: "a tagged template", ImportExpression: "`import()`", MetaProperty: "`import.meta` or `new.target`", Super: "`super`",
};
const INSTEAD: Readonly<Record<string, string>> = {
  AwaitExpression: "a probe runs to its end without waiting",
  NewExpression: "declare a `struct` and write an object literal, or use a map",
  ThisExpression: "use a `global()` or a map for state",
  ClassExpression: "use functions and structs",
  TaggedTemplateExpression: "call `bpf.printk(`…`)` with a plain template",
  ImportExpression: "import at the top of the file",
};
export function constructName(type: string): string {
  return NAMES[type] ?? `${/^[AEIOU]/.test(type) ? "an" : "a"} ${type.replace(/(Expression|Statement|Declaration)$/, "").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase()}`;
}
function unsupported(fn: Fn, node: Ast, what: string, instead: string): Val {
  return fn.report("BPF1001", node, { what, instead });
}

function literal(fn: Fn, e: Literal): Val {
  if (typeof e.value === "number") return constInt(fn, e.value, e);
  if (typeof e.bigint === "string") return constInt(fn, BigInt(e.bigint), e);
  if (typeof e.value === "string" || typeof e.value === "boolean" || e.value === null) return { k: "js", value: e.value };
  return unsupported(fn, e, "a regular expression", "use `===` or `startsWith`");
}

function identifier(fn: Fn, e: Identifier): Val {
  if (e.name === "undefined") return UNDEFINED;
  const sym = fn.find(e.name);
  if (sym !== undefined) return readSym(fn, sym);
  const r = fn.source.resolve(e.name, e);
  switch (r.k) {
    case "value":
      return globalName(fn, e.name, r.value) ?? fn.module.constant(fn, e.name, r.value, e);
    case "refused":
      return fn.report("BPF1015", e, { name: e.name, why: r.why, instead: r.instead });
    default: {
      const known = globalName(fn, e.name, undefined);
      return known ?? fn.report("BPF1002", e, { name: e.name }, { notes: similar(e.name, fn.scope.names()) });
    }
  }
}

function similar(name: string, names: Iterable<string>): string[] {
  const h = hint(name, names);
  return h === "" ? [] : [h.slice(2)];
}

/** The value of a variable now. */
export function readSym(fn: Fn, sym: Sym): Val {
  const fact = fn.facts.get(sym);
  const { slot } = sym;
  if (slot === undefined) {
    if (fact === undefined || sym.val.k !== "opt") return sym.val;
    return fact === true ? sym.val.inner : fact;
  }
  const { b } = fn;
  switch (slot.k) {
    case "scalar":
      return { k: "scalar", type: slot.type, v: loadSlot(fn, slot.slot, slot.type) };
    case "ref": {
      const ptr = b.load(b.slotAddr(slot.slot), { size: 8, space: irSpace(slot.inner) });
      const inner: PlaceVal = { ...slot.inner, base: ptr };
      return slot.nullable && fact === undefined ? { k: "opt", ptr, inner, what: slot.what } : inner;
    }
    default: {
      const inner: PlaceVal = { k: "place", type: slot.type, base: b.slotAddr(slot.slot), off: 0, space: "stack" };
      if (fact !== undefined) return { k: "scalar", type: slot.type, v: loadSlot(fn, slot.slot, slot.type) };
      return { k: "opt", ptr: b.load(b.slotAddr(slot.present), { size: 8 }), inner, what: slot.what };
    }
  }
}

function irSpace(place: PlaceVal): "map-value" | "mem" | "packet" | "stack" | "ctx" | "btf" {
  return place.space === "map" || place.space === "global" ? "map-value" : place.space;
}

/** A variable's register: slots of variables always hold 64 bits. */
export function loadSlot(fn: Fn, slot: Slot, type: ScalarVal["type"]): ScalarVal["v"] {
  return fn.b.load(fn.b.slotAddr(slot), { size: 8, ...(type.k === "ptr" && type.space === "kernel" ? { space: "btf" as const } : {}) });
}

function chain(fn: Fn, e: Expr): Val {
  // `a?.b.c`: undefined as a whole when `a` is.
  return e.type === "CallExpression" ? call(fn, e) : e.type === "MemberExpression" ? member(fn, e) : expr(fn, e);
}

function member(fn: Fn, e: MemberExpression): Val {
  if (e.object.type === "Super" || e.property.type === "PrivateIdentifier") {
    return unsupported(fn, e, "`super` or a private member", "use functions and structs");
  }
  const object = fn.expr(e.object);
  if (e.computed) return indexed(fn, e, object, e.property as Expr);
  const name = (e.property as Identifier).name;
  return memberOf(fn, object, name, e, e.optional);
}

function memberOf(fn: Fn, object: Val, name: string, e: MemberExpression, optional: boolean): Val {
  switch (object.k) {
    case "error":
      return ERROR;
    case "builtin": {
      const v = object.member?.(name, e.property);
      if (v !== undefined) return v;
      return fn.report("BPF3004", e.property, { value: object.what, field: name, hint: hint(name, object.members?.() ?? []) });
    }
    case "handle":
      return handleMember(fn, object.value, object.name, name, e);
    case "record": {
      const v = object.fields.get(name);
      return v ?? (optional ? UNDEFINED : fn.report("BPF3004", e.property, { value: describe(object), field: name, hint: hint(name, object.fields.keys()) }));
    }
    case "opt": {
      if (!optional && !chained(e.object)) return fn.report("BPF2007", e.object, { what: object.what, name: nameOf(e.object) });
      return optionalMember(fn, object, name, e);
    }
    case "place":
    case "kplace":
    case "scalar": {
      if (object.k === "place" && object.ref === true) {
        if (name === "value") {
          const { ref: _, ...place } = object;
          return place;
        }
        return fn.report("BPF3004", e.property, { value: "a reference to a map entry", field: name, hint: hint(name, ["value"]) });
      }
      if (isText(object)) {
        const method = textMember(fn, object, name);
        if (method !== undefined) return method;
        return fn.report("BPF3004", e.property, { value: "text", field: name, hint: hint(name, ["startsWith"]) });
      }
      const kernel = kernelMember(fn, object, name, e.property);
      if (kernel !== undefined) return kernel;
      if (object.k === "place") return memberOfPlace(fn, object, name, e.property);
      return fn.report("BPF3004", e.property, { value: describe(object), field: name, hint: "" });
    }
    case "string": {
      const method = textMember(fn, object, name);
      if (method !== undefined) return method;
      return fn.report("BPF3004", e.property, { value: "text", field: name, hint: hint(name, ["startsWith"]) });
    }
    case "js":
      if (typeof object.value === "string") {
        if (name === "length") return constInt(fn, object.value.length, e);
        const method = textMember(fn, object, name);
        if (method !== undefined) return method;
      }
      if (object.value === undefined && optional) return UNDEFINED;
      return fn.report("BPF3004", e.property, { value: describe(object), field: name, hint: "" });
    default:
      return fn.report("BPF3004", e.property, { value: describe(object), field: name, hint: "" });
  }
}

function handleMember(fn: Fn, value: object, owner: string, name: string, e: MemberExpression): Val {
  if (isMap(value)) {
    return mapMember(fn, value, owner, name) ?? fn.report("BPF3001", e.property, { map: `the map ${owner}`, method: name, hint: hint(name, MAP_METHODS.filter((m) => mapMember(fn, value, owner, m) !== undefined)) });
  }
  if (isGlobal(value)) {
    if (name !== "value") return fn.report("BPF3004", e.property, { value: `the global ${owner}`, field: name, hint: hint(name, ["value"]) });
    return globalPlace(fn, value, owner);
  }
  if (isProgram(value)) return fn.report("BPF3004", e.property, { value: `the program ${owner}`, field: name, hint: "" });
  // A schema's own facts (`Event.size`, `State.OPEN`), a member of a configuration object, of an imported module.
  if (!(name in value)) {
    return fn.report("BPF3004", e.property, { value: describeHandle(value, owner), field: name, hint: hint(name, Object.keys(value)) });
  }
  const property: unknown = (value as Readonly<Record<string, unknown>>)[name];
  if (typeof property === "function" && !isSchema(property) && (Array.isArray(value) || isSchema(value))) {
    return unsupported(fn, e, `the method ${name} of ${Array.isArray(value) ? "an array" : "a schema"}`, "compute the value outside the probe");
  }
  return globalName(fn, `${owner}.${name}`, property) ?? fn.module.constant(fn, `${owner}.${name}`, property, e);
}

const MAP_METHODS = [
  "get", "ref", "has", "set", "delete", "add", "insert", "getOrInsert", "increment", "push", "pop", "peek", "emit", "reserve", "submit", "discard", "tailCall", "forEach", "redirect", "hasCurrentTask",
];

export function globalPlace(fn: Fn, handle: Parameters<Fn["module"]["global"]>[0], seen: string): PlaceVal {
  const at = fn.module.global(handle, seen);
  const rodata = handle.section === "rodata";
  return {
    k: "place",
    type: fromSchema(handle.schema) as PlaceVal["type"],
    base: fn.b.mapValue(at.map, at.off),
    off: 0,
    space: "global",
    ...(rodata ? { readonly: `the constant ${seen}`, invariant: true } : {}),
  };
}

/** Whether `node` is a link of a chain that has a `?.` before it. */
function chained(node: Ast): boolean {
  const n = node as Expr;
  if (n.type === "MemberExpression") return n.optional || chained(n.object);
  if (n.type === "CallExpression") return n.optional || chained(n.callee);
  return false;
}

/** `v?.x` where `v` may be undefined: a scalar field becomes a value that may be undefined. */
function optionalMember(fn: Fn, object: Extract<Val, { k: "opt" }>, name: string, e: MemberExpression): Val {
  const inner = memberOf(fn, object.inner, name, e, false);
  if (inner.k === "place") return { k: "opt", ptr: object.ptr, inner, what: `${nameOf(e.object)}?.${name}`, ...(object.test === undefined ? {} : { test: object.test }) };
  if (inner.k === "error") return ERROR;
  return fn.report("BPF2007", e.object, { what: object.what, name: nameOf(e.object) });
}

function indexed(fn: Fn, e: MemberExpression, object: Val, index: Expr): Val {
  if (object.k === "error") return ERROR;
  const i = fn.value(index);
  if (i.k === "error") return ERROR;
  if (i.k === "js" && typeof i.value === "string") return memberOf(fn, object, i.value, e, e.optional);
  if (object.k === "handle" && Array.isArray(object.value)) return constantElement(fn, object.value, object.name, i, e);
  if (object.k === "handle" && i.k === "int" && String(i.value) in object.value) {
    return fn.module.constant(fn, `${object.name}[${i.value}]`, (object.value as Readonly<Record<string, unknown>>)[String(i.value)], e);
  }
  if (object.k === "record" && object.tuple && i.k === "int") {
    return object.fields.get(String(i.value)) ?? fn.report("BPF2016", e.property, { index: i.value, length: object.fields.size });
  }
  return elementOf(fn, object, i, e);
}

/** An element of a captured array; a run-time index reads a table in `.rodata`. */
function constantElement(fn: Fn, values: readonly unknown[], name: string, i: Val, e: MemberExpression): Val {
  if (i.k === "int") {
    if (i.value < 0n || i.value >= BigInt(values.length)) return fn.report("BPF2016", e.property, { index: i.value, length: values.length });
    return fn.module.constant(fn, `${name}[${i.value}]`, values[Number(i.value)], e);
  }
  if (!values.every((v) => typeof v === "bigint" || (typeof v === "number" && Number.isSafeInteger(v)))) {
    return fn.report("BPF2006", e, { expected: "an array of integers (with an index that changes at run time)", found: `the array ${name}` });
  }
  const place = fn.module.integerTable(fn, values as readonly (number | bigint)[], name);
  return elementOf(fn, place, i, e);
}

function call(fn: Fn, e: CallExpression): Val {
  if (e.callee.type === "Super") return unsupported(fn, e, "`super()`", "use functions and structs");
  const callee = fn.expr(e.callee);
  for (const a of e.arguments) if (a.type === "SpreadElement") return unsupported(fn, a, "a spread argument", "write the arguments");
  const args = e.arguments as Expr[];
  switch (callee.k) {
    case "error":
      // Their own mistakes are worth saying all the same.
      for (const a of args) if (a.type !== "ArrowFunctionExpression" && a.type !== "FunctionExpression" && a.type !== "ObjectExpression") fn.expr(a);
      return ERROR;
    case "builtin":
      if (callee.call !== undefined) return callee.call(args, e);
      break;
    case "handle":
      if (isSchema(callee.value)) return convert(fn, callee.value, args, e);
      break;
    case "function":
      return fn.lowering.call(fn, callee, args.map((a) => fn.value(a)), e);
    case "opt":
      return fn.report("BPF2007", e.callee, { what: callee.what, name: nameOf(e.callee) });
    default:
      break;
  }
  return fn.report("BPF1009", e.callee, { name: nameOf(e.callee) });
}

/** `u32(x)`, `Event({…})`, `char(16)(text)`: a schema called is a conversion. */
function convert(fn: Fn, schema: Schema, args: readonly Expr[], e: CallExpression): Val {
  const [arg] = args;
  const type = fromSchema(schema);
  if (args.length > 1 || (arg === undefined && isScalar(type))) {
    return fn.report("BPF1010", e, { name: nameOf(e.callee), expected: "one value", got: String(args.length) });
  }
  if (type.k === "int" && arg !== undefined) {
    const v = cast(fn, type.bits, type.sign.signed, fn.value(arg), arg);
    return v;
  }
  if (type.k === "enum" && arg !== undefined) {
    const v = fn.scalar(fn.value(arg), arg);
    return v === undefined ? ERROR : { k: "scalar", type, v: v.v };
  }
  if (type.k === "bool" && arg !== undefined) return toBoolean(fn, arg);
  const dest = fn.temp(type, "value");
  if (arg === undefined) fn.b.memset(dest.base, 0, sizeOf(type), 8);
  else storeInto(fn, dest, arg, { clean: true, partial: true });
  return dest;
}

function binary(fn: Fn, e: Extract<Expr, { type: "BinaryExpression" }>): Val {
  if (e.left.type === "PrivateIdentifier") return unsupported(fn, e, "a private member", "use structs");
  if (e.operator === "in" || e.operator === "instanceof") return unsupported(fn, e, `\`${e.operator}\``, "use `map.has(key)`");
  const relation = relationOf(e.operator);
  if (relation === undefined) {
    const a = fn.value(e.left);
    const b = fn.value(e.right);
    fn.mark(e);
    return arithmetic(fn, e.operator, a, b, e, e.left, e.right);
  }
  const a = fn.value(e.left);
  const b = fn.value(e.right);
  fn.mark(e);
  if (a.k === "opt" || b.k === "opt" || (isText(a) && isText(b))) return conditionValue(fn, e);
  return compareValue(fn, relation, a, b, e);
}

/** A condition as a value, through control flow. */
function conditionValue(fn: Fn, e: Expr): Val {
  const before = fn.facts;
  const v = boolean(fn, (yes, no) => void fn.lowering.cond(fn, e, yes, no));
  fn.facts = before;
  return v;
}

export function toBoolean(fn: Fn, node: Ast): Val {
  return conditionValue(fn, unwrap(node));
}

function logical(fn: Fn, e: Extract<Expr, { type: "LogicalExpression" }>): Val {
  if (e.operator === "??") return coalesce(fn, e.left, e.right);
  return conditionValue(fn, e);
}

/** `a ?? b`. */
function coalesce(fn: Fn, left: Expr, right: Expr): Val {
  const { b } = fn;
  const e = unwrap(left);
  let a: Val;
  if (e.type === "MemberExpression" && !e.computed && !e.optional && e.object.type !== "Super" && e.property.type === "Identifier") {
    const object = fn.expr(e.object);
    // `task.state ?? task.__state`: whichever field this kernel has.
    if (lacksKernelField(fn, object, e.property.name)) return fn.value(right);
    a = memberOf(fn, object, e.property.name, e, false);
  } else {
    a = fn.expr(e);
  }
  if (a.k === "error") return ERROR;
  if (a.k === "js" && (a.value === undefined || a.value === null)) return fn.value(right);
  if (a.k !== "opt") return fn.settle(a, left);
  const yes = b.block("defined");
  const no = b.block("default");
  fn.branchDefined(a, yes, no);
  return join(fn, [
    { block: yes, value: () => fn.settle(a.inner, left), node: left },
    { block: no, value: () => fn.value(right), node: right },
  ]);
}

function conditional(fn: Fn, e: Extract<Expr, { type: "ConditionalExpression" }>): Val {
  const { b } = fn;
  const yes = b.block("then");
  const no = b.block("else");
  const known = fn.lowering.cond(fn, e.test, yes, no);
  const before = fn.facts;
  return join(fn, [
    {
      block: yes,
      value: () => {
        fn.facts = before;
        fn.assume(known.whenTrue);
        return fn.value(e.consequent);
      },
      node: e.consequent,
    },
    {
      block: no,
      value: () => {
        fn.facts = before;
        fn.assume(known.whenFalse);
        return fn.value(e.alternate);
      },
      node: e.alternate,
    },
  ]);
}

interface Way {
  readonly block: Block;
  readonly value: () => Val;
  readonly node: Ast;
}

/** One value from two ways. */
export function join(fn: Fn, ways: readonly [Way, Way]): Val {
  const { b } = fn;
  const end = b.block("end");
  const out = b.func.slot(8, 8, "value");
  b.start(out);
  const types: ScalarVal["type"][] = [];
  let other: PlaceVal | undefined;
  let failed = false;
  let facts: Facts | undefined;
  const values: Val[] = [];
  for (const way of ways) {
    b.at(way.block);
    const v = way.value();
    values.push(v);
    if (v.k === "error") failed = true;
    else if (v.k === "place" && v.indices === undefined) {
      other = v;
      b.store(b.slotAddr(out), v.off === 0 ? v.base : b.add(v.base, v.off), { size: 8 });
    } else {
      const s = fn.scalar(v, way.node, "a number, boolean or struct");
      if (s === undefined) failed = true;
      else {
        types.push(s.type);
        b.store(b.slotAddr(out), s.v, { size: 8 });
      }
    }
    facts = facts === undefined ? fn.facts : meetFacts(facts, fn.facts);
    b.jmp(end);
  }
  b.at(end);
  if (facts !== undefined) fn.facts = facts;
  if (failed) return ERROR;
  if (other !== undefined && types.length === 0) {
    return { ...other, off: 0, base: b.load(b.slotAddr(out), { size: 8, space: irSpace(other) }) };
  }
  const [x, y] = types;
  if (x === undefined || y === undefined || other !== undefined) {
    return fn.report("BPF1016", ways[1].node, { first: describe(values[0]!), second: describe(values[1]!) });
  }
  const type = commonType(x, y);
  if (type === undefined) return fn.report("BPF1016", ways[1].node, { first: describe(values[0]!), second: describe(values[1]!) });
  return { k: "scalar", type, v: b.load(b.slotAddr(out), { size: 8, ...(type.k === "ptr" && type.space === "kernel" ? { space: "btf" as const } : {}) }) };
}

function unaryExpr(fn: Fn, e: UnaryExpression): Val {
  switch (e.operator) {
    case "-":
    case "+":
    case "~": {
      const a = fn.value(e.argument);
      fn.mark(e);
      return unary(fn, e.operator, a, e);
    }
    case "!":
      return conditionValue(fn, e);
    case "void":
      fn.value(e.argument);
      return UNDEFINED;
    default:
      return unsupported(fn, e, `\`${e.operator}\``, e.operator === "typeof" ? "types are known when the probe is compiled" : "use `map.delete(key)`");
  }
}

function sequence(fn: Fn, e: SequenceExpression): Val {
  let last: Val = NOTHING;
  for (const x of e.expressions) last = fn.value(x);
  return last;
}

function objectLiteral(fn: Fn, e: ObjectExpression): Val {
  const fields = new Map<string, Val>();
  for (const p of e.properties) {
    if (p.type === "SpreadElement") {
      const v = fn.value(p.argument);
      // `{ ...struct, field: value }` is a struct of the same kind.
      if (v.k === "place" && v.type.k === "struct") {
        const dest = fn.temp(v.type, "copy");
        storeInto(fn, dest, e, { clean: true, partial: false });
        return dest;
      }
      if (v.k === "record") for (const [n, x] of v.fields) fields.set(n, x);
      else return unsupported(fn, p, "a spread of a struct into an object without a schema", "write the fields, or store into a struct");
      continue;
    }
    const name = propertyName(p.key, p.computed);
    if (name === undefined || p.kind !== "init") return unsupported(fn, p, "a computed, accessor or method property", "write `name: value`");
    fields.set(name, fn.value(p.value));
  }
  return { k: "record", fields, tuple: false };
}

function template(fn: Fn, e: TemplateLiteral): Val {
  let text = e.quasis[0]?.value.cooked ?? "";
  for (const [i, x] of e.expressions.entries()) {
    const v = fn.value(x);
    if (v.k === "error") return ERROR;
    if (v.k !== "int" && v.k !== "js") {
      return unsupported(fn, e, "a template string with run-time values (outside of bpf.printk)", "emit the values as fields and format them in user space");
    }
    text += String(v.value) + (e.quasis[i + 1]?.value.cooked ?? "");
  }
  return { k: "js", value: text };
}

export { storeValue };

