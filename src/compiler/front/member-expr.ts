/** `object.name`, `object[i]`. */
import type { Identifier, MemberExpression } from "acorn";
import { isSchema } from "../../probe/schema.ts";
import type { Block } from "../ir/ir.ts";
import type { Ast, Expr } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe, describeHandle, nameOf, unsupported } from "./context.ts";
import { globalName } from "./globals.ts";
import { kernelMember } from "./kernel-access.ts";
import { join } from "./join.ts";
import { listMember } from "./lists.ts";
import { mapMember } from "./maps.ts";
import { elementOf, memberOfPlace } from "./members.ts";
import { Merge } from "./merge.ts";
import { isGlobal, isMap, isProgram } from "./module.ts";
import { constInt } from "./ops.ts";
import { hint } from "./report.ts";
import { isText, textMember } from "./strings.ts";
import { defined, fromSchema } from "./types.ts";
import type { PlaceVal, Val } from "./value.ts";
import { ERROR, UNDEFINED } from "./value.ts";

export function member(fn: Fn, e: MemberExpression): Val {
  if (e.object.type === "Super" || e.property.type === "PrivateIdentifier") {
    return unsupported(fn, e, "`super` or a private member", "use functions and structs");
  }
  const object = fn.expr(e.object);
  if (e.computed) return indexed(fn, e, object, e.property as Expr);
  const name = (e.property as Identifier).name;
  return memberOf(fn, object, name, e, e.optional);
}

export function memberOf(fn: Fn, object: Val, name: string, e: MemberExpression, optional: boolean): Val {
  switch (object.k) {
    case "error":
      return ERROR;
    case "builtin": {
      const v = object.member?.(name, e.property);
      if (v !== undefined) return v;
      return fn.report("BPF3004", e.property, {
        value: object.what,
        field: name,
        hint: hint(name, object.members?.() ?? []),
      });
    }
    case "handle":
      return handleMember(fn, object.value, object.name, name, e);
    case "record": {
      const v = object.fields.get(name);
      return (
        v ??
        (object.tuple ? listMember(fn, object, name, e) : undefined) ??
        (optional
          ? UNDEFINED
          : fn.report("BPF3004", e.property, {
              value: describe(object),
              field: name,
              hint: hint(name, object.fields.keys()),
            }))
      );
    }
    case "opt": {
      if (!optional && !chained(e.object))
        return fn.report("BPF2007", e.object, { what: object.what, name: nameOf(e.object) });
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
        return fn.report("BPF3004", e.property, {
          value: "a reference to a map entry",
          field: name,
          hint: hint(name, ["value"]),
        });
      }
      if (isText(object)) {
        const method = textMember(fn, object, name);
        if (method !== undefined) return method;
        return fn.report("BPF3004", e.property, { value: "text", field: name, hint: hint(name, ["startsWith"]) });
      }
      if (object.k === "scalar" && object.type.k === "ptr" && object.type.nullable !== undefined) {
        const { nullable } = object.type;
        if (!optional) return fn.report("BPF2007", e.object, { what: nullable, name: nameOf(e.object) });
        const there = { ...object, type: defined(object.type) };
        return whenThere(
          fn,
          (yes, no) => fn.b.br("ne", object.v, 0, yes, no),
          () => memberOf(fn, there, name, e, false),
          e,
        );
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
    return (
      mapMember(fn, value, owner, name) ??
      fn.report("BPF3001", e.property, {
        map: `the map ${owner}`,
        method: name,
        hint: hint(
          name,
          MAP_METHODS.filter((m) => mapMember(fn, value, owner, m) !== undefined),
        ),
      })
    );
  }
  if (isGlobal(value)) {
    if (name !== "value")
      return fn.report("BPF3004", e.property, {
        value: `the global ${owner}`,
        field: name,
        hint: hint(name, ["value"]),
      });
    return globalPlace(fn, value, owner);
  }
  if (isProgram(value))
    return fn.report("BPF3004", e.property, { value: `the program ${owner}`, field: name, hint: "" });
  const list =
    Array.isArray(value) || value instanceof Set
      ? listMember(fn, { k: "handle", value, name: owner }, name, e)
      : undefined;
  if (list !== undefined) return list;
  // A schema's own facts (`Event.size`, `State.OPEN`), a member of a configuration object, of an imported module.
  if (!(name in value)) {
    return fn.report("BPF3004", e.property, {
      value: describeHandle(value, owner),
      field: name,
      hint: hint(name, Object.keys(value)),
    });
  }
  const property: unknown = (value as Readonly<Record<string, unknown>>)[name];
  if (typeof property === "function" && !isSchema(property) && (Array.isArray(value) || isSchema(value))) {
    return unsupported(
      fn,
      e,
      `the method ${name} of ${Array.isArray(value) ? "an array" : "a schema"}`,
      "compute the value outside the probe",
    );
  }
  return globalName(fn, `${owner}.${name}`, property) ?? fn.module.constant(fn, `${owner}.${name}`, property, e);
}

const MAP_METHODS = [
  "get",
  "ref",
  "has",
  "set",
  "delete",
  "add",
  "insert",
  "getOrInsert",
  "increment",
  "push",
  "pop",
  "peek",
  "emit",
  "reserve",
  "submit",
  "discard",
  "tailCall",
  "forEach",
  "redirect",
  "hasCurrentTask",
];

function globalPlace(fn: Fn, handle: Parameters<Fn["module"]["global"]>[0], seen: string): PlaceVal {
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
  const kernel = object.value === undefined && object.inner.type.k === "ptr";
  if (object.value !== undefined || kernel) {
    const { value } = object;
    return whenThere(
      fn,
      (yes, no) => fn.branchDefined(object, yes, no),
      () => memberOf(fn, value ?? fn.settle(object.inner, e.object), name, e, false),
      e,
    );
  }
  const inner = memberOf(fn, object.inner, name, e, false);
  if (inner.k === "place")
    return {
      k: "opt",
      ptr: object.ptr,
      inner,
      what: `${nameOf(e.object)}?.${name}`,
      ...(object.test === undefined ? {} : { test: object.test }),
    };
  if (inner.k === "error") return ERROR;
  return fn.report("BPF2007", e.object, { what: object.what, name: nameOf(e.object) });
}

/** What `get` gives where something is there, else undefined. */
function whenThere(fn: Fn, branch: (yes: Block, no: Block) => void, get: () => Val, e: MemberExpression): Val {
  const merge = new Merge(fn, nameOf(e));
  const yes = fn.b.block("defined");
  const no = fn.b.block("undefined");
  branch(yes, no);
  return join(
    fn,
    merge,
    [
      { block: yes, value: get, node: e },
      { block: no, value: () => UNDEFINED, node: e },
    ],
    e,
  );
}

function indexed(fn: Fn, e: MemberExpression, object: Val, index: Expr): Val {
  if (object.k === "error") return ERROR;
  const i = fn.value(index);
  if (i.k === "error") return ERROR;
  if (i.k === "js" && typeof i.value === "string") return memberOf(fn, object, i.value, e, e.optional);
  if (object.k === "handle" && Array.isArray(object.value)) return constantElement(fn, object.value, object.name, i, e);
  if (object.k === "handle" && i.k === "int" && String(i.value) in object.value) {
    return fn.module.constant(
      fn,
      `${object.name}[${i.value}]`,
      (object.value as Readonly<Record<string, unknown>>)[String(i.value)],
      e,
    );
  }
  if (object.k === "record" && object.tuple && i.k === "int") {
    return (
      object.fields.get(String(i.value)) ??
      fn.report("BPF2016", e.property, { index: i.value, length: object.fields.size })
    );
  }
  return elementOf(fn, object, i, e);
}

/** An element of a captured array; a run-time index reads a table in `.rodata`. */
function constantElement(fn: Fn, values: readonly unknown[], name: string, i: Val, e: MemberExpression): Val {
  if (i.k === "int") {
    if (i.value < 0n || i.value >= BigInt(values.length))
      return fn.report("BPF2016", e.property, { index: i.value, length: values.length });
    return fn.module.constant(fn, `${name}[${i.value}]`, values[Number(i.value)], e);
  }
  if (!values.every((v) => typeof v === "bigint" || (typeof v === "number" && Number.isSafeInteger(v)))) {
    return fn.report("BPF2006", e, {
      expected: "an array of integers (with an index that changes at run time)",
      found: `the array ${name}`,
    });
  }
  const place = fn.module.integerTable(fn, values as readonly (number | bigint)[], name);
  return elementOf(fn, place, i, e);
}
