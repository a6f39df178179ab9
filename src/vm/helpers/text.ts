/** Numbers from text and text from numbers, as the kernel does both. */
import { ERRNO } from "../../uapi/index.ts";

const EINVAL = -ERRNO.EINVAL;
const ERANGE = -ERRNO.ERANGE;
const isSpace = (c: number): boolean => c === 0x20 || (c >= 9 && c <= 13);
const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;
const isPunct = (c: number): boolean =>
  (c >= 0x21 && c <= 0x2f) || (c >= 0x3a && c <= 0x40) || (c >= 0x5b && c <= 0x60) || (c >= 0x7b && c <= 0x7e);
const digitOf = (c: number): number => {
  if (isDigit(c)) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : 99;
};

export interface Parsed {
  readonly consumed: number;
  readonly value: bigint;
  readonly negative: boolean;
}

/** __bpf_strtoull: what it consumed and found, or -errno. `flags` is the base: 0, 8, 10 or 16. */
export function parseInteger(text: Uint8Array, flags: bigint): Parsed | number {
  let base = Number(flags & 0x1fn);
  if ((flags & ~0x1fn) !== 0n || ![0, 8, 10, 16].includes(base) || text.length === 0) return EINVAL;
  let i = 0;
  while (i < text.length && isSpace(text[i]!)) i++;
  const negative = text[i] === 0x2d;
  if (negative) i++;
  const s = text.subarray(i, i + 63);
  const hex = s[0] === 0x30 && ((s[1] ?? 0) | 0x20) === 0x78;
  let p = 0;
  if (base === 0) base = s[0] === 0x30 ? (hex && digitOf(s[2] ?? 0) < 16 ? 16 : 8) : 10;
  if (base === 16 && hex) p = 2;
  const start = p;
  let value = 0n;
  for (; p < s.length && digitOf(s[p]!) < base; p++) value = value * BigInt(base) + BigInt(digitOf(s[p]!));
  if (p === start) return EINVAL;
  if (value > 0xffff_ffff_ffff_ffffn) return ERANGE;
  return { consumed: i + p, value, negative };
}

/** Reads the string at an address: "k" kernel, "u" user, "s" whichever it is; undefined when it is not readable. */
export type ReadString = (address: bigint, kind: "k" | "u" | "s") => string | undefined;

/** The text of a printf-like format with 64-bit arguments, or -EINVAL for what bpf_bprintf_prepare refuses. */
export function formatText(
  format: Uint8Array,
  args: readonly bigint[],
  readString: ReadString,
  readBytes: (address: bigint, size: number) => Uint8Array | undefined,
): string | number {
  let out = "";
  let used = 0;
  const at = (i: number): number => format[i] ?? 0;
  for (let i = 0; i < format.length; i++) {
    const c = at(i);
    if (c >= 0x80 || (c < 0x20 && !isSpace(c)) || c === 0x7f) return EINVAL;
    if (c !== 0x25) {
      out += String.fromCharCode(c);
      continue;
    }
    if (at(i + 1) === 0x25) {
      out += "%";
      i++;
      continue;
    }
    if (used >= args.length) return EINVAL;
    i++;
    let flags = "";
    while ("0+- ".includes(String.fromCharCode(at(i))) && at(i) !== 0) flags += String.fromCharCode(at(i++));
    let width = 0;
    if (at(i) >= 0x31 && at(i) <= 0x39) while (isDigit(at(i))) width = width * 10 + at(i++) - 0x30;
    const arg = args[used++]!;
    const spec = String.fromCharCode(at(i));
    const ends = (k: number): boolean => at(k) === 0 || isSpace(at(k)) || isPunct(at(k));
    if (spec === "p") {
      const next = String.fromCharCode(at(i + 1));
      if ((next === "k" || next === "u") && at(i + 2) === 0x73) {
        if (!ends(i + 3)) return EINVAL;
        out += readString(arg, next) ?? "";
        i += 2;
      } else if ((next === "i" || next === "I") && (at(i + 2) === 0x34 || at(i + 2) === 0x36)) {
        const size = at(i + 2) === 0x34 ? 4 : 16;
        out += ipText(readBytes(arg, size) ?? new Uint8Array(size), next === "I");
        i += 2;
      } else if (ends(i + 1) || "KxsSB".includes(next)) {
        // The kernel hashes %p and names symbols; here both are the address.
        if (!ends(i + 1)) i++;
        out += pad(arg.toString(16).padStart(16, "0"), width, flags);
      } else return EINVAL;
      // vsnprintf takes every letter and digit behind %p for a part of it.
      while (isDigit(at(i + 1)) || /[A-Za-z]/.test(String.fromCharCode(at(i + 1)))) i++;
      continue;
    }
    if (spec === "s") {
      if (!ends(i + 1)) return EINVAL;
      out += pad(readString(arg, "s") ?? "", width, flags);
      continue;
    }
    if (spec === "c") {
      out += pad(String.fromCharCode(Number(arg & 0xffn)), width, flags.replaceAll("0", ""));
      continue;
    }
    let bits = 32;
    if (at(i) === 0x6c) {
      bits = 64;
      i++;
      if (at(i) === 0x6c) i++;
    }
    const conversion = String.fromCharCode(at(i));
    if (!"idxuX".includes(conversion) || at(i) === 0) return EINVAL;
    out += number(arg, bits, conversion, width, flags);
  }
  return out;
}

function pad(text: string, width: number, flags: string): string {
  return flags.includes("-") ? text.padEnd(width) : text.padStart(width);
}

function number(arg: bigint, bits: number, conversion: string, width: number, flags: string): string {
  const signed = conversion === "d" || conversion === "i";
  const v = signed ? BigInt.asIntN(bits, arg) : BigInt.asUintN(bits, arg);
  const sign = !signed ? "" : v < 0n ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
  const magnitude = v < 0n ? -v : v;
  let digits = magnitude.toString(conversion === "x" || conversion === "X" ? 16 : 10);
  if (conversion === "X") digits = digits.toUpperCase();
  if (flags.includes("0") && !flags.includes("-")) digits = digits.padStart(width - sign.length, "0");
  return pad(sign + digits, width, flags);
}

function ipText(bytes: Uint8Array, compact: boolean): string {
  if (bytes.length === 4) {
    return Array.from(bytes, (b) => (compact ? String(b) : String(b).padStart(3, "0"))).join(".");
  }
  return Array.from({ length: 8 }, (_, i) =>
    ((bytes[i * 2]! << 8) | bytes[i * 2 + 1]!).toString(16).padStart(4, "0"),
  ).join(compact ? ":" : "");
}
