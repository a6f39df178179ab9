/**
 * Changing BTF without touching what is not changed: type ids stay, string offsets stay. Records are
 * 32-bit words as in the file (see btf/kinds.ts), in this machine's byte order.
 */
import { ByteWriter, decodeUtf8, encodeUtf8, type Endian } from "../core/bytes.ts";
import type { Btf } from "../btf/btf.ts";
import { BTF_HEADER_BYTES, BTF_KIND, BTF_MAGIC, BTF_VERSION } from "../btf/kinds.ts";

/** Word 1 of a record. */
export const infoWord = (kind: number, vlen: number, kflag = false): number =>
  ((kflag ? 0x8000_0000 : 0) | (kind << 24) | vlen) >>> 0;

export class BtfEdit {
  readonly endian: Endian;
  readonly #records: Uint32Array[] = [];
  readonly #strings: ByteWriter;
  readonly #offsets = new Map<string, number>();
  #changed = false;
  readonly #original: Uint8Array | undefined;

  /** Starts from `btf`, or from nothing. */
  constructor(btf: Btf | undefined, endian: Endian) {
    this.endian = endian;
    this.#original = btf?.endian === endian ? btf.bytes : undefined;
    this.#strings = new ByteWriter({ endian, capacity: 1024 });
    if (btf === undefined) {
      this.#strings.u8(0);
      this.#offsets.set("", 0);
      return;
    }
    for (let i = 0; i < btf.offsets.length; i++) {
      this.#records.push(
        btf.words.slice(btf.offsets[i], i + 1 < btf.offsets.length ? btf.offsets[i + 1] : btf.words.length),
      );
    }
    const { bytes } = btf.strings;
    this.#strings.bytes(bytes);
    for (let at = 0; at < bytes.length;) {
      const end = bytes.indexOf(0, at);
      const text = decodeUtf8(bytes.subarray(at, end));
      if (!this.#offsets.has(text)) this.#offsets.set(text, at);
      at = end + 1;
    }
  }

  /** Number of types, void included: the id that the next `add` gives. */
  get nextId(): number {
    return this.#records.length + 1;
  }

  /** The words of type `id`, to be changed in place. */
  words(id: number): Uint32Array {
    this.#changed = true;
    const words = this.#records[id - 1];
    if (words === undefined) throw new RangeError(`type id ${id} does not exist`);
    return words;
  }

  replace(id: number, words: ArrayLike<number>): void {
    this.#changed = true;
    this.#records[id - 1] = Uint32Array.from(words);
  }

  /** Appends a record and returns its id. */
  add(...words: number[]): number {
    this.#changed = true;
    return this.#records.push(Uint32Array.from(words));
  }

  /** Offset of `text` among the strings; added when it is not there. */
  addString(text: string): number {
    let offset = this.#offsets.get(text);
    if (offset === undefined) {
      this.#changed = true;
      offset = this.#strings.length;
      this.#strings.bytes(encodeUtf8(text)).u8(0);
      this.#offsets.set(text, offset);
    }
    return offset;
  }

  /** A DATASEC record's words. Variables in ascending order of offset, as the kernel wants them. */
  datasec(name: string, size: number, vars: readonly { type: number; offset: number; size: number }[]): number[] {
    const sorted = [...vars].sort((a, b) => a.offset - b.offset);
    return [
      this.addString(name),
      infoWord(BTF_KIND.DATASEC, sorted.length),
      size,
      ...sorted.flatMap((v) => [v.type, v.offset, v.size]),
    ];
  }

  /** The BTF; the very bytes it was made from when nothing changed. */
  finish(): Uint8Array {
    if (!this.#changed && this.#original !== undefined) return this.#original;
    const strings = this.#strings.finish();
    const typeBytes = this.#records.reduce((sum, r) => sum + r.length * 4, 0);
    const out = new ByteWriter({ endian: this.endian, capacity: BTF_HEADER_BYTES + typeBytes + strings.length });
    out
      .u16(BTF_MAGIC)
      .u8(BTF_VERSION)
      .u8(0)
      .u32(BTF_HEADER_BYTES)
      .u32(0)
      .u32(typeBytes)
      .u32(typeBytes)
      .u32(strings.length);
    for (const record of this.#records) for (const word of record) out.u32(word);
    return out.bytes(strings).finish();
  }
}
