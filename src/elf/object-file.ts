/** What every part of the object reader needs: the file, its symbols and its BTF. */
import { decodeCString } from "../core/bytes.ts";
import type { DecodeError } from "../core/errors.ts";
import { Btf } from "../btf/btf.ts";
import { EM, ET, SHF, SHN, SHT, STB, STT } from "./constants.ts";
import { fixBtf } from "./fix-btf.ts";
import { Elf, type ElfRelocation, type ElfSection } from "./reader.ts";
import type { ElfSymbol } from "./symbols.ts";

/** A relocatable BPF object whose sections have been looked through. */
export class ObjectFile {
  readonly elf: Elf;
  /** Name of the collection, without a directory and ".o". */
  readonly name: string;
  readonly symbols: readonly ElfSymbol[];
  /** BTF with what the ELF file knows filled in. */
  readonly btf: Btf | undefined;

  /** @throws DecodeError when it is no BPF object or its headers, symbols or BTF are malformed */
  constructor(bytes: Uint8Array, name: string) {
    this.name = name;
    const elf = Elf.open(bytes, { name: `${name}.o` });
    this.elf = elf;
    const { type, machine } = elf.header;
    // Old compilers left the machine at EM_NONE.
    if (machine !== EM.BPF && machine !== EM.NONE) {
      throw elf.error(`machine ${machine} is not BPF (${EM.BPF}): compile with -target bpf`, 18, "header", "machine");
    }
    if (type !== ET.REL) throw elf.error(`type ${type} is no relocatable object (${ET.REL})`, 16, "header", "type");
    const tables = elf.sections.filter((s) => s.type === SHT.SYMTAB);
    if (tables.length !== 1) {
      throw elf.error(
        `expected one symbol table, found ${tables.length}: was the object stripped?`,
        Number(elf.header.shoff),
        "sections",
      );
    }
    this.symbols = [...elf.symbols(tables[0] as ElfSection)];
    const section = elf.section(".BTF");
    if (section !== undefined && section.type === SHT.PROGBITS) {
      const raw = Btf.parse(elf.data(section), { endian: elf.endian, what: `${elf.what} .BTF` });
      this.btf = fixBtf(raw, elf, this.symbols);
    } else {
      this.btf = undefined;
    }
  }

  /** A `DecodeError` at byte `offset` of `section`. */
  error(section: ElfSection, offset: number, message: string): DecodeError {
    return this.elf.error(message, section.offset + offset, section.name);
  }

  /** Sections with instructions, in file order. */
  get codeSections(): ElfSection[] {
    return this.elf.sections.filter((s) => s.type === SHT.PROGBITS && (s.flags & SHF.EXECINSTR) !== 0 && s.size > 0);
  }

  /** The relocations of `section`, by ascending offset. */
  relocations(section: ElfSection): ElfRelocation[] {
    const out: ElfRelocation[] = [];
    for (const s of this.#relocationSections().get(section.index) ?? []) {
      if (s.type === SHT.REL) {
        // A loop: spreading 200,000 arguments would overflow the stack.
        for (const r of this.elf.relocations(s)) out.push(r);
      } else if (s.type === SHT.RELA) {
        throw this.error(s, 0, "RELA relocations: BPF objects have REL");
      }
    }
    return out.sort((a, b) => a.offset - b.offset);
  }

  #byTarget: Map<number, ElfSection[]> | undefined;
  #relocationSections(): ReadonlyMap<number, ElfSection[]> {
    if (this.#byTarget === undefined) {
      this.#byTarget = new Map();
      for (const s of this.elf.sections) {
        if (s.type !== SHT.REL && s.type !== SHT.RELA) continue;
        const list = this.#byTarget.get(s.info);
        if (list === undefined) this.#byTarget.set(s.info, [s]);
        else list.push(s);
      }
    }
    return this.#byTarget;
  }

  /** The symbol that a relocation of `section` names. */
  symbol(section: ElfSection, relocation: ElfRelocation): ElfSymbol {
    const symbol = this.symbols[relocation.symbol];
    if (symbol === undefined) {
      throw this.error(
        section,
        relocation.offset,
        `relocation against symbol ${relocation.symbol} of ${this.symbols.length}`,
      );
    }
    return symbol;
  }

  /** NUL-terminated text of a section; "" when there is none. */
  text(name: string): string {
    const section = this.elf.section(name);
    return section === undefined ? "" : decodeCString(this.elf.data(section));
  }
}

/** Undefined, not typed, global or weak: something that only the kernel has. */
export function isExtern(symbol: ElfSymbol): boolean {
  return (
    symbol.section === SHN.UNDEF &&
    symbol.type === STT.NOTYPE &&
    (symbol.bind === STB.GLOBAL || symbol.bind === STB.WEAK)
  );
}
