/** Long text in the making, as bytes: millions of small strings would otherwise be made and live until the end. */
import { decodeUtf8 } from "../core/bytes.ts";

const encoder = new TextEncoder();

export class TextSink {
  #bytes: Uint8Array;
  #length = 0;

  constructor(capacity = 1 << 16) {
    this.#bytes = new Uint8Array(capacity);
  }

  #room(more: number): void {
    const need = this.#length + more;
    if (need <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(need, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }

  add(text: string): void {
    const { length } = text;
    // A UTF-16 unit takes at most three bytes of UTF-8.
    this.#room(length * 3);
    if (length < 128) {
      // Short ASCII is copied by hand: a call into the engine costs more.
      const to = this.#bytes;
      let at = this.#length;
      let i = 0;
      for (; i < length; i++) {
        const unit = text.charCodeAt(i);
        if (unit > 127) break;
        to[at++] = unit;
      }
      if (i === length) {
        this.#length = at;
        return;
      }
    }
    this.#length += encoder.encodeInto(text, this.#bytes.subarray(this.#length)).written;
  }

  /** The NUL-terminated bytes at `start`. */
  cstring(from: Uint8Array, start: number): void {
    let end = start;
    while (from[end] !== 0) end++;
    this.#room(end - start);
    const to = this.#bytes;
    let at = this.#length;
    for (let i = start; i < end; i++) to[at++] = from[i]!;
    this.#length = at;
  }

  byte(value: number, count = 1): void {
    this.#room(count);
    for (let i = 0; i < count; i++) this.#bytes[this.#length++] = value;
  }

  /** An integer in decimal. */
  integer(value: number): void {
    if (value < 0 || value > 0x7fff_ffff) {
      this.add(String(value));
      return;
    }
    this.#room(10);
    let digits = 1;
    for (let limit = 10; limit <= value; limit *= 10) digits++;
    let rest = value;
    for (let at = this.#length + digits - 1; at >= this.#length; at--) {
      const next = Math.trunc(rest / 10);
      this.#bytes[at] = 48 + rest - next * 10;
      rest = next;
    }
    this.#length += digits;
  }

  text(): string {
    return decodeUtf8(this.#bytes.subarray(0, this.#length));
  }
}
