import { execFileSync } from "node:child_process";
import { existsSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { ByteWriter } from "../../src/core/index.ts";
import { Elf, ElfWriter, EM, ET, FunctionTable, SHF, SHN, SHT, STB, STT, type ElfSource } from "../../src/elf/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { agreesWithElfy, elfy } from "./elfy.ts";
import { FIXTURES, fixtureBytes } from "./fixtures.ts";

const test = suite("elf reader");

for (const file of FIXTURES) test(`elfy reads the same sections of ${file}`, () => agreesWithElfy(fixtureBytes(file)));

test("elfy reads the same sections and segments of this Node binary", () => {
  const bytes = readFileSync(process.execPath);
  agreesWithElfy(bytes);
  const elf = Elf.open(bytes);
  const theirs = elfy.parse(bytes).body.programs;
  assert.equal(
    elf.segments.map((s) => [s.offset, s.filesz, Number(s.vaddr)]),
    theirs.map((p) => [p.offset, p.filesz, p.vaddr]),
  );
});

test("symbols, relocations and build id are those that readelf prints", () => {
  requires({ package: "binutils" });
  const bash = "/bin/bash";
  const elf = Elf.open(readFileSync(bash), { name: bash });
  const readelf = (...args: string[]): string =>
    execFileSync("readelf", ["-W", ...args, bash], { encoding: "utf8", maxBuffer: 1 << 26 });
  const dynsym = elf.symbols(elf.section(".dynsym")!);
  const rows = [
    ...readelf("--dyn-syms").matchAll(
      /^ *(\d+): ([0-9a-f]+) +(\d+|0x[0-9a-f]+) (\w+) +(\w+) +(\w+) +(\w+)(?: ([^ @\n]+))?/gm,
    ),
  ];
  assert.is(rows.length, dynsym.count);
  for (const [, index, value, size, type, bind, , , name] of rows) {
    const s = dynsym.at(Number(index));
    assert.equal([s.name, s.value, s.size], [name ?? "", BigInt(`0x${value}`), BigInt(size!)]);
    assert.is(s.type, STT[type as keyof typeof STT]);
    assert.is(s.bind, STB[bind as keyof typeof STB]);
  }
  const relocations = elf.relocations(elf.section(".rela.plt")!);
  const printed = [...readelf("-r").matchAll(/^([0-9a-f]{16}) +([0-9a-f]{16}) R_\S+JUMP_SLO\S*/gm)];
  assert.equal(
    relocations.map((r) => [r.offset, r.symbol, r.type]),
    printed.map((m) => [parseInt(m[1]!, 16), parseInt(m[2]!.slice(0, 8), 16), parseInt(m[2]!.slice(8), 16)]),
  );
  assert.is(elf.buildId(), /Build ID: ([0-9a-f]+)/.exec(readelf("-n"))?.[1]);
});

test("findSymbol and fileOffset give what a uprobe on bash's readline needs", () => {
  requires({ package: "binutils" });
  const bash = "/bin/bash";
  const elf = Elf.open(readFileSync(bash));
  const symbol = elf.findSymbol("readline");
  assert.ok(symbol !== undefined && symbol.type === STT.FUNC);
  const row = / ([0-9a-f]{16}) .* readline$/m.exec(
    execFileSync("readelf", ["-W", "--dyn-syms", bash], { encoding: "utf8", maxBuffer: 1 << 26 }),
  );
  assert.is(symbol!.value, BigInt(`0x${row![1]}`));
  const offset = elf.fileOffset(symbol!.value);
  assert.is(elf.address(offset!), symbol!.value);
  const found = new FunctionTable(elf).find(symbol!.value + 3n);
  assert.equal(found, { name: "readline", address: symbol!.value, size: Number(symbol!.size), offset });
  assert.is(elf.findSymbol("no_such_function_anywhere"), undefined);
});

test("every function of this Node binary is found again by its address and offset", () => {
  const table = new FunctionTable(Elf.open(readFileSync(process.execPath)));
  let previous = -1n;
  for (let i = 0; i < table.count; i += 37) {
    const f = table.at(i);
    assert.ok(f.address >= previous);
    previous = f.address;
    const found = table.find(f.address);
    assert.is(found?.address, f.address, f.name);
    if (f.offset !== undefined) assert.is(table.findByOffset(f.offset)?.address, f.address);
  }
  assert.is(table.find(0n), undefined);
});

test("random access reads a binary's symbols without its code", () => {
  const path = process.execPath;
  const fd = openSync(path, "r");
  let read = 0;
  const source: ElfSource = {
    size: statSync(path).size,
    read(offset, length) {
      const out = new Uint8Array(length);
      read += readSync(fd, out, 0, length, offset);
      return out;
    },
  };
  const elf = Elf.open(source, { name: path });
  const whole = Elf.open(readFileSync(path));
  const name = new FunctionTable(whole).at(0).name;
  assert.equal(elf.findSymbol(name), whole.findSymbol(name));
  assert.ok(read < source.size / 2, `${read} of ${source.size} bytes read`);
});

test("a versioned symbol is found by its name alone", () => {
  const libc = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6", "/lib64/libc.so.6"].find((f) =>
    existsSync(f),
  );
  if (libc === undefined) return;
  assert.is(Elf.open(readFileSync(libc)).findSymbol("malloc")?.type, STT.FUNC);
});

for (const endian of ["little", "big"] as const) {
  test(`what ElfWriter writes is read back, ${endian}-endian`, () => {
    const w = new ElfWriter({ endian });
    const text = w.addSection({
      name: ".text",
      type: SHT.PROGBITS,
      flags: SHF.ALLOC | SHF.EXECINSTR,
      align: 8,
      data: new Uint8Array(32).fill(7),
    });
    const bss = w.addSection({ name: ".bss", type: SHT.NOBITS, flags: SHF.ALLOC | SHF.WRITE, align: 16, data: 1000 });
    const global = w.addSymbol({ name: "späße", value: 8, size: 16, type: STT.FUNC, bind: STB.GLOBAL, section: text });
    w.addSymbol({ name: "x", value: 0, size: 4, type: STT.OBJECT, bind: STB.LOCAL, section: bss });
    const none = w.addSymbol({
      name: "extern",
      value: 0,
      size: 0,
      type: STT.NOTYPE,
      bind: STB.WEAK,
      section: SHN.UNDEF,
    });
    w.addRelocation(text, 24, 10, none);
    w.addRelocation(text, 0, 1, w.sectionSymbol(bss));
    w.addRelocation(text, 8, 1, global);
    const elf = Elf.open(w.finish());
    assert.equal([elf.endian, elf.header.machine, elf.header.type], [endian, EM.BPF, ET.REL]);
    assert.equal(
      elf.sections.map((s) => s.name),
      ["", ".text", ".bss", ".rel.text", ".symtab", ".strtab"],
    );
    assert.bytes(elf.data(elf.section(".text")!), new Uint8Array(32).fill(7));
    assert.is(elf.section(".bss")?.size, 1000);
    assert.is(elf.data(elf.section(".bss")!).length, 0);
    const symbols = elf.symbols()!;
    assert.equal(
      [...symbols].map((s) => [s.name, s.bind, s.section]),
      [
        ["", 0, 0],
        ["x", STB.LOCAL, bss],
        ["", STB.LOCAL, bss],
        ["späße", STB.GLOBAL, text],
        ["extern", STB.WEAK, 0],
      ],
    );
    assert.is(elf.section(".symtab")?.info, 3);
    assert.equal(
      elf.relocations(elf.section(".rel.text")!).map((r) => [r.offset, r.type, symbols.at(r.symbol).name]),
      [
        [0, 1, ""],
        [8, 1, "späße"],
        [24, 10, "extern"],
      ],
    );
    assert.equal(elf.findSymbol("späße")?.value, 8n);
  });

  test(`more sections than a 16-bit index holds, ${endian}-endian`, () => {
    const count = 0xff10;
    const bytes = manySections(endian, count);
    const elf = Elf.open(bytes);
    assert.is(elf.sections.length, count);
    assert.is(elf.sections[count - 1]?.name, ".shstrtab");
    const symbol = elf.symbols()!.at(1);
    assert.is(symbol.section, count - 2);
  });
}

/** An object whose section count, name table index and a symbol's section are all in their extended places. */
function manySections(endian: "little" | "big", count: number): Uint8Array {
  const strings = new TextEncoder().encode("\0.shstrtab\0.symtab\0.symtab_shndx\0");
  const w = new ByteWriter({ endian });
  w.bytes(new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 2, endian === "little" ? 1 : 2, 1, 0])).zeros(8);
  const at = { strings: 64, symtab: 64 + 40, shndx: 64 + 40 + 48, shoff: 64 + 40 + 48 + 8 };
  w.u16(ET.REL).u16(EM.BPF).u32(1).u64(0n).u64(0n).u64(BigInt(at.shoff)).u32(0);
  w.u16(64).u16(0).u16(0).u16(64).u16(0).u16(SHN.XINDEX);
  w.bytes(strings).align(8);
  while (w.length < at.symtab) w.u8(0);
  w.zeros(24).u32(0).u8(0x10).u8(0).u16(SHN.XINDEX).u64(5n).u64(0n);
  w.u32(0).u32(count - 2);
  const header = (name: number, type: number, offset: number, size: number, link: number, entsize: number): void => {
    w.u32(name)
      .u32(type)
      .u64(0n)
      .u64(0n)
      .u64(BigInt(offset))
      .u64(BigInt(size))
      .u32(link)
      .u32(0)
      .u64(8n)
      .u64(BigInt(entsize));
  };
  header(0, SHT.NULL, 0, count, count - 1, 0);
  header(11, SHT.SYMTAB, at.symtab, 48, count - 1, 24);
  header(19, SHT.SYMTAB_SHNDX, at.shndx, 8, 1, 4);
  for (let i = 3; i < count - 1; i++) header(0, SHT.PROGBITS, 0, 0, 0, 0);
  header(1, SHT.STRTAB, at.strings, strings.length, 0, 0);
  return w.finish();
}

test("malformed files name the section and the offset", () => {
  const good = fixtureBytes("maps-el.o");
  const changed = (offset: number, ...bytes: number[]): Uint8Array => {
    const copy = good.slice();
    copy.set(bytes, offset);
    return copy;
  };
  const open = (bytes: Uint8Array) => () => void Elf.open(bytes, { name: "x.o" }).sections;
  assert.throwsCode(open(new Uint8Array(0)), "DECODE", /x\.o\+0x0 \(header\.magic\): .*not an ELF file/);
  assert.throwsCode(open(good.subarray(0, 40)), "DECODE", /x\.o\+0x0 \(header\): expected 64 bytes, 40 are left/);
  assert.throwsCode(open(changed(4, 1)), "DECODE", /x\.o\+0x4 \(header\.class\): class 1 is not 64-bit/);
  assert.throwsCode(open(changed(5, 3)), "DECODE", /header\.data/);
  assert.throwsCode(open(changed(0x3a, 0)), "DECODE", /x\.o\+0x3a \(header\.shentsize\): section headers of 0 bytes/);
  assert.throwsCode(
    open(changed(0x3c, 0xff, 0xfe)),
    "DECODE",
    /\(sections\): 65279 section headers reach past the end/,
  );
  assert.throwsCode(open(changed(0x3e, 3, 0)), "DECODE", /header\.shstrndx/);
  const elf = Elf.open(good);
  const shoff = Number(elf.header.shoff);
  const text = elf.section("raw_tp/sys_enter")!;
  const long = Elf.open(changed(shoff + text.index * 64 + 0x20, 0, 0, 0x10));
  assert.throwsCode(
    () => long.data(long.section("raw_tp/sys_enter")!),
    "DECODE",
    /\(raw_tp\/sys_enter\): 1048576 bytes .* reach past the end/,
  );
  assert.throwsCode(() => elf.symbols()!.at(10_000), "DECODE", /\.symtab.*symbol index 10000 is outside/);
  assert.throwsCode(() => elf.symbols(text), "DECODE", /no symbol table/);
});

test("names that overlap without bound are refused", () => {
  // 100,000 names that all run to the end of a megabyte would be 100 GB of text.
  const size = 1 << 20;
  const w = new ElfWriter({ endian: "little" });
  w.addSection({ name: "x".repeat(size), type: SHT.PROGBITS, flags: 0, align: 1, data: new Uint8Array(0) });
  const bytes = w.finish();
  const elf = Elf.open(bytes);
  const strings = elf.strings(elf.section(".strtab")!.index, elf.section(".symtab")!);
  const started = performance.now();
  assert.throwsCode(
    () => {
      for (let i = 1; i < size; i++) strings.at(i);
    },
    "DECODE",
    /overlap/,
  );
  assert.ok(performance.now() - started < 1000);
});
