/**
 * Writing relocatable ELF64 objects of either byte order: sections, one symbol table, REL relocations.
 * Section 0, `.strtab`, `.symtab` and the `.rel*` sections are made here.
 *
 * Source: System V gABI, chapters 4 and 5.
 */
import { ByteWriter, encodeUtf8, type Endian } from "../core/bytes.ts";
import { ArgumentError } from "../core/errors.ts";
import { alignUp } from "../core/int.ts";
import { EM, ET, SHF, SHN, SHT, STB, STT } from "./constants.ts";
import { SIZE } from "./records.ts";

export interface NewSection {
  readonly name: string;
  /** `SHT.*` */
  readonly type: number;
  /** `SHF.*` bits */
  readonly flags: number;
  /** Bytes. */
  readonly align: number;
  /** The content; for NOBITS the number of bytes of memory. */
  readonly data: Uint8Array | number;
}

export interface NewSymbol {
  readonly name: string;
  /** Byte offset in `section`. */
  readonly value: number;
  /** Bytes. */
  readonly size: number;
  /** `STT.*` */
  readonly type: number;
  /** `STB.*` */
  readonly bind: number;
  /** `STV.*` */
  readonly visibility?: number;
  /** Index that `addSection` gave, or `SHN.UNDEF`. */
  readonly section: number;
}

interface Relocation {
  readonly offset: number;
  readonly symbol: number;
  readonly type: number;
}

/** Deduplicates the strings of one table; offset 0 is the empty string. */
class StringPool {
  readonly #writer = new ByteWriter({ capacity: 1024 });
  readonly #offsets = new Map<string, number>([["", 0]]);

  constructor() {
    this.#writer.u8(0);
  }
  add(text: string): number {
    let offset = this.#offsets.get(text);
    if (offset === undefined) {
      offset = this.#writer.length;
      if (text.includes("\0")) throw new ArgumentError("name", `${JSON.stringify(text)} has a NUL in it`);
      this.#writer.bytes(encodeUtf8(text)).u8(0);
      this.#offsets.set(text, offset);
    }
    return offset;
  }
  finish(): Uint8Array {
    return this.#writer.finish();
  }
}

/** Collects the parts of an object; `finish()` lays them out. */
export class ElfWriter {
  readonly endian: Endian;
  readonly machine: number;
  readonly #sections: NewSection[] = [];
  readonly #symbols: NewSymbol[] = [];
  readonly #relocations = new Map<number, Relocation[]>();
  readonly #sectionSymbols = new Map<number, number>();

  constructor(options: { endian: Endian; machine?: number }) {
    this.endian = options.endian;
    this.machine = options.machine ?? EM.BPF;
  }

  /** Returns the section's index, from 1. */
  addSection(section: NewSection): number {
    return this.#sections.push(section);
  }

  /** Returns a handle for `addRelocation`; the index in the file is only known at the end. */
  addSymbol(symbol: NewSymbol): number {
    return this.#symbols.push(symbol) - 1;
  }

  /** The handle of the STT_SECTION symbol of `section`. */
  sectionSymbol(section: number): number {
    let handle = this.#sectionSymbols.get(section);
    if (handle === undefined) {
      handle = this.addSymbol({ name: "", value: 0, size: 0, type: STT.SECTION, bind: STB.LOCAL, section });
      this.#sectionSymbols.set(section, handle);
    }
    return handle;
  }

  /** A relocation of the field at byte `offset` of `section`. `type` is `R_BPF.*` for BPF. */
  addRelocation(section: number, offset: number, type: number, symbol: number): void {
    let list = this.#relocations.get(section);
    if (list === undefined) this.#relocations.set(section, (list = []));
    list.push({ offset, symbol, type });
  }

  /** The object's bytes. */
  finish(): Uint8Array {
    const { endian } = this;
    // Locals come first: sh_info of .symtab is the index of the first that is not.
    const order = this.#symbols
      .map((symbol, handle) => ({ symbol, handle }))
      .sort((a, b) => Number(a.symbol.bind !== STB.LOCAL) - Number(b.symbol.bind !== STB.LOCAL) || a.handle - b.handle);
    const index = new Map(order.map(({ handle }, i) => [handle, i + 1]));
    const strings = new StringPool();
    const symtab = new ByteWriter({ endian }).zeros(SIZE.sym);
    for (const { symbol } of order) {
      symtab
        .u32(strings.add(symbol.name))
        .u8((symbol.bind << 4) | symbol.type)
        .u8(symbol.visibility ?? 0)
        .u16(symbol.section)
        .u64(BigInt(symbol.value))
        .u64(BigInt(symbol.size));
    }
    const firstGlobal = 1 + order.filter(({ symbol }) => symbol.bind === STB.LOCAL).length;

    const sections: { section: NewSection; link: number; info: number; entsize: number }[] = this.#sections.map(
      (section) => ({
        section,
        link: 0,
        info: 0,
        entsize: 0,
      }),
    );
    const symtabIndex = this.#sections.length + this.#relocations.size + 1;
    for (const [target, list] of [...this.#relocations].sort(([a], [b]) => a - b)) {
      const w = new ByteWriter({ endian });
      for (const r of [...list].sort((a, b) => a.offset - b.offset)) {
        w.u64(BigInt(r.offset)).u64((BigInt(index.get(r.symbol) as number) << 32n) | BigInt(r.type));
      }
      sections.push({
        section: {
          name: `.rel${(this.#sections[target - 1] as NewSection).name}`,
          type: SHT.REL,
          flags: SHF.INFO_LINK,
          align: 8,
          data: w.finish(),
        },
        link: symtabIndex,
        info: target,
        entsize: SIZE.rel,
      });
    }
    sections.push({
      section: { name: ".symtab", type: SHT.SYMTAB, flags: 0, align: 8, data: symtab.finish() },
      link: symtabIndex + 1,
      info: firstGlobal,
      entsize: SIZE.sym,
    });
    for (const { section } of sections) strings.add(section.name);
    strings.add(".strtab");
    sections.push({
      section: { name: ".strtab", type: SHT.STRTAB, flags: 0, align: 1, data: strings.finish() },
      link: 0,
      info: 0,
      entsize: 0,
    });
    if (sections.length + 1 >= SHN.LORESERVE)
      throw new ArgumentError("sections", `${sections.length} do not fit one object`);
    return this.#layOut(sections, strings);
  }

  #layOut(
    sections: readonly { section: NewSection; link: number; info: number; entsize: number }[],
    strings: StringPool,
  ): Uint8Array {
    const { endian } = this;
    const body = new ByteWriter({ endian, capacity: 4096 }).zeros(SIZE.ehdr);
    const placed = sections.map((s) => {
      body.align(s.section.align);
      const offset = body.length;
      if (typeof s.section.data !== "number") body.bytes(s.section.data);
      return { ...s, offset };
    });
    body.align(8);
    const shoff = body.length;
    body.zeros(SIZE.shdr);
    for (const { section, offset, link, info, entsize } of placed) {
      const size = typeof section.data === "number" ? section.data : section.data.length;
      body
        .u32(strings.add(section.name))
        .u32(section.type)
        .u64(BigInt(section.flags))
        .u64(0n)
        .u64(BigInt(offset))
        .u64(BigInt(size))
        .u32(link)
        .u32(info)
        .u64(BigInt(section.align))
        .u64(BigInt(entsize));
    }
    const out = body.finish();
    const head = new ByteWriter({ endian, capacity: SIZE.ehdr })
      .bytes(new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 2, endian === "little" ? 1 : 2, 1, 0]))
      .zeros(8)
      .u16(ET.REL)
      .u16(this.machine)
      .u32(1)
      .u64(0n)
      .u64(0n)
      .u64(BigInt(alignUp(shoff, 8)))
      .u32(0)
      .u16(SIZE.ehdr)
      .u16(0)
      .u16(0)
      .u16(SIZE.shdr)
      .u16(placed.length + 1)
      .u16(placed.length);
    out.set(head.finish(), 0);
    return out;
  }
}
