/** Long text in the making, as bytes: millions of small strings would otherwise live until the end. */
import { decodeUtf8 } from "../core/bytes.ts";

const encoder = new TextEncoder();

export class TextSink {
  #bytes = new Uint8Array(1 << 16);
  #length = 0;

  add(text: string): void {
    // A UTF-16 unit takes at most three bytes of UTF-8.
    const most = this.#length + text.length * 3;
    if (most > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(most, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#length += encoder.encodeInto(text, this.#bytes.subarray(this.#length)).written;
  }

  text(): string {
    return decodeUtf8(this.#bytes.subarray(0, this.#length));
  }
}
