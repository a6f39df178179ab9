/** Reading BTF lazily: an index of where each type starts, and a type decoded when it is asked for. */
import { ByteReader, hostEndian, type Endian } from "../core/bytes.ts";
import { DecodeError } from "../core/errors.ts";
import { decodeType } from "./decode.ts";
import {
  BTF_HEADER_BYTES,
  BTF_KIND,
  BTF_MAGIC,
  BTF_VERSION,
  ELEMENT_WORDS,
  KIND_NAMES,
  KIND_WORDS,
  type BtfKindName,
} from "./kinds.ts";
import { NameIndex } from "./names.ts";
import { BtfStrings } from "./strings.ts";
import type { BtfType, BtfTypeOf } from "./types.ts";

export interface BtfParseOptions {
  /** The BTF that this split BTF continues (vmlinux for a module's). */
  readonly base?: Btf;
  /** Byte order; read from the magic when not given, an error when the magic differs. */
  readonly endian?: Endian;
  /** What errors call the input; "BTF" when not given. */
  readonly what?: string;
  /**
   * It is the running kernel's own, so it is well-formed and holds each string once (libbpf's deduplication has
   * made it). Types are indexed only as far as they are asked for: a program that reads task_struct, type 114
   * of 126,611, saves 4 of 4.5 ms. Malformed input is found late.
   */
  readonly trusted?: boolean;
  /** Offset of `text` in `bytes` at or after `from`, or -1, when the runtime can search bytes faster than decode and search them. */
  readonly find?: (bytes: Uint8Array, text: string, from: number) => number;
}

/** Tables with more string bytes than this look single names up by search before a full index is built. */
const SEARCH_ABOVE = 1 << 16;
/** Name look-ups by search; the next one builds the index. */
const SEARCHES = 24;
/** Occurrences of a name as the end of longer ones that a search follows before it gives way to the index. */
const SUFFIX_HITS = 4;
/** Strings that one name and its flavours may have before a search gives way to the index. */
const FLAVOURS = 64;

/**
 * Type information of a kernel, a module, an object or a program. Type id 0 is void.
 * Nothing is decoded until asked for; `bytes` are kept (not copied when they are 4-byte
 * aligned and of this machine's byte order) and must not change.
 *
 * @example
 * const btf = Btf.parse(bytes);
 * const task = btf.findByName("task_struct", "struct");
 * if (task !== undefined) console.log(task.size, task.members.map((m) => m.name));
 */
export class Btf {
  readonly bytes: Uint8Array;
  readonly endian: Endian;
  readonly base: Btf | undefined;
  readonly what: string;
  /** First id that is this BTF's own: 1, or the base's `typeCount`. */
  readonly firstId: number;
  /** The type section in this machine's byte order. Raw access for what walks many types. */
  readonly words: Uint32Array;
  readonly strings: BtfStrings;
  /** Offset of the type section in `bytes`. */
  readonly typeSectionOffset: number;
  readonly #cache = new Map<number, BtfType>();
  readonly #trusted: boolean;
  readonly #index: TypeIndex;
  #names: NameIndex | undefined;
  #searches = 0;

  private constructor(parts: {
    bytes: Uint8Array;
    endian: Endian;
    base: Btf | undefined;
    what: string;
    words: Uint32Array;
    strings: BtfStrings;
    typeSectionOffset: number;
    trusted: boolean;
  }) {
    this.bytes = parts.bytes;
    this.endian = parts.endian;
    this.base = parts.base;
    this.what = parts.what;
    this.words = parts.words;
    this.strings = parts.strings;
    this.typeSectionOffset = parts.typeSectionOffset;
    this.firstId = parts.base?.typeCount ?? 1;
    this.#trusted = parts.trusted;
    this.#index = new TypeIndex(parts.words, parts.what, parts.typeSectionOffset);
    if (!parts.trusted) this.#index.extend(Infinity, Infinity);
  }

  /** Where each own type starts in `words`; `offsets[0]` is type `firstId`. */
  get offsets(): Uint32Array {
    return this.#index.all();
  }

  /** One more than the highest id (base and void included). */
  get typeCount(): number {
    return this.firstId + this.#index.all().length;
  }

  /** Whether there is a type `id` (void included). Cheaper than to compare with `typeCount`, which counts all types. */
  has(id: number): boolean {
    return id < this.firstId + this.#index.count || this.#index.extend(id - this.firstId, 0) > id - this.firstId;
  }

  /**
   * Reads a BTF blob: checks the header and where each type ends. The contents of a
   * type are checked when it is decoded; `validate()` checks all of them.
   * @throws DecodeError when malformed, with the byte offset and the field.
   */
  static parse(bytes: Uint8Array, options: BtfParseOptions = {}): Btf {
    const what = options.what ?? "BTF";
    const { base } = options;
    const fail = (offset: number, field: string, message: string): never => {
      throw new DecodeError(what, message, { offset, path: ["header", field] });
    };
    if (bytes.length < BTF_HEADER_BYTES) {
      fail(0, "hdr_len", `expected a header of ${BTF_HEADER_BYTES} bytes, got ${bytes.length} bytes`);
    }
    const magic = (bytes[0]! << 8) | bytes[1]!;
    const endian: Endian = magic === BTF_MAGIC ? "big" : "little";
    if (endian === "little" && ((bytes[1]! << 8) | bytes[0]!) !== BTF_MAGIC) {
      fail(0, "magic", `expected 0xeb9f in either byte order, got bytes ${hexByte(bytes[0]!)} ${hexByte(bytes[1]!)}`);
    }
    if (options.endian !== undefined && options.endian !== endian) {
      fail(0, "magic", `expected ${options.endian}-endian BTF, got ${endian}-endian`);
    }
    if (base !== undefined && base.endian !== endian) {
      fail(0, "magic", `the base is ${base.endian}-endian, this split BTF is ${endian}-endian`);
    }
    const reader = new ByteReader(bytes, { endian, what });
    reader.seek(2);
    const version = reader.u8("version");
    if (version !== BTF_VERSION) fail(2, "version", `expected version ${BTF_VERSION}, got ${version}`);
    const flags = reader.u8("flags");
    if (flags !== 0) fail(3, "flags", `expected no flags, got 0x${flags.toString(16)}`);
    const headerLength = reader.u32("hdr_len");
    if (headerLength < BTF_HEADER_BYTES || headerLength > bytes.length) {
      fail(4, "hdr_len", `expected ${BTF_HEADER_BYTES} to ${bytes.length}, got ${headerLength}`);
    }
    const typeOff = reader.u32("type_off");
    const typeLen = reader.u32("type_len");
    const strOff = reader.u32("str_off");
    const strLen = reader.u32("str_len");
    const room = bytes.length - headerLength;
    if (typeOff % 4 !== 0) fail(8, "type_off", `expected a multiple of 4, got ${typeOff}`);
    if (typeLen % 4 !== 0) fail(12, "type_len", `expected a multiple of 4, got ${typeLen}`);
    if (typeOff + typeLen > room) {
      fail(12, "type_len", `types at ${typeOff}+${typeLen} end outside the ${room} bytes after the header`);
    }
    if (strOff + strLen > room) {
      fail(20, "str_len", `strings at ${strOff}+${strLen} end outside the ${room} bytes after the header`);
    }
    const strings = bytes.subarray(headerLength + strOff, headerLength + strOff + strLen);
    if (strLen === 0 && base === undefined) fail(20, "str_len", "expected at least the empty string, got no strings");
    if (strLen > 0 && strings[strLen - 1] !== 0) {
      fail(headerLength + strOff + strLen - 1, "strings", "the last string has no terminating NUL");
    }
    if (base === undefined && strings[0] !== 0) {
      fail(headerLength + strOff, "strings", "the first string must be empty");
    }
    const typeSectionOffset = headerLength + typeOff;
    return new Btf({
      bytes,
      endian,
      base,
      what,
      words: nativeWords(bytes, typeSectionOffset, typeLen, endian),
      strings: new BtfStrings(strings, base?.strings.end ?? 0, options.find),
      typeSectionOffset,
      trusted: options.trusted ?? false,
    });
  }

  /** The BTF of this chain that owns type `id` (this one or a base). */
  owner(id: number): Btf {
    return id < this.firstId && this.base !== undefined ? this.base.owner(id) : this;
  }

  /** Kind number (`BTF_KIND`) of type `id`, without decoding it. */
  kindOf(id: number): number {
    if (id === 0) return BTF_KIND.VOID;
    const btf = id < this.firstId ? this.owner(id) : this;
    return (btf.words[btf.#wordOf(id) + 1]! >>> 24) & 0x1f;
  }

  /** Index in `owner(id).words` where type `id` (not 0) starts. */
  wordOf(id: number): number {
    return (id < this.firstId ? this.owner(id) : this).#wordOf(id);
  }

  #wordOf(id: number): number {
    const word = this.has(id) ? this.#index.offsets[id - this.firstId] : undefined;
    if (word === undefined || id <= 0) {
      throw new DecodeError(this.what, `type id ${id} does not exist (there are ${this.typeCount})`, {
        path: ["types", `[${id}]`],
      });
    }
    return word;
  }

  /** Name of value `index` of the enum (32-bit) `id`, without decoding the others; undefined when it has fewer. */
  enumeratorName(id: number, index: number): string | undefined {
    const btf = this.owner(id);
    const word = btf.#wordOf(id);
    if (btf.kindOf(id) !== BTF_KIND.ENUM || index >= (btf.words[word + 1]! & 0xffff)) return undefined;
    return btf.stringAt(btf.words[word + KIND_WORDS[BTF_KIND.ENUM]! + index * ELEMENT_WORDS[BTF_KIND.ENUM]!]!);
  }

  /** Name of type `id`; "" when it has none. */
  nameOf(id: number): string {
    if (id === 0) return "";
    const btf = this.owner(id);
    const word = btf.#wordOf(id);
    return btf.stringAt(btf.words[word]!);
  }

  /** Kind number and name of a type, for messages: `struct task_struct`. */
  describe(id: number): string {
    const kind = KIND_NAMES[this.kindOf(id)] ?? "unknown";
    const name = this.nameOf(id);
    return name === "" ? `${kind} [${id}]` : `${kind} ${name}`;
  }

  /**
   * The string at `offset` of the (split) string space.
   * @throws DecodeError when it is outside.
   */
  stringAt(offset: number): string {
    const found = this.stringOrUndefined(offset);
    if (found !== undefined) return found;
    throw new DecodeError(this.what, `string offset ${offset} is outside ${this.strings.end} bytes of strings`, {
      path: ["strings"],
    });
  }

  /** The string at `offset` of the (split) string space; undefined when it is outside. */
  stringOrUndefined(offset: number): string | undefined {
    if (offset === 0) return "";
    const { strings, base } = this;
    if (offset < strings.start) return base?.stringOrUndefined(offset);
    return offset < strings.end ? strings.at(offset) : undefined;
  }

  /**
   * Type `id`, decoded once and kept.
   * @throws DecodeError when the id does not exist or the record is malformed.
   */
  typeById(id: number): BtfType {
    if (id < this.firstId && this.base !== undefined) return this.base.typeById(id);
    let type = this.#cache.get(id);
    if (type === undefined) {
      type = id === 0 ? VOID : decodeType(this, id, this.#wordOf(id));
      this.#cache.set(id, type);
    }
    return type;
  }

  /** Type `id` like `typeById`, but decoded anew and not kept: for what walks a whole BTF once. */
  decode(id: number): BtfType {
    if (id < this.firstId && this.base !== undefined) return this.base.decode(id);
    return id === 0 ? VOID : decodeType(this, id, this.#wordOf(id));
  }

  /** This BTF's own types in order of id (those of a base are not repeated). Nothing is kept. */
  *types(): Generator<BtfType> {
    for (let id = this.firstId; id < this.typeCount; id++) yield decodeType(this, id, this.#wordOf(id));
  }

  /** The type with this name (and kind) and the lowest id; a base is searched first. */
  findByName(name: string): BtfType | undefined;
  findByName<K extends BtfKindName>(name: string, kind: K): BtfTypeOf<K> | undefined;
  findByName(name: string, kind?: BtfKindName): BtfType | undefined {
    const id = this.findId(name, kind);
    return id === 0 ? undefined : this.typeById(id);
  }

  /** Id of the type with this name (and kind), the lowest; 0 when there is none. Anonymous types are not found. */
  findId(name: string, kind?: BtfKindName): number {
    const inBase = this.base?.findId(name, kind) ?? 0;
    if (inBase !== 0) return inBase;
    if (name === "" || name.includes("\0")) return 0;
    const kindNumber = kind === undefined ? -1 : KIND_NAMES.indexOf(kind);
    if (this.#names === undefined && this.strings.bytes.length > SEARCH_ABOVE && ++this.#searches <= SEARCHES) {
      const found = this.#search(name, kindNumber);
      if (found !== undefined) return found;
    }
    return this.nameIndex.first(name, kindNumber);
  }

  /** Every id with this name (and kind), ascending, bases included. */
  findIds(name: string, kind?: BtfKindName): number[] {
    const ids = this.base?.findIds(name, kind) ?? [];
    if (name === "" || name.includes("\0")) return ids;
    const kindNumber = kind === undefined ? -1 : KIND_NAMES.indexOf(kind);
    const searched = this.#trusted ? this.#searchAll(name) : undefined;
    if (searched !== undefined)
      return [...ids, ...searched.filter((id) => kindNumber < 0 || this.kindOf(id) === kindNumber)];
    ids.push(...this.nameIndex.all(name, kindNumber));
    return ids;
  }

  /** Own ids of types named `name` where each string is there once: one search, one pass over the words (0.3 ms cold for a kernel). */
  #searchAll(name: string): number[] | undefined {
    if (this.#names !== undefined || ++this.#searches > SEARCHES) return undefined;
    const ids: number[] = [];
    const offset = this.#offsetOfString(name);
    if (offset >= 0) this.#typesNamedAt(offset, ids);
    return ids;
  }

  /**
   * Own ids of types named `name`, or a flavour of it (`name___x`), ascending: two searches over the strings
   * and one pass over the types (1-2 ms cold for a kernel), where the index would take 10-20. Undefined when
   * the index is there already, or too many were asked for.
   */
  searchFlavours(name: string): number[] | undefined {
    if (this.#names !== undefined || this.strings.bytes.length <= SEARCH_ABOVE || ++this.#searches > SEARCHES)
      return undefined;
    const wanted = new Set<number>();
    const collect = ({ strings, base }: Btf): void => {
      for (const offset of strings.offsetsOf(name, FLAVOURS)) wanted.add(offset);
      for (const offset of strings.offsetsOfPrefix(`${name}___`, FLAVOURS)) wanted.add(offset);
      if (base !== undefined) collect(base);
    };
    collect(this);
    if (wanted.size >= FLAVOURS) return undefined;
    const ids: number[] = [];
    for (const offset of wanted) this.#typesNamedAt(offset, ids);
    ids.sort((x, y) => x - y);
    return ids;
  }

  /** The hash index of this BTF's own names, built when first used (10-20 ms for a kernel). */
  get nameIndex(): NameIndex {
    this.#names ??= new NameIndex(this);
    return this.#names;
  }

  /** One name without the index: find its bytes, then the types whose name_off points there. Undefined: the index must decide. */
  #search(name: string, kind: number): number | undefined {
    // A split BTF's type may take its name from the base's strings.
    const whole = this.#offsetOfString(name);
    if (whole >= 0) {
      const id = this.#typeNamedAt(whole, kind);
      if (id !== 0) return id;
    }
    if (this.#trusted) return 0;
    const others = this.#offsetsOfString(name);
    if (others.length >= SUFFIX_HITS) return undefined;
    const ids = others.map((offset) => this.#typeNamedAt(offset, kind)).filter((id) => id !== 0);
    return ids.length === 0 ? 0 : Math.min(...ids);
  }

  #offsetOfString(name: string): number {
    const own = this.strings.offsetOf(name);
    return own < 0 && this.base !== undefined ? this.base.#offsetOfString(name) : own;
  }

  #offsetsOfString(name: string): number[] {
    const inBase = this.base === undefined ? [] : this.base.#offsetsOfString(name);
    return [...inBase, ...this.strings.offsetsOf(name, SUFFIX_HITS)];
  }

  #typeNamedAt(offset: number, kind: number): number {
    const { words } = this;
    let index = 0;
    // The engine's own search over all words beats a cold loop over the types; a number that is frequent
    // elsewhere (ids, sizes) would stop it too often, so it gives way to the loop.
    for (let at = words.indexOf(offset), tries = 0; at >= 0; at = words.indexOf(offset, at + 1)) {
      const found = this.#startsAt(at);
      if (found >= 0) {
        index = found;
        if (kind < 0 || ((words[at + 1]! >>> 24) & 0x1f) === kind) return this.firstId + index++;
      }
      if (++tries === 256) break;
      if (words.length - at < 2) return 0;
    }
    const { offsets } = this;
    for (; index < offsets.length; index++) {
      const word = offsets[index]!;
      if (words[word] === offset && (kind < 0 || ((words[word + 1]! >>> 24) & 0x1f) === kind))
        return this.firstId + index;
    }
    return 0;
  }

  /** Adds the own ids of all types whose name is at `offset`. */
  #typesNamedAt(offset: number, ids: number[]): void {
    const { words } = this;
    let tries = 0;
    let index = 0;
    for (let at = words.indexOf(offset); at >= 0; at = words.indexOf(offset, at + 1)) {
      const found = this.#startsAt(at);
      if (found >= 0) {
        ids.push(this.firstId + found);
        index = found + 1;
      }
      if (++tries === 256) break;
    }
    if (tries < 256) return;
    const { offsets } = this;
    for (; index < offsets.length; index++) if (words[offsets[index]!] === offset) ids.push(this.firstId + index);
  }

  /** Index of the type that starts at word `at`, or -1. */
  #startsAt(at: number): number {
    // Almost every number that is no type's start is told by what follows, so the types up to it need not be indexed.
    if (this.#trusted && !isInfo(this.words[at + 1] ?? 0)) return -1;
    this.#index.extend(0, at);
    const index = lowerBound(this.#index.offsets, this.#index.count, at);
    return index < this.#index.count && this.#index.offsets[index] === at ? index : -1;
  }

  /**
   * Decodes every type once: names, references and element bounds.
   * @throws DecodeError for the first malformed one.
   */
  validate(): void {
    for (const _ of this.types());
  }
}

const VOID: BtfType = { kind: "void", id: 0, name: "" };

function hexByte(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

/** Could `word` be a type's info: a kind, and zeros where the format has nothing. */
function isInfo(word: number): boolean {
  const kind = (word >>> 24) & 0x1f;
  return (word & 0x60ff_0000) === 0 && kind > 0 && kind < KIND_NAMES.length;
}

/** First of `count` indexes whose value is at least `value`. */
function lowerBound(sorted: Uint32Array, count: number, value: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The 32-bit words of a section in this machine's byte order: a view where that is possible. */
function nativeWords(bytes: Uint8Array, offset: number, length: number, endian: Endian): Uint32Array {
  const native = endian === hostEndian;
  if (native && (bytes.byteOffset + offset) % 4 === 0) {
    return new Uint32Array(bytes.buffer, bytes.byteOffset + offset, length / 4);
  }
  const copy = bytes.slice(offset, offset + length);
  const words = new Uint32Array(copy.buffer, copy.byteOffset, length / 4);
  if (!native) {
    const view = new DataView(copy.buffer, copy.byteOffset, copy.length);
    const little = endian === "little";
    for (let i = 0; i < words.length; i++) words[i] = view.getUint32(i * 4, little);
  }
  return words;
}

/** Where each type starts, found as far as it was asked for. */
class TypeIndex {
  readonly #words: Uint32Array;
  readonly #what: string;
  readonly #sectionOffset: number;
  /** Word at which the next type starts. */
  #at = 0;
  count = 0;
  /** Only the first `count` count. */
  offsets: Uint32Array;

  constructor(words: Uint32Array, what: string, sectionOffset: number) {
    this.#words = words;
    this.#what = what;
    this.#sectionOffset = sectionOffset;
    // A kernel's types take 6.3 words on average; more are rarely needed and grow below.
    this.offsets = new Uint32Array(Math.floor(words.length / 6) + 16);
  }

  all(): Uint32Array {
    if (this.#at < this.#words.length) this.extend(Infinity, Infinity);
    if (this.offsets.length !== this.count) this.offsets = this.offsets.subarray(0, this.count);
    return this.offsets;
  }

  /**
   * Indexes up to type `index` and past word `word`, as far as there are types; returns the new count.
   * A cold loop over a kernel's 127,000 types: no calls, no allocation but the result.
   */
  extend(index: number, word: number): number {
    const words = this.#words;
    const fixed = KIND_WORDS;
    const element = ELEMENT_WORDS;
    const end = words.length;
    let { offsets, count } = this;
    let at = this.#at;
    while (at < end && (count <= index || at <= word)) {
      const info = at + 1 < end ? words[at + 1]! : 0;
      const kind = (info >>> 24) & 0x1f;
      const size = kind < 20 ? fixed[kind]! + element[kind]! * (info & 0xffff) : 0;
      if (size === 0 || at + size > end) typeError(words, this.#what, this.#sectionOffset, at, count);
      if (count === offsets.length) {
        const grown = new Uint32Array(count * 2);
        grown.set(offsets);
        offsets = grown;
      }
      offsets[count++] = at;
      at += size;
    }
    this.offsets = offsets;
    this.#at = at;
    return (this.count = count);
  }
}

function typeError(words: Uint32Array, what: string, sectionOffset: number, at: number, index: number): never {
  const offset = sectionOffset + at * 4;
  const left = words.length - at;
  const path = ["types", `#${index}`];
  if (left < 3) {
    throw new DecodeError(what, `expected a type of at least 12 bytes, ${left * 4} are left`, { offset, path });
  }
  const info = words[at + 1]!;
  const kind = (info >>> 24) & 0x1f;
  const name = KIND_NAMES[kind];
  if (name === undefined || kind === 0) {
    throw new DecodeError(what, `expected a kind from 1 to 19, got ${kind}`, {
      offset: offset + 4,
      path: [...path, "info"],
    });
  }
  const need = KIND_WORDS[kind]! + ELEMENT_WORDS[kind]! * (info & 0xffff);
  throw new DecodeError(what, `a ${name} with vlen ${info & 0xffff} takes ${need * 4} bytes, ${left * 4} are left`, {
    offset,
    path,
  });
}
