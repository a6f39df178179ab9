/** What follows from types: resolved types, sizes, alignments, members by name. */
import { DecodeError } from "../core/errors.ts";
import type { Btf } from "./btf.ts";
import { BTF_KIND, MAX_CHAIN } from "./kinds.ts";
import type { BtfMember, BtfStruct, BtfType } from "./types.ts";

const K = BTF_KIND;

function looped(btf: Btf, id: number): DecodeError {
  return new DecodeError(
    btf.what,
    `more than ${MAX_CHAIN} typedefs, modifiers or arrays in a row: the types form a loop`,
    {
      path: ["types", `[${id}]`],
    },
  );
}

/** Id of the type behind typedefs, `const`, `volatile`, `restrict` and type tags. */
export function resolveId(btf: Btf, id: number): number {
  let current = id;
  for (let depth = 0; depth < MAX_CHAIN; depth++) {
    switch (btf.kindOf(current)) {
      case K.TYPEDEF:
      case K.VOLATILE:
      case K.CONST:
      case K.RESTRICT:
      case K.TYPE_TAG:
        current = btf.owner(current).words[btf.wordOf(current) + 2]!;
        break;
      default:
        return current;
    }
  }
  throw looped(btf, id);
}

/** The type behind typedefs, `const`, `volatile`, `restrict` and type tags. */
export function resolve(btf: Btf, id: number): BtfType {
  return btf.typeById(resolveId(btf, id));
}

/**
 * Size of a value of type `id` in bytes. Pointers take 8: BPF is a 64-bit target.
 * @throws DecodeError for types without a size (void, functions, forward declarations), loops, and arrays above 4 GiB.
 */
export function sizeOf(btf: Btf, id: number): number {
  let elements = 1;
  let current = id;
  for (let depth = 0; depth < MAX_CHAIN; depth++) {
    const owner = btf.owner(current);
    const kind = btf.kindOf(current);
    let size: number;
    switch (kind) {
      case K.INT:
      case K.STRUCT:
      case K.UNION:
      case K.ENUM:
      case K.ENUM64:
      case K.FLOAT:
      case K.DATASEC:
        size = owner.words[owner.wordOf(current) + 2]!;
        break;
      case K.PTR:
        size = 8;
        break;
      case K.TYPEDEF:
      case K.VOLATILE:
      case K.CONST:
      case K.RESTRICT:
      case K.TYPE_TAG:
      case K.VAR:
      case K.DECL_TAG:
        current = owner.words[owner.wordOf(current) + 2]!;
        continue;
      case K.ARRAY: {
        const word = owner.wordOf(current);
        elements *= owner.words[word + 5]!;
        current = owner.words[word + 3]!;
        continue;
      }
      default:
        throw new DecodeError(btf.what, `${btf.describe(current)} has no size`, { path: ["types", `[${current}]`] });
    }
    if (elements * size > 0xffff_ffff) {
      throw new DecodeError(btf.what, `an array of ${elements * size} bytes is above 4 GiB`, {
        path: ["types", `[${id}]`],
      });
    }
    return elements * size;
  }
  throw looped(btf, id);
}

/**
 * Alignment of type `id` in bytes, as C computes it from the members (a packed struct has 1).
 * @throws DecodeError for types without an alignment and loops.
 */
export function alignOf(btf: Btf, id: number): number {
  return alignAt(btf, id, 0, new Map());
}

/** Alignments of many types of one BTF, each computed once. */
export class AlignCache {
  readonly #btf: Btf;
  readonly #known = new Map<number, number>();
  readonly #byId: Uint8Array;

  constructor(btf: Btf) {
    this.#btf = btf;
    this.#byId = new Uint8Array(btf.typeCount);
  }

  of(id: number): number {
    let align = this.#byId[id]!;
    if (align === 0) this.#byId[id] = align = alignAt(this.#btf, id, 0, this.#known);
    return align;
  }

  /** Whether the members of a struct or union only fit where they are when it is packed. */
  packed(id: number): boolean {
    return naturalAlign(this.#btf, id, 0, this.#known) === 0;
  }
}

/** Walks raw words: a whole kernel is asked for its alignments when it is printed. */
function alignAt(btf: Btf, id: number, depth: number, known: Map<number, number>): number {
  if (depth > MAX_CHAIN) throw looped(btf, id);
  const resolved = resolveId(btf, id);
  const owner = btf.owner(resolved);
  switch (btf.kindOf(resolved)) {
    case K.INT:
    case K.FLOAT: {
      const size = owner.words[owner.wordOf(resolved) + 2]!;
      return 1 << Math.max(0, 31 - Math.clz32(Math.min(16, size)));
    }
    case K.ENUM:
    case K.ENUM64:
      return Math.min(8, Math.max(1, owner.words[owner.wordOf(resolved) + 2]!));
    case K.PTR:
      return 8;
    case K.ARRAY:
      return alignAt(btf, owner.words[owner.wordOf(resolved) + 3]!, depth + 1, known);
    case K.VAR:
      return alignAt(btf, owner.words[owner.wordOf(resolved) + 2]!, depth + 1, known);
    case K.STRUCT:
    case K.UNION:
      return naturalAlign(btf, resolved, depth, known) || 1;
    default:
      throw new DecodeError(btf.what, `${btf.describe(resolved)} has no alignment`, {
        path: ["types", `[${resolved}]`],
      });
  }
}

/** The largest alignment of the members of a struct or union; 0 when they are off it, which only a packed one allows. */
function naturalAlign(btf: Btf, id: number, depth: number, known: Map<number, number>): number {
  let align = known.get(id);
  if (align === undefined) known.set(id, (align = membersAlign(btf, id, depth, known)));
  return align;
}

function membersAlign(btf: Btf, id: number, depth: number, known: Map<number, number>): number {
  const owner = btf.owner(id);
  const { words } = owner;
  const word = owner.wordOf(id);
  const info = words[word + 1]!;
  const kflag = info >>> 31 === 1;
  let align = 1;
  for (let i = 0, m = word + 3; i < (info & 0xffff); i++, m += 3) {
    const type = words[m + 1]!;
    const raw = words[m + 2]!;
    const need = alignAt(btf, type, depth + 1, known);
    const bitSize = kflag ? raw >>> 24 : 0;
    const bitOffset = kflag ? raw & 0xff_ffff : raw;
    if (bitSize === 0) {
      if (bitOffset % (need * 8) !== 0) return 0;
    } else {
      const unit = sizeOf(btf, type) * 8;
      if ((bitOffset % unit) + bitSize > unit) return 0;
    }
    if (need > align) align = need;
  }
  return words[word + 2]! % align === 0 ? align : 0;
}

/** A member found by name, with anonymous structs and unions on the way looked through. */
export interface FoundMember {
  readonly struct: BtfStruct;
  readonly member: BtfMember;
  /** Index of the member in each struct from the outermost to `struct`: what a CO-RE access string says. */
  readonly indexes: readonly number[];
  /** Bits from the start of the outermost struct. */
  readonly bitOffset: number;
}

/**
 * The member `name` of struct or union `id` (typedefs and modifiers skipped), also inside anonymous members.
 * @throws DecodeError on malformed or looping types.
 */
export function findMember(btf: Btf, id: number, name: string): FoundMember | undefined {
  return findMemberAt(btf, id, name, new Set());
}

function findMemberAt(btf: Btf, id: number, name: string, searched: Set<number>): FoundMember | undefined {
  const struct = resolve(btf, id);
  if ((struct.kind !== "struct" && struct.kind !== "union") || searched.has(struct.id)) return undefined;
  if (searched.size > 1000) throw looped(btf, id);
  // A type that does not have the name, does not have it elsewhere either.
  searched.add(struct.id);
  for (let i = 0; i < struct.members.length; i++) {
    const member = struct.members[i]!;
    if (member.name === name) return { struct, member, indexes: [i], bitOffset: member.bitOffset };
    if (member.name !== "" || name === "") continue;
    const inner = findMemberAt(btf, member.type, name, searched);
    if (inner !== undefined) {
      return { ...inner, indexes: [i, ...inner.indexes], bitOffset: member.bitOffset + inner.bitOffset };
    }
  }
  return undefined;
}

/** Where `path` leads: the type there, its place, and the CO-RE access string. */
export interface FoundPath {
  /** Type id of the last member or element, not resolved. */
  readonly type: number;
  readonly bitOffset: number;
  /** Width of a bit-field; 0 for whole bytes. */
  readonly bitSize: number;
  /** "0:1:2": from a pointer to the root type. */
  readonly access: string;
}

/**
 * Follows member names and array indexes from type `id` through embedded structs,
 * unions and arrays (not through pointers). Undefined when a step does not exist.
 *
 * @example
 * const where = findPath(btf, btf.findId("task_struct", "struct"), ["se", "vruntime"]);
 * console.log(where?.bitOffset, where?.access);
 */
export function findPath(btf: Btf, id: number, path: readonly (string | number)[]): FoundPath | undefined {
  let type = id;
  let bitOffset = 0;
  let bitSize = 0;
  const access = [0];
  for (const step of path) {
    if (bitSize !== 0) return undefined;
    if (typeof step === "number") {
      const array = resolve(btf, type);
      if (array.kind !== "array" || step < 0 || !Number.isSafeInteger(step)) return undefined;
      if (step >= array.nelems && array.nelems !== 0) return undefined;
      type = array.type;
      bitOffset += step * sizeOf(btf, type) * 8;
      access.push(step);
    } else {
      const found = findMember(btf, type, step);
      if (found === undefined) return undefined;
      type = found.member.type;
      bitOffset += found.bitOffset;
      bitSize = found.member.bitSize;
      access.push(...found.indexes);
    }
  }
  return { type, bitOffset, bitSize, access: access.join(":") };
}

/** Name of the enumerator of `enum` or `enum64` type `id` with this value. */
export function enumName(btf: Btf, id: number, value: number | bigint): string | undefined {
  const type = resolve(btf, id);
  if (type.kind !== "enum" && type.kind !== "enum64") return undefined;
  return type.values.find((v) => BigInt(v.value) === BigInt(value))?.name;
}
