/** A hash table's look-up as a WebAssembly function: address of a key in, address of its value or 0 out. */
import { type HashMap, LINK } from "../maps/hash.ts";
import { EMPTY, I32, W, WasmBytes } from "./bytes.ts";

/** Longer keys are looked up by the map itself. */
export const MAX_KEY = 64;
/** Links that are followed: more means that a program destroyed them. */
const MAX_STEPS = 1 << 16;

const KEY = 0;
const HASH = 1;
const AT = 2;
const STEPS = 3;

/** h ^= h >>> by */
function fold(out: WasmBytes, by: number): void {
  out.get(HASH).get(HASH).i32(by).op(W.i32_shr_u, W.i32_xor).set(HASH);
}

/** `HashMap`'s hash of the key, into the local. */
function hash(out: WasmBytes, size: number): void {
  out.i32(size).set(HASH);
  let i = 0;
  for (; i + 4 <= size; i += 4) {
    out.get(HASH).get(KEY).access(W.i32_load, i).op(W.i32_xor).i32(0x9e37_79b1).op(W.i32_mul).set(HASH);
    fold(out, 15);
  }
  for (; i < size; i++) {
    out.get(HASH).get(KEY).access(W.i32_load8_u, i).op(W.i32_xor).i32(0x0100_0193).op(W.i32_mul).set(HASH);
  }
  fold(out, 13);
  out.get(HASH).i32(0x85eb_ca6b).op(W.i32_mul).set(HASH);
  fold(out, 16);
}

/** Leaves the block outside the given one when the keys differ. */
function compare(out: WasmBytes, size: number): void {
  let i = 0;
  const differs = (step: number, load: number, ne: number): void => {
    for (; i + step <= size; i += step) {
      out.get(KEY).access(load, i).get(AT).access(load, i).op(ne, W.br_if).u(0);
    }
  };
  differs(8, W.i64_load, W.i64_ne);
  differs(4, W.i32_load, W.i32_ne);
  differs(1, W.i32_load8_u, W.i32_ne);
}

/** The function's body. */
export function lookupBody(map: HashMap): WasmBytes {
  const out = new WasmBytes().u(1).u(3).op(I32);
  const { keySize } = map.spec;
  hash(out, keySize);
  out.i32(0).access(W.i32_load, map.table);
  out
    .get(HASH)
    .i32(0)
    .access(W.i32_load, map.table + 4)
    .op(W.i32_and)
    .i32(2)
    .op(W.i32_shl, W.i32_add);
  out.access(W.i32_load, 0).set(AT);
  out.op(W.loop, EMPTY);
  out.get(AT).op(W.i32_eqz, W.if, EMPTY).i32(0).op(W.return, W.end);
  out.op(W.block, EMPTY);
  compare(out, keySize);
  out.get(AT).i32(map.valueOffset).op(W.i32_add, W.return, W.end);
  out.get(AT).i32(-LINK).op(W.i32_add).access(W.i32_load, 0).set(AT);
  out.get(STEPS).i32(1).op(W.i32_add).tee(STEPS).i32(MAX_STEPS).op(W.i32_lt_u, W.br_if).u(0);
  return out.op(W.end).i32(0).op(W.end);
}
