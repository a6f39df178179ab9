/** Histograms: the bucket of a value. */
import type { Inst } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import type { MapUse } from "./map-ops.ts";
import { addTo } from "./map-ops.ts";
import { storeInto, zeroHoles } from "./memory.ts";
import { signOf } from "./ops.ts";
import { within } from "./place.ts";
import { fromSchema } from "./types.ts";
import type { PlaceVal, Val } from "./value.ts";
import { ERROR, NOTHING } from "./value.ts";

/**
 * `hist.increment(value)`, `hist.increment(key, value)`. Power-of-two buckets: bucket 0 counts zeros (and negative
 * values), bucket i counts [2^(i-1), 2^i). Linear ones: bucket 0 below `min`, the last from `max` up.
 */
export function increment(fn: Fn, map: MapUse, args: readonly Ast[], node: Ast): Val {
  const { handle } = map;
  const buckets = handle.histogram;
  const valueNode = args.at(-1);
  if (buckets === undefined || handle.key === undefined || valueNode === undefined) return ERROR;
  const v = fn.scalar(fn.value(valueNode), valueNode);
  if (v === undefined) return ERROR;
  const { b } = fn;
  const isSigned = signOf(v.type).kind() !== "u";
  const bucket =
    buckets.scale === "log2"
      ? log2Bucket(fn, v.v, isSigned)
      : linearBucket(fn, v.v, isSigned, buckets.min, buckets.max, buckets.step);
  const keyType = fromSchema(handle.key);
  const key: PlaceVal = fn.temp(keyType, "bucket");
  if (keyType.k === "struct") {
    const [outer, inner] = keyType.schema.fields;
    if (outer === undefined || inner === undefined) return ERROR;
    zeroHoles(fn, key);
    storeInto(fn, within(key, outer.offset, fromSchema(outer.schema) as PlaceVal["type"]), args[0]!, {
      clean: true,
      partial: false,
    });
    b.store(key.base, bucket, { size: 4, off: inner.offset });
  } else {
    b.store(key.base, bucket, { size: 4 });
  }
  fn.mark(node);
  addTo(fn, map, key, b.int(1));
  return NOTHING;
}

/** Bits that the value needs: 0 for 0, 64 for 2^63 and above. */
function log2Bucket(fn: Fn, value: Inst, isSigned: boolean): Inst {
  const { b } = fn;
  const out = b.func.slot(8, 8, "bucket");
  b.start(out);
  b.store(b.slotAddr(out), 0, { size: 8 });
  const positive = b.block("positive");
  const end = b.block("bucket");
  b.br(isSigned ? "sgt" : "ne", value, 0, positive, end);
  b.at(positive);
  // Halving search without branches: each step adds half the remaining width when the upper half is not empty.
  let v = value;
  let bits: Inst | undefined;
  for (const half of [32, 16, 8, 4, 2]) {
    const shift = b.bin("shl", b.cmp("ugt", v, (1n << BigInt(half)) - 1n), BigInt(Math.log2(half)));
    v = b.bin("lshr", v, shift);
    bits = bits === undefined ? shift : b.or(bits, shift);
  }
  // v is now 1, 2 or 3.
  const last = b.bin("lshr", v, 1);
  b.store(b.slotAddr(out), b.add(b.or(bits!, last), 1), { size: 8 });
  b.jmp(end);
  b.at(end);
  return b.load(b.slotAddr(out), { size: 8 });
}

function linearBucket(fn: Fn, value: Inst, isSigned: boolean, min: number, max: number, step: number): Inst {
  const { b } = fn;
  const last = (max - min) / step + 1;
  const out = b.func.slot(8, 8, "bucket");
  b.start(out);
  b.store(b.slotAddr(out), 0, { size: 8 });
  const above = b.block("above");
  const over = b.block("over");
  const inside = b.block("inside");
  const end = b.block("bucket");
  b.br(isSigned ? "sge" : "uge", value, min, above, end);
  b.at(above);
  b.br(isSigned ? "sge" : "uge", value, max, over, inside);
  b.at(over);
  b.store(b.slotAddr(out), last, { size: 8 });
  b.jmp(end);
  b.at(inside);
  b.store(b.slotAddr(out), b.add(b.bin("udiv", b.sub(value, min), step), 1), { size: 8 });
  b.jmp(end);
  b.at(end);
  return b.load(b.slotAddr(out), { size: 8 });
}
