/** Values into bytes by BTF types, and back. */
import type { Btf } from "../../btf/btf.ts";
import { findMember, resolve, resolveId, sizeOf } from "../../btf/layout.ts";
import type { BtfEnum, BtfEnum64, BtfMember, BtfStruct, BtfType } from "../../btf/types.ts";
import { decodeCString, encodeUtf8 } from "../../core/bytes.ts";
import { closest } from "../../core/edit-distance.ts";
import { ArgumentError } from "../../core/errors.ts";
import type { FieldList, Fields, FieldValue, KernelObject } from "./types.ts";

/** What a pointer's value is put into memory by. */
export interface Pointees {
  /** Address of NUL-terminated text, of bytes, or of `value` as a `typeId` (0: unknown). */
  text(text: string, user: boolean): bigint;
  bytes(bytes: Uint8Array, user: boolean): bigint;
  value(typeId: number, value: Fields | FieldList, path: string, user: boolean): bigint;
}

/** How deep values may nest. */
const MAX_DEPTH = 64;
/** How deep structs lie in structs: the kernel's come to 14. */
export const MAX_NESTING = 20;

export const isKernelObject = (value: unknown): value is KernelObject =>
  typeof value === "object" && value !== null && "typeId" in value && "address" in value && "get" in value;
const isList = (value: FieldValue): value is FieldList => Array.isArray(value);

export function fieldError(path: string, message: string): ArgumentError {
  return new ArgumentError(path === "" ? "value" : path, message);
}

/** What came, for messages. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return isKernelObject(value) ? `a ${value.type}` : "an object";
  return String(value);
}

/** `value` as an integer of `bits` bits, signed or unsigned as it comes; `path` names it in errors. */
export function integer(value: FieldValue, bits: number, path: string): bigint {
  let n: bigint;
  if (typeof value === "bigint") n = value;
  else if (typeof value === "boolean") n = value ? 1n : 0n;
  else if (typeof value === "number" && Number.isInteger(value)) n = BigInt(value);
  else throw fieldError(path, `expected an integer of ${bits} bits, got ${shown(value)}`);
  const limit = 1n << BigInt(bits);
  if (n >= limit || n < -(limit >> 1n))
    throw fieldError(
      path,
      `expected an integer of ${bits} bits (${bits === 1 ? "0 or 1" : `-2^${bits - 1} to 2^${bits}-1`}), got ${shown(value)}`,
    );
  return n & (limit - 1n);
}

/** Writes values of one kernel's types; pointers get their addresses from `pointees`. Little-endian. */
export class ValueEncoder {
  readonly btf: Btf;
  readonly pointees: Pointees;

  constructor(btf: Btf, pointees: Pointees) {
    this.btf = btf;
    this.pointees = pointees;
  }

  /**
   * Writes `value` as type `id` into `to` from byte `at`; `to` ends where the object does.
   * @throws ArgumentError with the path of the field
   */
  put(id: number, value: FieldValue, to: Uint8Array, at: number, path: string, depth = 0): void {
    if (depth > MAX_DEPTH) throw fieldError(path, `values nest deeper than ${MAX_DEPTH} levels`);
    const type = resolve(this.btf, id);
    const size = sizeOf(this.btf, id);
    if (!Number.isInteger(at) || at + size > to.length)
      throw fieldError(path, `the types are wrong: ${size} bytes at ${at} are outside of an object of ${to.length}`);
    switch (type.kind) {
      case "int":
        if (typeof value === "string" && type.size === 1 && value.length === 1)
          return putBits(to, at * 8, 8, integer(value.charCodeAt(0), 8, path));
        return putBits(to, at * 8, type.size * 8, integer(value, type.size * 8, path));
      case "enum":
      case "enum64":
        return putBits(to, at * 8, type.size * 8, this.#enumerator(type, value, type.size * 8, path));
      case "ptr":
        return putBits(to, at * 8, 64, this.#pointer(id, type.type, value, path, depth));
      case "struct":
      case "union":
        return this.#struct(type, value, to, at, path, depth);
      case "array":
        return this.#array(type.type, type.nelems, value, to, at, path, depth);
      default:
        throw fieldError(path, `a ${type.kind} has no value`);
    }
  }

  #enumerator(type: BtfEnum | BtfEnum64, value: FieldValue, bits: number, path: string): bigint {
    if (typeof value !== "string") return integer(value, bits, path);
    const found = type.values.find((v) => v.name === value);
    if (found !== undefined) return BigInt.asUintN(bits, BigInt(found.value));
    const near = closest(
      value,
      type.values.map((v) => v.name),
    );
    throw fieldError(
      path,
      `expected an enumerator of ${type.name === "" ? "the enum" : `enum ${type.name}`}, got ${shown(value)}${near === undefined ? "" : `; did you mean ${near}?`}`,
    );
  }

  #pointer(pointer: number, target: number, value: FieldValue, path: string, depth: number): bigint {
    if (value === null) return 0n;
    if (typeof value === "number" || typeof value === "bigint") return integer(value, 64, path);
    if (typeof value === "boolean") throw fieldError(path, `expected a pointer, got ${value}`);
    if (isKernelObject(value)) {
      this.#checkPointee(target, value, path);
      return value.address;
    }
    const user = isUser(this.btf, pointer);
    if (typeof value === "string") {
      const kind = target === 0 ? undefined : resolve(this.btf, target);
      if (kind !== undefined && !(kind.kind === "int" && kind.size === 1))
        throw fieldError(path, `expected what a ${this.btf.describe(target)} holds, got text`);
      return this.pointees.text(value, user);
    }
    if (value instanceof Uint8Array) return this.pointees.bytes(value, user);
    if (depth === MAX_DEPTH) throw fieldError(path, `values nest deeper than ${MAX_DEPTH} levels`);
    if (target === 0)
      throw fieldError(
        path,
        `a void pointer: give an address, bytes or an object made by struct(), not ${shown(value)}`,
      );
    return this.pointees.value(target, value, path, user);
  }

  #checkPointee(target: number, value: KernelObject, path: string): void {
    if (target === 0) return;
    const wanted = resolve(this.btf, target);
    if (wanted.kind !== "struct" && wanted.kind !== "union" && wanted.kind !== "fwd") return;
    const got = resolve(this.btf, value.typeId);
    if (got.name === wanted.name || (got.kind === "struct" && startsWith(this.btf, got, wanted.name))) return;
    throw fieldError(
      path,
      `expected a ${wanted.kind === "union" ? "union" : "struct"} ${wanted.name}, got a ${value.type}`,
    );
  }

  #struct(type: BtfStruct, value: FieldValue, to: Uint8Array, at: number, path: string, depth: number): void {
    if (isKernelObject(value))
      throw fieldError(path, `is ${described(type)} itself, not a pointer to one: give its fields`);
    if (value instanceof Uint8Array) {
      if (value.length > type.size)
        throw fieldError(path, `expected at most the ${type.size} bytes of ${described(type)}, got ${value.length}`);
      to.set(value, at);
      return;
    }
    if (typeof value !== "object" || value === null || isList(value))
      throw fieldError(path, `expected the fields of ${described(type)}, got ${shown(value)}`);
    for (const [name, field] of Object.entries(value)) {
      if (field === undefined) continue;
      const inner = path === "" ? name : `${path}.${name}`;
      const found = findMember(this.btf, type.id, name);
      if (found === undefined) throw this.noMember(type, name, inner);
      this.putMember(found.member, found.bitOffset, field, to, at, inner, depth + 1);
    }
  }

  /** Writes a member that starts `bitOffset` bits behind byte `at`. */
  putMember(m: BtfMember, bitOffset: number, v: FieldValue, to: Uint8Array, at: number, path: string, depth = 0): void {
    if (m.bitSize === 0) return this.put(m.type, v, to, at + bitOffset / 8, path, depth);
    if (at * 8 + bitOffset + m.bitSize > to.length * 8)
      throw fieldError(path, `the types are wrong: bit ${bitOffset} is outside of an object of ${to.length} bytes`);
    const type = resolve(this.btf, m.type);
    const bits =
      type.kind === "enum" || type.kind === "enum64"
        ? this.#enumerator(type, v, m.bitSize, path)
        : integer(v, m.bitSize, path);
    return putBits(to, at * 8 + bitOffset, m.bitSize, bits);
  }

  noMember(type: BtfStruct, name: string, path: string): ArgumentError {
    const near = closest(name, memberNames(this.btf, type, new Set()));
    return fieldError(
      path,
      `${described(type)} of this kernel has no member ${name}${near === undefined ? "" : `; did you mean ${near}?`}`,
    );
  }

  #array(element: number, n: number, value: FieldValue, to: Uint8Array, at: number, path: string, depth: number): void {
    const size = sizeOf(this.btf, element);
    const room = Math.min(n === 0 ? Infinity : n * size, to.length - at);
    const max = size === 0 ? 0 : Math.floor(room / size);
    if (typeof value === "string" || value instanceof Uint8Array) {
      const bytes = typeof value === "string" ? encodeUtf8(value) : value;
      if (typeof value === "string" && size !== 1) throw fieldError(path, `expected a list of ${n}, got text`);
      // Text that fills the array has no NUL at its end, as strncpy would leave it.
      if (bytes.length > room) throw fieldError(path, `expected at most ${room} bytes, got ${bytes.length}`);
      to.set(bytes, at);
      return;
    }
    if (typeof value !== "object" || value === null || !isList(value))
      throw fieldError(path, `expected a list of at most ${max}, got ${shown(value)}`);
    if (value.length > max) throw fieldError(path, `expected a list of at most ${max}, got ${value.length}`);
    for (let i = 0; i < value.length; i++) this.put(element, value[i]!, to, at + i * size, `${path}[${i}]`, depth + 1);
  }
}

/** Does a pointer of type `id` carry the tag of user memory (`__user`)? */
function isUser(btf: Btf, id: number): boolean {
  const pointer = resolve(btf, id);
  if (pointer.kind !== "ptr") return false;
  let at = pointer.type;
  for (let steps = 0; at !== 0 && steps < 32; steps++) {
    const type = btf.typeById(at);
    if (type.kind === "type_tag" && type.name === "user") return true;
    if (type.kind !== "const" && type.kind !== "volatile" && type.kind !== "typedef" && type.kind !== "type_tag")
      return false;
    at = type.type;
  }
  return false;
}

/** Is a `struct NAME` what `type` begins with (a tcp_sock where a sock is wanted)? */
function startsWith(btf: Btf, type: BtfStruct, name: string): boolean {
  let current: BtfType = type;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    if (current.kind !== "struct") return false;
    if (current.name === name) return true;
    const [first] = current.members;
    if (first === undefined) return false;
    current = resolve(btf, first.type);
  }
  return false;
}

export function described(type: BtfStruct): string {
  return type.name === "" ? `the ${type.kind}` : `${type.kind} ${type.name}`;
}

/** Names that a value of `type` may have, those of anonymous members among them. */
export function memberNames(btf: Btf, type: BtfStruct, seen: Set<number>): string[] {
  if (seen.has(type.id)) return [];
  seen.add(type.id);
  return type.members.flatMap((m) => {
    if (m.name !== "") return [m.name];
    const inner = resolve(btf, m.type);
    return inner.kind === "struct" || inner.kind === "union" ? memberNames(btf, inner, seen) : [];
  });
}

/** Writes the low `size` bits of `value` from bit `offset` on, lowest bits first. */
export function putBits(to: Uint8Array, offset: number, size: number, value: bigint): void {
  if (offset % 8 === 0 && size % 8 === 0) {
    let rest = value;
    for (let i = offset / 8, end = i + size / 8; i < end; i++) {
      to[i] = Number(rest & 0xffn);
      rest >>= 8n;
    }
    return;
  }
  for (let i = 0; i < size; i++) {
    const bit = Number((value >> BigInt(i)) & 1n);
    const at = offset + i;
    to[at >> 3] = (to[at >> 3]! & ~(1 << (at & 7))) | (bit << (at & 7));
  }
}

/** `size` bits from bit `offset` on, unsigned. */
export function getBits(from: Uint8Array, offset: number, size: number): bigint {
  let value = 0n;
  if (offset % 8 === 0 && size % 8 === 0) {
    for (let i = (offset + size) / 8 - 1; i >= offset / 8; i--) value = (value << 8n) | BigInt(from[i]!);
    return value;
  }
  for (let i = size - 1; i >= 0; i--) {
    const at = offset + i;
    value = (value << 1n) | BigInt((from[at >> 3]! >> (at & 7)) & 1);
  }
  return value;
}

/**
 * The value of type `id` at byte `at`: numbers (bigint for 64 bits), booleans, text for arrays of char, bytes for other
 * arrays of bytes, lists, objects, addresses for pointers.
 */
export function readValue(btf: Btf, id: number, from: Uint8Array, at: number, depth = 0): unknown {
  const type = resolve(btf, id);
  const size = type.kind === "void" || type.kind === "func_proto" || type.kind === "fwd" ? 0 : sizeOf(btf, id);
  if (!Number.isInteger(at) || at + size > from.length)
    throw fieldError("", `the types are wrong: ${size} bytes at ${at} are outside of an object of ${from.length}`);
  switch (type.kind) {
    case "int":
      return number(getBits(from, at * 8, type.size * 8), type.size * 8, type.signed, type.bool);
    case "enum":
    case "enum64":
      return number(getBits(from, at * 8, type.size * 8), type.size * 8, type.signed, false);
    case "ptr":
      return getBits(from, at * 8, 64);
    case "struct":
    case "union": {
      if (depth > MAX_NESTING) return from.slice(at, at + type.size);
      const out: Record<string, unknown> = {};
      for (const m of type.members) {
        const value = readMember(btf, m, m.bitOffset, from, at, depth + 1);
        if (m.name !== "") out[m.name] = value;
        else if (typeof value === "object" && value !== null) Object.assign(out, value);
      }
      return out;
    }
    case "array": {
      const element = resolve(btf, type.type);
      const step = sizeOf(btf, type.type);
      if (step === 0) return [];
      if (element.kind === "int" && element.size === 1) {
        const bytes = from.slice(at, at + type.nelems);
        return isChar(btf, type.type) ? decodeCString(bytes) : bytes;
      }
      return Array.from({ length: type.nelems }, (_, i) => readValue(btf, type.type, from, at + i * step, depth + 1));
    }
    default:
      return undefined;
  }
}

/** The value of a member that starts `bitOffset` bits behind byte `at`. */
export function readMember(
  btf: Btf,
  m: BtfMember,
  bitOffset: number,
  from: Uint8Array,
  at: number,
  depth = 0,
): unknown {
  if (m.bitSize === 0) return readValue(btf, m.type, from, at + bitOffset / 8, depth);
  if (at * 8 + bitOffset + m.bitSize > from.length * 8)
    throw fieldError(m.name, `the types are wrong: bit ${bitOffset} is outside of an object of ${from.length} bytes`);
  const type = resolve(btf, m.type);
  const signed = "signed" in type && type.signed;
  return number(getBits(from, at * 8 + bitOffset, m.bitSize), m.bitSize, signed, type.kind === "int" && type.bool);
}

function number(bits: bigint, size: number, signed: boolean, bool: boolean): number | bigint | boolean {
  if (bool) return bits !== 0n;
  const value = signed ? BigInt.asIntN(size, bits) : bits;
  return size > 32 ? value : Number(value);
}

/** Is `id` named `char`, not `u8` or the like? */
function isChar(btf: Btf, id: number): boolean {
  const type = btf.typeById(resolveId(btf, id));
  return type.kind === "int" && type.name === "char";
}
