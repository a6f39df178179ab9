/** Loading from and storing to places in memory. */
import type { FuncBuilder } from "../ir/builder.ts";
import type { Inst, Size } from "../ir/ir.ts";
import type { Type } from "./types.ts";
import { BOOL, sizeOf } from "./types.ts";
import type { PlaceVal, Val } from "./value.ts";

interface HasBuilder {
  readonly b: FuncBuilder;
}

/** The value of a place that holds a scalar; the place itself for text, arrays and structs. */
export function loadPlace(fn: HasBuilder, place: PlaceVal): Val {
  const { type } = place;
  if (place.ref === true || type.k === "char" || type.k === "array" || type.k === "struct" || type.k === "kstruct")
    return place;
  const scalarType =
    type.k === "bool"
      ? BOOL
      : type.k === "int" && type.bigEndian === true
        ? { k: "int" as const, bits: type.swapped ?? type.bits, sign: type.sign }
        : type;
  if (place.indices === undefined) return { k: "scalar", type: scalarType, v: loadAt(fn, place, place.base) };
  const out = fn.b.func.slot(8, 8, "element");
  fn.b.start(out);
  fn.b.store(fn.b.slotAddr(out), 0, { size: 8 });
  guarded(fn, place, (base) => fn.b.store(fn.b.slotAddr(out), loadAt(fn, place, base), { size: 8 }));
  return { k: "scalar", type: scalarType, v: fn.b.load(fn.b.slotAddr(out), { size: 8 }) };
}

function loadAt(fn: HasBuilder, place: PlaceVal, base: Inst): Inst {
  const { type, off } = place;
  const invariant = place.invariant === true ? { invariant: true } : {};
  switch (type.k) {
    case "int":
    case "enum": {
      const swap = type.k === "int" && type.bigEndian === true && type.bits > 8;
      const v = fn.b.load(base, {
        size: (type.bits / 8) as Size,
        off,
        signed: type.sign.kind() === "s" && !swap,
        ...invariant,
      });
      return swap ? fn.b.tobe(v, type.swapped ?? (type.bits as 16 | 32 | 64)) : v;
    }
    case "ptr":
      return fn.b.load(base, {
        size: 8,
        off,
        ...invariant,
        ...(type.space === "kernel" && type.trust === "trusted" ? { space: "btf" as const } : {}),
      });
    default:
      return fn.b.load(base, { size: 1, off, ...invariant });
  }
}

/** Stores a register into a place of scalar type; narrowing happens here. */
export function storePlace(fn: HasBuilder, place: PlaceVal, value: Inst): void {
  const { type } = place;
  const v =
    type.k === "int" && type.bigEndian === true && type.bits > 8
      ? fn.b.tobe(value, type.swapped ?? (type.bits as 16 | 32 | 64))
      : value;
  const size = sizeOf(type) as Size;
  guarded(fn, place, (base) => fn.b.store(base, v, { size, off: place.off }));
}

/** Runs `use` with the base of the place, only where its run-time indices are inside. */
export function guarded(fn: HasBuilder, place: PlaceVal, use: (base: Inst) => void): void {
  const { b } = fn;
  if (place.indices === undefined) {
    use(place.base);
    return;
  }
  const done = b.block("index.done");
  let base = place.base;
  for (const { index, scale, length } of place.indices) {
    const inside = b.block("index.ok");
    b.br("ult", index, length, inside, done);
    b.at(inside);
    base = b.add(base, scale === 1 ? index : b.mul(index, scale));
  }
  use(base);
  b.jmp(done);
  b.at(done);
}

/** The address of a place without run-time indices. */
export function addressOf(fn: HasBuilder, place: PlaceVal): Inst {
  return place.off === 0 ? place.base : fn.b.add(place.base, place.off);
}

/** The part of `place` at `off` bytes with another type. */
export function within(place: PlaceVal, off: number, type: Exclude<Type, { k: "void" }>): PlaceVal {
  const { ref: _, ...rest } = place;
  return { ...rest, type, off: place.off + off };
}

/** What a pointer to such a place is to the back end. */
export function irSpace(place: PlaceVal): "map-value" | "mem" | "packet" | "stack" | "ctx" | "btf" {
  return place.space === "map" || place.space === "global" ? "map-value" : place.space;
}
