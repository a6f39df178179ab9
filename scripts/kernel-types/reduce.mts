/** A part of a BTF as BTF of its own. */
import type { Btf } from "../../src/btf/btf.ts";
import { BTF_HEADER_BYTES, BTF_MAGIC, BTF_VERSION } from "../../src/btf/kinds.ts";
import { eachStringRef, eachTypeRef } from "../../src/btf/refs.ts";

/** The types `keep` of `btf`, renumbered in the same order, as BTF of their own. */
export function reduce(btf: Btf, keep: ReadonlySet<number>): Uint8Array {
  const { words } = btf;
  const ids = [...keep].filter((id) => id !== 0).sort((a, b) => a - b);
  const renumbered = new Map(ids.map((id, i) => [id, i + 1]));
  renumbered.set(0, 0);
  const strings = new Map<number, number>([[0, 0]]);
  const text: Uint8Array[] = [Uint8Array.of(0)];
  let textLength = 1;
  const encoder = new TextEncoder();
  const records: Uint32Array[] = [];
  let length = 0;
  for (const id of ids) {
    const from = btf.wordOf(id);
    const to = id + 1 < btf.typeCount ? btf.wordOf(id + 1) : words.length;
    const record = words.slice(from, to);
    eachTypeRef(record, 0, (i) => {
      const target = renumbered.get(record[i]!);
      if (target === undefined) throw new Error(`type ${id} needs type ${record[i]}, which is not kept`);
      record[i] = target;
    });
    eachStringRef(record, 0, (i) => {
      const offset = record[i]!;
      let at = strings.get(offset);
      if (at === undefined) {
        const bytes = encoder.encode(btf.stringAt(offset));
        strings.set(offset, (at = textLength));
        text.push(bytes, Uint8Array.of(0));
        textLength += bytes.length + 1;
      }
      record[i] = at;
    });
    records.push(record);
    length += record.length;
  }
  const out = new Uint8Array(BTF_HEADER_BYTES + length * 4 + textLength);
  const view = new DataView(out.buffer);
  view.setUint16(0, BTF_MAGIC, true);
  view.setUint8(2, BTF_VERSION);
  view.setUint32(4, BTF_HEADER_BYTES, true);
  view.setUint32(12, length * 4, true);
  view.setUint32(16, length * 4, true);
  view.setUint32(20, textLength, true);
  let at = BTF_HEADER_BYTES;
  for (const record of records) {
    out.set(new Uint8Array(record.buffer, record.byteOffset, record.length * 4), at);
    at += record.length * 4;
  }
  for (const bytes of text) {
    out.set(bytes, at);
    at += bytes.length;
  }
  return out;
}
