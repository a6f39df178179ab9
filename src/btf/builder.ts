/** Making BTF: types of every kind, a string table without duplicates, bytes in either byte order. */
import { ByteWriter, encodeUtf8, type Endian } from "../core/bytes.ts";
import { ArgumentError } from "../core/errors.ts";
import { Btf } from "./btf.ts";
import { BTF_HEADER_BYTES, BTF_INT, BTF_LINKAGE, BTF_MAGIC, BTF_VERSION, KIND_NAMES } from "./kinds.ts";
import { eachStringRef, eachTypeRef } from "./refs.ts";
import type { BtfTypeSpec } from "./types.ts";

export interface BtfBuilderOptions {
  /** Continue this BTF: ids and string offsets start where it ends, its strings are reused. */
  readonly base?: Btf;
  /** Byte order of `encode()`; the base's or little when not given. */
  readonly endian?: Endian;
}

/**
 * Collects types and encodes them. Ids are given in order of `add`; a type may refer
 * to an id that is added later (see `reserve`).
 *
 * @example
 * const b = new BtfBuilder();
 * const u32 = b.add({ kind: "int", name: "unsigned int", size: 4, bits: 32, offset: 0, signed: false, char: false, bool: false });
 * b.add({ kind: "struct", name: "event", size: 4, members: [{ name: "pid", type: u32, bitOffset: 0, bitSize: 0 }] });
 * const bytes = b.encode();
 */
export class BtfBuilder {
  readonly base: Btf | undefined;
  readonly endian: Endian;
  readonly firstId: number;
  readonly #records: (Uint32Array | undefined)[] = [];
  readonly #offsets = new Map<string, number>();
  readonly #strings: Uint8Array[] = [];
  readonly #stringStart: number;
  #stringEnd: number;

  constructor(options: BtfBuilderOptions = {}) {
    this.base = options.base;
    this.endian = options.endian ?? options.base?.endian ?? "little";
    this.firstId = options.base?.typeCount ?? 1;
    this.#stringStart = options.base?.strings.end ?? 0;
    this.#stringEnd = this.#stringStart;
    if (options.base === undefined) {
      this.#strings.push(new Uint8Array(1));
      this.#stringEnd = 1;
    }
    this.#offsets.set("", 0);
  }

  /** The id that the next `add` or `reserve` gives. */
  get nextId(): number {
    return this.firstId + this.#records.length;
  }

  /** Offset of `text` in the string section, added once. */
  addString(text: string): number {
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    if (text.includes("\0")) throw new ArgumentError("text", "a BTF string cannot contain NUL");
    for (let btf = this.base; btf !== undefined; btf = btf.base) {
      const inBase = btf.strings.offsetOf(text);
      if (inBase >= 0) {
        this.#offsets.set(text, inBase);
        return inBase;
      }
    }
    const offset = this.#stringEnd;
    const bytes = encodeUtf8(`${text}\0`);
    this.#strings.push(bytes);
    this.#stringEnd += bytes.length;
    this.#offsets.set(text, offset);
    return offset;
  }

  /**
   * Adds a type and returns its id. Adding the same type twice gives two ids (`dedupBtf` merges them).
   * @throws ArgumentError when a field is out of range.
   */
  add(type: BtfTypeSpec): number {
    this.#records.push(this.#encodeType(type));
    return this.firstId + this.#records.length - 1;
  }

  /** An id to be given its type by `define`: for types that refer to each other. */
  reserve(): number {
    this.#records.push(undefined);
    return this.firstId + this.#records.length - 1;
  }

  /** Gives a reserved (or already added) id its type. */
  define(id: number, type: BtfTypeSpec): void {
    const index = id - this.firstId;
    if (!Number.isInteger(index) || index < 0 || index >= this.#records.length) {
      throw new ArgumentError("id", `expected an id from ${this.firstId} to ${this.nextId - 1}, got ${id}`);
    }
    this.#records[index] = this.#encodeType(type);
  }

  /**
   * Appends every own type of `btf` and returns what to add to its ids. `btf` must have
   * no base, or the base of this builder (whose ids stay as they are).
   */
  append(btf: Btf): number {
    if (btf.base !== undefined && btf.base !== this.base) {
      throw new ArgumentError("btf", "its base is not the base of this builder");
    }
    const shift = this.nextId - btf.firstId;
    for (let id = btf.firstId; id < btf.typeCount; id++) {
      this.copy(btf, id, (target) => (target >= btf.firstId ? target + shift : target));
    }
    return shift;
  }

  /**
   * Adds a copy of type `id` of `btf`, its type ids passed through `mapId`, and returns the new id.
   * @throws DecodeError when the type is malformed.
   */
  copy(btf: Btf, id: number, mapId: (id: number) => number): number {
    const owner = btf.owner(id);
    const start = owner.wordOf(id);
    const record = owner.words.slice(start, owner.offsets[id - owner.firstId + 1] ?? owner.words.length);
    eachTypeRef(record, 0, (at) => {
      // Decoding says which reference is wrong.
      if (record[at]! >= btf.typeCount) btf.decode(id);
      record[at] = mapId(record[at]!);
    });
    eachStringRef(record, 0, (at) => {
      record[at] = this.addString(owner.stringAt(record[at]!));
    });
    this.#records.push(record);
    return this.firstId + this.#records.length - 1;
  }

  /** `int` by name, bytes and signedness. */
  int(name: string, size: number, options: { signed?: boolean; char?: boolean; bool?: boolean } = {}): number {
    return this.add({
      kind: "int",
      name,
      size,
      bits: size * 8,
      offset: 0,
      signed: options.signed ?? false,
      char: options.char ?? false,
      bool: options.bool ?? false,
    });
  }

  /**
   * The `.BTF` section.
   * @throws ArgumentError when a reserved id was not defined or a type refers to an id that does not exist.
   */
  encode(): Uint8Array {
    let typeWords = 0;
    for (let i = 0; i < this.#records.length; i++) {
      const record = this.#records[i];
      if (record === undefined)
        throw new ArgumentError("id", `type [${this.firstId + i}] was reserved but not defined`);
      eachTypeRef(record, 0, (at) => {
        if (record[at]! >= this.nextId) {
          throw new ArgumentError(`type [${this.firstId + i}]`, `refers to type [${record[at]}], which does not exist`);
        }
      });
      typeWords += record.length;
    }
    const stringBytes = this.#stringEnd - this.#stringStart;
    const header = new ByteWriter({ endian: this.endian, capacity: BTF_HEADER_BYTES });
    header.u16(BTF_MAGIC).u8(BTF_VERSION).u8(0).u32(BTF_HEADER_BYTES);
    header
      .u32(0)
      .u32(typeWords * 4)
      .u32(typeWords * 4)
      .u32(stringBytes);
    const out = new Uint8Array(BTF_HEADER_BYTES + typeWords * 4 + stringBytes);
    out.set(header.finish());
    const view = new DataView(out.buffer);
    const little = this.endian === "little";
    let at = BTF_HEADER_BYTES;
    for (const record of this.#records) {
      for (const word of record!) {
        view.setUint32(at, word, little);
        at += 4;
      }
    }
    for (const bytes of this.#strings) {
      out.set(bytes, at);
      at += bytes.length;
    }
    return out;
  }

  /** The BTF that `encode()` gives, opened. */
  build(): Btf {
    return Btf.parse(this.encode(), this.base === undefined ? {} : { base: this.base });
  }

  #encodeType(type: BtfTypeSpec): Uint32Array {
    const kind = KIND_NAMES.indexOf(type.kind);
    const name = this.addString(type.name ?? "");
    const record = (vlen: number, kflag: boolean, sizeOrType: number, rest: readonly number[] = []): Uint32Array => {
      if (vlen > 0xffff) throw new ArgumentError(type.kind, `${vlen} elements: at most 65535 fit`);
      const words = new Uint32Array(3 + rest.length);
      words[0] = name;
      words[1] = (kflag ? 0x8000_0000 : 0) + kind * 2 ** 24 + vlen;
      words[2] = sizeOrType;
      words.set(rest, 3);
      return words;
    };
    switch (type.kind) {
      case "int": {
        const { size, bits, offset } = type;
        if (![1, 2, 4, 8, 16].includes(size))
          throw new ArgumentError("size", `an int of ${size} bytes: expected 1, 2, 4, 8 or 16`);
        uint("offset", offset, 0xff);
        if (uint("bits", bits, 0xff) + offset > size * 8)
          throw new ArgumentError("bits", `${bits} bits from ${offset} do not fit ${size} bytes`);
        const encoding =
          (type.signed ? BTF_INT.SIGNED : 0) | (type.char ? BTF_INT.CHAR : 0) | (type.bool ? BTF_INT.BOOL : 0);
        return record(0, false, size, [encoding * 2 ** 24 + offset * 2 ** 16 + bits]);
      }
      case "ptr":
      case "typedef":
      case "volatile":
      case "const":
      case "restrict":
        return record(0, false, id(type.type));
      case "type_tag":
        return record(0, type.attribute, id(type.type));
      case "array":
        return record(0, false, 0, [id(type.type), id(type.indexType), uint("nelems", type.nelems, 0xffff_ffff)]);
      case "struct":
      case "union": {
        const { members } = type;
        const kflag = members.some((m) => m.bitSize !== 0);
        const rest: number[] = [];
        for (const m of members) {
          const offset = uint(`${m.name}.bitOffset`, m.bitOffset, kflag ? 0xff_ffff : 0xffff_ffff);
          rest.push(this.addString(m.name), id(m.type), uint(`${m.name}.bitSize`, m.bitSize, 0xff) * 2 ** 24 + offset);
        }
        return record(members.length, kflag, uint("size", type.size, 0xffff_ffff), rest);
      }
      case "enum": {
        const rest: number[] = [];
        for (const v of type.values) {
          const low = type.signed ? -0x8000_0000 : 0;
          const high = type.signed ? 0x7fff_ffff : 0xffff_ffff;
          if (!Number.isInteger(v.value) || v.value < low || v.value > high) {
            throw new ArgumentError(v.name, `expected an integer from ${low} to ${high}, got ${v.value}`);
          }
          rest.push(this.addString(v.name), v.value >>> 0);
        }
        return record(type.values.length, type.signed, enumSize(type.size), rest);
      }
      case "enum64": {
        const rest: number[] = [];
        for (const v of type.values) {
          const wrapped = type.signed ? BigInt.asIntN(64, v.value) : BigInt.asUintN(64, v.value);
          if (wrapped !== v.value)
            throw new ArgumentError(
              v.name,
              `${v.value} does not fit ${type.signed ? "a signed" : "an unsigned"} 64-bit integer`,
            );
          rest.push(
            this.addString(v.name),
            Number(BigInt.asUintN(32, v.value)),
            Number(BigInt.asUintN(32, v.value >> 32n)),
          );
        }
        return record(type.values.length, type.signed, enumSize(type.size), rest);
      }
      case "fwd":
        return record(0, type.of === "union", 0);
      case "func":
        return record(BTF_LINKAGE.indexOf(type.linkage), false, id(type.type));
      case "func_proto":
        return record(
          type.params.length,
          false,
          id(type.type),
          type.params.flatMap((p) => [this.addString(p.name), id(p.type)]),
        );
      case "var":
        return record(0, false, id(type.type), [BTF_LINKAGE.indexOf(type.linkage)]);
      case "datasec":
        return record(
          type.vars.length,
          false,
          uint("size", type.size, 0xffff_ffff),
          type.vars.flatMap((v) => [
            id(v.type),
            uint("offset", v.offset, 0xffff_ffff),
            uint("size", v.size, 0xffff_ffff),
          ]),
        );
      case "float":
        return record(0, false, uint("size", type.size, 0xffff_ffff));
      case "decl_tag": {
        const index = type.componentIdx;
        if (!Number.isInteger(index) || index < -1 || index > 0x7fff_ffff)
          throw new ArgumentError("componentIdx", `expected -1 or an index, got ${index}`);
        return record(0, type.attribute, id(type.type), [index >>> 0]);
      }
      default:
        throw new ArgumentError("kind", `unknown kind of type: ${(type as { kind: string }).kind}`);
    }
  }
}

function uint(what: string, value: number, max: number): number {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new ArgumentError(what, `expected an integer from 0 to ${max}, got ${value}`);
  }
  return value;
}

function id(value: number): number {
  return uint("type", value, 0x7fff_ffff);
}

function enumSize(size: number): number {
  if (![1, 2, 4, 8].includes(size)) throw new ArgumentError("size", `an enum of ${size} bytes: expected 1, 2, 4 or 8`);
  return size;
}
