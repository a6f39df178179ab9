/**
 * Reading ELF64 of either byte order: header, sections, segments, symbols, relocations, notes.
 * Nothing is read before it is asked for, and everything read is checked against the file: malformed
 * input gives a `DecodeError` with the section and the offset in the file.
 *
 * Source: System V gABI, chapters 4 and 5.
 */
import type { Endian } from "../core/bytes.ts";
import { DecodeError } from "../core/errors.ts";
import { NT_GNU_BUILD_ID, PT, SHF, SHN, SHT, STB } from "./constants.ts";
import { EHDR, parseRecord, PHDR, type RawEhdr, type RawPhdr, type RawShdr, SHDR, SIZE } from "./records.ts";
import { CheckedSource, type ElfSource } from "./source.ts";
import { StringTable } from "./strings.ts";
import { SymbolTable } from "./symbols.ts";

/** A section header. `offset` and `size` are in bytes; `size` is memory for NOBITS, which has no bytes in the file. */
export interface ElfSection {
  readonly index: number;
  readonly name: string;
  /** `SHT.*` */
  readonly type: number;
  /** `SHF.*` bits; processor-specific ones (bits 28-31) included. */
  readonly flags: number;
  readonly addr: bigint;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly addralign: number;
  readonly entsize: number;
}

/** A program header (segment). Offsets and sizes in bytes. */
export interface ElfSegment {
  readonly index: number;
  /** `PT.*` */
  readonly type: number;
  /** `PF.*` bits */
  readonly flags: number;
  readonly offset: number;
  readonly vaddr: bigint;
  readonly paddr: bigint;
  readonly filesz: number;
  readonly memsz: bigint;
  readonly align: bigint;
}

/** One relocation. `addend` is undefined for REL, whose addend lies in the relocated field. */
export interface ElfRelocation {
  /** Byte offset in the relocated section (an address in executables). */
  readonly offset: number;
  /** Index into the symbol table that the relocation section links to. */
  readonly symbol: number;
  readonly type: number;
  readonly addend: bigint | undefined;
}

export interface ElfNote {
  readonly name: string;
  readonly type: number;
  readonly desc: Uint8Array;
}

/** A 64-bit ELF file. */
export class Elf {
  /** Names the input in errors. */
  readonly what: string;
  readonly endian: Endian;
  /** `ET.*`, `EM.*` and the rest of the file header. */
  readonly header: RawEhdr;
  readonly #source: CheckedSource;
  #sections: readonly ElfSection[] | undefined;
  #byName: ReadonlyMap<string, ElfSection> | undefined;
  #segments: readonly ElfSegment[] | undefined;
  readonly #strings = new Map<number, StringTable>();
  readonly #symbols = new Map<number, SymbolTable>();

  private constructor(source: CheckedSource, endian: Endian, header: RawEhdr) {
    this.#source = source;
    this.what = source.what;
    this.endian = endian;
    this.header = header;
  }

  /**
   * Opens an ELF64 file. Only the file header is read here.
   *
   * @param source the bytes, or random access to them
   * @throws DecodeError when it is not ELF64
   *
   * @example
   * ```ts
   * import { Elf } from "bpfkit/elf";
   * import { readFileSync } from "node:fs";
   * const elf = Elf.open(readFileSync(process.execPath), { name: "node" });
   * for (const s of elf.sections) console.log(s.name, s.size);
   * ```
   */
  static open(source: ElfSource, options: { name?: string } = {}): Elf {
    const what = options.name ?? "ELF";
    const checked = new CheckedSource(source, what);
    const bad = (message: string, offset: number, field: string): DecodeError =>
      new DecodeError(what, message, { offset, path: ["header", field] });
    const head = checked.bytes(0, Math.min(SIZE.ehdr, checked.size), ["header"]);
    if (head.length < SIZE.ident || head[0] !== 0x7f || head[1] !== 0x45 || head[2] !== 0x4c || head[3] !== 0x46) {
      throw bad(`expected the magic 7f 45 4c 46, got ${hex(head.subarray(0, 4))}: not an ELF file`, 0, "magic");
    }
    if (head[4] !== 2) throw bad(`class ${head[4]} is not 64-bit (2)`, 4, "class");
    if (head[5] !== 1 && head[5] !== 2)
      throw bad(`data encoding ${head[5]} is neither little (1) nor big (2) endian`, 5, "data");
    if (head[6] !== 1) throw bad(`version ${head[6]} is unknown, expected 1`, 6, "version");
    const endian: Endian = head[5] === 1 ? "little" : "big";
    return new Elf(checked, endian, parseRecord(EHDR, head, endian, { what, offset: 0, path: ["header"] }));
  }

  /** File size in bytes. */
  get size(): number {
    return this.#source.size;
  }

  /** A `DecodeError` about this file. */
  error(message: string, offset: number, ...path: string[]): DecodeError {
    return new DecodeError(this.what, message, { offset, path });
  }

  /** All sections, index 0 (the null section) included; empty when the file has no section headers. */
  get sections(): readonly ElfSection[] {
    return (this.#sections ??= this.#readSections());
  }

  /** The first section of that name. */
  section(name: string): ElfSection | undefined {
    if (this.#byName === undefined) {
      const map = new Map<string, ElfSection>();
      for (const s of this.sections) if (!map.has(s.name)) map.set(s.name, s);
      this.#byName = map;
    }
    return this.#byName.get(name);
  }

  /** Section `index`, which `path` refers to. */
  sectionAt(index: number, offset: number, ...path: string[]): ElfSection {
    const s = this.sections[index];
    if (s === undefined)
      throw this.error(`section index ${index} is outside the ${this.sections.length} sections`, offset, ...path);
    return s;
  }

  /**
   * The bytes of a section: a view of the file where it is in memory; none for NOBITS.
   *
   * @throws DecodeError when they reach past the end of the file
   */
  data(section: ElfSection): Uint8Array {
    if (section.type === SHT.NOBITS || section.type === SHT.NULL) return new Uint8Array(0);
    if ((section.flags & SHF.COMPRESSED) !== 0) {
      throw this.error(
        "compressed section: decompress it first (objcopy --decompress-debug-sections)",
        section.offset,
        section.name,
      );
    }
    return this.#source.bytes(section.offset, section.size, [section.name]);
  }

  #shdr(index: number, offset: number): RawShdr {
    const at = { what: this.what, offset, path: ["sections", `[${index}]`] };
    return parseRecord(SHDR, this.#source.bytes(offset, SIZE.shdr, at.path), this.endian, at);
  }

  #readSections(): readonly ElfSection[] {
    const { header } = this;
    if (header.shoff === 0n) return [];
    const shoff = this.#source.number(header.shoff, { offset: 0x28, path: ["header", "shoff"] });
    if (header.shentsize !== SIZE.shdr) {
      throw this.error(
        `section headers of ${header.shentsize} bytes, expected ${SIZE.shdr}`,
        0x3a,
        "header",
        "shentsize",
      );
    }
    // Numbers that do not fit the file header are in the null section's header.
    let count = header.shnum;
    let names = header.shstrndx;
    if (count === 0 || names === SHN.XINDEX) {
      const zero = this.#shdr(0, shoff);
      if (count === 0)
        count = this.#source.number(zero.size, { offset: shoff + 0x20, path: ["sections", "[0]", "size"] });
      if (names === SHN.XINDEX) names = zero.link;
    }
    if (count > (this.size - shoff) / SIZE.shdr) {
      throw this.error(
        `${count} section headers reach past the end of the file (${this.size} bytes)`,
        shoff,
        "sections",
      );
    }
    const table = this.#source.bytes(shoff, count * SIZE.shdr, ["sections"]);
    const raw: RawShdr[] = [];
    for (let i = 0; i < count; i++) {
      const at = { what: this.what, offset: shoff + i * SIZE.shdr, path: ["sections", `[${i}]`] };
      raw.push(parseRecord(SHDR, table.subarray(i * SIZE.shdr, (i + 1) * SIZE.shdr), this.endian, at));
    }
    const strings = this.#sectionNames(raw, names, shoff);
    return raw.map((r, index) => {
      const at = { offset: shoff + index * SIZE.shdr, path: ["sections", `[${index}]`] };
      const number = (v: bigint): number => this.#source.number(v, at);
      return {
        index,
        name: strings === undefined ? "" : strings.at(r.name),
        type: r.type,
        flags: Number(BigInt.asUintN(32, r.flags)),
        addr: r.addr,
        offset: number(r.offset),
        size: number(r.size),
        link: r.link,
        info: r.info,
        addralign: number(r.addralign),
        entsize: number(r.entsize),
      };
    });
  }

  #sectionNames(raw: readonly RawShdr[], index: number, shoff: number): StringTable | undefined {
    if (index === SHN.UNDEF) return undefined;
    const r = raw[index];
    if (r === undefined || r.type !== SHT.STRTAB) {
      throw this.error(
        `section ${index} of ${raw.length} is no string table for the section names`,
        0x3e,
        "header",
        "shstrndx",
      );
    }
    const at = { offset: shoff + index * SIZE.shdr, path: ["sections", `[${index}]`] };
    const base = this.#source.number(r.offset, at);
    const bytes = this.#source.bytes(base, this.#source.number(r.size, at), at.path);
    return new StringTable(bytes, { what: this.what, section: ".shstrtab", base });
  }

  /** Program headers; none in an object file. */
  get segments(): readonly ElfSegment[] {
    return (this.#segments ??= this.#readSegments());
  }

  #readSegments(): readonly ElfSegment[] {
    const { header } = this;
    if (header.phoff === 0n || header.phnum === 0) return [];
    const phoff = this.#source.number(header.phoff, { offset: 0x20, path: ["header", "phoff"] });
    if (header.phentsize !== SIZE.phdr) {
      throw this.error(
        `program headers of ${header.phentsize} bytes, expected ${SIZE.phdr}`,
        0x36,
        "header",
        "phentsize",
      );
    }
    // PN_XNUM: the number is in the null section's info.
    const count =
      header.phnum === 0xffff && header.shoff !== 0n ? this.#shdr(0, Number(header.shoff)).info : header.phnum;
    if (count > (this.size - phoff) / SIZE.phdr) {
      throw this.error(
        `${count} program headers reach past the end of the file (${this.size} bytes)`,
        phoff,
        "segments",
      );
    }
    const table = this.#source.bytes(phoff, count * SIZE.phdr, ["segments"]);
    return Array.from({ length: count }, (_, index) => {
      const at = { what: this.what, offset: phoff + index * SIZE.phdr, path: ["segments", `[${index}]`] };
      const r: RawPhdr = parseRecord(PHDR, table.subarray(index * SIZE.phdr, (index + 1) * SIZE.phdr), this.endian, at);
      return { ...r, index, offset: this.#source.number(r.offset, at), filesz: this.#source.number(r.filesz, at) };
    });
  }

  /**
   * Where in the file the byte at virtual address `addr` is, by the PT_LOAD segments; undefined when
   * no segment has it. This is the offset that a uprobe takes.
   */
  fileOffset(addr: bigint): number | undefined {
    for (const s of this.segments) {
      if (s.type === PT.LOAD && addr >= s.vaddr && addr - s.vaddr < BigInt(s.filesz))
        return s.offset + Number(addr - s.vaddr);
    }
    return undefined;
  }

  /** The virtual address of the byte at `offset` in the file; undefined when no PT_LOAD segment has it. */
  address(offset: number): bigint | undefined {
    for (const s of this.segments) {
      if (s.type === PT.LOAD && offset >= s.offset && offset - s.offset < s.filesz)
        return s.vaddr + BigInt(offset - s.offset);
    }
    return undefined;
  }

  /** The string table in section `index`, which section `of` links to. */
  strings(index: number, of: ElfSection): StringTable {
    let table = this.#strings.get(index);
    if (table === undefined) {
      const s = this.sectionAt(index, of.offset, of.name, "link");
      if (s.type !== SHT.STRTAB)
        throw this.error(`linked section ${index} (${s.name}) is no string table`, of.offset, of.name, "link");
      table = new StringTable(this.data(s), { what: this.what, section: s.name, base: s.offset });
      this.#strings.set(index, table);
    }
    return table;
  }

  /**
   * The symbols of a SYMTAB or DYNSYM section; without an argument those of `.symtab`, undefined when
   * the file is stripped.
   *
   * @throws DecodeError when the section is no symbol table or is malformed
   */
  symbols(section: ElfSection): SymbolTable;
  symbols(): SymbolTable | undefined;
  symbols(section = this.sections.find((s) => s.type === SHT.SYMTAB)): SymbolTable | undefined {
    if (section === undefined) return undefined;
    let table = this.#symbols.get(section.index);
    if (table === undefined) {
      if (section.type !== SHT.SYMTAB && section.type !== SHT.DYNSYM)
        throw this.error("is no symbol table", section.offset, section.name);
      if (section.entsize !== SIZE.sym || section.size % SIZE.sym !== 0) {
        throw this.error(
          `${section.size} bytes of entries of ${section.entsize}: expected entries of ${SIZE.sym}`,
          section.offset,
          section.name,
        );
      }
      const extended = this.sections.find((s) => s.type === SHT.SYMTAB_SHNDX && s.link === section.index);
      table = new SymbolTable({
        data: this.data(section),
        extended: extended === undefined ? undefined : this.data(extended),
        strings: this.strings(section.link, section),
        endian: this.endian,
        what: this.what,
        section: section.name,
        base: section.offset,
      });
      this.#symbols.set(section.index, table);
    }
    return table;
  }

  /**
   * The entries of a REL or RELA section, in file order.
   *
   * @throws DecodeError when the section is neither or is malformed
   */
  relocations(section: ElfSection): ElfRelocation[] {
    const rela = section.type === SHT.RELA;
    if (!rela && section.type !== SHT.REL) throw this.error("is no relocation section", section.offset, section.name);
    const entry = rela ? SIZE.rela : SIZE.rel;
    if (section.entsize !== entry || section.size % entry !== 0) {
      throw this.error(
        `${section.size} bytes of entries of ${section.entsize}: expected entries of ${entry}`,
        section.offset,
        section.name,
      );
    }
    const data = this.data(section);
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const little = this.endian === "little";
    const out: ElfRelocation[] = [];
    for (let at = 0; at < data.length; at += entry) {
      const where = { offset: section.offset + at, path: [section.name, `[${at / entry}]`] };
      out.push({
        offset: this.#source.number(view.getBigUint64(at, little), where),
        // r_info is one 64-bit number: symbol in the high half, type in the low.
        symbol: view.getUint32(at + (little ? 12 : 8), little),
        type: view.getUint32(at + (little ? 8 : 12), little),
        addend: rela ? view.getBigInt64(at + 16, little) : undefined,
      });
    }
    return out;
  }

  /** The notes of all PT_NOTE segments, or of all NOTE sections where there are no segments. */
  *notes(): Generator<ElfNote> {
    const segments = this.segments.filter((s) => s.type === PT.NOTE);
    const areas =
      segments.length > 0
        ? segments.map((s) => ({ offset: s.offset, size: s.filesz, align: s.align === 8n ? 8 : 4, name: "PT_NOTE" }))
        : this.sections
            .filter((s) => s.type === SHT.NOTE)
            .map((s) => ({ offset: s.offset, size: s.size, align: s.addralign === 8 ? 8 : 4, name: s.name }));
    for (const area of areas) {
      const bytes = this.#source.bytes(area.offset, area.size, [area.name]);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const little = this.endian === "little";
      const up = (n: number): number => Math.ceil(n / area.align) * area.align;
      for (let at = 0; at + SIZE.nhdr <= bytes.length;) {
        const namesz = view.getUint32(at, little);
        const descsz = view.getUint32(at + 4, little);
        const desc = at + up(SIZE.nhdr + namesz);
        if (desc + descsz > bytes.length) throw this.error("note reaches past its end", area.offset + at, area.name);
        const name = bytes.subarray(at + SIZE.nhdr, at + SIZE.nhdr + Math.max(0, namesz - 1));
        yield {
          name: String.fromCharCode(...name.subarray(0, 64)),
          type: view.getUint32(at + 8, little),
          desc: bytes.subarray(desc, desc + descsz),
        };
        at = desc + up(descsz);
      }
    }
  }

  /** The GNU build id in lower-case hex, as in `/sys/kernel/notes` and BPF stack traces; undefined when there is none. */
  buildId(): string | undefined {
    for (const note of this.notes())
      if (note.name === "GNU" && note.type === NT_GNU_BUILD_ID) return hex(note.desc).replaceAll(" ", "");
    return undefined;
  }

  /**
   * The defined symbol of that name in `.symtab`, else `.dynsym`: a global one before a weak one
   * before a local one. A versioned name (`memcpy@@GLIBC_2.14`) is found by its name alone too.
   */
  findSymbol(name: string): ReturnType<SymbolTable["at"]> | undefined {
    for (const type of [SHT.SYMTAB, SHT.DYNSYM]) {
      for (const section of this.sections) {
        if (section.type !== type) continue;
        const table = this.symbols(section);
        let best: ReturnType<SymbolTable["at"]> | undefined;
        for (const index of table.indexesOf(name)) {
          const symbol = table.at(index);
          if (symbol.section === SHN.UNDEF) continue;
          if (best === undefined || rank(symbol.bind) > rank(best.bind)) best = symbol;
        }
        if (best !== undefined) return best;
      }
    }
    return undefined;
  }
}

const rank = (bind: number): number => (bind === STB.GLOBAL ? 2 : bind === STB.WEAK ? 1 : 0);

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(" ");
}
