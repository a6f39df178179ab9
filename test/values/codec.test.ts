import fc from "fast-check";
import { assert, suite } from "../harness.ts";
import { codecOf, decodeValue, encodeValue } from "../../src/values/codec.ts";
import type { IntSchema, Schema, StructSchema } from "../../src/probe/schema-types.ts";

const test = suite("values codec");

const int = (bits: 8 | 16 | 32 | 64, signed = false, bigEndian = false): IntSchema => ({
  kind: "int",
  name: `${signed ? "s" : "u"}${bits}`,
  bits,
  signed,
  bigEndian,
  size: bits / 8,
  align: bits / 8,
});
function struct(fields: Record<string, Schema>, options: { packed?: boolean; union?: boolean } = {}): StructSchema {
  let size = 0;
  let align = 1;
  const list = Object.entries(fields).map(([name, schema]) => {
    const a = options.packed === true ? 1 : schema.align;
    align = Math.max(align, a);
    const offset = options.union === true ? 0 : Math.ceil(size / a) * a;
    size = Math.max(size, offset + schema.size);
    return { name, offset, schema };
  });
  return {
    kind: options.union === true ? "union" : "struct",
    name: undefined,
    packed: options.packed === true,
    fields: list,
    size: Math.ceil(size / align) * align,
    align,
  };
}
const array = (element: Schema, length: number): Schema => ({
  kind: "array",
  element,
  length,
  size: element.size * length,
  align: element.align,
});
const char = (length: number): Schema => ({ kind: "char", length, size: length, align: 1 });
const bytes = (length: number): Schema => ({ kind: "bytes", length, size: length, align: 1 });
const colour: Schema = {
  kind: "enum",
  name: "colour",
  values: new Map([
    ["RED", 0],
    ["GREEN", 1],
    ["BLUE", 7],
  ]),
  signed: false,
  size: 4,
  align: 4,
};
const bool: Schema = { kind: "bool", size: 1, align: 1 };

/** An independent reader: one field at a time, no code generation. */
function reference(schema: Schema, view: DataView, at: number): unknown {
  switch (schema.kind) {
    case "int": {
      let raw = 0n;
      for (let i = 0; i < schema.size; i++) {
        const byte = view.getUint8(at + (schema.bigEndian ? i : schema.size - 1 - i));
        raw = (raw << 8n) | BigInt(byte);
      }
      const value = schema.signed ? BigInt.asIntN(schema.bits, raw) : raw;
      return schema.bits === 64 ? value : Number(value);
    }
    case "bool":
      return view.getUint8(at) !== 0;
    case "char": {
      const all = [...new Uint8Array(view.buffer, at, schema.length)];
      const nul = all.indexOf(0);
      return Buffer.from(nul < 0 ? all : all.slice(0, nul)).toString();
    }
    case "bytes":
      return new Uint8Array(view.buffer, at, schema.length).slice();
    case "enum": {
      const value = view.getUint32(at, true);
      return [...schema.values].find(([, v]) => v === value)?.[0] ?? value;
    }
    case "array":
      return Array.from({ length: schema.length }, (_, i) =>
        reference(schema.element, view, at + i * schema.element.size),
      );
    default:
      return Object.fromEntries(schema.fields.map((f) => [f.name, reference(f.schema, view, at + f.offset)]));
  }
}

const anyInt = fc
  .record({ bits: fc.constantFrom(8, 16, 32, 64), signed: fc.boolean(), big: fc.boolean() }, { noNullPrototype: true })
  .map(({ bits, signed, big }): Schema => int(bits as 8 | 16 | 32 | 64, signed, big));
const leaf = fc.oneof(
  anyInt,
  fc.constant(bool),
  fc.constant(colour),
  fc.integer({ min: 1, max: 70 }).map(char),
  fc.integer({ min: 1, max: 20 }).map(bytes),
);
const anySchema: fc.Arbitrary<Schema> = fc.letrec<{ schema: Schema }>((tie) => ({
  schema: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leaf,
    fc.tuple(tie("schema"), fc.integer({ min: 1, max: 12 })).map(([e, n]) => array(e, n)),
    fc
      .tuple(
        fc.array(fc.tuple(fc.string({ minLength: 1, maxLength: 6 }), tie("schema")), { minLength: 1, maxLength: 5 }),
        fc.boolean(),
      )
      .map(([fields, packed]) =>
        struct(Object.fromEntries(fields.filter(([n]) => n !== "__proto__" && !/^\d+$/.test(n))), { packed }),
      )
      .filter((s) => s.fields.length > 0),
  ),
})).schema;

test("decodes what a field-by-field reader decodes, aligned and not, at any offset", () => {
  fc.assert(
    fc.property(anySchema, fc.integer({ min: 0, max: 8 }), fc.infiniteStream(fc.nat(255)), (schema, shift, stream) => {
      const buffer = new ArrayBuffer(Math.ceil((schema.size + shift + 8) / 8) * 8);
      const raw = new Uint8Array(buffer);
      for (let i = 0; i < raw.length; i++) raw[i] = stream.next().value as number;
      assert.equal(codecOf(schema).decoder(buffer)(shift), reference(schema, new DataView(buffer), shift));
      assert.equal(codecOf(schema).decoder(buffer, { aligned: true })(0), reference(schema, new DataView(buffer), 0));
    }),
    { numRuns: 300 },
  );
});

test("encode then decode gives the value back, for values that decoding made", () => {
  fc.assert(
    fc.property(anySchema, fc.infiniteStream(fc.integer({ min: 1, max: 127 })), (schema, stream) => {
      const raw = Uint8Array.from({ length: schema.size }, () => stream.next().value as number);
      const value = decodeValue(schema, raw);
      const encoded = encodeValue(schema, value);
      assert.is(encoded.length, schema.size);
      assert.equal(decodeValue(schema, encoded), value);
    }),
    { numRuns: 300 },
  );
});

test("padding is zero after encoding over old bytes, so that struct keys compare equal", () => {
  const key = struct({ a: int(8), b: int(64) });
  const buffer = new ArrayBuffer(16);
  new Uint8Array(buffer).fill(0xff);
  codecOf(key).encoder(buffer, "key")({ a: 1, b: 2n } as never, 0);
  assert.bytes(new Uint8Array(buffer), Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0));
});

test("the same text is decoded once and long or cut text is right", () => {
  const schema = char(16);
  const buffer = new ArrayBuffer(32);
  const raw = new Uint8Array(buffer);
  const decode = codecOf(schema).decoder(buffer);
  raw.set(Buffer.from("kworker/0:1\0old!"), 0);
  assert.is(decode(0), "kworker/0:1");
  raw.set(Buffer.from("kworker/0:2"), 0);
  assert.is(decode(0), "kworker/0:2");
  raw.set(Buffer.from("exactly16bytes!!"), 8);
  assert.is(decode(8), "exactly16bytes!!");
  raw.set(Buffer.from("é"), 0);
  raw[2] = 0;
  assert.is(decode(0), "é");
});

const refusals: [string, Schema, unknown, RegExp][] = [
  ["u8 above its range", int(8), 256, /^value: expected an integer in \[0, 255\], got 256$/],
  ["s16 below its range", int(16, true), -32769, /\[-32768, 32767\], got -32769/],
  ["a fraction", int(32), 1.5, /got 1\.5/],
  ["an unsafe number for 64 bits", int(64), 2 ** 60, /bigint/],
  ["u64 below zero", int(64), -1n, /got -1n/],
  ["a missing field", struct({ a: int(8), b: int(8) }), { a: 1 }, /^value\.b: expected an integer/],
  [
    "a nested field",
    struct({ a: struct({ list: array(int(8), 2) }) }),
    { a: { list: [1, "x"] } },
    /^value\.a\.list\[\]: .*got x/,
  ],
  ["text that is too long", char(4), "hello", /at most 4 bytes, got 5 bytes/],
  ["text with a NUL", char(4), "a\0b", /without NUL/],
  ["the wrong number of elements", array(int(8), 3), [1, 2], /array of 3 elements, got an array of 2/],
  ["bytes of the wrong length", bytes(4), new Uint8Array(3), /Uint8Array of 4 bytes, got a Uint8Array of 3/],
  ["an unknown enum name", colour, "PINK", /one of RED, GREEN, BLUE, got PINK/],
  [
    "two members of a union",
    struct({ a: int(8), b: int(32) }, { union: true }),
    { a: 1, b: 2 },
    /exactly one .* got a, b/,
  ],
  ["a number for a struct", struct({ a: int(8) }), 5, /expected an object, got 5/],
];
for (const [name, schema, value, message] of refusals) {
  test(`refuses ${name}`, () => assert.throwsCode(() => encodeValue(schema, value as never), "ARGUMENT", message));
}

test("a field named __proto__ is a field", () => {
  const schema = struct({ ["__proto__"]: int(8) });
  const decoded = decodeValue(
    { ...schema, fields: [{ name: "__proto__", offset: 0, schema: int(8) }] },
    Uint8Array.of(7),
  ) as object;
  assert.is(Object.getOwnPropertyDescriptor(decoded, "__proto__")?.value, 7);
});

test("a one-member union and an enum number round-trip", () => {
  const u = struct({ a: int(8), b: int(32) }, { union: true });
  assert.bytes(encodeValue(u, { b: 0x01020304 } as never), Uint8Array.of(4, 3, 2, 1));
  assert.is(decodeValue(colour, encodeValue(colour, 3 as never)), 3);
  assert.is(decodeValue(colour, encodeValue(colour, "BLUE" as never)), "BLUE");
});
