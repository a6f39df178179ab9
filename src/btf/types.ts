/** The types of BTF as a discriminated union. Type references are ids; 0 is void. */
import type { BtfLinkage } from "./kinds.ts";

interface TypeBase {
  /** Id in the BTF it came from. */
  readonly id: number;
  /** "" for anonymous types and kinds that have no name. */
  readonly name: string;
}

export interface BtfVoid extends TypeBase {
  readonly kind: "void";
}
export interface BtfInt extends TypeBase {
  readonly kind: "int";
  /** Bytes. */
  readonly size: number;
  /** Bits that hold the value, from bit `offset` (both only differ from `size` in BTF of old clang versions). */
  readonly bits: number;
  readonly offset: number;
  readonly signed: boolean;
  readonly char: boolean;
  readonly bool: boolean;
}
export interface BtfPtr extends TypeBase {
  readonly kind: "ptr";
  readonly type: number;
}
export interface BtfArray extends TypeBase {
  readonly kind: "array";
  readonly type: number;
  readonly indexType: number;
  readonly nelems: number;
}
export interface BtfMember {
  /** "" for an anonymous struct or union (and for unnamed padding bit-fields). */
  readonly name: string;
  readonly type: number;
  /** Bits from the start of the struct. */
  readonly bitOffset: number;
  /** Width of a bit-field; 0 for a plain member. */
  readonly bitSize: number;
}
export interface BtfStruct extends TypeBase {
  readonly kind: "struct" | "union";
  /** Bytes. */
  readonly size: number;
  readonly members: readonly BtfMember[];
}
export interface BtfEnum extends TypeBase {
  readonly kind: "enum";
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
  readonly values: readonly { readonly name: string; readonly value: number }[];
}
export interface BtfEnum64 extends TypeBase {
  readonly kind: "enum64";
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
  readonly values: readonly { readonly name: string; readonly value: bigint }[];
}
export interface BtfFwd extends TypeBase {
  readonly kind: "fwd";
  readonly of: "struct" | "union";
}
export interface BtfTypedef extends TypeBase {
  readonly kind: "typedef";
  readonly type: number;
}
export interface BtfModifier extends TypeBase {
  readonly kind: "volatile" | "const" | "restrict";
  readonly type: number;
}
export interface BtfFunc extends TypeBase {
  readonly kind: "func";
  /** A FUNC_PROTO. */
  readonly type: number;
  readonly linkage: BtfLinkage;
}
export interface BtfParam {
  readonly name: string;
  /** 0 for the last parameter means `...`. */
  readonly type: number;
}
export interface BtfFuncProto extends TypeBase {
  readonly kind: "func_proto";
  /** Return type. */
  readonly type: number;
  readonly params: readonly BtfParam[];
}
export interface BtfVar extends TypeBase {
  readonly kind: "var";
  readonly type: number;
  readonly linkage: BtfLinkage;
}
export interface BtfSecVar {
  /** A VAR (or an extern FUNC). */
  readonly type: number;
  /** Bytes. */
  readonly offset: number;
  readonly size: number;
}
export interface BtfDatasec extends TypeBase {
  readonly kind: "datasec";
  /** Bytes. */
  readonly size: number;
  readonly vars: readonly BtfSecVar[];
}
export interface BtfFloat extends TypeBase {
  readonly kind: "float";
  /** Bytes. */
  readonly size: number;
}
export interface BtfDeclTag extends TypeBase {
  readonly kind: "decl_tag";
  readonly type: number;
  /** Index of the tagged member or parameter; -1 tags the type itself. */
  readonly componentIdx: number;
  /** The tag is an attribute (`kflag`, kernel 6.14+) rather than a `btf_decl_tag`. */
  readonly attribute: boolean;
}
export interface BtfTypeTag extends TypeBase {
  readonly kind: "type_tag";
  readonly type: number;
  /** The tag is an attribute (`kflag`, kernel 6.14+) rather than a `btf_type_tag`. */
  readonly attribute: boolean;
}

export type BtfType =
  | BtfVoid
  | BtfInt
  | BtfPtr
  | BtfArray
  | BtfStruct
  | BtfEnum
  | BtfEnum64
  | BtfFwd
  | BtfTypedef
  | BtfModifier
  | BtfFunc
  | BtfFuncProto
  | BtfVar
  | BtfDatasec
  | BtfFloat
  | BtfDeclTag
  | BtfTypeTag;

/** A type as `BtfBuilder.add` takes it: without its id, and without its name where it has none. */
type Spec<T extends BtfType> = T extends BtfType ? Omit<T, "id" | "name"> & { readonly name?: string } : never;
export type BtfTypeSpec = Spec<Exclude<BtfType, BtfVoid>>;

/** The type with this kind. */
export type BtfTypeOf<K extends BtfType["kind"]> = OfKind<BtfType, K>;
type OfKind<T extends BtfType, K> = T extends BtfType
  ? K extends T["kind"]
    ? T & { readonly kind: K }
    : never
  : never;
