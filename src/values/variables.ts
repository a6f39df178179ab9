/** Values of global variables: from what a person writes to the bytes of a data section. */
import { hostEndian } from "../core/bytes.ts";
import { ArgumentError } from "../core/errors.ts";
import type { VariableSpec } from "../elf/spec.ts";
import type { Schema } from "../probe/schema-types.ts";

const LITTLE = hostEndian === "little";

/** A value for a `config` or other global variable, set before the program is loaded. */
export type VariableValue = number | bigint | boolean | string | Uint8Array;

/** Encodes `value` into the bytes of a variable; its size decides what fits. Throws `ArgumentError`. */
export function putVariable(data: Uint8Array, variable: VariableSpec, value: VariableValue): void {
  const { name, offset, size } = variable;
  const target = data.subarray(offset, offset + size);
  if (value instanceof Uint8Array || typeof value === "string") {
    const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
    if (bytes.length > size) throw new ArgumentError(name, `expected at most ${size} bytes, got ${bytes.length}`);
    target.fill(0);
    target.set(bytes);
    return;
  }
  if (size !== 1 && size !== 2 && size !== 4 && size !== 8)
    throw new ArgumentError(name, `it has ${size} bytes: give a Uint8Array`);
  const n = typeof value === "boolean" ? (value ? 1n : 0n) : integerOf(name, value);
  const bits = BigInt(size * 8);
  if (n < -(1n << (bits - 1n)) || n >= 1n << bits)
    throw new ArgumentError(name, `expected an integer of ${size * 8} bits, got ${n}`);
  const raw = BigInt.asUintN(64, n);
  for (let i = 0; i < size; i++) target[LITTLE ? i : size - 1 - i] = Number((raw >> BigInt(8 * i)) & 0xffn);
}

/** A value given as text (`--set NAME=TEXT`), as `schema` wants it. Throws `ArgumentError`. */
export function valueOfText(name: string, text: string, schema: Schema | undefined): VariableValue {
  if (schema === undefined || schema.kind === "char" || schema.kind === "bytes") return text;
  const member = schema.kind === "enum" ? schema.values.get(text) : undefined;
  if (member !== undefined) return member;
  if (text === "true" || text === "false") return text === "true";
  const [, minus, digits] = /^(-?)(0x[0-9a-f]+|\d+)$/i.exec(text) ?? [];
  if (digits === undefined) {
    const expected = schema.kind === "enum" ? `one of ${[...schema.values.keys()].join(", ")}` : "an integer";
    throw new ArgumentError(name, `expected ${expected}, got ${JSON.stringify(text)}`);
  }
  return minus === "-" ? -BigInt(digits) : BigInt(digits);
}

function integerOf(name: string, value: number | bigint): bigint {
  if (typeof value === "bigint") return value;
  if (!Number.isSafeInteger(value)) throw new ArgumentError(name, `expected an integer, got ${value}`);
  return BigInt(value);
}
