/** What a random program computes on, as the reference evaluator sees it: variables, bytes of structs, maps, a packet. */

export type SignOf = "u" | "s";

/** A type of the probe language with its layout by C's rules. */
export type Shape =
  | { readonly k: "int"; readonly text: string; readonly bits: number; readonly sign: SignOf; readonly be: boolean }
  | { readonly k: "bool"; readonly text: string }
  | { readonly k: "char"; readonly text: string; readonly length: number }
  | { readonly k: "array"; readonly text: string; readonly of: Shape; readonly length: number }
  | StructShape;
export interface StructShape {
  readonly k: "struct" | "packed" | "union";
  /** The name it is declared by. */
  readonly text: string;
  readonly fields: readonly Field[];
  readonly size: number;
  readonly align: number;
}
export interface Field {
  readonly name: string;
  readonly shape: Shape;
  readonly off: number;
}
export type IntShape = Extract<Shape, { k: "int" }>;

export function sizeOf(s: Shape): number {
  switch (s.k) {
    case "int":
      return s.bits / 8;
    case "bool":
      return 1;
    case "char":
      return s.length;
    case "array":
      return s.length * sizeOf(s.of);
    default:
      return s.size;
  }
}
export function alignOf(s: Shape): number {
  switch (s.k) {
    case "int":
      return s.bits / 8;
    case "array":
      return alignOf(s.of);
    case "bool":
    case "char":
      return 1;
    default:
      return s.align;
  }
}
export function layOut(
  k: StructShape["k"],
  text: string,
  fields: readonly { name: string; shape: Shape }[],
): StructShape {
  let off = 0;
  let size = 0;
  let align = 1;
  const placed = fields.map(({ name, shape }) => {
    const a = k === "packed" ? 1 : alignOf(shape);
    align = Math.max(align, a);
    const at = k === "union" ? 0 : Math.ceil(off / a) * a;
    off = at + sizeOf(shape);
    size = Math.max(size, off);
    return { name, shape, off: at };
  });
  return { k, text, fields: placed, size: Math.ceil(size / align) * align, align };
}

/** Whether every bit is part of the value: no padding, no text with something behind its NUL, no boolean of 2. */
export function isDense(s: Shape): boolean {
  switch (s.k) {
    case "char":
    case "bool":
      return false;
    case "array":
      return isDense(s.of);
    case "union":
      return s.fields.every((f) => isDense(f.shape) && sizeOf(f.shape) === s.size);
    case "struct":
    case "packed":
      return s.fields.every((f) => isDense(f.shape)) && s.fields.reduce((n, f) => n + sizeOf(f.shape), 0) === s.size;
    default:
      return true;
  }
}

export const intShape = (text: string, bits: number, sign: SignOf, be = false): IntShape => ({
  k: "int",
  text,
  bits,
  sign,
  be,
});

/** Bytes at an offset. */
export interface Spot {
  readonly bytes: Uint8Array;
  readonly off: number;
}

/** `v` in 64 bits. */
export const wrap = (v: bigint, sign: SignOf): bigint => (sign === "u" ? BigInt.asUintN(64, v) : BigInt.asIntN(64, v));
/** What a place of `bits` holds after a store. */
export const narrow = (v: bigint, sign: SignOf, bits: number): bigint =>
  sign === "u" ? BigInt.asUintN(bits, v) : BigInt.asIntN(bits, v);

export function readInt(s: IntShape, at: Spot | undefined): bigint {
  if (at === undefined) return 0n;
  let v = 0n;
  const n = s.bits / 8;
  for (let k = 0; k < n; k++) v = (v << 8n) | BigInt(at.bytes[at.off + (s.be ? k : n - 1 - k)]!);
  return narrow(v, s.sign, s.bits);
}
export function writeInt(s: IntShape, at: Spot | undefined, value: bigint): void {
  if (at === undefined) return;
  let v = BigInt.asUintN(s.bits, value);
  const n = s.bits / 8;
  for (let k = 0; k < n; k++, v >>= 8n) at.bytes[at.off + (s.be ? n - 1 - k : k)] = Number(v & 0xffn);
}
export function readText(s: { readonly length: number }, at: Spot): string {
  let text = "";
  for (let k = 0; k < s.length && at.bytes[at.off + k] !== 0; k++) text += String.fromCharCode(at.bytes[at.off + k]!);
  return text;
}
export function writeText(s: { readonly length: number }, at: Spot, text: string): void {
  for (let k = 0; k < s.length; k++) at.bytes[at.off + k] = k < text.length ? text.charCodeAt(k) : 0;
}

/** Whether two values are the same: padding and what is behind a NUL do not count. */
export function same(s: Shape, a: Spot, b: Spot): boolean {
  switch (s.k) {
    case "int":
      return readInt(s, a) === readInt(s, b);
    case "bool":
      return a.bytes[a.off] === b.bytes[b.off];
    case "char":
      return readText(s, a) === readText(s, b);
    case "array":
      return Array.from({ length: s.length }, (_, i) => i * sizeOf(s.of)).every((o) =>
        same(s.of, { ...a, off: a.off + o }, { ...b, off: b.off + o }),
      );
    case "union":
      for (let k = 0; k < s.size; k++) if (a.bytes[a.off + k] !== b.bytes[b.off + k]) return false;
      return true;
    default:
      return s.fields.every((f) => same(f.shape, { ...a, off: a.off + f.off }, { ...b, off: b.off + f.off }));
  }
}

/** As user space decodes it. */
export function decode(s: Shape, at: Spot): unknown {
  switch (s.k) {
    case "int": {
      const v = readInt(s, at);
      return s.bits === 64 ? v : Number(v);
    }
    case "bool":
      return at.bytes[at.off] !== 0;
    case "char":
      return readText(s, at);
    case "array":
      return Array.from({ length: s.length }, (_, i) => decode(s.of, { ...at, off: at.off + i * sizeOf(s.of) }));
    default:
      return Object.fromEntries(s.fields.map((f) => [f.name, decode(f.shape, { ...at, off: at.off + f.off })]));
  }
}

/** How a statement ended: with the label that a jump names, or the program's result. */
export type End =
  | "go"
  | { readonly jump: "break" | "continue"; readonly label: string | undefined }
  | { readonly value: bigint };

/** The state of one program; it lives as long as its maps and globals. */
export class Machine {
  readonly vars = new Map<string, bigint>();
  /** Structs by the name of the global or variable; an alias is another name of the same bytes. */
  readonly memory = new Map<string, Spot>();
  /** Maps by name, their values by key. */
  readonly maps = new Map<string, Map<bigint, Uint8Array>>();
  packet = new Uint8Array(0);
  samples: Spot[] = [];

  get(name: string): bigint {
    const v = this.vars.get(name);
    if (v === undefined) throw new Error(`${name} has no value`);
    return v;
  }
  set(name: string, v: bigint): void {
    this.vars.set(name, v);
  }
  at(name: string): Spot {
    const s = this.memory.get(name);
    if (s === undefined) throw new Error(`${name} is nowhere`);
    return s;
  }
  map(name: string): Map<bigint, Uint8Array> {
    return this.maps.get(name)!;
  }
}
