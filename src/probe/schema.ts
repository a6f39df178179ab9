/**
 * Schemas: the types that exist at run time. Each is also a conversion to call:
 * `u32(x)` inside a program body is C's cast, and outside does the same in JavaScript.
 */
import { ArgumentError } from "../core/errors.ts";
import type { CString, Pointer } from "./kernel-types.ts";
import type {
  ArraySchema,
  Body,
  BoolSchema,
  BytesSchema,
  CharSchema,
  EnumSchema,
  FieldSchema,
  Infer,
  Input,
  IntSchema,
  KernelManaged,
  Schema,
  StructSchema,
} from "./schema-types.ts";

type Convertible = number | bigint | boolean;

/** An integer schema that is also the cast to it. */
interface IntCast<N extends string, T> extends IntSchema<T> {
  (value: Convertible | Pointer | CString): number;
  readonly name: N;
}
export interface U8 extends IntCast<"u8", number> {}
export interface U16 extends IntCast<"u16", number> {}
export interface U32 extends IntCast<"u32", number> {}
export interface U64 extends IntCast<"u64", bigint> {}
export interface S8 extends IntCast<"s8", number> {}
export interface S16 extends IntCast<"s16", number> {}
export interface S32 extends IntCast<"s32", number> {}
export interface S64 extends IntCast<"s64", bigint> {}
export interface Be16 extends IntCast<"be16", number> {}
export interface Be32 extends IntCast<"be32", number> {}
export interface Be64 extends IntCast<"be64", bigint> {}
export interface Bool extends BoolSchema {
  (value: Convertible): boolean;
}
export interface Char extends CharSchema {
  (value: string): string;
}
export interface Bytes extends BytesSchema {
  (value: Uint8Array | readonly number[]): Uint8Array;
}
export interface ArrayOf<S extends Schema> extends ArraySchema<Infer<S>, Body<S>> {
  (values?: readonly Input<S>[]): Body<S>[];
  readonly element: S;
}
/** Members of an enum are properties: `State.OPEN` is a constant. */
export type EnumOf<M extends Readonly<Record<string, number>>> = EnumSchema<keyof M | number> & {
  (value: Convertible): number;
} & { readonly [K in keyof M]: M[K] };

export type Fields = Readonly<Record<string, Schema>>;
/** A struct (or union) schema; called, it makes a value whose missing fields are zero. */
export interface Struct<F extends Fields> extends StructSchema<
  { -readonly [K in keyof F as Infer<F[K]> extends KernelManaged ? never : K]: Infer<F[K]> },
  { -readonly [K in keyof F]: Body<F[K]> }
> {
  (value?: { readonly [K in keyof F]?: Input<F[K]> }): { -readonly [K in keyof F]: Body<F[K]> };
}

const brand = Symbol.for("bpfkit.schema");

/** True for every schema, also one made by another copy of this package. */
export function isSchema(value: unknown): value is Schema {
  return typeof value === "function" && (value as { [brand]?: unknown })[brand] === true;
}

function make(convert: (value: never) => unknown, properties: object): unknown {
  const schema = ((value: unknown): unknown => convert(value as never)) as ((value: unknown) => unknown) &
    Record<string, unknown>;
  for (const [key, value] of Object.entries({ name: undefined, length: undefined, ...properties })) {
    // What functions have (`name`, `length`, `caller`, …) cannot all be assigned. Defining all of them would take the
    // schemas of this file 0.2 ms, cold.
    if (value !== undefined && !(key in schema)) schema[key] = value;
    else Object.defineProperty(schema, key, { value, enumerable: value !== undefined });
  }
  Object.defineProperty(schema, brand, { value: true });
  return Object.freeze(schema);
}

function int(name: string, bits: 8 | 16 | 32 | 64, signed: boolean, bigEndian = false): unknown {
  const wrap = signed ? BigInt.asIntN : BigInt.asUintN;
  const convert = (value: Convertible): number => {
    if (typeof value === "number" && !Number.isInteger(value)) {
      throw new ArgumentError(name, `expected an integer, got ${value}`);
    }
    if (typeof value !== "number" && typeof value !== "bigint" && typeof value !== "boolean") {
      throw new ArgumentError(name, `expected an integer, got ${typeof value}`);
    }
    const wide = wrap(bits, BigInt(value));
    const narrow = Number(wide);
    // Above 2^53 only a bigint is exact; the compiler takes either for a captured constant.
    return Number.isSafeInteger(narrow) ? narrow : (wide as unknown as number);
  };
  return make(convert, { kind: "int", name, bits, signed, bigEndian, size: bits / 8, align: bits / 8 });
}

/** Unsigned 8-bit integer. */
export const u8 = int("u8", 8, false) as U8;
/** Unsigned 16-bit integer. */
export const u16 = int("u16", 16, false) as U16;
/** Unsigned 32-bit integer. */
export const u32 = int("u32", 32, false) as U32;
/** Unsigned 64-bit integer: `number` inside a program body (computed exactly), `bigint` when decoded. */
export const u64 = int("u64", 64, false) as U64;
/** Signed 8-bit integer. */
export const s8 = int("s8", 8, true) as S8;
/** Signed 16-bit integer. */
export const s16 = int("s16", 16, true) as S16;
/** Signed 32-bit integer. */
export const s32 = int("s32", 32, true) as S32;
/** Signed 64-bit integer: `number` inside a program body (computed exactly), `bigint` when decoded. */
export const s64 = int("s64", 64, true) as S64;
/** Unsigned 16-bit integer stored in network byte order. */
export const be16 = int("be16", 16, false, true) as Be16;
/** Unsigned 32-bit integer stored in network byte order. */
export const be32 = int("be32", 32, false, true) as Be32;
/** Unsigned 64-bit integer stored in network byte order. */
export const be64 = int("be64", 64, false, true) as Be64;
/** One byte, 0 or 1. */
export const bool: Bool = make((value: Convertible) => Boolean(value), { kind: "bool", size: 1, align: 1 }) as Bool;

function count(argument: string, length: unknown): asserts length is number {
  if (!Number.isInteger(length) || (length as number) < 1 || (length as number) > 0x1000_0000) {
    throw new ArgumentError(argument, `expected a whole number of 1 or more, got ${String(length)}`);
  }
}

function checkSchema(argument: string, schema: unknown): asserts schema is Schema {
  if (!isSchema(schema))
    throw new ArgumentError(argument, `expected a schema such as u32 or struct({…}), got ${describe(schema)}`);
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "function") return value.name === "" ? "a function" : `the function ${value.name}`;
  if (typeof value === "object") return "an object";
  return typeof value === "symbol" ? "a symbol" : `${typeof value} ${value as string | number | bigint | boolean}`;
}

/**
 * `char[length]`: a string of at most `length - 1` bytes of UTF-8 and a NUL. `length` is in bytes.
 *
 * @throws ArgumentError if `length` is not a whole number of 1 or more.
 * @example
 * import { char } from "bpfkit";
 * const Comm = char(16);
 */
export function char(length: number): Char {
  count("char(length)", length);
  return make((value: string) => value, { kind: "char", length, size: length, align: 1 }) as Char;
}

/**
 * `u8[length]`, decoded as a Uint8Array.
 *
 * @throws ArgumentError if `length` is not a whole number of 1 or more.
 */
export function bytes(length: number): Bytes {
  count("bytes(length)", length);
  const convert = (value: Uint8Array | readonly number[] | undefined): Uint8Array => {
    const out = new Uint8Array(length);
    out.set((value ?? []).slice(0, length));
    return out;
  };
  return make(convert, { kind: "bytes", length, size: length, align: 1 }) as Bytes;
}

/**
 * `element[length]` inside a struct. (A map of that shape is `arrayMap(value, length)`.)
 *
 * @throws ArgumentError if `element` is no schema or `length` no whole number of 1 or more.
 */
export function array<S extends Schema>(element: S, length: number): ArrayOf<S> {
  checkSchema("array(element)", element);
  count("array(length)", length);
  const convert = (values: readonly unknown[] = []): unknown[] =>
    Array.from({ length }, (_, i) => construct(element, values[i]));
  return make(convert, {
    kind: "array",
    element,
    length,
    size: element.size * length,
    align: element.align,
  }) as ArrayOf<S>;
}

/**
 * An enumeration: integers inside a program, their names when decoded. 4 bytes wide, 8 when a value needs it.
 *
 * @param members names and integer values, such as `{ CLOSED: 0, OPEN: 1 }`
 * @throws ArgumentError if a value is not an integer or a name is a property of schemas (`kind`, `size`, …).
 * @example
 * import { enumOf } from "bpfkit";
 * const State = enumOf({ CLOSED: 0, OPEN: 1 });
 * console.log(State.OPEN); // 1
 */
export function enumOf<const M extends Readonly<Record<string, number>>>(
  members: M,
  options: { name?: string } = {},
): EnumOf<M> {
  const values = new Map(Object.entries(members));
  const taken = ["kind", "name", "values", "signed", "size", "align", "length", "prototype"];
  for (const [name, value] of values) {
    if (!Number.isSafeInteger(value))
      throw new ArgumentError(`enumOf(${name})`, `expected an integer, got ${String(value)}`);
    if (taken.includes(name))
      throw new ArgumentError(`enumOf(${name})`, `the name is taken by a property of the schema: choose another`);
  }
  const all = [...values.values()];
  const signed = all.some((v) => v < 0);
  const size = all.every((v) => v >= -0x8000_0000 && v <= (signed ? 0x7fff_ffff : 0xffff_ffff)) ? 4 : 8;
  return make((value: Convertible) => Number(value), {
    ...members,
    kind: "enum",
    name: options.name,
    values,
    signed,
    size,
    align: size,
  }) as EnumOf<M>;
}

/**
 * A C struct: fields in order, with C's padding.
 *
 * @param options `name`: the C tag in BTF; by default the name of the constant that holds it
 * @throws ArgumentError if a field is no schema or there is none.
 * @example
 * import { char, struct, u32, u64 } from "bpfkit";
 * const Event = struct({ pid: u32, at: u64, comm: char(16) });
 * console.log(Event.size); // 32
 */
export function struct<F extends Fields>(fields: F, options: { name?: string } = {}): Struct<F> {
  return layOut("struct", fields, false, options.name);
}

/** A C struct without padding (`__attribute__((packed))`), as protocol headers are. See {@link struct}. */
export function packed<F extends Fields>(fields: F, options: { name?: string } = {}): Struct<F> {
  return layOut("struct", fields, true, options.name);
}

/** A C union: every field at offset 0. See {@link struct}. */
export function union<F extends Fields>(fields: F, options: { name?: string } = {}): Struct<F> {
  return layOut("union", fields, false, options.name);
}

/**
 * `struct bpf_spin_lock`: a lock in a map value, held by `bpf.locked(entry.lock, () => …)`. Kernel 5.1+.
 * It begins open; nothing is given for it when an entry is stored.
 *
 * @example
 * import { hash, spinLock, struct, u32, u64 } from "bpfkit";
 * export const totals = hash(u32, struct({ lock: spinLock, packets: u64, bytes: u64 }));
 */
export const spinLock = layOut("struct", { val: u32 }, false, "bpf_spin_lock") as unknown as StructSchema<
  KernelManaged,
  KernelManaged
>;
/**
 * `struct bpf_timer`: a timer in a map value, started by `map.startTimer(entry.timer, nanoseconds, (value, key) => …)`.
 * Kernel 5.15+. Nothing is given for it when an entry is stored.
 */
export const timer = layOut("struct", { opaque: array(u64, 2) }, false, "bpf_timer") as unknown as StructSchema<
  KernelManaged,
  KernelManaged
>;
/**
 * `struct bpf_dynptr`: memory whose size is known at run time only, checked at every access. `const d = dynptr()` makes an
 * empty one on the stack, a helper or kernel function fills it in, `bpf.dynptrRead` and its kind use it. Kernel 5.19+.
 */
export const dynptr = layOut("struct", { opaque: array(u64, 2) }, false, "bpf_dynptr") as unknown as StructSchema<
  KernelManaged,
  KernelManaged
> &
  (() => KernelManaged);
const MANAGED: ReadonlySet<string | undefined> = new Set(["bpf_spin_lock", "bpf_timer"]);
/** Whether only the kernel writes values of this schema; also one made by another copy of this package, or from BTF. */
export function isManaged(schema: Schema): boolean {
  return schema.kind === "struct" && MANAGED.has(schema.name);
}

function layOut<F extends Fields>(
  kind: "struct" | "union",
  fields: F,
  isPacked: boolean,
  name: string | undefined,
): Struct<F> {
  const laid: FieldSchema[] = [];
  let end = 0;
  let align = 1;
  for (const [field, schema] of Object.entries(fields)) {
    checkSchema(`${kind}({ ${field} })`, schema);
    const fieldAlign = isPacked ? 1 : schema.align;
    const offset = kind === "union" ? 0 : Math.ceil(end / fieldAlign) * fieldAlign;
    laid.push(Object.freeze({ name: field, offset, schema }));
    end = Math.max(end, offset + schema.size);
    align = Math.max(align, fieldAlign);
  }
  if (laid.length === 0) throw new ArgumentError(`${kind}(fields)`, "expected at least one field");
  const size = Math.ceil(end / align) * align;
  const properties = { kind, name, packed: isPacked, fields: Object.freeze(laid), size, align };
  const schema: Struct<F> = make(
    (value: object | undefined): unknown => construct(schema, value),
    properties,
  ) as Struct<F>;
  return schema;
}

/** A value of `schema` in JavaScript: `value`, with what is missing set to zero. */
function construct(schema: Schema, value: unknown): unknown {
  switch (schema.kind) {
    case "struct": {
      const given = (value ?? {}) as Readonly<Record<string, unknown>>;
      for (const key of Object.keys(given)) {
        if (!schema.fields.some((f) => f.name === key))
          throw new ArgumentError(`${schema.name ?? "struct"}({ ${key} })`, "no such field");
      }
      return Object.fromEntries(schema.fields.map((f) => [f.name, construct(f.schema, given[f.name])]));
    }
    case "union":
      return value ?? {};
    case "char":
      return value ?? "";
    default:
      return (schema as unknown as (value: unknown) => unknown)(
        value ?? (schema.kind === "array" || schema.kind === "bytes" ? [] : 0),
      );
  }
}
