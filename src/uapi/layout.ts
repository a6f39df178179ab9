/** Shapes of the tables that describe C structs. */

/** One field of a C struct. Offsets and sizes in bytes. */
export interface FieldRow {
  /** Name; a field of an inner struct is "outer.inner". */
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  /** C type: "u8" … "u64", "s32", "char[16]", "u32[4]", "struct bpf_sock *". */
  readonly type: string;
  /** Bit-fields: first bit counted from bit 0 of the struct (little endian), and width in bits. */
  readonly bit?: number;
  readonly bits?: number;
  /** A u64 that holds a user-space address. */
  readonly pointer?: boolean;
  /** Written by the kernel (counts and lengths are read first). */
  readonly out?: boolean;
  readonly since: string;
}

/** One C struct. Fields of a union share an offset. */
export interface StructRow {
  readonly name: string;
  readonly size: number;
  readonly since: string;
  readonly fields: readonly FieldRow[];
}
