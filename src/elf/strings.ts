/** String tables. */
import { decodeUtf8 } from "../core/bytes.ts";
import { DecodeError } from "../core/errors.ts";

/**
 * A string table: NUL-terminated UTF-8 strings at byte offsets. Each string is decoded once.
 *
 * Strings may overlap (linkers share tails), so a hostile table could make `n` names of `n` bytes
 * each out of `n` bytes. The total that is decoded is bounded to a small multiple of the table.
 */
export class StringTable {
  readonly bytes: Uint8Array;
  readonly what: string;
  readonly section: string;
  /** Offset of the table in the file. */
  readonly base: number;
  readonly #decoded = new Map<number, string>();
  #budget: number;

  constructor(bytes: Uint8Array, at: { what: string; section: string; base: number }) {
    this.bytes = bytes;
    this.what = at.what;
    this.section = at.section;
    this.base = at.base;
    this.#budget = 65536 + bytes.length * 16;
  }

  #error(message: string, offset: number): DecodeError {
    return new DecodeError(this.what, message, { offset: this.base + offset, path: [this.section] });
  }

  /**
   * The string at `offset` (0 is the empty string, also of an empty table).
   *
   * @throws DecodeError when `offset` is outside, or the string has no end
   */
  at(offset: number): string {
    if (offset === 0 && (this.bytes.length === 0 || this.bytes[0] === 0)) return "";
    const known = this.#decoded.get(offset);
    if (known !== undefined) return known;
    if (offset >= this.bytes.length) {
      throw this.#error(`string offset ${offset} is outside the table's ${this.bytes.length} bytes`, 0);
    }
    const end = this.bytes.indexOf(0, offset);
    if (end < 0) throw this.#error("string has no terminating NUL", offset);
    this.#budget -= end - offset;
    if (this.#budget < 0) throw this.#error("strings overlap more than any linker makes them", offset);
    const text = decodeUtf8(this.bytes.subarray(offset, end));
    this.#decoded.set(offset, text);
    return text;
  }

  /** Whether the string at `offset` is `name` (UTF-8 without NUL); for scans, decodes nothing. */
  equals(offset: number, name: Uint8Array): boolean {
    const bytes = this.bytes;
    const end = offset + name.length;
    if (end >= bytes.length || bytes[end] !== 0) return false;
    for (let i = 0; i < name.length; i++) if (bytes[offset + i] !== name[i]) return false;
    return true;
  }
}
