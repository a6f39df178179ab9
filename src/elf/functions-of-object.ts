/** The functions of a BPF object: each FUNC symbol of a section with instructions, and what its instructions refer to. */
import { decodeInsns } from "../asm/decode.ts";
import type { Insn } from "../asm/insn.ts";
import { parseBtfExt, type ExtCoreRelo, type ExtFunc, type ExtLine, type ExtSection } from "../btf/ext.ts";
import { SHT, STB, STT } from "./constants.ts";
import type { ObjectFile } from "./object-file.ts";
import type { ElfRelocation, ElfSection } from "./reader.ts";
import type { ElfSymbol } from "./symbols.ts";

/** One function as the object has it, before linking. */
export interface ObjectFunction {
  readonly name: string;
  readonly section: ElfSection;
  /** Slot index of its first instruction in the section. */
  readonly start: number;
  readonly insns: readonly Insn[];
  /** STB.GLOBAL or WEAK, and visible. */
  readonly symbol: ElfSymbol;
  /** By slot index in the section, ascending; only those inside this function. */
  readonly relocations: readonly ElfRelocation[];
  /** `.BTF.ext` records inside this function, by ascending `insnOff` (bytes in the section). */
  readonly funcs: readonly ExtFunc[];
  readonly lines: readonly ExtLine[];
  readonly coreRelos: readonly ExtCoreRelo[];
}

/** All functions, searchable by place. */
export class FunctionIndex {
  /** In order of section, then of place. */
  readonly all: readonly ObjectFunction[];
  readonly #bySection = new Map<number, ObjectFunction[]>();

  constructor(all: readonly ObjectFunction[]) {
    this.all = all;
    for (const f of all) {
      const list = this.#bySection.get(f.section.index);
      if (list === undefined) this.#bySection.set(f.section.index, [f]);
      else list.push(f);
    }
  }

  /** The function that has slot `slot` of section `section`. */
  at(section: number, slot: number): ObjectFunction | undefined {
    const list = this.#bySection.get(section) ?? [];
    let low = 0;
    let high = list.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if ((list[mid] as ObjectFunction).start <= slot) low = mid + 1;
      else high = mid;
    }
    const found = list[low - 1];
    return found !== undefined && slot < found.start + found.insns.length ? found : undefined;
  }
}

/** Subprograms live in `.text`; every function elsewhere is a program of its own. */
export const isSubprogram = (f: ObjectFunction): boolean => f.section.name === ".text";

/**
 * Cuts the sections with instructions into functions.
 *
 * @throws DecodeError when a symbol is off, or `.BTF.ext` is malformed
 */
export function readFunctions(file: ObjectFile): FunctionIndex {
  const ext = readExt(file);
  const bySection = new Map<number, ElfSymbol[]>();
  for (const s of file.symbols) {
    if (s.type !== STT.FUNC) continue;
    const list = bySection.get(s.section);
    if (list === undefined) bySection.set(s.section, [s]);
    else list.push(s);
  }
  const all: ObjectFunction[] = [];
  for (const section of file.codeSections) {
    const symbols = (bySection.get(section.index) ?? []).sort((a, b) =>
      a.value < b.value ? -1 : a.value > b.value ? 1 : 0,
    );
    if (symbols.length === 0) continue;
    const insns = decodeInsns(file.elf.data(section), {
      endian: file.elf.endian,
      what: file.elf.what,
      base: section.offset,
    });
    const relocations = file.relocations(section);
    const funcs = ext.funcs.get(section.name) ?? [];
    const lines = ext.lines.get(section.name) ?? [];
    const coreRelos = ext.coreRelos.get(section.name) ?? [];
    let previous = 0;
    for (const symbol of symbols) {
      const start = Number(symbol.value);
      const end = start + Number(symbol.size);
      if (start % 8 !== 0 || end % 8 !== 0 || end <= start || end > section.size) {
        throw file.error(
          section,
          0,
          `function ${symbol.name} at ${start}, ${symbol.size} bytes long, does not lie in the section's ${section.size} bytes`,
        );
      }
      if (start < previous) throw file.error(section, start, `function ${symbol.name} overlaps the one before`);
      previous = end;
      if (section.name !== ".text" && symbol.bind === STB.LOCAL) {
        throw file.error(section, start, `program ${symbol.name} is static: only functions in .text may be`);
      }
      all.push({
        name: symbol.name,
        section,
        start: start / 8,
        insns: insns.slice(start / 8, end / 8),
        symbol,
        relocations: within(relocations, start, end, (r) => r.offset),
        funcs: within(funcs, start, end, (r) => r.insnOff),
        lines: within(lines, start, end, (r) => r.insnOff),
        coreRelos: within(coreRelos, start, end, (r) => r.insnOff),
      });
    }
  }
  return new FunctionIndex(all);
}

/** Records by section name, by ascending offset. */
interface Ext {
  readonly funcs: ReadonlyMap<string, readonly ExtFunc[]>;
  readonly lines: ReadonlyMap<string, readonly ExtLine[]>;
  readonly coreRelos: ReadonlyMap<string, readonly ExtCoreRelo[]>;
}

function readExt(file: ObjectFile): Ext {
  const section = file.elf.section(".BTF.ext");
  if (section === undefined || section.type !== SHT.PROGBITS || file.btf === undefined) {
    return { funcs: new Map(), lines: new Map(), coreRelos: new Map() };
  }
  const ext = parseBtfExt(file.elf.data(section), file.btf, { what: `${file.elf.what} .BTF.ext` });
  return { funcs: byName(ext.funcs), lines: byName(ext.lines), coreRelos: byName(ext.coreRelos) };
}

function byName<R extends { readonly insnOff: number }>(sections: readonly ExtSection<R>[]): Map<string, R[]> {
  const out = new Map<string, R[]>();
  for (const { section, records } of sections) {
    const list = out.get(section);
    if (list === undefined) out.set(section, [...records]);
    else for (const r of records) list.push(r);
  }
  for (const list of out.values()) {
    if (list.some((r, i) => i > 0 && r.insnOff < (list[i - 1] as R).insnOff))
      list.sort((x, y) => x.insnOff - y.insnOff);
  }
  return out;
}

/** The part of `sorted` whose key is in [start, end). */
function within<T>(sorted: readonly T[], start: number, end: number, key: (t: T) => number): T[] {
  const from = lowerBound(sorted, start, key);
  return sorted.slice(from, lowerBound(sorted, end, key));
}

function lowerBound<T>(sorted: readonly T[], value: number, key: (t: T) => number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (key(sorted[mid] as T) < value) low = mid + 1;
    else high = mid;
  }
  return low;
}
