/**
 * Compiled read loops. The loop, the decoder and the views are local constants of one
 * generated function: the same loop over module-level variables costs two to four
 * times as much (47-115 ns a sample against 25-30).
 */
import type { Schema, StructSchema } from "../../probe/schema-types.ts";
import { type Decode, codecOf } from "../codec.ts";
import type { Cursor } from "./reader.ts";

/** Reads samples and hands each to `fn`; returns how many. */
export type Loop<T> = (fn: (sample: T) => void, max: number) => number;

/** A cursor and the function that moves it to the sample at a byte offset. */
export interface MovableCursor<T> {
  readonly cursor: Cursor<T>;
  readonly move: (offset: number) => Cursor<T>;
}

/**
 * A reused view of the samples in `buffer`: for a struct its fields as getters, for
 * anything else `value`.
 */
export function makeCursor<T>(schema: Schema, buffer: ArrayBufferLike, aligned: boolean): MovableCursor<T> {
  const decode = codecOf(schema).decoder(buffer, { aligned }) as Decode<T>;
  const fields = schema.kind === "struct" ? (schema as StructSchema).fields : [{ name: "value", offset: 0, schema }];
  const decoders = fields.map((f) =>
    codecOf(f.schema).decoder(buffer, {
      aligned: aligned && (f.schema.kind === "int" ? f.offset % f.schema.size === 0 : f.offset % 8 === 0),
    }),
  );
  const source = [
    '"use strict";',
    "let o = 0;",
    ...decoders.map((_, i) => `const d${i} = decoders[${i}];`),
    "class Cursor {",
    ...fields.map((f, i) => `  get [${JSON.stringify(f.name)}]() { return d${i}(o + ${f.offset}); }`),
    "  toObject() { return decode(o); }",
    "}",
    "const cursor = new Cursor();",
    "return { cursor, move(offset) { o = offset; return cursor; } };",
  ].join("\n");
  // oxlint-disable-next-line no-implied-eval, no-new-func
  const make = new Function("decoders", "decode", source) as (
    d: readonly unknown[],
    decode: Decode<T>,
  ) => MovableCursor<T>;
  return make(decoders, decode);
}

export interface RingViews {
  /** Low and high half of the producer's position. */
  readonly producer: Int32Array;
  /** The data, mapped twice in a row, so that a sample never wraps. */
  readonly data: Int32Array;
  /** Byte offset of the data in the buffer that `at` reads. */
  readonly dataOffset: number;
  /** Size of the ring in bytes minus one. */
  readonly mask: number;
  /** `[0]`: low half of our position. `[1]`: bytes taken since the last publication. `[2]`: not 0 ends the loop. */
  readonly position: Int32Array;
  /** A sample shorter than this is given to `short`. */
  readonly minSize: number;
  readonly short: (size: number) => never;
}

/**
 * The loop over a BPF ring buffer. `at(offset)` gives what `fn` receives.
 *
 * Record: `u32 len` (bit 31: still being written, bit 30: discarded), `u32 pgoff`, the
 * sample, padding to 8 bytes (kernel/bpf/ringbuf.c).
 */
export function ringLoop<T>(views: RingViews, at: (offset: number, size: number) => T): Loop<T> {
  const source = `"use strict";
const { producer, data, position, short } = views;
const load = Atomics.load;
return function drain(fn, max) {
  const start = position[0];
  let at_ = start;
  let n = 0;
  let end = load(producer, ${LOW_WORD});
  try {
    while (n < max) {
      if (at_ === end) {
        end = load(producer, ${LOW_WORD});
        if (at_ === end) break;
      }
      const offset = at_ & ${views.mask};
      const header = load(data, offset >> 2);
      if (header < 0) break;
      const size = header & 0x3fffffff;
      at_ = (at_ + ((size + 15) & -8)) | 0;
      if ((header & 0x40000000) !== 0) continue;
      if (size < ${views.minSize}) short(size);
      n++;
      fn(at(offset + ${views.dataOffset + 8}, size));
      if (position[${STOP}] !== 0) break;
    }
  } finally {
    position[0] = at_;
    position[1] = position[1] + (at_ - start) | 0;
  }
  return n;
};`;
  // oxlint-disable-next-line no-implied-eval, no-new-func
  const make = new Function("views", "at", source) as (v: RingViews, a: typeof at) => Loop<T>;
  return make(views, at);
}

/** Index in `RingViews.position` of the flag that ends a running loop. */
export const STOP = 2;

/** Index of the low half of a 64-bit position in an Int32Array of this machine. */
export const LOW_WORD = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 0 : 1;
