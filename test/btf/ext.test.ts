import { type Btf, BtfBuilder, parseBtfExt, writeBtfExt, type BtfExt } from "../../src/btf/index.ts";
import { assert, suite } from "../harness.ts";

const test = suite("btf ext");

const EXT: BtfExt = {
  funcs: [
    {
      section: "xdp",
      records: [
        { insnOff: 0, typeId: 1 },
        { insnOff: 64, typeId: 1 },
      ],
    },
    { section: ".text", records: [{ insnOff: 0, typeId: 1 }] },
  ],
  lines: [{ section: "xdp", records: [{ insnOff: 0, file: "probe.ts", text: "  return 1;", line: 70_000, col: 12 }] }],
  coreRelos: [{ section: "xdp", records: [{ insnOff: 8, typeId: 1, access: "0:1", kind: 12 }] }],
};

function write(ext: BtfExt, endian: "little" | "big" = "little"): { btf: Btf; bytes: Uint8Array } {
  const builder = new BtfBuilder({ endian });
  builder.int("int", 4);
  const bytes = writeBtfExt(ext, builder);
  return { btf: builder.build(), bytes };
}

test("what is written is read back, in both byte orders", () => {
  for (const endian of ["little", "big"] as const) {
    const { btf, bytes } = write(EXT, endian);
    assert.equal(parseBtfExt(bytes, btf), EXT);
  }
  const none: BtfExt = { funcs: [], lines: [], coreRelos: [] };
  const { btf, bytes } = write(none);
  assert.equal(parseBtfExt(bytes, btf), none);
});

test("longer records of a newer compiler are read by their size", () => {
  const { btf, bytes } = write({ funcs: [EXT.funcs[1]!], lines: [], coreRelos: [] });
  // rec_size 8 becomes 12 and the record gets a word more.
  assert.is(bytes.length, 32 + 4 + 8 + 8);
  const longer = new Uint8Array(bytes.length + 4);
  longer.set(bytes);
  const view = new DataView(longer.buffer);
  view.setUint32(12, view.getUint32(12, true) + 4, true);
  view.setUint32(32, 12, true);
  view.setUint32(bytes.length, 0xffff_ffff, true);
  assert.equal(parseBtfExt(longer, btf).funcs, [EXT.funcs[1]!]);
});

test("a column that does not fit is unknown, a line is the highest", () => {
  const line = { insnOff: 0, file: "a", text: "b", line: 99_999_999, col: 5000 };
  const { btf, bytes } = write({ funcs: [], lines: [{ section: "s", records: [line] }], coreRelos: [] });
  assert.equal(parseBtfExt(bytes, btf).lines[0]?.records[0], { ...line, line: 0x3f_ffff, col: 0 });
});

test("malformed sections name the field", () => {
  const { btf, bytes } = write(EXT);
  const with32 = (offset: number, value: number): Uint8Array => {
    const copy = bytes.slice();
    new DataView(copy.buffer).setUint32(offset, value, true);
    return copy;
  };
  assert.throwsCode(() => parseBtfExt(bytes.subarray(0, 6), btf), "DECODE", /hdr_len/);
  assert.throwsCode(() => parseBtfExt(with32(0, 1), btf), "DECODE", /magic/);
  assert.throwsCode(() => parseBtfExt(with32(32, 4), btf), "DECODE", /func_info.rec_size.*got 4/);
  assert.throwsCode(() => parseBtfExt(with32(40, 0x1000_0000), btf), "DECODE", /num_info/);
  assert.throwsCode(() => parseBtfExt(with32(48, 77), btf), "DECODE", /type id 77 does not exist/);
  assert.throwsCode(() => parseBtfExt(with32(bytes.length - 4, 13), btf), "DECODE", /kind from 0 to 12, got 13/);
});
