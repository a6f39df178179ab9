/** Fields and elements of what lies in memory that a program may load from. */
import type { Ast, Expr } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import { kernelElement } from "./kernel-access.ts";
import { structName } from "./memory.ts";
import { constInt } from "./ops.ts";
import { within } from "./place.ts";
import { guardedRead, readMemory } from "./reads.ts";
import { hint } from "./report.ts";
import { fromSchema, isScalar, sizeOf, U8 } from "./types.ts";
import type { PlaceVal, Val } from "./value.ts";

/** `place.name` */
export function memberOfPlace(fn: Fn, place: PlaceVal, name: string, node: Ast): Val {
  const { type } = place;
  if (type.k === "struct") {
    const field = type.schema.fields.find((f) => f.name === name);
    if (field === undefined) {
      return fn.report("BPF2009", node, {
        struct: structName(fn, type.schema),
        field: name,
        hint: hint(
          name,
          type.schema.fields.map((f) => f.name),
        ),
      });
    }
    return within(place, field.offset, fromSchema(field.schema) as PlaceVal["type"]);
  }
  if (type.k === "array" && name === "length") return constInt(fn, type.length, node);
  return fn.report("BPF3004", node, {
    value: describe(place),
    field: name,
    hint: type.k === "array" ? hint(name, ["length"]) : "",
  });
}

/** `object[i]` */
export function elementOf(fn: Fn, array: Val, i: Val, e: Extract<Expr, { type: "MemberExpression" }>): Val {
  const object = array.k === "place" && array.type.k === "ptr" ? fn.settle(array, e.object) : array;
  if (object.k === "opt") return fn.report("BPF2007", e.object, { what: object.what, name: "the value" });
  if (object.k === "kplace" || (object.k === "scalar" && object.type.k === "ptr"))
    return kernelElement(fn, object, i, e);
  if (object.k === "builtin") {
    const v = i.k === "int" ? object.member?.(String(i.value), e.property) : undefined;
    return v ?? fn.report("BPF2006", e.property, { expected: "an index known at compile time", found: describe(i) });
  }
  if (object.k !== "place" || (object.type.k !== "array" && object.type.k !== "char")) {
    return fn.report("BPF2006", e.object, { expected: "an array", found: describe(object) });
  }
  const { type } = object;
  const element = type.k === "char" ? U8 : type.element;
  const scale = sizeOf(element);
  if (i.k === "int") {
    if (i.value < 0n || i.value >= BigInt(type.length))
      return fn.report("BPF2016", e.property, { index: i.value, length: type.length });
    return within(object, Number(i.value) * scale, element);
  }
  const index = fn.int(i, e.property);
  if (index === undefined) return { k: "error" };
  const place = within(object, 0, element);
  // A context is not indexed at run time: the kernel reads it.
  if (object.space === "ctx" && isScalar(element)) {
    const at = fn.b.add(fn.b.add(object.base, object.off), fn.b.mul(index, scale));
    return guardedRead(fn, index, type.length, () => readMemory(fn, "kernel", at, element));
  }
  return { ...place, indices: [...(object.indices ?? []), { index, scale, length: type.length }] };
}
