/** Evaluating an expression straight into a place: object literals, text, arrays, struct copies. */
import type { ArrayExpression, ObjectExpression } from "acorn";
import type { Schema, StructSchema } from "../../probe/schema-types.ts";
import { isManaged } from "../../probe/schema.ts";
import type { Size } from "../ir/ir.ts";
import type { Ast, Expr } from "./ast.ts";
import { unwrap } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe, meetFacts } from "./context.ts";
import { coverBranch } from "./cover.ts";
import { checkFits, memberOf } from "./ops.ts";
import { guarded, storePlace, within } from "./place.ts";
import { hint } from "./report.ts";
import { clear, placeAlign, storeText } from "./strings.ts";
import { eachText } from "./texts.ts";
import type { ArrayType, CharType, StructType, Type } from "./types.ts";
import { fromSchema, isScalar, sizeOf, typeName } from "./types.ts";
import type { PlaceVal, Val } from "./value.ts";

/** How a place is filled. */
export interface Fill {
  /** Every byte must end up defined and comparable: zeros between fields and behind text. */
  readonly clean: boolean;
  /** Fields that the literal leaves out are zero (else they are an error). */
  readonly partial: boolean;
}

/** Bytes of `t` that no field covers: `[offset, size]`. */
export function holes(t: Type, base = 0, out: [number, number][] = []): [number, number][] {
  if (t.k === "struct" && t.schema.kind === "struct") {
    let end = 0;
    for (const f of t.schema.fields) {
      if (f.offset > end) out.push([base + end, f.offset - end]);
      holes(fromSchema(f.schema), base + f.offset, out);
      end = f.offset + f.schema.size;
    }
    if (t.schema.size > end) out.push([base + end, t.schema.size - end]);
  } else if (t.k === "array") {
    const size = sizeOf(t.element);
    if (t.element.k === "struct" || t.element.k === "array")
      for (let i = 0; i < t.length; i++) holes(t.element, base + i * size, out);
  }
  return out;
}

/** Zeros the holes of `place`, so that no old memory leaves the kernel and keys compare. */
export function zeroHoles(fn: Fn, place: PlaceVal): void {
  for (const [off, size] of holes(place.type)) {
    guarded(fn, place, (base) => {
      let at = place.off + off;
      for (let left = size; left > 0;) {
        const step = ([8, 4, 2, 1] as const).find((s) => s <= left && at % s === 0) as Size;
        fn.b.store(base, 0, { size: step, off: at });
        at += step;
        left -= step;
      }
    });
  }
}

/** Evaluates `node` into `dest`. */
export function storeInto(fn: Fn, dest: PlaceVal, node: Ast, fill: Fill): void {
  const e = unwrap(node);
  const { type } = dest;
  if (dest.readonly !== undefined) {
    fn.report("BPF2012", node, { what: dest.readonly });
    return;
  }
  if (!isScalar(type) && e.type === "ConditionalExpression") {
    conditional(fn, e, (n) => storeInto(fn, dest, n, fill));
    return;
  }
  if (type.k === "struct" && e.type === "ObjectExpression")
    return storeObject(fn, dest as PlaceVal & { type: StructType }, e, fill);
  if (type.k === "struct" && e.type === "CallExpression" && isSchemaCall(fn, e.callee, type.schema)) {
    const argument = e.arguments[0];
    if (argument === undefined) return zero(fn, dest);
    return storeInto(fn, dest, argument, { ...fill, partial: true });
  }
  if (type.k === "array" && e.type === "ArrayExpression" && !e.elements.some((x) => x?.type === "SpreadElement"))
    return storeArray(fn, dest as PlaceVal & { type: ArrayType }, e, fill);
  storeValue(fn, dest, fn.expr(e), e, fill.clean);
}

/** Stores a value that was already computed. */
export function storeValue(fn: Fn, dest: PlaceVal, val: Val, node: Ast, clean: boolean): void {
  const { type } = dest;
  if (val.k === "error") return;
  if (dest.readonly !== undefined) {
    fn.report("BPF2012", node, { what: dest.readonly });
    return;
  }
  if (type.k === "char") return storeText(fn, dest as PlaceVal & { type: CharType }, val, node, clean);
  if (isScalar(type)) return storeScalar(fn, dest, val, node);
  const v = fn.settle(val, node);
  if (v.k === "record") return storeRecord(fn, dest, v.fields, v.tuple, node, clean);
  if (v.k === "place" && sameLayout(v.type, type)) {
    guarded(fn, v, (from) =>
      guarded(fn, dest, (to) => {
        const src = v.off === 0 ? from : fn.b.add(from, v.off);
        const dst = dest.off === 0 ? to : fn.b.add(to, dest.off);
        fn.b.memcpy(dst, src, sizeOf(type), Math.min(placeAlign(fn, v), placeAlign(fn, dest)));
      }),
    );
    return;
  }
  if (v.k === "handle" && Array.isArray(v.value) && type.k === "array")
    return storeConstants(fn, dest as PlaceVal & { type: ArrayType }, v.value, node);
  if (v.k === "opt") fn.report("BPF2007", node, { what: v.what, name: "the value" });
  else if (v.k !== "error")
    fn.report("BPF2006", node, {
      expected: type.k === "struct" ? structName(fn, type.schema) : typeName(type),
      found: describe(v),
    });
}

function storeScalar(fn: Fn, dest: PlaceVal, val: Val, node: Ast): void {
  const { type } = dest;
  if (!isScalar(type)) return;
  if (type.k === "enum" && val.k === "js" && typeof val.value === "string") {
    const member = memberOf(fn, type, val.value, node);
    if (member !== undefined) storePlace(fn, dest, fn.b.int(member.value));
    return;
  }
  const v = fn.settle(val, node);
  if (type.k === "enum" && v.k === "scalar" && v.type.k === "literal") {
    eachText(fn, { ...v, type: v.type }, node, (text) => storeScalar(fn, dest, { k: "js", value: text }, node));
    return;
  }
  checkFits(fn, v, type, node);
  const s = fn.scalar(v, node, typeName(type));
  if (s === undefined) return;
  if ((type.k === "bool") !== (s.type.k === "bool")) {
    fn.report("BPF2006", node, { expected: type.k === "bool" ? "a boolean" : typeName(type), found: describe(v) });
    return;
  }
  storePlace(fn, dest, s.v);
}

function storeObject(fn: Fn, dest: PlaceVal & { type: StructType }, e: ObjectExpression, fill: Fill): void {
  const { schema } = dest.type;
  const given = new Set<string>();
  const spread = e.properties.some((p) => p.type === "SpreadElement");
  if (fill.partial && schema.kind === "struct") {
    if (spread) zero(fn, dest);
    else zeroMissing(fn, dest, e);
  }
  if (schema.kind === "union") zero(fn, dest);
  else if (fill.clean) zeroHoles(fn, dest);
  for (const p of e.properties) {
    if (p.type === "SpreadElement") {
      fn.mark(p);
      const fields = recordFields(fn, p.argument);
      if (fields === undefined) storeInto(fn, dest, p.argument, fill);
      for (const f of schema.fields) {
        const v = fields?.get(f.name);
        if (v !== undefined) storeValue(fn, within(dest, f.offset, fromSchema(f.schema)), v, p.argument, fill.clean);
        if (v !== undefined || fields === undefined) given.add(f.name);
      }
      continue;
    }
    const name = propertyName(p.key, p.computed);
    if (name === undefined || p.kind !== "init" || p.method) {
      fn.report("BPF1001", p, { what: "a computed, accessor or method property", instead: "write `name: value`" });
      continue;
    }
    const field = schema.fields.find((f) => f.name === name);
    if (field !== undefined && isManaged(field.schema)) {
      fn.report("BPF2012", p, { what: `the field ${name}, which only the kernel writes,` });
      continue;
    }
    if (field === undefined) {
      fn.report("BPF2009", p.key, {
        struct: structName(fn, schema),
        field: name,
        hint: hint(
          name,
          schema.fields.map((f) => f.name),
        ),
      });
      continue;
    }
    given.add(name);
    fn.mark(p.value);
    storeInto(fn, within(dest, field.offset, fromSchema(field.schema)), p.value, fill);
  }
  if (fill.partial || schema.kind === "union") return;
  for (const f of schema.fields) {
    if (isManaged(f.schema)) zero(fn, within(dest, f.offset, fromSchema(f.schema)));
    else if (!given.has(f.name)) fn.report("BPF2010", e, { field: f.name, struct: structName(fn, schema) });
  }
}

/** The fields of a local object literal that `node` names: it may have fewer than the struct that it is spread into. */
function recordFields(fn: Fn, node: Ast): ReadonlyMap<string, Val> | undefined {
  const e = unwrap(node);
  if (e.type !== "Identifier") return undefined;
  const v = fn.value(e);
  return v.k === "record" && !v.tuple ? v.fields : undefined;
}

/** How a struct is called in messages. */
export function structName(fn: Fn, schema: StructSchema): string {
  const name = schema.name ?? fn.module.schemaNames.get(schema);
  return name === undefined ? `this ${schema.kind}` : `${schema.kind} ${name}`;
}

function zeroMissing(fn: Fn, dest: PlaceVal & { type: StructType }, e: ObjectExpression): void {
  const names = new Set(e.properties.map((p) => (p.type === "Property" ? propertyName(p.key, p.computed) : undefined)));
  for (const f of dest.type.schema.fields)
    if (!names.has(f.name)) zero(fn, within(dest, f.offset, fromSchema(f.schema)));
}

/** The name of a property or member written as identifier or string. */
export function propertyName(key: Ast, computed: boolean): string | undefined {
  const k = key as Expr;
  if (!computed && k.type === "Identifier") return k.name;
  if (k.type === "Literal" && (typeof k.value === "string" || typeof k.value === "number")) return String(k.value);
  return undefined;
}

export function zero(fn: Fn, dest: PlaceVal): void {
  const { type } = dest;
  if (isScalar(type)) return storePlace(fn, dest, fn.b.int(0));
  guarded(fn, dest, (base) => clear(fn, dest, base, sizeOf(type)));
}

function storeArray(fn: Fn, dest: PlaceVal & { type: ArrayType }, e: ArrayExpression, fill: Fill): void {
  const { element, length } = dest.type;
  if (e.elements.length > length) {
    fn.report("BPF2016", e, { index: e.elements.length - 1, length });
    return;
  }
  const size = sizeOf(element);
  e.elements.forEach((item, i) => {
    const at = within(dest, i * size, element);
    if (item === null) zero(fn, at);
    else storeInto(fn, at, item, fill);
  });
  for (let i = e.elements.length; i < length; i++) zero(fn, within(dest, i * size, element));
}

function storeConstants(fn: Fn, dest: PlaceVal & { type: ArrayType }, values: readonly unknown[], node: Ast): void {
  const { element, length } = dest.type;
  for (let i = 0; i < length; i++) {
    const at = within(dest, i * sizeOf(element), element);
    if (i >= values.length) zero(fn, at);
    else storeValue(fn, at, fn.module.constant(fn, `[${i}]`, values[i], node), node, true);
  }
}

function storeRecord(
  fn: Fn,
  dest: PlaceVal,
  fields: ReadonlyMap<string, Val>,
  tuple: boolean,
  node: Ast,
  clean: boolean,
): void {
  if (dest.type.k === "struct" && !tuple) {
    const { schema } = dest.type;
    if (clean) zeroHoles(fn, dest);
    for (const f of schema.fields) {
      const v = fields.get(f.name);
      if (isManaged(f.schema)) zero(fn, within(dest, f.offset, fromSchema(f.schema)));
      else if (v === undefined) fn.report("BPF2010", node, { field: f.name, struct: structName(fn, schema) });
      else storeValue(fn, within(dest, f.offset, fromSchema(f.schema)), v, node, clean);
    }
    return;
  }
  if (dest.type.k === "array" && tuple) {
    const { element, length } = dest.type;
    if (fields.size > length) return void fn.report("BPF2016", node, { index: fields.size - 1, length });
    for (let i = 0; i < length; i++) {
      const v = fields.get(String(i));
      const at = within(dest, i * sizeOf(element), element);
      if (v === undefined) zero(fn, at);
      else storeValue(fn, at, v, node, clean);
    }
    return;
  }
  fn.report("BPF2006", node, {
    expected: typeName(dest.type),
    found: tuple ? "an array literal" : "an object literal",
  });
}

/** Compiles both ways of `a ? b : c`. */
function conditional(fn: Fn, e: Extract<Expr, { type: "ConditionalExpression" }>, use: (node: Ast) => void): void {
  const { b } = fn;
  const yes = b.block("then");
  const no = b.block("else");
  const end = b.block("end");
  const before = fn.facts;
  const ways = coverBranch(fn, "conditional", e, [{ node: e.consequent }, { node: e.alternate }]);
  const known = fn.lowering.cond(fn, e.test, yes, no);
  b.at(yes);
  ways.take(0);
  fn.assume(known.whenTrue);
  use(e.consequent);
  b.jmp(end);
  const afterYes = fn.facts;
  fn.facts = before;
  b.at(no);
  ways.take(1);
  fn.assume(known.whenFalse);
  use(e.alternate);
  b.jmp(end);
  fn.facts = meetFacts(afterYes, fn.facts);
  b.at(end);
}

function isSchemaCall(fn: Fn, callee: Ast, schema: StructSchema): boolean {
  const c = unwrap(callee);
  if (c.type !== "Identifier" && c.type !== "MemberExpression") return false;
  const v = fn.expr(c);
  return v.k === "handle" && v.value === (schema as unknown as object);
}

/** Whether a copy between the two is a copy of bytes. */
export function sameLayout(a: Type, b: Type): boolean {
  if (a.k === "struct" && b.k === "struct") return a.schema === b.schema || sameFields(a.schema, b.schema);
  if (a.k === "array" && b.k === "array") return a.length === b.length && sameLayout(a.element, b.element);
  if (a.k === "int" && b.k === "int")
    return a.bits === b.bits && (a.bigEndian ?? false) === (b.bigEndian ?? false) && a.swapped === b.swapped;
  if (a.k === "char" && b.k === "char") return a.length === b.length;
  return a.k === b.k && isScalar(a) && sizeOf(a) === sizeOf(b);
}

function sameFields(a: StructSchema, b: StructSchema): boolean {
  return (
    a.kind === b.kind &&
    a.size === b.size &&
    a.fields.length === b.fields.length &&
    a.fields.every((f, i) => {
      const g = b.fields[i]!;
      return f.name === g.name && f.offset === g.offset && sameLayout(fromSchema(f.schema), fromSchema(g.schema));
    })
  );
}

/** Whether `v` is a `type` in memory that helpers may read where it is. */
export function readByHelpers(v: Val, type: PlaceVal["type"]): v is PlaceVal {
  return (
    v.k === "place" && v.indices === undefined && sameLayout(v.type, type) && v.space !== "packet" && v.space !== "ctx"
  );
}

/** A temporary holding `node` as a value of `schema`, fully defined: for keys, map values and perf samples. */
export function tempOf(fn: Fn, schema: Schema, node: Ast, name: string): PlaceVal {
  const type = fromSchema(schema);
  const e = unwrap(node);
  // A value that already lies in memory a helper may read needs no copy.
  if (!isScalar(type) && e.type !== "ObjectExpression" && e.type !== "ArrayExpression") {
    if (e.type === "CallExpression" && type.k === "struct" && isSchemaCall(fn, e.callee, type.schema)) {
      if (e.arguments.length === 0) return fn.module.zeros(fn, type);
    }
    const v = fn.expr(e);
    if (readByHelpers(v, type)) return v;
    const dest = fn.temp(type, name);
    storeValue(fn, dest, v, node, true);
    return dest;
  }
  const dest = fn.temp(type, name);
  storeInto(fn, dest, e, { clean: true, partial: false });
  return dest;
}
