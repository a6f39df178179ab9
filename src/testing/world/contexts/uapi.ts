/** Structs of the uapi, as programs see their contexts, from values by field name and back. */
import { closest } from "../../../core/edit-distance.ts";
import type { CtxFieldRow, CtxRow } from "../../../uapi/ctx.ts";
import { ipBytes, ipText } from "../packet/addresses.ts";
import type { FieldValue, Fields } from "../types.ts";
import { fieldError, getBits, integer, isKernelObject, putBits, shown } from "../values.ts";

/** A field that holds addresses: text is welcome, and what reading gives. */
const isAddress = (field: CtxFieldRow): boolean =>
  field.networkOrder === true && (field.size === 16 || /ip4|ipv4/.test(field.name));
const element = (field: CtxFieldRow): { size: number; count: number; signed: boolean } => {
  const m = /^([us])(8|16|32|64)(?:\[(\d+)\])?$/.exec(field.type);
  const count = m?.[3] === undefined ? 1 : Number(m[3]);
  return { size: field.size / count, count, signed: m?.[1] === "s" };
};
export const isPointer = (field: CtxFieldRow): boolean => field.size === 8 && field.type.endsWith("*");

/** The field `name` of a struct. @throws ArgumentError with what was probably meant */
export function fieldOf(row: CtxRow, name: string, path = name): CtxFieldRow {
  const field = row.fields.find((f) => f.name === name);
  if (field !== undefined) return field;
  const near = closest(
    name,
    row.fields.map((f) => f.name),
  );
  throw fieldError(
    path,
    `struct ${row.name} has no field ${name}${near === undefined ? "" : `; did you mean ${near}?`}`,
  );
}

/**
 * Writes `values` into `to`, a struct `row`. Fields in network byte order take plain numbers, as the program's
 * TypeScript reads them; addresses take text too.
 */
export function putFields(row: CtxRow, values: Fields, to: Uint8Array, path = ""): void {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) continue;
    const at = path === "" ? name : `${path}.${name}`;
    putField(fieldOf(row, name, at), value, to, at);
  }
}

export function putField(field: CtxFieldRow, value: FieldValue, to: Uint8Array, path: string): void {
  const { offset, size } = field;
  if (value instanceof Uint8Array) {
    if (value.length > size) throw fieldError(path, `expected at most ${size} bytes, got ${value.length}`);
    to.set(value, offset);
    return;
  }
  if (isPointer(field)) {
    const address = isKernelObject(value) ? value.address : value === null ? 0n : integer(value, 64, path);
    return putBits(to, offset * 8, 64, address);
  }
  if (typeof value === "string") {
    if (!isAddress(field)) throw fieldError(path, `expected a number, got ${shown(value)}`);
    const bytes = ipBytes(value, path);
    if (bytes.length !== size)
      throw fieldError(path, `expected an IPv${size === 4 ? 4 : 6} address, got ${JSON.stringify(value)}`);
    to.set(bytes, offset);
    return;
  }
  const { size: each, count } = element(field);
  const list: readonly FieldValue[] = Array.isArray(value) ? (value as readonly FieldValue[]) : [value as FieldValue];
  if (list.length > count) throw fieldError(path, `expected at most ${count} values, got ${list.length}`);
  list.forEach((v, i) => {
    const inner = Array.isArray(value) ? `${path}[${i}]` : path;
    const bits = field.networkOrder === 16 ? 16 : each * 8;
    const n = integer(v, bits, inner);
    const at = (offset + i * each) * 8;
    if (field.networkOrder === 16) putBits(to, at, each * 8, 0n);
    putBits(to, at, bits, field.networkOrder === undefined ? n : swapped(n, bits));
  });
}

function swapped(n: bigint, bits: number): bigint {
  let out = 0n;
  for (let i = 0; i < bits; i += 8) out = (out << 8n) | ((n >> BigInt(i)) & 0xffn);
  return out;
}

/** A field as its value: numbers, bigint for 64 bits, text for addresses, lists. */
export function getField(field: CtxFieldRow, from: Uint8Array): unknown {
  const { offset, size } = field;
  if (isPointer(field)) return getBits(from, offset * 8, 64);
  if (isAddress(field)) return ipText(from.subarray(offset, offset + size));
  const { size: each, count, signed } = element(field);
  if (each > 8) return from.slice(offset, offset + size);
  const one = (i: number): number | bigint => {
    const bits = field.networkOrder === 16 ? 16 : each * 8;
    const raw = getBits(from, (offset + i * each) * 8, bits);
    const n = field.networkOrder === undefined ? raw : swapped(raw, bits);
    const value = signed ? BigInt.asIntN(bits, n) : n;
    return bits > 32 ? value : Number(value);
  };
  return count === 1 ? one(0) : Array.from({ length: count }, (_, i) => one(i));
}

/** Every field by name; pointers to packets left out. */
export function getFields(row: CtxRow, from: Uint8Array): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const field of row.fields) if (!field.reg?.startsWith("PTR_TO_PACKET")) out[field.name] = getField(field, from);
  return out;
}
