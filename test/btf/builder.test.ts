import fc from "fast-check";
import { readFileSync } from "node:fs";
import { Btf, BtfBuilder, dedupBtf, type BtfTypeSpec } from "../../src/btf/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { buildFrom, typeSpecs, withoutId } from "./arbitrary.ts";

const test = suite("btf build");

test("appending a BTF to an empty one changes no type, in either byte order", () => {
  fc.assert(
    fc.property(typeSpecs, fc.constantFrom("little" as const, "big" as const), (specs, endian) => {
      const btf = Btf.parse(buildFrom(specs));
      const copy = new BtfBuilder({ endian });
      assert.is(copy.append(btf), 0);
      assert.equal([...copy.build().types()], [...btf.types()]);
    }),
    { numRuns: 200 },
  );
});

test("this kernel's BTF comes back as it was", () => {
  requires({ kernel: "5.4" });
  const btf = Btf.parse(new Uint8Array(readFileSync("/sys/kernel/btf/vmlinux")));
  const builder = new BtfBuilder();
  builder.append(btf);
  const copy = builder.build();
  assert.is(copy.typeCount, btf.typeCount);
  const theirs = btf.types();
  for (const ours of copy.types()) {
    const expected = theirs.next().value;
    if (JSON.stringify(ours, plain) !== JSON.stringify(expected, plain)) assert.equal(ours, expected);
  }
});

function plain(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}n` : value;
}

test("strings are stored once; reserved ids let types refer to each other", () => {
  const b = new BtfBuilder();
  const pointer = b.reserve();
  const node = b.add({
    kind: "struct",
    name: "node",
    size: 8,
    members: [{ name: "node", type: pointer, bitOffset: 0, bitSize: 0 }],
  });
  assert.throwsCode(() => b.encode(), "ARGUMENT", /\[1\] was reserved but not defined/);
  b.define(pointer, { kind: "ptr", type: node });
  const btf = b.build();
  assert.is(btf.strings.bytes.length, "\0node\0".length);
  assert.equal(btf.typeById(pointer), { kind: "ptr", id: 1, name: "", type: 2 });
});

test("values that do not fit are refused by name", () => {
  const b = new BtfBuilder();
  const bad: [BtfTypeSpec, RegExp][] = [
    [
      { kind: "int", name: "i", size: 3, bits: 24, offset: 0, signed: false, char: false, bool: false },
      /size: an int of 3 bytes/,
    ],
    [{ kind: "struct", name: "s", size: -1, members: [] }, /size: expected an integer from 0/],
    [
      { kind: "struct", name: "s", size: 4, members: [{ name: "m", type: 1, bitOffset: 2 ** 24, bitSize: 1 }] },
      /m.bitOffset/,
    ],
    [
      { kind: "enum", name: "e", size: 4, signed: false, values: [{ name: "A", value: -1 }] },
      /A: expected an integer from 0/,
    ],
    [
      { kind: "enum64", name: "e", size: 8, signed: true, values: [{ name: "A", value: 1n << 63n }] },
      /does not fit a signed/,
    ],
    [{ kind: "typedef", name: "a\0b", type: 0 }, /cannot contain NUL/],
  ];
  for (const [spec, message] of bad) assert.throwsCode(() => b.add(spec), "ARGUMENT", message);
  b.add({ kind: "ptr", type: 5 });
  assert.throwsCode(() => b.encode(), "ARGUMENT", /type \[1\]: refers to type \[5\], which does not exist/);
});

test("dedup: the same program twice is the program once", () => {
  fc.assert(
    fc.property(typeSpecs, (specs) => {
      const own = specs.filter((s) => s.kind !== "var" && s.kind !== "datasec");
      // Ids shift with what was left out; only lists without are used.
      fc.pre(own.length === specs.length);
      const once = dedupBtf(Btf.parse(buildFrom(specs)));
      const twice = new BtfBuilder();
      twice.append(Btf.parse(buildFrom(specs)));
      twice.append(Btf.parse(buildFrom(specs)));
      const merged = dedupBtf(twice.build());
      assert.equal([...merged.btf.types()], [...once.btf.types()]);
      const again = dedupBtf(once.btf);
      assert.equal([...again.btf.types()], [...once.btf.types()], "idempotent");
      assert.equal(
        [...again.ids],
        Array.from({ length: once.btf.typeCount }, (_, id) => id),
      );
    }),
    { numRuns: 300 },
  );
});

test("dedup keeps what types say: names, sizes and references map", () => {
  fc.assert(
    fc.property(typeSpecs, (specs) => {
      // Forward declarations (of enums too: those without values) may become what they declare.
      fc.pre(specs.every((s) => s.kind !== "fwd" && !("values" in s && s.values.length === 0)));
      const before = Btf.parse(buildFrom(specs));
      const { btf, ids } = dedupBtf(before);
      for (const type of before.types()) {
        const after = btf.typeById(ids[type.id]!);
        const mapped = JSON.parse(
          JSON.stringify(withoutId(type), (key, value: unknown) =>
            typeof value === "bigint"
              ? `${value}n`
              : (key === "type" || key === "indexType") && typeof value === "number"
                ? ids[value]
                : value,
          ),
        ) as unknown;
        assert.equal(JSON.parse(JSON.stringify(withoutId(after), plain)), mapped);
      }
    }),
    { numRuns: 200 },
  );
});

test("dedup: recursive structs of two objects merge, and a forward declaration becomes the struct", () => {
  const b = new BtfBuilder();
  const object = (known: boolean): void => {
    const int = b.int("int", 4, { signed: true });
    const other = known
      ? b.add({ kind: "struct", name: "other", size: 4, members: [{ name: "x", type: int, bitOffset: 0, bitSize: 0 }] })
      : b.add({ kind: "fwd", name: "other", of: "struct" });
    const toOther = b.add({ kind: "ptr", type: other });
    const toNode = b.reserve();
    const node = b.add({
      kind: "struct",
      name: "node",
      size: 16,
      members: [
        { name: "next", type: toNode, bitOffset: 0, bitSize: 0 },
        { name: "other", type: toOther, bitOffset: 64, bitSize: 0 },
      ],
    });
    b.define(toNode, { kind: "ptr", type: node });
  };
  object(false);
  object(true);
  object(true);
  const { btf } = dedupBtf(b.build());
  assert.equal([...btf.types()].map((t) => `${t.kind} ${t.name}`).sort(), [
    "int int",
    "ptr ",
    "ptr ",
    "struct node",
    "struct other",
  ]);
  // Two different definitions of one name: the declaration could mean either, and stays.
  const two = new BtfBuilder();
  two.add({ kind: "struct", name: "other", size: 4, members: [] });
  two.add({ kind: "struct", name: "other", size: 8, members: [] });
  two.add({ kind: "fwd", name: "other", of: "struct" });
  assert.is(dedupBtf(two.build()).btf.typeCount, 4);
});
