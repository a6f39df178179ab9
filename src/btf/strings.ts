/** The string section of a BTF: text by offset, offset by text, without making a string of each. */
import { decodeUtf8, encodeUtf8 } from "../core/bytes.ts";

export class BtfStrings {
  readonly bytes: Uint8Array;
  /** Offset of `bytes[0]` in the whole (split) string space. */
  readonly start: number;
  /** The whole section as one string, when it is ASCII (so that indexes are byte offsets). */
  #text: string | undefined;
  #mixed = false;
  #lookups = 0;

  readonly #native: ((bytes: Uint8Array, text: string, from: number) => number) | undefined;

  /** @param find what the runtime has for searching bytes, see `BtfParseOptions` */
  constructor(bytes: Uint8Array, start: number, find?: (bytes: Uint8Array, text: string, from: number) => number) {
    this.bytes = bytes;
    this.start = start;
    this.#native = find;
  }

  get end(): number {
    return this.start + this.bytes.length;
  }

  /** The string at `offset - start`, which must be inside and before the final NUL. */
  at(offset: number): string {
    const from = offset - this.start;
    // A few names are cheaper one by one; after that the whole section is decoded once.
    if (this.#text === undefined && !this.#mixed && ++this.#lookups > 4096) this.text();
    const text = this.#text;
    if (text !== undefined) return text.slice(from, text.indexOf("\0", from));
    const { bytes } = this;
    let end = from;
    while (bytes[end] !== 0) end++;
    return decodeUtf8(bytes.subarray(from, end));
  }

  /** The section as one string whose indexes are byte offsets; undefined when it is not pure ASCII. */
  text(): string | undefined {
    if (this.#text === undefined && !this.#mixed) {
      const text = decodeUtf8(this.bytes);
      if (text.length === this.bytes.length) this.#text = text;
      else this.#mixed = true;
    }
    return this.#text;
  }

  /**
   * Offset of the first occurrence of `pattern` at or after `from` (both relative to
   * this section), or -1: Boyer-Moore-Horspool, which needs no decoded text.
   */
  search(pattern: Uint8Array, from = 0): number {
    const { bytes } = this;
    const length = pattern.length;
    const total = bytes.length;
    const skip = new Uint16Array(256).fill(Math.min(length, 0xffff));
    for (let i = 0; i < length - 1; i++) skip[pattern[i]!] = Math.min(length - 1 - i, 0xffff);
    const last = pattern[length - 1]!;
    let i = from + length - 1;
    while (i < total) {
      const byte = bytes[i]!;
      if (byte === last) {
        let j = length - 2;
        let p = i - 1;
        while (j >= 0 && bytes[p] === pattern[j]) {
          j--;
          p--;
        }
        if (j < 0) return p + 1;
      }
      i += skip[byte]!;
    }
    return -1;
  }

  /** The same for text: the engine's own search where the section is ASCII (0.1 ms for a kernel's names, 3-20 in a cold loop). */
  #find(text: string, from: number): number {
    if (this.#native !== undefined && this.#text === undefined) return this.#native(this.bytes, text, from);
    const all = this.text();
    return all === undefined ? this.search(encodeUtf8(text), from) : all.indexOf(text, from);
  }

  /** Every offset (in the whole string space) from which `name` reads, ends of longer strings included, up to `limit`. */
  offsetsOf(name: string, limit: number): number[] {
    const found: number[] = [];
    for (let at = this.#find(`${name}\0`, 0); at >= 0 && found.length < limit; at = this.#find(`${name}\0`, at + 1)) {
      found.push(this.start + at);
    }
    return found;
  }

  /** Offset of the string `name` itself (not the end of a longer one) in the whole string space, or -1. */
  offsetOf(name: string): number {
    if (name === "") return this.start === 0 ? 0 : -1;
    // A split section starts with a string, not with a NUL.
    if (this.start !== 0 && this.at(this.start) === name) return this.start;
    const at = this.#find(`\0${name}\0`, 0);
    return at < 0 ? -1 : this.start + at + 1;
  }

  /** Offsets (in the whole string space) of strings that begin with `prefix`, up to `limit`. */
  offsetsOfPrefix(prefix: string, limit: number): number[] {
    const found: number[] = [];
    for (let at = this.#find(prefix, 0); at >= 0 && found.length < limit; at = this.#find(prefix, at + 1)) {
      if (at === 0 || this.bytes[at - 1] === 0) found.push(this.start + at);
    }
    return found;
  }
}
