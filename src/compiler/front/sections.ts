/** `.rodata`, `.data` and `.bss`: where globals, constants and literal strings lie. */
import { encodeUtf8 } from "../../core/bytes.ts";
import { alignUp } from "../../core/int.ts";
import type { GlobalHandle } from "../../probe/globals.ts";
import type { Schema } from "../../probe/schema-types.ts";
import { u64 } from "../../probe/schema.ts";

export interface SectionVariable {
  readonly name: string;
  readonly off: number;
  readonly size: number;
  readonly schema: Schema | undefined;
  /** Anonymous ones (`char[n]` literals) are static. */
  readonly isStatic: boolean;
}

export class Section {
  readonly name: ".rodata" | ".data" | ".bss";
  readonly variables: SectionVariable[] = [];
  size = 0;
  #bytes = new Uint8Array(64);

  constructor(name: Section["name"]) {
    this.name = name;
  }

  add(name: string, size: number, align: number, schema: Schema | undefined, isStatic: boolean): number {
    const off = alignUp(this.size, align);
    this.variables.push({ name, off, size, schema, isStatic });
    this.size = off + size;
    if (this.size > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.size, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    return off;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.size);
  }
}

export class Sections {
  readonly rodata = new Section(".rodata");
  readonly data = new Section(".data");
  readonly bss = new Section(".bss");
  readonly #littleEndian: boolean;
  readonly #globals = new Map<GlobalHandle, { readonly map: string; readonly off: number; readonly name: string }>();
  readonly #strings = new Map<string, number>();

  constructor(littleEndian: boolean) {
    this.#littleEndian = littleEndian;
  }

  place(
    handle: GlobalHandle,
    name: () => string,
  ): { readonly map: string; readonly off: number; readonly name: string } {
    let at = this.#globals.get(handle);
    if (at === undefined) {
      const { schema } = handle;
      const bytes = new Uint8Array(schema.size);
      encodeValue(bytes, 0, schema, handle.initial, this.#littleEndian);
      const section = handle.section === "rodata" ? this.rodata : bytes.every((b) => b === 0) ? this.bss : this.data;
      const n = name();
      const off = section.add(
        n,
        schema.size,
        Math.max(schema.align, schema.size >= 8 ? 8 : schema.align),
        schema,
        false,
      );
      section.bytes.set(bytes, off);
      at = { map: section.name, off, name: n };
      this.#globals.set(handle, at);
    }
    return at;
  }

  /** Globals with their variable names, in order of appearance. */
  *globals(): Generator<readonly [GlobalHandle, string]> {
    for (const [handle, at] of this.#globals) yield [handle, at.name];
  }

  /** Offset in `.bss` of a counter of bpfkit's own. */
  counter(name: string): number {
    const known = this.bss.variables.find((v) => v.name === name);
    return known?.off ?? this.bss.add(name, 8, 8, u64, false);
  }

  /** Offset in `.rodata` of a NUL-terminated string. */
  string(text: string): number {
    let off = this.#strings.get(text);
    if (off === undefined) {
      const bytes = encodeUtf8(text);
      off = this.rodata.add(`____str.${this.#strings.size}`, bytes.length + 1, 1, undefined, true);
      this.rodata.bytes.set(bytes, off);
      this.#strings.set(text, off);
    }
    return off;
  }

  /** Offset in `.rodata` of a table of integers. */
  table(values: readonly bigint[], size: 1 | 2 | 4 | 8, name: string): number {
    const off = this.rodata.add(name, values.length * size, size, undefined, true);
    values.forEach((v, i) => writeInt(this.rodata.bytes, off + i * size, v, size, this.#littleEndian));
    return off;
  }

  all(): Section[] {
    return [this.rodata, this.data, this.bss].filter((s) => s.size > 0);
  }
}

export function writeInt(bytes: Uint8Array, off: number, value: bigint, size: number, littleEndian: boolean): void {
  for (let i = 0; i < size; i++) {
    const byte = Number((value >> BigInt(8 * i)) & 0xffn);
    bytes[off + (littleEndian ? i : size - 1 - i)] = byte;
  }
}

/** A JavaScript value as the bytes that a schema describes; what is missing is zero. */
export function encodeValue(
  bytes: Uint8Array,
  off: number,
  schema: Schema,
  value: unknown,
  littleEndian: boolean,
): void {
  if (value === undefined || value === null) return;
  switch (schema.kind) {
    case "int":
      writeInt(
        bytes,
        off,
        BigInt(value as number | bigint | boolean),
        schema.size,
        schema.bigEndian ? false : littleEndian,
      );
      break;
    case "enum": {
      const n = typeof value === "string" ? (schema.values.get(value) ?? 0) : (value as number | bigint);
      writeInt(bytes, off, BigInt(n), schema.size, littleEndian);
      break;
    }
    case "bool":
      bytes[off] = value === true || value === 1 || value === 1n ? 1 : 0;
      break;
    case "char":
      bytes.set(encodeUtf8(typeof value === "string" ? value : "").subarray(0, schema.length - 1), off);
      break;
    case "bytes":
      bytes.set(Uint8Array.from(value as ArrayLike<number>).subarray(0, schema.length), off);
      break;
    case "array":
      (value as readonly unknown[])
        .slice(0, schema.length)
        .forEach((v, i) => encodeValue(bytes, off + i * schema.element.size, schema.element, v, littleEndian));
      break;
    case "struct":
    case "union":
      for (const f of schema.fields)
        encodeValue(
          bytes,
          off + f.offset,
          f.schema,
          (value as Readonly<Record<string, unknown>>)[f.name],
          littleEndian,
        );
      break;
  }
}
