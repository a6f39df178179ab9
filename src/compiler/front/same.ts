/** Comparing structs and arrays by value: field by field, so that padding never counts. */
import { isManaged } from "../../probe/schema.ts";
import type { Block, Size } from "../ir/ir.ts";
import type { Fn } from "./context.ts";
import { sameLayout } from "./memory.ts";
import { addressOf, guarded, loadPlace, within } from "./place.ts";
import { branchPlaces, placeAlign } from "./strings.ts";
import { fromSchema, isScalar, sizeOf } from "./types.ts";
import type { PlaceVal, Val } from "./value.ts";

/** Steps of a comparison that is written out. */
const MAX_STEPS = 256;

/** Whether `a === b` compares two structs or arrays of the same layout. */
export function comparesMemory(a: Val, b: Val): boolean {
  const memory = (v: Val): v is PlaceVal =>
    v.k === "place" && v.ref !== true && (v.type.k === "struct" || v.type.k === "array");
  return memory(a) && memory(b) && sameLayout(a.type, b.type) && steps(a.type) <= MAX_STEPS;
}

function steps(t: PlaceVal["type"]): number {
  switch (t.k) {
    case "struct":
      return t.schema.kind === "union"
        ? Math.ceil(t.schema.size / 8)
        : t.schema.fields.reduce((n, f) => n + steps(fromSchema(f.schema)), 0);
    case "array":
      return isScalar(t.element) ? Math.ceil(sizeOf(t) / 8) : t.length * steps(t.element);
    default:
      return 1;
  }
}

/** Branches on whether two places of the same layout hold the same value. */
export function branchSame(fn: Fn, a: PlaceVal, b: PlaceVal, yes: Block, no: Block): void {
  guarded(fn, a, (base) => {
    guarded(fn, b, (other) => {
      same(fn, { ...bare(a), base }, { ...bare(b), base: other }, no);
      fn.b.jmp(yes);
    });
  });
  // Only an index outside its array comes here.
  if (!fn.b.terminated) fn.b.jmp(no);
}

function bare(place: PlaceVal): PlaceVal {
  const { indices: _, ...rest } = place;
  return rest;
}

/** Goes on where both are the same, to `no` where they differ. */
function same(fn: Fn, a: PlaceVal, b: PlaceVal, no: Block): void {
  const { type } = a;
  if (type.k === "struct" && type.schema.kind === "struct") {
    for (const f of type.schema.fields) {
      if (isManaged(f.schema)) continue;
      const t = fromSchema(f.schema);
      same(fn, within(a, f.offset, t), within(b, f.offset, t), no);
    }
  } else if (type.k === "array" && !isScalar(type.element)) {
    for (let i = 0; i < type.length; i++) {
      const off = i * sizeOf(type.element);
      same(fn, within(a, off, type.element), within(b, off, type.element), no);
    }
  } else if (type.k === "char") {
    const next = fn.b.block("same");
    branchPlaces(fn, { ...a, base: addressOf(fn, a), off: 0 }, { ...b, base: addressOf(fn, b), off: 0 }, next, no);
    fn.b.at(next);
  } else if (isScalar(type)) {
    const x = loadPlace(fn, a);
    const y = loadPlace(fn, b);
    if (x.k === "scalar" && y.k === "scalar") equal(fn, x.v, y.v, no);
  } else {
    words(fn, a, b, sizeOf(type), no);
  }
}

function words(fn: Fn, a: PlaceVal, b: PlaceVal, bytes: number, no: Block): void {
  const align = Math.min(placeAlign(fn, a), placeAlign(fn, b));
  for (let at = 0; at < bytes;) {
    const size = ([8, 4, 2, 1] as const).find((s) => s <= align && s <= bytes - at) as Size;
    equal(fn, fn.b.load(a.base, { size, off: a.off + at }), fn.b.load(b.base, { size, off: b.off + at }), no);
    at += size;
  }
}

function equal(fn: Fn, x: Parameters<Fn["b"]["cmp"]>[1], y: Parameters<Fn["b"]["cmp"]>[2], no: Block): void {
  const next = fn.b.block("same");
  fn.b.br("eq", x, y, next, no);
  fn.b.at(next);
}
