/**
 * The collection's BTF as this kernel takes it: kinds it does not know are replaced by
 * ones of the same length and size, and the strings of line_info are added. Type ids
 * never change, so the program's records stay right.
 */
import type { Btf } from "../btf/btf.ts";
import { BTF_KIND } from "../btf/kinds.ts";
import { encodeUtf8 } from "../core/bytes.ts";
import type { FuncInfo, LineInfo } from "./spec.ts";

/** What a kernel's BTF loader knows. Linux: btf 4.18, func 5.0, datasec 5.2, globalFunc 5.6, float 5.13, declTag 5.16, typeTag 5.17, enum64 6.0, qmarkDatasec 6.12. */
export interface BtfFeatures {
  readonly func: boolean;
  readonly datasec: boolean;
  readonly globalFunc: boolean;
  readonly float: boolean;
  readonly declTag: boolean;
  readonly typeTag: boolean;
  readonly enum64: boolean;
}

/** Most recent kernel: nothing is replaced. */
export const ALL_BTF_FEATURES: BtfFeatures = {
  func: true,
  datasec: true,
  globalFunc: true,
  float: true,
  declTag: true,
  typeTag: true,
  enum64: true,
};

const HEADER = 24;
const KIND_SHIFT = 24;
const info = (kind: number, vlen: number): number => ((kind << KIND_SHIFT) | vlen) >>> 0;
/** Words of an element after the 3-word head, by kind. */
const INT_8_BITS = 8;

export class BtfImage {
  readonly btf: Btf;
  readonly #words: Uint32Array;
  readonly #added: Uint8Array[] = [];
  readonly #offsets = new Map<string, number>();
  readonly #stringsLength: number;
  #addedLength = 0;
  #extraTypes: number[] = [];

  constructor(btf: Btf) {
    const { bytes } = btf;
    this.btf = btf;
    this.#words = btf.words.slice();
    this.#stringsLength = new DataView(bytes.buffer, bytes.byteOffset).getUint32(20, this.btf.endian === "little");
  }

  /** Offset of `text` in the string section; added when it is new here. */
  string(text: string): number {
    if (text === "") return 0;
    let offset = this.#offsets.get(text);
    if (offset === undefined) {
      const bytes = encodeUtf8(`${text}\0`);
      offset = this.#stringsLength + this.#addedLength;
      this.#addedLength += bytes.length;
      this.#added.push(bytes);
      this.#offsets.set(text, offset);
    }
    return offset;
  }

  /** Replaces what the kernel does not know; returns what was left out, in words. */
  sanitize(features: BtfFeatures): string[] {
    const notes = new Set<string>();
    const w = this.#words;
    let enum64Int = 0;
    for (let i = 0; i < this.btf.offsets.length; i++) {
      const at = this.btf.offsets[i] as number;
      const word = w[at + 1] as number;
      const kind = (word >>> KIND_SHIFT) & 0x1f;
      const vlen = word & 0xffff;
      const kflag = (word & 0x8000_0000) !== 0;
      switch (kind) {
        case BTF_KIND.FLOAT:
          if (features.float) break;
          // An empty struct of the same size.
          w[at] = 0;
          w[at + 1] = info(BTF_KIND.STRUCT, 0);
          notes.add("floating-point types (Linux 5.13)");
          break;
        case BTF_KIND.DECL_TAG:
        case BTF_KIND.VAR:
          if (kind === BTF_KIND.VAR ? features.datasec : features.declTag) break;
          // An int of one byte has one word after the head too.
          w[at] = 0;
          w[at + 1] = info(BTF_KIND.INT, 0);
          w[at + 2] = 1;
          w[at + 3] = INT_8_BITS;
          notes.add(kind === BTF_KIND.VAR ? "global variables (Linux 5.2)" : "declaration tags (Linux 5.16)");
          break;
        case BTF_KIND.TYPE_TAG:
          if (features.typeTag) break;
          w[at] = 0;
          w[at + 1] = info(BTF_KIND.CONST, 0);
          notes.add("type tags (Linux 5.17)");
          break;
        case BTF_KIND.DATASEC:
          if (features.datasec) break;
          // A struct with one member per variable: its name must be an identifier, offsets are in bits.
          w[at] = this.string(this.btf.stringAt(w[at] as number).replace(/[^A-Za-z0-9_]/g, "_"));
          w[at + 1] = info(BTF_KIND.STRUCT, vlen);
          for (let m = 0; m < vlen; m++) {
            const member = at + 3 + m * 3;
            const variable = w[member] as number;
            const offset = w[member + 1] as number;
            w[member] = this.btf.words[this.btf.wordOf(variable)] as number;
            w[member + 1] = this.#typeOfVar(variable);
            w[member + 2] = offset * 8;
          }
          notes.add("sections of variables (Linux 5.2)");
          break;
        case BTF_KIND.FUNC_PROTO:
          if (features.func) break;
          // An enum's values are two words too, but want names.
          for (let p = 0; p < vlen; p++) w[at + 3 + p * 2] ||= this.string(`p${p}`);
          w[at + 1] = info(BTF_KIND.ENUM, vlen);
          w[at + 2] = 4;
          notes.add("function prototypes (Linux 5.0)");
          break;
        case BTF_KIND.FUNC:
          if (!features.func) {
            w[at + 1] = info(BTF_KIND.TYPEDEF, 0);
            notes.add("functions (Linux 5.0)");
          } else if (!features.globalFunc && vlen === 1) {
            w[at + 1] = info(BTF_KIND.FUNC, 0);
            notes.add("global functions (Linux 5.6)");
          }
          break;
        case BTF_KIND.ENUM64:
          if (features.enum64) {
            break;
          }
          // A union whose members are all ints of the enum's size, at offset 0.
          enum64Int ||= this.#addInt();
          w[at + 1] = info(BTF_KIND.UNION, vlen);
          for (let m = 0; m < vlen; m++) {
            w[at + 3 + m * 3 + 1] = enum64Int;
            w[at + 3 + m * 3 + 2] = 0;
          }
          notes.add("64-bit enums (Linux 6.0)");
          break;
        case BTF_KIND.ENUM:
          // The sign bit of an enum came with ENUM64.
          if (!features.enum64 && kflag) w[at + 1] = info(BTF_KIND.ENUM, vlen);
          break;
      }
    }
    return [...notes];
  }

  #typeOfVar(id: number): number {
    const type = this.btf.typeById(id);
    return type.kind === "var" ? type.type : id;
  }

  #addInt(): number {
    const id = this.btf.typeCount + this.#extraTypes.length / 4;
    this.#extraTypes.push(this.string("enum64_placeholder"), info(BTF_KIND.INT, 0), 1, INT_8_BITS);
    return id;
  }

  /** The whole BTF blob, in this machine's byte order. */
  encode(): Uint8Array {
    const typesLength = (this.#words.length + this.#extraTypes.length) * 4;
    const stringsLength = this.#stringsLength + this.#addedLength;
    const bytes = new Uint8Array(Math.ceil((HEADER + typesLength + stringsLength) / 4) * 4);
    const head = new Uint32Array(bytes.buffer, 0, HEADER / 4);
    new Uint16Array(bytes.buffer, 0, 1)[0] = 0xeb9f;
    bytes[2] = 1;
    head.set([HEADER, 0, typesLength, typesLength, stringsLength], 1);
    const words = new Uint32Array(bytes.buffer, HEADER, typesLength / 4);
    words.set(this.#words);
    words.set(this.#extraTypes, this.#words.length);
    const source = this.btf.bytes;
    const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
    const little = this.btf.endian === "little";
    const stringsAt = view.getUint32(4, little) + view.getUint32(16, little);
    let at = HEADER + typesLength;
    bytes.set(source.subarray(stringsAt, stringsAt + this.#stringsLength), at);
    at += this.#stringsLength;
    for (const text of this.#added) {
      bytes.set(text, at);
      at += text.length;
    }
    return bytes.subarray(0, HEADER + typesLength + stringsLength);
  }
}

export const FUNC_INFO_SIZE = 8;
export const LINE_INFO_SIZE = 16;
/** `line_col` has 22 bits of line and 10 of column. */
const MAX_LINE = 0x3f_ffff;
const MAX_COL = 0x3ff;

/** func_info records: `{ insn_off, type_id }`. */
export function encodeFuncInfo(funcs: readonly FuncInfo[]): Uint8Array {
  const words = new Uint32Array(funcs.length * 2);
  funcs.forEach((f, i) => words.set([f.insn, f.typeId], i * 2));
  return new Uint8Array(words.buffer);
}

/** line_info records: `{ insn_off, file_name_off, line_off, line_col }`. Their strings go into `image`. */
export function encodeLineInfo(lines: readonly LineInfo[], image: BtfImage): Uint8Array {
  const words = new Uint32Array(lines.length * 4);
  lines.forEach((l, i) => {
    const lineCol = ((Math.min(l.line, MAX_LINE) << 10) | Math.min(l.col, MAX_COL)) >>> 0;
    words.set([l.insn, image.string(l.file), image.string(l.text), lineCol], i * 4);
  });
  return new Uint8Array(words.buffer);
}
