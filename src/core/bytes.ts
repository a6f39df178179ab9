/**
 * Bounds-checked reading and writing of bytes in either byte order. Every
 * out-of-range access is a `DecodeError` that carries the offset and field path.
 */
import { DecodeError } from "./errors.ts";

export type Endian = "little" | "big";

/** The byte order of this machine. */
export const hostEndian: Endian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? "little" : "big";

const utf8 = new TextDecoder();
const utf8Strict = new TextEncoder();

/** Bytes of `s` in UTF-8, without a terminating NUL. */
export function encodeUtf8(s: string): Uint8Array {
  return utf8Strict.encode(s);
}

/** UTF-8 text of `bytes`; malformed sequences become U+FFFD. */
export function decodeUtf8(bytes: Uint8Array): string {
  return utf8.decode(bytes);
}

/** Text of a NUL-terminated (or full) byte field, as the kernel's `char[n]` hold it. */
export function decodeCString(bytes: Uint8Array): string {
  const nul = bytes.indexOf(0);
  return utf8.decode(nul < 0 ? bytes : bytes.subarray(0, nul));
}

/** A cursor over bytes. `what` names the input in errors ("ELF", ".BTF", …). */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly littleEndian: boolean;
  readonly what: string;
  /** Offset of `bytes[0]` in the whole input, so that errors name absolute offsets. */
  readonly base: number;
  offset = 0;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, options: { endian?: Endian; what?: string; base?: number } = {}) {
    this.bytes = bytes;
    this.littleEndian = (options.endian ?? "little") === "little";
    this.what = options.what ?? "input";
    this.base = options.base ?? 0;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.bytes.length - this.offset;
  }

  /** A `DecodeError` at the cursor (or at `offset`). */
  error(message: string, field?: string, offset = this.offset): DecodeError {
    return new DecodeError(this.what, message, {
      offset: this.base + offset,
      path: field === undefined ? [] : [field],
    });
  }

  /** Checks that `size` bytes follow and returns the offset of the first, past which the cursor moves. */
  take(size: number, field?: string): number {
    const at = this.offset;
    if (!Number.isSafeInteger(size) || size < 0 || size > this.bytes.length - at) {
      throw this.error(`expected ${size} bytes, ${this.remaining} are left`, field);
    }
    this.offset = at + size;
    return at;
  }

  seek(offset: number, field?: string): this {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > this.bytes.length) {
      throw this.error(`offset ${offset} is outside ${this.bytes.length} bytes`, field);
    }
    this.offset = offset;
    return this;
  }

  u8(field?: string): number {
    return this.#view.getUint8(this.take(1, field));
  }
  u16(field?: string): number {
    return this.#view.getUint16(this.take(2, field), this.littleEndian);
  }
  s16(field?: string): number {
    return this.#view.getInt16(this.take(2, field), this.littleEndian);
  }
  u32(field?: string): number {
    return this.#view.getUint32(this.take(4, field), this.littleEndian);
  }
  s32(field?: string): number {
    return this.#view.getInt32(this.take(4, field), this.littleEndian);
  }
  u64(field?: string): bigint {
    return this.#view.getBigUint64(this.take(8, field), this.littleEndian);
  }
  s64(field?: string): bigint {
    return this.#view.getBigInt64(this.take(8, field), this.littleEndian);
  }
  /** A view (not a copy) of the next `size` bytes. */
  slice(size: number, field?: string): Uint8Array {
    const at = this.take(size, field);
    return this.bytes.subarray(at, at + size);
  }
  /** The NUL-terminated UTF-8 string at `offset`; the cursor does not move. */
  cstringAt(offset: number, field?: string): string {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset >= this.bytes.length) {
      throw this.error(`string offset ${offset} is outside ${this.bytes.length} bytes`, field, 0);
    }
    const end = this.bytes.indexOf(0, offset);
    if (end < 0) throw this.error("string has no terminating NUL", field, offset);
    return utf8.decode(this.bytes.subarray(offset, end));
  }
}

/** A growing byte buffer. Values are range-checked: nothing wraps silently. */
export class ByteWriter {
  readonly littleEndian: boolean;
  length = 0;
  #bytes: Uint8Array;
  #view: DataView;

  constructor(options: { endian?: Endian; capacity?: number } = {}) {
    this.littleEndian = (options.endian ?? "little") === "little";
    this.#bytes = new Uint8Array(options.capacity ?? 256);
    this.#view = new DataView(this.#bytes.buffer);
  }

  #room(size: number): number {
    const at = this.length;
    const need = at + size;
    if (need > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(need, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.length = need;
    return at;
  }

  u8(value: number): this {
    checkInt(value, 0, 0xff, "u8");
    const at = this.#room(1);
    this.#view.setUint8(at, value);
    return this;
  }
  u16(value: number): this {
    checkInt(value, 0, 0xffff, "u16");
    const at = this.#room(2);
    this.#view.setUint16(at, value, this.littleEndian);
    return this;
  }
  s16(value: number): this {
    checkInt(value, -0x8000, 0x7fff, "s16");
    const at = this.#room(2);
    this.#view.setInt16(at, value, this.littleEndian);
    return this;
  }
  u32(value: number): this {
    checkInt(value, 0, 0xffff_ffff, "u32");
    const at = this.#room(4);
    this.#view.setUint32(at, value, this.littleEndian);
    return this;
  }
  s32(value: number): this {
    checkInt(value, -0x8000_0000, 0x7fff_ffff, "s32");
    const at = this.#room(4);
    this.#view.setInt32(at, value, this.littleEndian);
    return this;
  }
  u64(value: bigint): this {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw new RangeError(`u64: ${value} is out of range`);
    const at = this.#room(8);
    this.#view.setBigUint64(at, value, this.littleEndian);
    return this;
  }
  s64(value: bigint): this {
    if (value < -(1n << 63n) || value >= 1n << 63n) throw new RangeError(`s64: ${value} is out of range`);
    const at = this.#room(8);
    this.#view.setBigInt64(at, value, this.littleEndian);
    return this;
  }
  bytes(value: Uint8Array): this {
    const at = this.#room(value.length);
    this.#bytes.set(value, at);
    return this;
  }
  zeros(count: number): this {
    this.#room(count);
    return this;
  }
  /** Pads with zeros to a multiple of `align` bytes. */
  align(align: number): this {
    return this.zeros((align - (this.length % align)) % align);
  }
  /** Overwrites four bytes written before. */
  patchU32(offset: number, value: number): this {
    checkInt(value, 0, 0xffff_ffff, "u32");
    if (offset + 4 > this.length) throw new RangeError(`patch at ${offset} is past the end ${this.length}`);
    this.#view.setUint32(offset, value, this.littleEndian);
    return this;
  }
  /** A copy of what has been written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
}

function checkInt(value: number, min: number, max: number, what: string): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${what}: expected an integer in [${min}, ${max}], got ${value}`);
  }
}
