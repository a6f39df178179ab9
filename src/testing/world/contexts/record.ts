/** Records of trace events, as the kernel lays them out for perf and for programs. */
import type { TracepointField, TracepointFormat } from "../../../compiler/front/targets.ts";
import { decodeCString, encodeUtf8 } from "../../../core/bytes.ts";
import { closest } from "../../../core/edit-distance.ts";
import { syscallNumbers } from "../../../uapi/syscall-names.ts";
import type { FieldValue, Fields, Space } from "../types.ts";
import { fieldError, getBits, integer, isKernelObject, putBits, shown } from "../values.ts";
import type { ContextEnv } from "./env.ts";

const isDynamic = (field: TracepointField): boolean =>
  field.dynamic !== undefined || /^__(data|rel)_loc\b/.test(field.type);
const isRelative = (field: TracepointField): boolean =>
  field.dynamic === "rel_loc" || field.type.startsWith("__rel_loc ");
/** "char[16]" gives 1, "int[4]" 4; undefined for what is no array. */
function arrayElement(field: TracepointField): { size: number; count: number } | undefined {
  const m = /\[(\d*)\]$/.exec(field.type);
  if (m === null || isDynamic(field)) return undefined;
  const count = Number(m[1]) || field.size;
  return { size: Math.max(1, field.size / count), count };
}

/**
 * The record of "category:name". Text goes where the event has it: in the record (`char[16]`, `__data_loc char[]`), or in
 * memory that a field points to, the process's for arguments of system calls.
 *
 * @throws ArgumentError with the name of the field
 */
export function makeRecord(env: ContextEnv, event: string, format: TracepointFormat, value: Fields): Uint8Array {
  const [category = "", name = ""] = event.split(":");
  const own = format.fields.filter((f) => !f.name.startsWith("common_"));
  for (const given of Object.keys(value)) {
    if (format.fields.some((f) => f.name === given)) continue;
    const near = closest(
      given,
      own.map((f) => f.name),
    );
    throw fieldError(
      given,
      `${event} has no field ${given}: it has ${own.map((f) => f.name).join(", ")}${near === undefined ? "" : `; did you mean ${near}?`}`,
    );
  }
  const fixed = Math.max(8, ...format.fields.map((f) => f.offset + f.size));
  let bytes = new Uint8Array(Math.ceil(fixed / 8) * 8);
  const all: Fields = {
    common_pid: env.pid ?? 1,
    ...(category === "syscalls" ? { __syscall_nr: numberOf(name, env) } : {}),
    ...value,
  };
  let end = fixed;
  for (const field of format.fields) {
    const given = all[field.name];
    if (isDynamic(field)) {
      const data = dynamicBytes(field, given);
      const grown = new Uint8Array(Math.ceil((end + data.length) / 8) * 8);
      grown.set(bytes);
      grown.set(data, end);
      bytes = grown;
      const from = isRelative(field) ? end - field.offset - 4 : end;
      putBits(bytes, field.offset * 8, 32, BigInt((data.length << 16) | from) & 0xffff_ffffn);
      end += data.length;
    } else if (given !== undefined) putFixed(env, field, given, bytes, category === "syscalls" ? "user" : "kernel");
  }
  return bytes;
}

function numberOf(name: string, env: ContextEnv): number | undefined {
  const syscall = /^sys_(?:enter|exit)_(\w+)$/.exec(name)?.[1];
  const numbers = syscallNumbers(env.arch ?? "x64");
  // Some are called otherwise inside the kernel.
  return syscall === undefined ? undefined : (numbers[syscall] ?? numbers[syscall.replace(/^new(?!fstatat)/, "")]);
}

function dynamicBytes(field: TracepointField, value: FieldValue | undefined): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const text = /\bchar\b/.test(field.type);
  if (text && (value === undefined || typeof value === "string")) {
    const bytes = encodeUtf8(value ?? "");
    const out = new Uint8Array(bytes.length + 1);
    out.set(bytes);
    return out;
  }
  if (value === undefined) return new Uint8Array(0);
  if (!Array.isArray(value))
    throw fieldError(field.name, `expected ${text ? "text" : "bytes or a list"}, got ${shown(value)}`);
  const size = /\b(?:u64|s64|long|__u64|__s64|__data_loc u64)\b|\*/.test(field.type)
    ? 8
    : /\b(?:u8|__u8|char)\b/.test(field.type)
      ? 1
      : /\b(?:u16|short)\b/.test(field.type)
        ? 2
        : 4;
  const bytes = new Uint8Array(value.length * size);
  value.forEach((v, i) =>
    putBits(bytes, i * size * 8, size * 8, integer(v as FieldValue, size * 8, `${field.name}[${i}]`)),
  );
  return bytes;
}

function putFixed(env: ContextEnv, field: TracepointField, value: FieldValue, to: Uint8Array, space: Space): void {
  const { name, offset, size } = field;
  const array = arrayElement(field);
  if (array !== undefined) {
    const bytes = typeof value === "string" ? encodeUtf8(value) : value;
    if (bytes instanceof Uint8Array) {
      if (bytes.length > size) throw fieldError(name, `expected at most ${size} bytes, got ${bytes.length}`);
      to.set(bytes, offset);
      return;
    }
    if (!Array.isArray(bytes)) throw fieldError(name, `expected text, bytes or a list, got ${shown(value)}`);
    if (bytes.length > array.count)
      throw fieldError(name, `expected at most ${array.count} values, got ${bytes.length}`);
    bytes.forEach((v, i) =>
      putBits(
        to,
        (offset + i * array.size) * 8,
        array.size * 8,
        integer(v as FieldValue, array.size * 8, `${name}[${i}]`),
      ),
    );
    return;
  }
  putBits(to, offset * 8, size * 8, word(env, field, value, space));
}

/** A number, or the address of what the field points to. */
function word(env: ContextEnv, field: TracepointField, value: FieldValue, space: Space): bigint {
  const { name, size, type } = field;
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean")
    return integer(value, size * 8, name);
  const { objects } = env;
  if (isKernelObject(value)) return value.address;
  if (!type.includes("*") || size !== 8)
    throw fieldError(name, `expected an integer of ${size * 8} bits, got ${shown(value)}`);
  if (value === null) return 0n;
  if (typeof value === "string") return objects.text(value, space);
  if (value instanceof Uint8Array) return objects.bytes(value, space);
  if (Array.isArray(value) && value.every((v) => typeof v === "string"))
    return objects.texts(value as readonly string[], space);
  const tag = /\b(struct|union) (\w+)/.exec(type);
  if (tag === null)
    throw fieldError(name, `expected text, bytes or an address for ${JSON.stringify(type)}, got ${shown(value)}`);
  return objects.pointee(objects.typeId(`${tag[1]} ${tag[2]}`), value as Fields, name, space);
}

/** A record as its fields: text where the record has text. */
export function readRecord(format: TracepointFormat, record: Uint8Array): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const field of format.fields) {
    const { name, offset, size, signed, type } = field;
    if (offset + size > record.length) continue;
    if (isDynamic(field)) {
      const where = Number(getBits(record, offset * 8, 32));
      const from = (where & 0xffff) + (isRelative(field) ? offset + 4 : 0);
      const data = record.slice(from, from + (where >>> 16));
      out[name] = /\bchar\b/.test(type) ? decodeCString(data) : data;
      continue;
    }
    const array = arrayElement(field);
    if (array !== undefined) {
      const bytes = record.slice(offset, offset + size);
      out[name] = /^(?:const )?char\[/.test(type) ? decodeCString(bytes) : bytes;
      continue;
    }
    const raw = getBits(record, offset * 8, size * 8);
    const n = signed ? BigInt.asIntN(size * 8, raw) : raw;
    out[name] = size > 4 ? n : Number(n);
  }
  return out;
}
