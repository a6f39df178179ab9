/** The kinds of CO-RE relocation, `enum bpf_core_relo_kind` of include/uapi/linux/bpf.h. */

export const CORE_RELO = {
  FIELD_BYTE_OFFSET: 0,
  FIELD_BYTE_SIZE: 1,
  FIELD_EXISTS: 2,
  FIELD_SIGNED: 3,
  FIELD_LSHIFT_U64: 4,
  FIELD_RSHIFT_U64: 5,
  TYPE_ID_LOCAL: 6,
  TYPE_ID_TARGET: 7,
  TYPE_EXISTS: 8,
  TYPE_SIZE: 9,
  ENUMVAL_EXISTS: 10,
  ENUMVAL_VALUE: 11,
  TYPE_MATCHES: 12,
} as const;

export const CORE_RELO_NAMES = [
  "field_byte_offset",
  "field_byte_size",
  "field_exists",
  "field_signed",
  "field_lshift_u64",
  "field_rshift_u64",
  "type_id_local",
  "type_id_target",
  "type_exists",
  "type_size",
  "enumval_exists",
  "enumval_value",
  "type_matches",
] as const;

export type CoreReloName = (typeof CORE_RELO_NAMES)[number];

/** A relocation of one program, as `ProgSpec.coreRelos` has it. */
export interface CoreReloRecord {
  /** Slot index into the program's instructions. */
  readonly insn: number;
  /** Root type in the local BTF. */
  readonly typeId: number;
  /** "0:1:2" access string. */
  readonly access: string;
  /** `CORE_RELO`, 0-12. */
  readonly kind: number;
}

export function isFieldRelo(kind: number): boolean {
  return kind <= CORE_RELO.FIELD_RSHIFT_U64;
}
export function isEnumRelo(kind: number): boolean {
  return kind === CORE_RELO.ENUMVAL_EXISTS || kind === CORE_RELO.ENUMVAL_VALUE;
}

/** Length of `name` without a flavour suffix: "task_struct___old" is a flavour of "task_struct". */
export function essentialLength(name: string): number {
  for (let at = name.lastIndexOf("___"); at > 0; at = name.lastIndexOf("___", at - 1)) {
    if (name[at - 1] !== "_" && at + 3 < name.length && name[at + 3] !== "_") return at;
  }
  return name.length;
}

/** `name` without a flavour suffix. */
export function essentialName(name: string): string {
  return name.slice(0, essentialLength(name));
}
