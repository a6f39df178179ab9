/**
 * The types of values inside a probe. One language for what schemas describe and
 * for what kernel BTF describes; a kernel struct stays a BTF id and is looked up
 * field by field.
 */
import type { EnumSchema, Schema, StructSchema } from "../../probe/schema-types.ts";
import type { Sign } from "./sign.ts";
import { MIXED, SIGNED, UNSIGNED } from "./sign.ts";
import type { Texts } from "./texts.ts";

export type Width = 8 | 16 | 32 | 64;

/** An integer. `bits` is what is known of its range; it is always computed in 64 bits. */
export interface IntType {
  readonly k: "int";
  readonly bits: Width;
  readonly sign: Sign;
  /** In memory in network byte order: loads and stores swap. */
  readonly bigEndian?: boolean;
  /** With `bigEndian`: only the low two bytes are, the rest are zero (`__sk_buff.protocol`). */
  readonly swapped?: 16;
}
export interface BoolType {
  readonly k: "bool";
}
export interface EnumType {
  readonly k: "enum";
  readonly name: string;
  readonly bits: Width;
  readonly sign: Sign;
  readonly values: ReadonlyMap<string, number | bigint>;
}
/** `char[n]`: text up to the first NUL. */
export interface CharType {
  readonly k: "char";
  readonly length: number;
}
export interface ArrayType {
  readonly k: "array";
  readonly element: DataType;
  readonly length: number;
}
/** A struct or union of the user's. */
export interface StructType {
  readonly k: "struct";
  readonly schema: StructSchema;
}
/** A struct or union of the kernel's, by BTF id (typedefs and qualifiers removed). */
export interface KernelStructType {
  readonly k: "kstruct";
  readonly id: number;
  readonly name: string;
  readonly size: number;
}
/** What a pointer points into; decides how it is read. */
export type PointerSpace = "kernel" | "user" | "unknown";
/** How far the verifier trusts a kernel pointer: trusted ones (tp_btf, fentry, iterators) are loaded from directly. */
export type Trust = "trusted" | "probe";
export interface PointerType {
  readonly k: "ptr";
  readonly to: Type | undefined;
  readonly space: PointerSpace;
  readonly trust: Trust;
  /** What may be null, for messages; undefined when it is none. */
  readonly nullable?: string;
}
/** One of a few texts known at compile time (a TypeScript union of string literals): its number in a register. */
export interface LiteralType {
  readonly k: "literal";
  readonly texts: Texts;
}
export interface VoidType {
  readonly k: "void";
}

export type ScalarType = IntType | BoolType | EnumType | PointerType | LiteralType;
export type MemoryType = CharType | ArrayType | StructType | KernelStructType;
/** What can lie in memory. */
export type DataType = ScalarType | MemoryType;
export type Type = DataType | VoidType;

export const VOID: VoidType = { k: "void" };
export const BOOL: BoolType = { k: "bool" };
export const U8: IntType = { k: "int", bits: 8, sign: UNSIGNED };
export const U32: IntType = { k: "int", bits: 32, sign: UNSIGNED };
export const U64: IntType = { k: "int", bits: 64, sign: UNSIGNED };
export const S64: IntType = { k: "int", bits: 64, sign: SIGNED };

export function intType(bits: Width, signed: boolean): IntType {
  return { k: "int", bits, sign: signed ? SIGNED : UNSIGNED };
}

export function isScalar(t: Type): t is ScalarType {
  return t.k === "int" || t.k === "bool" || t.k === "enum" || t.k === "ptr" || t.k === "literal";
}

/** A pointer that is known not to be null; other types as they are. */
export function defined<T extends Type>(t: T): T {
  if (t.k !== "ptr" || t.nullable === undefined) return t;
  const { nullable: _, ...rest } = t;
  return rest as T;
}

/** Size in memory, in bytes. */
export function sizeOf(t: Type): number {
  switch (t.k) {
    case "int":
    case "enum":
      return t.bits / 8;
    case "bool":
      return 1;
    case "char":
      return t.length;
    case "array":
      return t.length * sizeOf(t.element);
    case "struct":
      return t.schema.size;
    case "kstruct":
      return t.size;
    case "ptr":
    case "literal":
      return 8;
    default:
      return 0;
  }
}

export function alignOf(t: Type): number {
  switch (t.k) {
    case "char":
      return 1;
    case "array":
      return alignOf(t.element);
    case "struct":
      return t.schema.align;
    case "kstruct":
      return 8;
    case "void":
      return 1;
    default:
      return sizeOf(t);
  }
}

/** The type of a schema's value in memory. */
export function fromSchema(schema: Schema): DataType {
  switch (schema.kind) {
    case "int":
      return schema.bigEndian
        ? { k: "int", bits: schema.bits, sign: schema.signed ? SIGNED : UNSIGNED, bigEndian: true }
        : intType(schema.bits, schema.signed);
    case "bool":
      return BOOL;
    case "char":
      return { k: "char", length: schema.length };
    case "bytes":
      return { k: "array", element: U8, length: schema.length };
    case "array":
      return { k: "array", element: fromSchema(schema.element), length: schema.length };
    case "enum":
      return enumType(schema);
    default:
      return { k: "struct", schema };
  }
}

function enumType(schema: EnumSchema<unknown>): EnumType {
  return {
    k: "enum",
    name: schema.name ?? "",
    bits: (schema.size * 8) as Width,
    sign: schema.signed ? SIGNED : UNSIGNED,
    values: schema.values,
  };
}

/** How a type is called in messages. */
export function typeName(t: Type): string {
  switch (t.k) {
    case "int": {
      const sign = t.sign.kind();
      if (sign === undefined) return "number";
      return `${t.bigEndian === true ? "be" : sign === "s" ? "s" : "u"}${t.bits}`;
    }
    case "bool":
      return "bool";
    case "enum":
      return t.name === "" ? "enum" : `enum ${t.name}`;
    case "char":
      return t.length === 0 ? "char" : `char(${t.length})`;
    case "array":
      return `${typeName(t.element)}[${t.length}]`;
    case "struct":
      return t.schema.name === undefined ? t.schema.kind : `${t.schema.kind} ${t.schema.name}`;
    case "kstruct":
      return `struct ${t.name}`;
    case "literal":
      return t.texts.list.map((text) => JSON.stringify(text)).join(" | ");
    case "ptr":
      return `${t.space === "unknown" ? "" : `${t.space} `}pointer${t.to === undefined ? "" : ` to ${typeName(t.to)}`}`;
    default:
      return "nothing";
  }
}

/** The type of a value that is an `x` on one way and a `y` on the other. */
export function commonType(x: ScalarType, y: ScalarType): ScalarType | undefined {
  if (x.k === "bool" && y.k === "bool") return BOOL;
  if (x.k === "literal" && y.k === "literal") return x.texts.merge(y.texts) ? x : undefined;
  if (x.k === "ptr" && y.k === "ptr") {
    const nullable = x.nullable ?? y.nullable;
    const may = nullable === undefined ? {} : { nullable };
    const same = x.to?.k === "kstruct" && y.to?.k === "kstruct" && x.to.id === y.to.id;
    return same
      ? { ...x, ...may, trust: x.trust === y.trust ? x.trust : "probe" }
      : { ...x, ...may, to: undefined, trust: "probe" };
  }
  const number = (t: ScalarType): t is Extract<ScalarType, { k: "int" | "enum" }> => t.k === "int" || t.k === "enum";
  if (number(x) && number(y)) {
    if (x.k === "enum" && y.k === "enum" && x.name === y.name) return x;
    const kx = x.sign.kind();
    const ky = y.sign.kind();
    const sign = kx === undefined ? y.sign : ky === undefined || kx === ky ? x.sign : undefined;
    if (kx === undefined || ky === undefined) x.sign.unify(y.sign);
    return { k: "int", bits: x.bits > y.bits ? x.bits : y.bits, sign: sign ?? MIXED };
  }
  return undefined;
}
