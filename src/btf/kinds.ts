/**
 * BTF kinds and constants, from include/uapi/linux/btf.h. Every type is a record of
 * 32-bit words: three of header, then what the kind adds.
 *
 * ```text
 *  word 0: name_off   word 1: info                                     word 2: size or type
 *                     ┌─────┬───────────┬─────────┬──────────────┐
 *                     │kflag│ kind (5)  │ unused  │  vlen (16)   │
 *                     └─────┴───────────┴─────────┴──────────────┘
 *                      31    28 ..... 24            15 ......... 0
 * ```
 */

/** `BTF_KIND_*` by name. */
export const BTF_KIND = {
  VOID: 0,
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  FWD: 7,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
  FUNC: 12,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  FLOAT: 16,
  DECL_TAG: 17,
  TYPE_TAG: 18,
  ENUM64: 19,
} as const;

/** Kind names by number, as `BtfType.kind` has them. */
export const KIND_NAMES = [
  "void",
  "int",
  "ptr",
  "array",
  "struct",
  "union",
  "enum",
  "fwd",
  "typedef",
  "volatile",
  "const",
  "restrict",
  "func",
  "func_proto",
  "var",
  "datasec",
  "float",
  "decl_tag",
  "type_tag",
  "enum64",
] as const;

export type BtfKindName = (typeof KIND_NAMES)[number];

/** Words of a record without its `vlen` elements, by kind. */
export const KIND_WORDS = new Uint8Array([0, 4, 3, 6, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3, 4, 3, 3]);
/** Words of each of the `vlen` elements, by kind. */
export const ELEMENT_WORDS = new Uint8Array([0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3]);

export const BTF_MAGIC = 0xeb9f;
export const BTF_VERSION = 1;
/** Bytes of the header that every BTF has; `hdr_len` may say more. */
export const BTF_HEADER_BYTES = 24;

/** Bits of an INT's `encoding`. */
export const BTF_INT = { SIGNED: 1, CHAR: 2, BOOL: 4 } as const;

/** Linkage of FUNC and VAR. */
export const BTF_LINKAGE = ["static", "global", "extern"] as const;
export type BtfLinkage = (typeof BTF_LINKAGE)[number];

/** Chains of typedefs, modifiers and arrays longer than this are taken for loops. */
export const MAX_CHAIN = 128;
