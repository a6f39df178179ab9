/** Schemas of keys, values and globals that an object describes by BTF alone: what clang made is typed too. */
import type { Btf } from "../btf/btf.ts";
import { alignOf, sizeOf } from "../btf/layout.ts";
import type { FieldSchema, IntSchema, Schema } from "../probe/schema-types.ts";

/** Types nested deeper than this stay bytes. */
const MAX_DEPTH = 16;

/**
 * The schema of BTF type `id`, or undefined for what has none: functions, bit-fields,
 * types of size 0. Pointers become u64, `char[n]` text, `u8[n]` bytes.
 *
 * @example
 * const schema = schemaOf(btf, map.btfValueTypeId);
 */
export function schemaOf(btf: Btf, id: number, depth = 0): Schema | undefined {
  if (depth > MAX_DEPTH) return undefined;
  const type = btf.typeById(id);
  switch (type.kind) {
    case "typedef":
    case "const":
    case "volatile":
    case "restrict":
    case "type_tag":
    case "var":
      return schemaOf(btf, type.type, depth + 1);
    case "int":
      if (type.bool && type.size === 1) return { kind: "bool", size: 1, align: 1 };
      return intSchema(type.name, type.size, type.signed);
    case "ptr":
      return intSchema("pointer", 8, false);
    case "enum":
    case "enum64":
      return enumSchema(btf, id);
    case "array": {
      const element = schemaOf(btf, type.type, depth + 1);
      if (element === undefined || type.nelems === 0 || type.nelems > 1 << 20) return undefined;
      const whole = { length: type.nelems, size: element.size * type.nelems, align: element.align };
      if (element.kind === "int" && element.size === 1)
        return { kind: isChar(btf, type.type) ? "char" : "bytes", ...whole };
      return { kind: "array", element, ...whole };
    }
    case "struct":
    case "union": {
      const fields: FieldSchema[] = [];
      for (const member of type.members) {
        const schema = schemaOf(btf, member.type, depth + 1);
        if (schema === undefined || member.bitSize !== 0 || member.bitOffset % 8 !== 0) return undefined;
        const offset = member.bitOffset / 8;
        if (member.name !== "") fields.push({ name: member.name, offset, schema });
        // The members of an anonymous struct or union are reached without a name.
        else if (schema.kind === "struct" && type.kind === "struct")
          fields.push(...schema.fields.map((f) => ({ ...f, offset: f.offset + offset })));
        else return undefined;
      }
      if (fields.length === 0) return undefined;
      return { kind: type.kind, name: type.name, packed: false, fields, size: type.size, align: alignment(btf, id) };
    }
    default:
      return undefined;
  }
}

function intSchema(name: string, size: number, signed: boolean): IntSchema | undefined {
  if (size !== 1 && size !== 2 && size !== 4 && size !== 8) return undefined;
  return { kind: "int", name, bits: (size * 8) as 8 | 16 | 32 | 64, signed, bigEndian: false, size, align: size };
}

function enumSchema(btf: Btf, id: number): Schema | undefined {
  const type = btf.typeById(id);
  if (type.kind !== "enum" && type.kind !== "enum64") return undefined;
  // Values beyond 2^53 have no exact number: such an enum is an integer.
  const values = type.values.map((v) => [v.name, Number(v.value)] as const);
  if (type.kind === "enum64" || values.some(([, v]) => !Number.isSafeInteger(v)))
    return intSchema(type.name, type.size, type.signed);
  return {
    kind: "enum",
    name: type.name,
    values: new Map(values),
    signed: type.signed,
    size: type.size,
    align: type.size,
  };
}

/** `char`, but not `unsigned char` and what is made of it. */
function isChar(btf: Btf, id: number): boolean {
  const type = btf.typeById(id);
  if (type.kind === "const" || type.kind === "volatile") return isChar(btf, type.type);
  return type.kind === "int" && type.name === "char";
}

function alignment(btf: Btf, id: number): number {
  const align = alignOf(btf, id);
  return align > 0 && align <= 8 ? align : sizeOf(btf, id) % 8 === 0 ? 8 : 1;
}

/** The schema of `id` where BTF describes exactly `size` bytes; undefined else. */
export function schemaOfSize(btf: Btf | undefined, id: number, size: number): Schema | undefined {
  if (btf === undefined || id === 0 || id >= btf.typeCount) return undefined;
  const schema = schemaOf(btf, id);
  return schema?.size === size ? schema : undefined;
}
