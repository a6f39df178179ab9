/**
 * The functions of an executable or library by address, for uprobes and for turning addresses into
 * names. Built once (a node binary's 200,000 symbols: tens of milliseconds), searched by bisection.
 */
import { SHN, SHT, STT } from "./constants.ts";
import type { Elf } from "./reader.ts";
import type { ElfSymbol, SymbolTable } from "./symbols.ts";

export interface ElfFunction {
  readonly name: string;
  /** Virtual address in the file (before any load bias). */
  readonly address: bigint;
  /** Bytes; 0 when unknown. */
  readonly size: number;
  /** Byte offset in the file, which is what a uprobe takes; undefined outside every PT_LOAD segment. */
  readonly offset: number | undefined;
}

/** The sorted functions of one file. */
export class FunctionTable {
  readonly #elf: Elf;
  /** Addresses relative to `#bias`, ascending. */
  readonly #addresses: Float64Array;
  /** Which symbol of which table each address is of. */
  readonly #symbols: Uint32Array;
  readonly #tables: readonly SymbolTable[];
  readonly #starts: readonly number[];
  readonly #bias: bigint;

  /** @throws DecodeError when the file's symbol tables are malformed */
  constructor(elf: Elf) {
    this.#elf = elf;
    const sections = elf.sections.filter((s) => s.type === SHT.SYMTAB || s.type === SHT.DYNSYM);
    // A full table has all that the dynamic one has.
    const full = sections.filter((s) => s.type === SHT.SYMTAB);
    this.#tables = (full.length > 0 ? full : sections).map((s) => elf.symbols(s));
    let total = 0;
    this.#starts = this.#tables.map((t) => (total += t.count) - t.count);
    // Kernel-like images sit above 2^53; all that matters here is distances.
    this.#bias =
      elf.segments.reduce<bigint | undefined>(
        (min, s) => (min === undefined || s.vaddr < min ? s.vaddr : min),
        undefined,
      ) ?? 0n;
    if (this.#bias < 1n << 52n) this.#bias = 0n;
    const biasHi = Number(this.#bias >> 32n);
    const biasLo = Number(this.#bias & 0xffff_ffffn);

    const addresses = new Float64Array(total);
    const symbols = new Uint32Array(total);
    let n = 0;
    let max = 0;
    this.#tables.forEach((table, t) => {
      for (let i = 1; i < table.count; i++) {
        const type = table.info(i) & 15;
        if (type !== STT.FUNC && type !== STT.GNU_IFUNC) continue;
        if (table.sectionOf(i) === SHN.UNDEF) continue;
        const address = (table.valueHi(i) - biasHi) * 0x1_0000_0000 + (table.valueLo(i) - biasLo);
        if (!(address >= 0 && address < 2 ** 53)) continue;
        addresses[n] = address;
        symbols[n++] = (this.#starts[t] as number) + i;
        if (address > max) max = address;
      }
    });
    const order = sortOrder(addresses.subarray(0, n), max);
    this.#addresses = new Float64Array(n);
    this.#symbols = new Uint32Array(n);
    for (let i = 0; i < n; i++) {
      const k = order[i] as number;
      this.#addresses[i] = addresses[k] as number;
      this.#symbols[i] = symbols[k] as number;
    }
  }

  get count(): number {
    return this.#addresses.length;
  }

  /** Function number `i` in order of address. */
  at(i: number): ElfFunction {
    return this.#describe(i);
  }

  *[Symbol.iterator](): Generator<ElfFunction> {
    for (let i = 0; i < this.count; i++) yield this.#describe(i);
  }

  #symbol(i: number): ElfSymbol {
    const id = this.#symbols[i] as number;
    let t = this.#tables.length - 1;
    while (t > 0 && id < (this.#starts[t] as number)) t--;
    return (this.#tables[t] as SymbolTable).at(id - (this.#starts[t] as number));
  }

  #describe(i: number): ElfFunction {
    const symbol = this.#symbol(i);
    return {
      name: symbol.name,
      address: symbol.value,
      size: Number(symbol.size),
      offset: this.#elf.fileOffset(symbol.value),
    };
  }

  /**
   * The function that has the byte at `address`. Of several names of one address the first in the
   * symbol table that covers it; a function of unknown size reaches to the next one.
   */
  find(address: bigint): ElfFunction | undefined {
    const wanted = Number(address - this.#bias);
    const addresses = this.#addresses;
    let low = 0;
    let high = addresses.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if ((addresses[mid] as number) <= wanted) low = mid + 1;
      else high = mid;
    }
    if (low === 0) return undefined;
    const start = addresses[low - 1] as number;
    let first = low - 1;
    // Aliases are few; a hostile table may have many.
    while (first > 0 && addresses[first - 1] === start && low - first < 64) first--;
    for (let i = first; i < low; i++) {
      const found = this.#describe(i);
      if (wanted - start < found.size || (found.size === 0 && i === low - 1)) return found;
    }
    return undefined;
  }

  /** The function that has the byte at `offset` in the file. */
  findByOffset(offset: number): ElfFunction | undefined {
    const address = this.#elf.address(offset);
    return address === undefined ? undefined : this.find(address);
  }
}

/** Indexes of `keys` in ascending order of key, equal keys in their own order. */
function sortOrder(keys: Float64Array, max: number): ArrayLike<number> {
  const n = keys.length;
  const width = Math.max(1, n);
  // A typed array's own sort is ten times faster than one with a comparator: pack key and index.
  if (max < Number.MAX_SAFE_INTEGER / width - 1) {
    const packed = new Float64Array(n);
    for (let i = 0; i < n; i++) packed[i] = (keys[i] as number) * width + i;
    packed.sort();
    const order = new Uint32Array(n);
    for (let i = 0; i < n; i++) order[i] = (packed[i] as number) % width;
    return order;
  }
  return Array.from({ length: n }, (_, i) => i).sort((a, b) => (keys[a] as number) - (keys[b] as number) || a - b);
}
