import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { requires } from "../kernel.ts";
import { assert, suite } from "../harness.ts";
import {
  array,
  be16,
  be32,
  bool,
  bytes,
  char,
  enumOf,
  isSchema,
  packed,
  type Schema,
  s16,
  s32,
  s64,
  s8,
  struct,
  u16,
  u32,
  u64,
  u8,
  union,
} from "../../src/probe/index.ts";

const test = suite("probe schema");

test("conversions wrap as C's casts do", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }), (value) => {
      assert.is(BigInt(u8(value)), BigInt.asUintN(8, value));
      assert.is(BigInt(s16(value)), BigInt.asIntN(16, value));
      assert.is(BigInt(u32(value)), BigInt.asUintN(32, value));
      assert.is(BigInt(u64(value)), BigInt.asUintN(64, value));
      assert.is(BigInt(s64(value)), BigInt.asIntN(64, value));
    }),
  );
  assert.is(u8(300), 44);
  assert.is(s8(200), -56);
  assert.is(be16(0x12345), 0x2345);
  assert.is(u32(true), 1);
  assert.is(bool(2), true);
});

test("conversions refuse what is no integer", () => {
  assert.throwsCode(() => u32(1.5), "ARGUMENT", "u32: expected an integer, got 1.5");
  assert.throwsCode(() => u64(Number.NaN), "ARGUMENT", /expected an integer, got NaN/);
  assert.throwsCode(() => s32("3" as never), "ARGUMENT", /expected an integer, got string/);
});

test("structs have C's layout", () => {
  const S = struct({ a: u8, b: u64, c: u16, d: char(3), e: array(u32, 2) });
  assert.equal(
    S.fields.map((f) => [f.name, f.offset]),
    [
      ["a", 0],
      ["b", 8],
      ["c", 16],
      ["d", 18],
      ["e", 24],
    ],
  );
  assert.equal([S.size, S.align], [32, 8]);
  const P = packed({ a: u8, b: u64, c: u16 });
  assert.equal([P.size, P.align, P.packed, P.fields[1]?.offset], [11, 1, true, 1]);
  const U = union({ a: u8, b: struct({ x: be32, y: u8 }) });
  assert.equal([U.size, U.align, U.kind, U.fields.map((f) => f.offset)], [8, 4, "union", [0, 0]]);
});

test("random structs are laid out as gcc lays them out", () => {
  requires({ package: "gcc" });
  const leaf = fc.constantFrom<[Schema, string]>(
    [u8, "unsigned char"],
    [u16, "unsigned short"],
    [u32, "unsigned int"],
    [u64, "unsigned long long"],
    [s8, "signed char"],
    [s64, "long long"],
    [bool, "_Bool"],
  );
  const field = fc.tuple(leaf, fc.nat(4));
  const shapes = fc.sample(
    fc.tuple(fc.constantFrom("struct", "union", "packed"), fc.array(field, { minLength: 1, maxLength: 6 })),
    { numRuns: 60, seed: 7 },
  );
  let c = "#include <stdio.h>\n#include <stddef.h>\nint main(void) {\n";
  const ours: string[] = [];
  for (const [kind, fields] of shapes) {
    const members = Object.fromEntries(
      fields.map(([[schema], n], i) => [`f${i}`, n === 0 ? schema : array(schema, n)]),
    );
    const S = { struct, union, packed }[kind](members);
    ours.push([S.size, S.align, ...S.fields.map((f) => f.offset)].join(" "));
    const text = fields.map(([[, type], n], i) => `${type} f${i}${n === 0 ? "" : `[${n}]`};`).join(" ");
    const tag = `${kind === "union" ? "union" : "struct"} ${kind === "packed" ? "__attribute__((packed)) " : ""}`;
    c += `{ typedef ${tag}{ ${text} } T; printf("%zu %zu${" %zu".repeat(fields.length)}\\n", sizeof(T), _Alignof(T)${fields.map((_, i) => `, offsetof(T, f${i})`).join("")}); }\n`;
  }
  const exe = `/tmp/layout-${process.pid}`;
  const gcc = spawnSync("gcc", ["-x", "c", "-w", "-o", exe, "-"], { input: `${c}}`, encoding: "utf8" });
  assert.is(gcc.status, 0, gcc.stderr);
  const theirs = spawnSync(exe, { encoding: "utf8" }).stdout.trim().split("\n");
  spawnSync("rm", ["-f", exe]);
  assert.equal(ours, theirs);
});

test("a struct called makes a value whose missing fields are zero", () => {
  const Inner = struct({ x: u8, tag: char(4) });
  const S = struct({ n: u32, flag: bool, raw: bytes(2), list: array(Inner, 2) });
  assert.equal(S({ n: 5 }), {
    n: 5,
    flag: false,
    raw: new Uint8Array(2),
    list: [
      { x: 0, tag: "" },
      { x: 0, tag: "" },
    ],
  });
  assert.throwsCode(() => S({ m: 1 } as never), "ARGUMENT", /no such field/);
});

test("enums have their members as properties", () => {
  const State = enumOf({ CLOSED: 0, OPEN: 1 });
  assert.is(State.OPEN, 1);
  assert.equal(
    [State.size, State.signed, [...State.values]],
    [
      4,
      false,
      [
        ["CLOSED", 0],
        ["OPEN", 1],
      ],
    ],
  );
  assert.equal([enumOf({ A: -1 }).signed, enumOf({ A: 2 ** 40 }).size], [true, 8]);
  assert.throwsCode(() => enumOf({ kind: 1 }), "ARGUMENT", /taken by a property/);
  assert.throwsCode(() => enumOf({ HALF: 0.5 }), "ARGUMENT", /expected an integer, got 0.5/);
});

test("schemas are frozen and known as schemas", () => {
  const S = struct({ a: u32 });
  assert.ok([u8, char(4), bytes(1), array(u8, 2), S, enumOf({ A: 1 })].every(isSchema));
  assert.not.ok([Number, {}, null, undefined, () => 1].some(isSchema));
  assert.throws(() => ((S as { size: number }).size = 3), /read only|Cannot assign/);
});

test("wrong arguments name the argument and what came", () => {
  assert.throwsCode(() => char(0), "ARGUMENT", "char(length): expected a whole number of 1 or more, got 0");
  assert.throwsCode(() => bytes(1.5), "ARGUMENT", /got 1\.5/);
  assert.throwsCode(
    () => array(Number as never, 2),
    "ARGUMENT",
    /expected a schema such as u32 or struct\(\{…\}\), got the function Number/,
  );
  assert.throwsCode(() => struct({}), "ARGUMENT", /at least one field/);
  assert.throwsCode(
    () => struct({ a: "u32" as never }),
    "ARGUMENT",
    "struct({ a }): expected a schema such as u32 or struct({…}), got string u32",
  );
});
