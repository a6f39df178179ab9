/**
 * The shape of a schema at run time, and the TypeScript types it stands for. One
 * schema is the truth for BPF stores, BTF, the TypeScript type, the decoder and JSON.
 *
 * `struct`, `u32`, `char(n)`… that make schemas are in `schema.ts`; the compiler,
 * the loader's decoders and the typed maps read these records.
 */

declare const type: unique symbol;
declare const body: unique symbol;

/**
 * `T` is a value decoded in user space (64-bit integers are bigint), `B` the same
 * value inside a program body, where every integer is `number`.
 */
interface SchemaBase<T, B> {
  /** Size in bytes. */
  readonly size: number;
  /** Alignment in bytes: 1, 2, 4 or 8. */
  readonly align: number;
  /** Never present: carries the TypeScript type of a decoded value. */
  readonly [type]?: T;
  /** Never present: carries the TypeScript type of the value inside a program body. */
  readonly [body]?: B;
}

/** Integers: 8-64 bits. 64-bit ones decode to bigint, the rest to number. `bigEndian` for be16/be32/be64. */
export interface IntSchema<T = number | bigint> extends SchemaBase<T, number> {
  readonly kind: "int";
  readonly name: string;
  readonly bits: 8 | 16 | 32 | 64;
  readonly signed: boolean;
  readonly bigEndian: boolean;
}
export interface BoolSchema extends SchemaBase<boolean, boolean> {
  readonly kind: "bool";
}
/** `char[n]`: decodes to the text before the first NUL. */
export interface CharSchema extends SchemaBase<string, string> {
  readonly kind: "char";
  readonly length: number;
}
/** `u8[n]` that decodes to a Uint8Array. */
export interface BytesSchema extends SchemaBase<Uint8Array, Uint8Array> {
  readonly kind: "bytes";
  readonly length: number;
}
export interface ArraySchema<T = unknown, B = T> extends SchemaBase<T[], B[]> {
  readonly kind: "array";
  readonly element: Schema;
  readonly length: number;
}
/** Decodes to the name of the value where it has one, else to the number. */
export interface EnumSchema<T = string | number> extends SchemaBase<T, number> {
  readonly kind: "enum";
  readonly name: string | undefined;
  readonly values: ReadonlyMap<string, number>;
  readonly signed: boolean;
}
/** One member: `offset` in bytes from the start of the struct (0 in a union). */
export interface FieldSchema {
  readonly name: string;
  readonly offset: number;
  readonly schema: Schema;
}
export interface StructSchema<T = unknown, B = T> extends SchemaBase<T, B> {
  readonly kind: "struct" | "union";
  /** The C tag in BTF; found from the export key or the identifier when not given. */
  readonly name: string | undefined;
  readonly packed: boolean;
  readonly fields: readonly FieldSchema[];
}

export type Schema =
  | IntSchema<unknown>
  | BoolSchema
  | CharSchema
  | BytesSchema
  | ArraySchema
  | EnumSchema<unknown>
  | StructSchema;

/** The TypeScript type of a value of schema `S` decoded in user space. */
export type Infer<S> = S extends { readonly [type]?: infer T } ? Exclude<T, undefined> : never;

/** The TypeScript type of a value of schema `S` inside a program body: every integer is `number`. */
export type Body<S> = S extends { readonly [body]?: infer B } ? Exclude<B, undefined> : never;

/** What may be stored where a value of schema `S` is expected in a program body: integers also as bigint literals. */
export type Input<S> = Stored<Body<S>>;

declare const managed: unique symbol;
/** A value that only the kernel writes: a spin lock, a timer. Never given when a struct is filled. */
export interface KernelManaged {
  readonly [managed]: true;
}

/** `B` with every integer widened to `number | bigint`. */
export type Stored<B> = B extends number
  ? number | bigint
  : B extends string | boolean | Uint8Array
    ? B
    : B extends readonly (infer E)[]
      ? readonly Stored<E>[]
      : B extends object
        ? { readonly [K in keyof B as B[K] extends KernelManaged ? never : K]: Stored<B[K]> }
        : B;
