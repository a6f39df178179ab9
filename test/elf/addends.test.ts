/** References to global variables as clang and as gcc (with binutils before 2.42) write them. */
import { exit, ldImm64, mov64Imm } from "../../src/asm/build.ts";
import { encodeInsns } from "../../src/asm/encode.ts";
import { R_BPF, SHF, SHT, STB, STT } from "../../src/elf/constants.ts";
import { readObject } from "../../src/elf/index.ts";
import { ElfWriter } from "../../src/elf/writer.ts";
import { assert, suite } from "../harness.ts";

const test = suite("elf addends");

interface Reference {
  /** Offset of the variable in .data; undefined for a reference to the section. */
  readonly value: number | undefined;
  readonly size?: number;
  /** What the instruction holds. */
  readonly imm: number;
}

/** An object with 64 bytes of .data and a program that refers to it; the offsets that the reader makes of it. */
function offsets(endian: "little" | "big", comment: string | undefined, references: readonly Reference[]): number[] {
  const elf = new ElfWriter({ endian });
  const section = (name: string, flags: number, data: Uint8Array): number =>
    elf.addSection({ name, type: SHT.PROGBITS, flags, align: 8, data });
  const data = section(".data", SHF.ALLOC | SHF.WRITE, new Uint8Array(64));
  section("license", SHF.ALLOC, new TextEncoder().encode("GPL\0"));
  if (comment !== undefined) section(".comment", 0, new TextEncoder().encode(comment));
  const insns = references.flatMap((r) => ldImm64(1, BigInt(r.imm)));
  const code = encodeInsns([...insns, mov64Imm(0, 0), exit()], endian);
  const text = section("socket", SHF.ALLOC | SHF.EXECINSTR, code);
  const common = { bind: STB.GLOBAL, visibility: 0 };
  elf.addSymbol({ ...common, name: "prog", value: 0, size: code.length, type: STT.FUNC, section: text });
  references.forEach(({ value, size = 4 }, i) => {
    const symbol =
      value === undefined
        ? elf.sectionSymbol(data)
        : elf.addSymbol({ ...common, name: `v${i}`, value, size, type: STT.OBJECT, section: data });
    elf.addRelocation(text, i * 16, R_BPF.R64_64, symbol);
  });
  const [prog] = readObject(elf.finish(), { name: "t" }).progs;
  return prog!.refs.map((r) => (r.kind === "map-value" ? r.offset : -1));
}

const GCC = "\0GCC: (12.2.0-14) 12.2.0\0";

for (const endian of ["little", "big"] as const) {
  test(`what clang leaves in the instruction is added, ${endian}`, () => {
    const references = [
      { value: 16, imm: 0 },
      { value: 16, size: 32, imm: 16 },
      { value: undefined, imm: 24 },
    ];
    assert.equal(offsets(endian, "\0clang version 19.1.7\0", references), [16, 32, 24]);
    assert.equal(offsets(endian, undefined, references), [16, 32, 24]);
  });

  test(`the value that gcc's assembler repeats is counted once, ${endian}`, () => {
    // `b` at 28, `ro2` at 16, the start of an array, a static variable by its section; gcc-bpf 12.2 writes exactly these.
    const references = [
      { value: 28, imm: 28 },
      { value: 16, imm: 16 },
      { value: 0, size: 16, imm: 0 },
      { value: undefined, imm: 24 },
      { value: 32, size: 16, imm: 40 },
    ];
    assert.equal(offsets(endian, GCC, references), [28, 16, 0, 24, 40]);
  });
}

test("gcc with a newer assembler writes what clang writes", () => {
  const references = [
    { value: 8, imm: 0 },
    { value: 16, size: 32, imm: 16 },
  ];
  assert.equal(offsets("little", GCC, references), [8, 32]);
});

test("references that may mean either are refused, not guessed", () => {
  assert.throwsCode(
    () => offsets("little", GCC, [{ value: 8, size: 16, imm: 8 }]),
    "DECODE",
    /socket.*this reference to v0 means offset 8 or 16: assemble with binutils 2.42/,
  );
});
