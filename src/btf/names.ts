/** A hash index from names to type ids that makes no string per type. */
import { encodeUtf8 } from "../core/bytes.ts";
import type { Btf } from "./btf.ts";

/** Open hashing over the bytes of each name: heads by bucket, one link per own type. */
export class NameIndex {
  readonly #btf: Btf;
  readonly #heads: Int32Array;
  readonly #next: Int32Array;
  readonly #mask: number;

  constructor(btf: Btf) {
    this.#btf = btf;
    const { words, offsets } = btf;
    const count = offsets.length;
    let buckets = 16;
    while (buckets < count) buckets *= 2;
    this.#mask = buckets - 1;
    this.#heads = new Int32Array(buckets).fill(-1);
    this.#next = new Int32Array(count);
    const own = btf.strings.bytes;
    const start = btf.strings.start;
    // From the end, so that a chain has ascending ids.
    for (let i = count - 1; i >= 0; i--) {
      const nameOff = words[offsets[i]!]!;
      if (nameOff === 0) continue;
      let bytes = own;
      let at = nameOff - start;
      if (at < 0 || at >= own.length) {
        const section = sectionOf(btf, nameOff);
        if (section === undefined) continue;
        bytes = section.bytes;
        at = nameOff - section.start;
      }
      let hash = 0;
      for (let byte = bytes[at]!; byte !== 0; byte = bytes[++at]!) hash = (Math.imul(hash, 31) + byte) | 0;
      const bucket = (hash ^ (hash >>> 15)) & this.#mask;
      this.#next[i] = this.#heads[bucket]!;
      this.#heads[bucket] = i;
    }
  }

  /** Lowest own id with this name (and kind; -1 for any), or 0. */
  first(name: string, kind: number): number {
    for (const id of this.#walk(name, kind)) return id;
    return 0;
  }

  /** Own ids with this name (and kind; -1 for any), ascending. */
  all(name: string, kind: number): number[] {
    return [...this.#walk(name, kind)];
  }

  *#walk(name: string, kind: number): Generator<number> {
    const btf = this.#btf;
    const { words, offsets } = btf;
    const wanted = encodeUtf8(name);
    let hash = 0;
    for (const byte of wanted) hash = (Math.imul(hash, 31) + byte) | 0;
    for (let i = this.#heads[(hash ^ (hash >>> 15)) & this.#mask]!; i >= 0; i = this.#next[i]!) {
      const word = offsets[i]!;
      if (kind >= 0 && ((words[word + 1]! >>> 24) & 0x1f) !== kind) continue;
      const section = sectionOf(btf, words[word]!);
      if (section !== undefined && sameBytes(section.bytes, words[word]! - section.start, wanted))
        yield btf.firstId + i;
    }
  }
}

function sectionOf(btf: Btf, offset: number): { bytes: Uint8Array; start: number } | undefined {
  let owner = btf;
  while (offset < owner.strings.start && owner.base !== undefined) owner = owner.base;
  return offset < owner.strings.end ? owner.strings : undefined;
}

function sameBytes(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return bytes[at + wanted.length] === 0;
}
