/** Symbol tables: read by the hundred thousand, so entries are decoded one at a time, by hand. */
import { encodeUtf8, type Endian } from "../core/bytes.ts";
import { DecodeError } from "../core/errors.ts";
import { SHN } from "./constants.ts";
import { SIZE } from "./records.ts";
import type { StringTable } from "./strings.ts";

export interface ElfSymbol {
  readonly index: number;
  readonly name: string;
  /** Address; in an object file the byte offset in `section`. */
  readonly value: bigint;
  /** Bytes; 0 when unknown. */
  readonly size: bigint;
  /** `STT.*` */
  readonly type: number;
  /** `STB.*` */
  readonly bind: number;
  /** `STV.*` */
  readonly visibility: number;
  /** Section index (SHN_XINDEX resolved) or a reserved one (`SHN.*`). */
  readonly section: number;
}

const AT_SIGN = 0x40;

/** A SYMTAB or DYNSYM section. */
export class SymbolTable {
  /** Number of symbols, the null symbol included. */
  readonly count: number;
  readonly strings: StringTable;
  readonly what: string;
  readonly section: string;
  readonly base: number;
  readonly #view: DataView;
  readonly #extended: DataView | undefined;
  readonly #little: boolean;

  constructor(parts: {
    data: Uint8Array;
    /** Section indexes that do not fit 16 bits (SYMTAB_SHNDX). */
    extended: Uint8Array | undefined;
    strings: StringTable;
    endian: Endian;
    what: string;
    section: string;
    base: number;
  }) {
    const { data, extended } = parts;
    this.count = Math.floor(data.length / SIZE.sym);
    this.strings = parts.strings;
    this.what = parts.what;
    this.section = parts.section;
    this.base = parts.base;
    this.#little = parts.endian === "little";
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.#extended =
      extended === undefined ? undefined : new DataView(extended.buffer, extended.byteOffset, extended.byteLength);
  }

  /**
   * Symbol `index`.
   *
   * @throws DecodeError when there is no such symbol or its name is outside the string table
   */
  at(index: number): ElfSymbol {
    if (!(index >= 0 && index < this.count))
      throw this.#error(`symbol index ${index} is outside the ${this.count} symbols`, 0);
    const info = this.info(index);
    return {
      index,
      name: this.strings.at(this.nameOffset(index)),
      value: this.#view.getBigUint64(index * SIZE.sym + 8, this.#little),
      size: this.#view.getBigUint64(index * SIZE.sym + 16, this.#little),
      type: info & 15,
      bind: info >> 4,
      visibility: this.#view.getUint8(index * SIZE.sym + 5) & 3,
      section: this.sectionOf(index),
    };
  }

  /** All symbols, the null symbol included. */
  *[Symbol.iterator](): Generator<ElfSymbol> {
    for (let i = 0; i < this.count; i++) yield this.at(i);
  }

  /** `st_info`: type in the low nibble, bind in the high. */
  info(index: number): number {
    return this.#view.getUint8(index * SIZE.sym + 4);
  }
  nameOffset(index: number): number {
    return this.#view.getUint32(index * SIZE.sym, this.#little);
  }
  /** High and low 32 bits of the value, for scans without bigint. */
  valueHi(index: number): number {
    return this.#view.getUint32(index * SIZE.sym + (this.#little ? 12 : 8), this.#little);
  }
  valueLo(index: number): number {
    return this.#view.getUint32(index * SIZE.sym + (this.#little ? 8 : 12), this.#little);
  }
  /** Low 53 bits of the size are exact. */
  sizeNumber(index: number): number {
    const at = index * SIZE.sym + 16;
    const a = this.#view.getUint32(at, this.#little);
    const b = this.#view.getUint32(at + 4, this.#little);
    return this.#little ? b * 0x1_0000_0000 + a : a * 0x1_0000_0000 + b;
  }
  sectionOf(index: number): number {
    const shndx = this.#view.getUint16(index * SIZE.sym + 6, this.#little);
    if (shndx !== SHN.XINDEX) return shndx;
    if (this.#extended === undefined || index * 4 + 4 > this.#extended.byteLength) {
      throw this.#error("section index is in SYMTAB_SHNDX, which the file lacks", index);
    }
    return this.#extended.getUint32(index * 4, this.#little);
  }

  /** Indexes of the symbols named `name`, or `name` with a version (`@…`) behind. */
  *indexesOf(name: string): Generator<number> {
    const wanted = encodeUtf8(name);
    const { bytes } = this.strings;
    for (let i = 1; i < this.count; i++) {
      const at = this.nameOffset(i);
      // Compared in place: decoding 100,000 names to find one costs a hundred times more.
      let k = 0;
      while (k < wanted.length && bytes[at + k] === wanted[k]) k++;
      if (k < wanted.length || k === 0) continue;
      const next = bytes[at + k];
      if (next === 0 || next === AT_SIGN) yield i;
    }
  }

  #error(message: string, index: number): DecodeError {
    return new DecodeError(this.what, message, {
      offset: this.base + index * SIZE.sym,
      path: [this.section, `[${index}]`],
    });
  }
}
