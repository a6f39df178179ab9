/**
 * The shape of a schema at run time, and the TypeScript type it stands for. One
 * schema is the truth for BPF stores, BTF, the TypeScript type, the decoder and JSON.
 *
 * `struct`, `u32`, `char(n)`… that make schemas are in `schema.ts`; the compiler,
 * the loader's decoders and the typed maps read these records.
 */

declare const type: unique symbol;

interface SchemaBase<T> {
  /** Size in bytes. */
  readonly size: number;
  /** Alignment in bytes: 1, 2, 4 or 8. */
  readonly align: number;
  /** Never present: carries the TypeScript type of a decoded value. */
  readonly [type]?: T;
}

/** Integers: 8-64 bits. 64-bit ones decode to bigint, the rest to number. `bigEndian` for be16/be32/be64. */
export interface IntSchema<T = number | bigint> extends SchemaBase<T> {
  readonly kind: "int";
  readonly name: string;
  readonly bits: 8 | 16 | 32 | 64;
  readonly signed: boolean;
  readonly bigEndian: boolean;
}
export interface BoolSchema extends SchemaBase<boolean> {
  readonly kind: "bool";
}
/** `char[n]`: decodes to the text before the first NUL. */
export interface CharSchema extends SchemaBase<string> {
  readonly kind: "char";
  readonly length: number;
}
/** `u8[n]` that decodes to a Uint8Array. */
export interface BytesSchema extends SchemaBase<Uint8Array> {
  readonly kind: "bytes";
  readonly length: number;
}
export interface ArraySchema<T = unknown> extends SchemaBase<T[]> {
  readonly kind: "array";
  readonly element: Schema;
  readonly length: number;
}
/** Decodes to the name of the value where it has one, else to the number. */
export interface EnumSchema<T = string | number> extends SchemaBase<T> {
  readonly kind: "enum";
  readonly name: string | undefined;
  readonly values: ReadonlyMap<string, number>;
  readonly signed: boolean;
}
export interface FieldSchema {
  readonly name: string;
  readonly offset: number;
  readonly schema: Schema;
}
export interface StructSchema<T = unknown> extends SchemaBase<T> {
  readonly kind: "struct" | "union";
  /** The C tag in BTF; found from the export key or the identifier when not given. */
  readonly name: string | undefined;
  readonly packed: boolean;
  readonly fields: readonly FieldSchema[];
}

export type Schema<T = unknown> =
  | IntSchema<T>
  | (BoolSchema & SchemaBase<unknown>)
  | (CharSchema & SchemaBase<unknown>)
  | (BytesSchema & SchemaBase<unknown>)
  | ArraySchema<unknown>
  | EnumSchema<unknown>
  | StructSchema<T>;

/** The TypeScript type of a decoded value of schema `S`. */
export type Infer<S> = S extends { readonly [type]?: infer T } ? Exclude<T, undefined> : never;
