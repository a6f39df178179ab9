import fc from "fast-check";
import { ByteReader, ByteWriter, DecodeError } from "../../src/core/index.ts";
import { assert, suite } from "../harness.ts";

const test = suite("core bytes");

test("what is written in either byte order is read back", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("little" as const, "big" as const),
      fc.integer({ min: 0, max: 0xffff_ffff }),
      fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
      fc.integer({ min: -0x8000, max: 0x7fff }),
      (endian, a, b, c) => {
        const r = new ByteReader(new ByteWriter({ endian, capacity: 1 }).u32(a).s64(b).s16(c).finish(), { endian });
        assert.is(r.u32(), a);
        assert.is(r.s64(), b);
        assert.is(r.s16(), c);
        assert.is(r.remaining, 0);
      },
    ),
  );
});

test("reading past the end names the input, the offset and the field", () => {
  const r = new ByteReader(new Uint8Array(6), { what: "ELF", base: 0x40 });
  r.u32("magic");
  try {
    r.u32("version");
    assert.unreachable("no error");
  } catch (error) {
    assert.instance(error, DecodeError);
    assert.is((error as DecodeError).message, "ELF+0x44 (version): expected 4 bytes, 2 are left");
  }
});

test("writing a number that does not fit throws instead of wrapping", () => {
  assert.throws(() => new ByteWriter().u8(256), /u8: expected an integer in \[0, 255\], got 256/);
  assert.throws(() => new ByteWriter().s32(1.5), /s32/);
});
