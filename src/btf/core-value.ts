/** The value of a CO-RE relocation in the local and in a target type. */
import { BpfkitError } from "../core/errors.ts";
import type { Btf } from "./btf.ts";
import { isAnyEnum, isComposite } from "./core-compat.ts";
import { CORE_RELO, CORE_RELO_NAMES, isEnumRelo, isFieldRelo } from "./core-kinds.ts";
import type { CoreSpec } from "./core-spec.ts";
import { resolve, sizeOf } from "./layout.ts";
import type { BtfType } from "./types.ts";

/** A relocation that has no value in this type, where libbpf too refuses the program. */
export class CoreUnsatisfiable extends BpfkitError {
  constructor(message: string) {
    super("CORE_RELO", message);
  }
}

/** What to write into the instruction, and what was there for the local type. */
export interface CoreValue {
  /** As 64 bits, unsigned. */
  readonly original: bigint;
  readonly value: bigint;
  /** Nothing matched, and the relocation has no value for that: the instruction must not be reached. */
  readonly poison: boolean;
  /** The instruction must hold `original` before it is patched. */
  readonly validate: boolean;
  /** Bytes that a load or store of the field takes, before and after; 0 when not to be adjusted. */
  readonly originalSize: number;
  readonly size: number;
  /** Sizes differ and the types do not allow to adjust a load or store. */
  readonly sizeMismatch: boolean;
}

interface FieldValue {
  value: bigint;
  validate: boolean;
  size: number;
  type: BtfType | undefined;
}

function fieldValue(spec: CoreSpec, kind: number): FieldValue {
  const { btf } = spec;
  const accessor = spec.accessors.at(-1)!;
  const out: FieldValue = { value: 0n, validate: true, size: 0, type: undefined };
  if (kind === CORE_RELO.FIELD_EXISTS) return { ...out, value: 1n };
  if (accessor.name === undefined) {
    const size = sizeOf(btf, accessor.typeId);
    if (kind === CORE_RELO.FIELD_BYTE_OFFSET) {
      return { ...out, value: BigInt(Math.floor(spec.bitOffset / 8)), size, type: btf.typeById(accessor.typeId) };
    }
    if (kind === CORE_RELO.FIELD_BYTE_SIZE) return { ...out, value: BigInt(size) };
    throw new CoreUnsatisfiable(`${CORE_RELO_NAMES[kind]} cannot be asked of an array element`);
  }
  const struct = btf.typeById(accessor.typeId);
  const member = isComposite(struct) ? struct.members[accessor.index] : undefined;
  if (member === undefined)
    throw new CoreUnsatisfiable(`${btf.describe(accessor.typeId)} has no member ${accessor.index}`);
  const type = resolve(btf, member.type);
  const { bitSize } = member;
  const bitOffset = spec.bitOffset;
  let bytes: number;
  let byteOffset: number;
  let bits = bitSize;
  if (bitSize > 0) {
    bytes = "size" in type ? type.size : 0;
    if (bytes < 1) throw new CoreUnsatisfiable(`bit-field ${accessor.name} has a type without a size`);
    byteOffset = Math.floor(bitOffset / 8 / bytes) * bytes;
    // The smallest load that holds all of the bit-field.
    while (bitOffset + bitSize - byteOffset * 8 > bytes * 8) {
      if (bytes >= 8) throw new CoreUnsatisfiable(`bit-field ${accessor.name} cannot be read with one 64-bit load`);
      bytes *= 2;
      byteOffset = Math.floor(bitOffset / 8 / bytes) * bytes;
    }
    // Compilers differ in how they read bit-fields.
    out.validate = false;
  } else {
    bytes = sizeOf(btf, type.id);
    byteOffset = Math.floor(bitOffset / 8);
    bits = bytes * 8;
  }
  switch (kind) {
    case CORE_RELO.FIELD_BYTE_OFFSET:
      out.value = BigInt(byteOffset);
      if (bitSize === 0) {
        out.size = bytes;
        out.type = type;
      }
      break;
    case CORE_RELO.FIELD_BYTE_SIZE:
      out.value = BigInt(bytes);
      break;
    case CORE_RELO.FIELD_SIGNED:
      out.value = (isAnyEnum(type) || type.kind === "int") && type.signed ? 1n : 0n;
      out.validate = true;
      break;
    case CORE_RELO.FIELD_LSHIFT_U64: {
      const shift =
        btf.endian === "little"
          ? 64 - (bitOffset + bits - byteOffset * 8)
          : (8 - bytes) * 8 + (bitOffset - byteOffset * 8);
      out.value = BigInt.asUintN(64, BigInt(shift));
      break;
    }
    default:
      out.value = BigInt.asUintN(64, BigInt(64 - bits));
      out.validate = true;
  }
  return out;
}

function enumValue(spec: CoreSpec): bigint {
  const accessor = spec.accessors[0]!;
  const type = spec.btf.typeById(accessor.typeId);
  if (type.kind === "enum") return BigInt.asUintN(64, BigInt(type.values[accessor.index]!.value | 0));
  if (type.kind === "enum64") return BigInt.asUintN(64, type.values[accessor.index]!.value);
  throw new CoreUnsatisfiable(`${spec.btf.describe(accessor.typeId)} is not an enum`);
}

function typeValue(spec: CoreSpec, kind: number): bigint {
  switch (kind) {
    case CORE_RELO.TYPE_ID_TARGET:
      return BigInt(spec.rootId);
    case CORE_RELO.TYPE_SIZE:
      return BigInt(sizeOf(spec.btf, spec.rootId));
    default:
      return 1n;
  }
}

/** A load or store may follow a changed size only for pointers and unsigned integers: the rest of the register is zero. */
function sizeMayChange(local: BtfType | undefined, target: BtfType | undefined): boolean {
  if (local?.kind === "ptr" && target?.kind === "ptr") return true;
  return local?.kind === "int" && target?.kind === "int" && !plainSigned(local) && !plainSigned(target);
}

function plainSigned(type: { signed: boolean; char: boolean; bool: boolean }): boolean {
  return type.signed && !type.char && !type.bool;
}

/**
 * Values of a relocation for the local path and the matching target path (undefined: nothing matched).
 * @throws CoreUnsatisfiable, DecodeError
 */
export function coreValue(local: CoreSpec, target: CoreSpec | undefined, kind: number): CoreValue {
  const plain = { poison: false, validate: true, originalSize: 0, size: 0, sizeMismatch: false };
  if (isFieldRelo(kind)) {
    const from = fieldValue(local, kind);
    if (target === undefined) {
      const poison = kind !== CORE_RELO.FIELD_EXISTS;
      return { ...plain, original: from.value, value: 0n, poison, validate: from.validate };
    }
    const to = fieldValue(target, kind);
    return {
      original: from.value,
      value: to.value,
      poison: false,
      validate: from.validate,
      originalSize: from.size,
      size: to.size,
      sizeMismatch: from.size !== to.size && !sizeMayChange(from.type, to.type),
    };
  }
  if (isEnumRelo(kind)) {
    const exists = kind === CORE_RELO.ENUMVAL_EXISTS;
    const original = exists ? 1n : enumValue(local);
    if (target === undefined) return { ...plain, original, value: 0n, poison: !exists };
    return { ...plain, original, value: exists ? 1n : enumValue(target) };
  }
  return {
    ...plain,
    original: typeValue(local, kind),
    value: target === undefined ? 0n : typeValue(target, kind),
    validate: kind !== CORE_RELO.TYPE_ID_TARGET,
  };
}

/** Whether two targets give different results, and how to say so; undefined when they agree. */
export function coreDisagreement(
  a: { spec: CoreSpec; value: CoreValue },
  b: { spec: CoreSpec; value: CoreValue },
): string | undefined {
  if (a.spec.bitOffset !== b.spec.bitOffset) return `at bit ${a.spec.bitOffset} and at bit ${b.spec.bitOffset}`;
  if (a.value.poison !== b.value.poison || a.value.value !== b.value.value)
    return `${a.value.value} and ${b.value.value}`;
  return undefined;
}

/** The types of `btf` as messages name them. */
export function candidateText(candidate: { btf: Btf; id: number }): string {
  return `${candidate.btf.describe(candidate.id)} (type ${candidate.id} of ${candidate.btf.what})`;
}
