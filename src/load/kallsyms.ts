/** /proc/kallsyms: kernel symbols by address and by name. */
import type { Kernel } from "../syscall/kernel.ts";

export interface KernelSymbol {
  readonly name: string;
  /** Address of its first byte. */
  readonly address: bigint;
  /** "" for the kernel itself. */
  readonly module: string;
}

const tables = new WeakMap<Kernel, Kallsyms>();

/** The symbol table, read on first use; `refresh` reads it again (modules and BPF programs come and go). */
export function kallsyms(kernel: Kernel, options: { refresh?: boolean } = {}): Kallsyms {
  let table = tables.get(kernel);
  if (table === undefined || options.refresh === true) {
    const bytes = kernel.readFile("/proc/kallsyms");
    tables.set(kernel, (table = new Kallsyms(typeof bytes === "number" ? new Uint8Array(0) : bytes)));
  }
  return table;
}

const NEWLINE = 10;
const SPACE = 32;
const TAB = 9;

/** Data symbols and absolute ones never hold code; the others do (t, T, w, W, …). */
const isCode = (type: number): boolean => type === 116 || type === 84 || type === 119 || type === 87;

/**
 * Parsed lazily: the table is kept as its text, with one address and one text position
 * for each line, so that opening it costs one pass and no strings.
 */
export class Kallsyms {
  readonly #text: Uint8Array;
  /** Code symbols: addresses as two halves, sorted; position of the line. */
  #hi: Uint32Array = new Uint32Array(0);
  #lo: Uint32Array = new Uint32Array(0);
  #line: Uint32Array = new Uint32Array(0);
  #count = 0;
  #sorted = false;
  /** Every address is 0: the reader may not see them (kptr_restrict). */
  readonly hidden: boolean;

  constructor(text: Uint8Array) {
    this.#text = text;
    this.hidden = this.#index();
  }

  get count(): number {
    return this.#count;
  }

  #index(): boolean {
    const text = this.#text;
    const estimate = Math.ceil(text.length / 24) + 1;
    let hi = new Uint32Array(estimate);
    let lo = new Uint32Array(estimate);
    let line = new Uint32Array(estimate);
    let n = 0;
    let any = false;
    for (let at = 0; at < text.length;) {
      const end = text.indexOf(NEWLINE, at);
      const stop = end < 0 ? text.length : end;
      if (stop - at > 19 && text[at + 16] === SPACE && isCode(text[at + 17] as number)) {
        if (n === hi.length) {
          hi = grow(hi);
          lo = grow(lo);
          line = grow(line);
        }
        hi[n] = hex8(text, at);
        lo[n] = hex8(text, at + 8);
        any ||= hi[n] !== 0 || lo[n] !== 0;
        line[n++] = at;
      }
      at = stop + 1;
    }
    this.#hi = hi.subarray(0, n);
    this.#lo = lo.subarray(0, n);
    this.#line = line.subarray(0, n);
    this.#count = n;
    return n > 0 && !any;
  }

  #sort(): void {
    if (this.#sorted) return;
    this.#sorted = true;
    const { hi: h, lo: l } = { hi: this.#hi, lo: this.#lo };
    let ordered = true;
    for (let i = 1; i < this.#count && ordered; i++) {
      ordered =
        (h[i - 1] as number) < (h[i] as number) || (h[i - 1] === h[i] && (l[i - 1] as number) <= (l[i] as number));
    }
    if (ordered) return;
    const order = Uint32Array.from({ length: this.#count }, (_, i) => i);
    order.sort((a, b) => (h[a] as number) - (h[b] as number) || (l[a] as number) - (l[b] as number));
    this.#hi = order.map((i) => h[i] as number);
    this.#lo = order.map((i) => l[i] as number);
    const lines = this.#line;
    this.#line = order.map((i) => lines[i] as number);
  }

  /** The function that contains `address`, or undefined when it lies before all of them. */
  lookup(address: bigint): (KernelSymbol & { readonly offset: number }) | undefined {
    if (this.hidden || this.#count === 0) return undefined;
    this.#sort();
    const wantHi = Number(address >> 32n);
    const wantLo = Number(address & 0xffff_ffffn);
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const mid = (low + high) >>> 1;
      const h = this.#hi[mid] as number;
      if (h < wantHi || (h === wantHi && (this.#lo[mid] as number) <= wantLo)) low = mid + 1;
      else high = mid;
    }
    if (low === 0) return undefined;
    const symbol = this.#at(low - 1);
    const offset = address - symbol.address;
    // Nothing in the kernel is that far from its start: this is no kernel text.
    return offset > 0x100_0000n ? undefined : { ...symbol, offset: Number(offset) };
  }

  #at(i: number): KernelSymbol {
    const start = (this.#line[i] as number) + 19;
    let end = this.#text.indexOf(NEWLINE, start);
    if (end < 0) end = this.#text.length;
    const tab = this.#text.subarray(start, end).indexOf(TAB);
    const decode = (a: number, b: number): string =>
      Buffer.from(this.#text.buffer, this.#text.byteOffset + a, b - a).toString("latin1");
    const name = decode(start, tab < 0 ? end : start + tab);
    const module = tab < 0 ? "" : decode(start + tab + 1, end).replace(/^\[|\]$/g, "");
    return { name, module, address: (BigInt(this.#hi[i] as number) << 32n) | BigInt(this.#lo[i] as number) };
  }

  /** Address of a symbol of any type (variables too), or undefined. */
  addressOf(name: string): bigint | undefined {
    if (this.hidden) return undefined;
    const text = Buffer.from(this.#text.buffer, this.#text.byteOffset, this.#text.byteLength);
    const needle = Buffer.from(` ${name}`);
    for (let at = text.indexOf(needle); at >= 0; at = text.indexOf(needle, at + 1)) {
      const after = text[at + needle.length];
      // The name is the third word: "ffffffff81000000 T name".
      const start = at - 18;
      if (start < 0 || (start > 0 && text[start - 1] !== NEWLINE)) continue;
      if (after !== undefined && after !== NEWLINE && after !== TAB) continue;
      return BigInt(`0x${text.toString("latin1", start, start + 16)}`);
    }
    return undefined;
  }
}

function grow(a: Uint32Array): Uint32Array<ArrayBuffer> {
  const b = new Uint32Array(a.length * 2);
  b.set(a);
  return b;
}

/** Eight hexadecimal digits as a number; anything else counts as 0. */
function hex8(text: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 8; i++) {
    const c = text[i] as number;
    value = value * 16 + (c >= 97 && c <= 102 ? c - 87 : c >= 48 && c <= 57 ? c - 48 : 0);
  }
  return value;
}
