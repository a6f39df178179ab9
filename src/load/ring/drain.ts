/**
 * Compiled read loops. The loop, the decoder and the views are local constants of one
 * generated function: the same loop over module-level variables costs two to four
 * times as much (47-115 ns a sample against 25-30).
 */
import type { Schema, StructSchema } from "../../probe/schema-types.ts";
import { codecOf, type Decode, uniqueSource } from "../../values/codec.ts";
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
 * anything else `value`. Aligned integers are read by a word index that `move` sets.
 */
export function makeCursor<T>(schema: Schema, buffer: ArrayBufferLike, aligned: boolean): MovableCursor<T> {
  const decode = codecOf(schema).decoder(buffer, { aligned, own: true }) as Decode<T>;
  const fields = schema.kind === "struct" ? (schema as StructSchema).fields : [{ name: "value", offset: 0, schema }];
  const decoders: Decode<unknown>[] = [];
  const getters = fields.map(({ name, offset, schema: field }) => {
    let read = aligned ? readWord(field, offset) : undefined;
    if (read === undefined) {
      decoders.push(codecOf(field).decoder(buffer, { aligned: aligned && offset % 8 === 0, own: true }));
      read = `d${decoders.length - 1}(${aligned ? "(this[AT] << 2)" : "this[AT]"} + ${offset})`;
    }
    return `  get [${JSON.stringify(name)}]() { return ${read}; }`;
  });
  const source = [
    '"use strict";',
    "const AT = Symbol();",
    ...Object.entries(WORD_VIEWS)
      .filter(([name]) => getters.some((g) => g.includes(`${name}[`)))
      .map(([name, type]) => `const ${name} = new ${type}(buffer);`),
    ...decoders.map((_, i) => `const d${i} = decoders[${i}];`),
    "class Cursor {",
    "  constructor() { this[AT] = 0; }",
    ...getters,
    `  toObject() { return decode(${aligned ? "this[AT] << 2" : "this[AT]"}); }`,
    "}",
    "const cursor = new Cursor();",
    `return { cursor, move(offset) { cursor[AT] = ${aligned ? "offset >> 2" : "offset"}; return cursor; } };${uniqueSource()}`,
  ].join("\n");
  // oxlint-disable-next-line no-implied-eval, no-new-func
  const make = new Function("buffer", "decoders", "decode", source) as (
    b: ArrayBufferLike,
    d: readonly unknown[],
    decode: Decode<T>,
  ) => MovableCursor<T>;
  return make(buffer, decoders, decode);
}

const WORD_VIEWS: Readonly<Record<string, string>> = {
  u8: "Uint8Array",
  s8: "Int8Array",
  u16: "Uint16Array",
  s16: "Int16Array",
  u32: "Uint32Array",
  s32: "Int32Array",
  u64: "BigUint64Array",
  s64: "BigInt64Array",
};

/** Reads an aligned integer of this machine's byte order by the word index of the sample. */
function readWord(schema: Schema, offset: number): string | undefined {
  if (schema.kind !== "int" || schema.bigEndian || offset % schema.size !== 0) return undefined;
  const view = `${schema.signed ? "s" : "u"}${schema.bits}`;
  const at = { 1: "(this[AT] << 2)", 2: "(this[AT] << 1)", 4: "this[AT]", 8: "(this[AT] >> 1)" }[schema.size] ?? "";
  return `${view}[${at} + ${offset / schema.size}]`;
}

/**
 * The header must be read before the sample it announces. `Atomics.load` is a call into
 * V8's runtime (13 ns a sample against 3.5 with a plain load); x86-64 keeps the order of
 * plain loads, other machines do not.
 */
const LOAD_HEADER = process.arch === "x64" ? "data[offset >> 2]" : "load(data, offset >> 2)";

export interface RingViews {
  /** Low and high half of the producer's position. */
  readonly producer: Int32Array;
  /** The data, mapped twice in a row, so that a sample never wraps. */
  readonly data: Int32Array;
  /** Byte offset of the data in the buffer that `at` reads. */
  readonly dataOffset: number;
  /** Size of the ring in bytes minus one. */
  readonly mask: number;
  /** `[0]`: low half of our position. `[1]`: bytes taken since the last publication. */
  readonly position: Int32Array;
  /** A field of an object and not a fourth word: that check costs nothing, this one 1 ns. */
  readonly stop: { now: boolean };
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
const { producer, data, position, short, stop } = views;
const load = Atomics.load;
return function drain(fn, max_) {
  const max = max_ | 0;
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
      const header = ${LOAD_HEADER};
      // One comparison for what is rare: still being written, discarded, too short.
      if (header - ${views.minSize} >>> 0 > ${0x3fff_ffff - views.minSize}) {
        if (header < 0) break;
        at_ = (at_ + (((header & 0x3fffffff) + 15) & -8)) | 0;
        if ((header & 0x40000000) !== 0) continue;
        short(header);
      }
      at_ = (at_ + ((header + 15) & -8)) | 0;
      n++;
      fn(at(offset + ${views.dataOffset + 8}, header));
      if (stop.now) break;
    }
  } finally {
    position[0] = at_;
    position[1] = position[1] + (at_ - start) | 0;
  }
  return n;
};${uniqueSource()}`;
  // oxlint-disable-next-line no-implied-eval, no-new-func
  const make = new Function("views", "at", source) as (v: RingViews, a: typeof at) => Loop<T>;
  return make(views, at);
}

/** Index of the low half of a 64-bit position in an Int32Array of this machine. */
export const LOW_WORD = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 0 : 1;
