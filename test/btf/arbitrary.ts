/** Generated BTF: well-formed graphs of all kinds, and ways to damage bytes. */
import fc from "fast-check";
import { BtfBuilder, type Btf, type BtfTypeSpec } from "../../src/btf/index.ts";
import type { Endian } from "../../src/core/index.ts";

const NAMES = ["a", "b", "task", "task___old", "len", "state", "x_y", "größe", "T1", "T2", ""];
const name = fc.constantFrom(...NAMES);
const someName = fc.constantFrom(...NAMES.filter((n) => n !== ""));
const int32 = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });

/** One type whose references go through `value` (a complete type) or `any`. */
function typeSpec(value: fc.Arbitrary<number>, any: fc.Arbitrary<number>): fc.Arbitrary<BtfTypeSpec> {
  const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
    fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
  const members = fc
    .array(fc.tuple(name, value, fc.nat(2000), fc.constantFrom(0, 0, 0, 1, 3, 8)), { maxLength: 6 })
    .map((list) =>
      list.map(([n, type, bit, bitSize]) => ({ name: n, type, bitOffset: bitSize === 0 ? bit * 8 : bit, bitSize })),
    );
  return fc.oneof(
    fc
      .tuple(someName, fc.constantFrom(1, 2, 4, 8, 16), fc.boolean(), fc.boolean())
      .map(([n, size, signed, char]): BtfTypeSpec => ({
        kind: "int",
        name: n,
        size,
        bits: size * 8,
        offset: 0,
        signed,
        char,
        bool: false,
      })),
    record<BtfTypeSpec>({ kind: fc.constant("ptr" as const), name: fc.constant(""), type: any } as never),
    record<BtfTypeSpec>({
      kind: fc.constant("array" as const),
      name: fc.constant(""),
      type: value,
      indexType: value,
      nelems: fc.nat(9),
    } as never),
    record<BtfTypeSpec>({
      kind: fc.constantFrom("struct" as const, "union" as const),
      name,
      size: fc.nat(300),
      members,
    } as never),
    fc
      .tuple(name, fc.boolean(), fc.array(fc.tuple(someName, int32), { maxLength: 4 }))
      .map(([n, signed, list]): BtfTypeSpec => ({
        kind: "enum",
        name: n,
        size: 4,
        signed,
        values: list.map(([v, x]) => ({ name: v, value: signed ? x : x >>> 0 })),
      })),
    fc
      .tuple(
        name,
        fc.boolean(),
        fc.array(fc.tuple(someName, fc.bigInt(-(1n << 63n), (1n << 63n) - 1n)), { maxLength: 4 }),
      )
      .map(([n, signed, list]): BtfTypeSpec => ({
        kind: "enum64",
        name: n,
        size: 8,
        signed,
        values: list.map(([v, x]) => ({ name: v, value: signed ? x : BigInt.asUintN(64, x) })),
      })),
    record<BtfTypeSpec>({
      kind: fc.constant("fwd" as const),
      name: someName,
      of: fc.constantFrom("struct" as const, "union" as const),
    } as never),
    record<BtfTypeSpec>({ kind: fc.constant("typedef" as const), name: someName, type: value } as never),
    record<BtfTypeSpec>({
      kind: fc.constantFrom("const" as const, "volatile" as const, "restrict" as const),
      name: fc.constant(""),
      type: value,
    } as never),
    record<BtfTypeSpec>({
      kind: fc.constant("type_tag" as const),
      name: someName,
      type: value,
      attribute: fc.boolean(),
    } as never),
    record<BtfTypeSpec>({
      kind: fc.constant("func" as const),
      name: someName,
      type: any,
      linkage: fc.constantFrom("static" as const, "global" as const, "extern" as const),
    } as never),
    fc.tuple(any, fc.array(fc.tuple(name, any), { maxLength: 4 })).map(([type, params]): BtfTypeSpec => ({
      kind: "func_proto",
      name: "",
      type,
      params: params.map(([n, t]) => ({ name: n, type: t })),
    })),
    record<BtfTypeSpec>({
      kind: fc.constant("var" as const),
      name: someName,
      type: value,
      linkage: fc.constantFrom("static" as const, "global" as const),
    } as never),
    fc
      .tuple(someName, fc.nat(400), fc.array(fc.tuple(any, fc.nat(99), fc.nat(99)), { maxLength: 3 }))
      .map(([n, size, vars]): BtfTypeSpec => ({
        kind: "datasec",
        name: n,
        size,
        vars: vars.map(([type, offset, s]) => ({ type, offset, size: s })),
      })),
    record<BtfTypeSpec>({
      kind: fc.constant("float" as const),
      name: someName,
      size: fc.constantFrom(2, 4, 8, 12, 16),
    } as never),
    record<BtfTypeSpec>({
      kind: fc.constant("decl_tag" as const),
      name: someName,
      type: any,
      componentIdx: fc.integer({ min: -1, max: 5 }),
      attribute: fc.boolean(),
    } as never),
  );
}

/** A list of types; values refer to earlier types, pointers and functions to any. */
export const typeSpecs: fc.Arbitrary<BtfTypeSpec[]> = fc
  .integer({ min: 1, max: 24 })
  .chain((count) =>
    fc.tuple(
      ...Array.from({ length: count }, (_, i) => typeSpec(fc.integer({ min: i === 0 ? 0 : 1, max: i }), fc.nat(count))),
    ),
  ) as fc.Arbitrary<BtfTypeSpec[]>;

export function buildFrom(specs: readonly BtfTypeSpec[], endian: Endian = "little", base?: Btf): Uint8Array {
  const builder = new BtfBuilder(base === undefined ? { endian } : { base });
  for (const spec of specs) builder.add(spec);
  return builder.encode();
}

/** What a decoded type has beside its id. */
export function withoutId(type: object): object {
  const { id: _, ...rest } = type as { id: number };
  return rest;
}

export interface Damage {
  readonly at: number;
  readonly how: "byte" | "word" | "cut" | "swap";
  readonly value: number;
}
export const damages: fc.Arbitrary<Damage[]> = fc.array(
  fc.record(
    {
      at: fc.nat(0xffff_ff),
      how: fc.constantFrom("byte" as const, "word" as const, "word" as const, "cut" as const, "swap" as const),
      value: fc.oneof(
        fc.nat(40),
        fc.nat(0xffff_ffff),
        fc.constantFrom(0, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x0400_0001, 0x8400_0002),
      ),
    },
    { noNullPrototype: true },
  ),
  { minLength: 1, maxLength: 4 },
);

/** A damaged copy. */
export function damage(bytes: Uint8Array, list: readonly Damage[]): Uint8Array {
  let out = bytes.slice();
  for (const { at, how, value } of list) {
    if (out.length < 8) return out;
    const place = at % out.length;
    const word = (place & ~3) % (out.length - 3);
    const view = new DataView(out.buffer, out.byteOffset, out.length);
    if (how === "byte") out[place] = value;
    else if (how === "word") view.setUint32(word, value >>> 0, true);
    else if (how === "swap") {
      const other = ((at * 7) & ~3) % (out.length - 3);
      const kept = view.getUint32(word, true);
      view.setUint32(word, view.getUint32(other, true), true);
      view.setUint32(other, kept, true);
    } else if (value % 4 === 0) out = out.slice(0, place);
  }
  return out;
}
