/** What the methods of maps are made of: keys and values in memory, look-up, update, counting. */
import type { MapHandle } from "../../probe/map-types.ts";
import { BPF_FUNC } from "../../uapi/index.ts";
import type { Inst } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { tempOf } from "./memory.ts";
import { addressOf } from "./place.ts";
import { BOOL, fromSchema, sizeOf } from "./types.ts";
import type { PlaceVal, Val } from "./value.ts";

export const BPF_NOEXIST = 1;
export const FIXED = new Set(["array", "percpu_array"]);
export const PERCPU = new Set(["percpu_hash", "percpu_array", "lru_percpu_hash"]);

/** A map as seen by one function. */
export interface MapUse {
  readonly handle: MapHandle;
  /** What the source calls it. */
  readonly seen: string;
  /** Its name in the object. */
  readonly name: string;
  /** An inner map, found at run time: its address. */
  readonly pointer?: Inst;
}

/** The map as helpers take it. */
export function mapPointer(fn: Fn, map: MapUse): Inst {
  return map.pointer ?? fn.b.map(map.name);
}

export function truth(fn: Fn, cond: "eq" | "ne", v: Inst, to: number): Val {
  return { k: "scalar", type: BOOL, v: fn.b.cmp(cond, v, to) };
}

export function input(arg: number, place: PlaceVal): { arg: number; mode: "in"; size: number } {
  return { arg, mode: "in", size: sizeOf(place.type) };
}

export function keyOf(fn: Fn, map: MapUse, node: Ast): PlaceVal | undefined {
  const { key } = map.handle;
  return key === undefined ? undefined : tempOf(fn, key, node, "key");
}

/** The entry of a key that lies in memory. */
export function lookupPlace(fn: Fn, map: MapUse, key: PlaceVal): Inst {
  return fn.b.helper(BPF_FUNC.map_lookup_elem, [mapPointer(fn, map), addressOf(fn, key)], {
    space: "map-value",
    nullable: true,
    clobbers: "none",
    mem: [input(1, key)],
  });
}

export function updatePlace(fn: Fn, map: MapUse, key: PlaceVal, value: PlaceVal, flags: number): Inst {
  return fn.b.helper(BPF_FUNC.map_update_elem, [mapPointer(fn, map), addressOf(fn, key), addressOf(fn, value), flags], {
    clobbers: "mem",
    mem: [input(1, key), input(2, value)],
  });
}

export function addTo(fn: Fn, map: MapUse, key: PlaceVal, delta: Inst): void {
  const { b } = fn;
  const { handle } = map;
  const size = handle.value?.size ?? 8;
  const end = b.block("added");
  const bump = (p: Inst): void => {
    if (PERCPU.has(handle.type) || size < 4) {
      const width = size as 1 | 2 | 4 | 8;
      b.store(p, b.add(b.load(p, { size: width }), delta), { size: width });
    } else {
      b.atomic("add", p, delta, { size: size as 4 | 8 });
    }
    b.jmp(end);
  };
  const found = b.block("found");
  const missing = FIXED.has(handle.type) ? end : b.block("missing");
  const first = lookupPlace(fn, map, key);
  if (missing === end) {
    b.br("ne", first, 0, found, end);
    b.at(found);
    bump(first);
    b.at(end);
    return;
  }
  const slot = b.func.slot(8, 8, "entry");
  b.start(slot);
  b.store(b.slotAddr(slot), first, { size: 8 });
  b.br("ne", first, 0, found, missing);
  b.at(missing);
  // The entry begins with the first delta; only when another CPU was faster is there something to add to.
  const start = fn.temp(fromSchema(handle.value!), "start");
  b.store(start.base, delta, { size: size as 1 | 2 | 4 | 8 });
  const lost = b.block("lost");
  b.br("eq", updatePlace(fn, map, key, start, BPF_NOEXIST), 0, end, lost);
  b.at(lost);
  const again = lookupPlace(fn, map, key);
  b.store(b.slotAddr(slot), again, { size: 8 });
  b.br("ne", again, 0, found, end);
  b.at(found);
  bump(b.load(b.slotAddr(slot), { size: 8, space: "map-value" }));
  b.at(end);
}
