/** 64-bit numbers as the kernel's log prints them, from (lo, hi) words. */

import { has } from "./scalar/rules.ts";

/** "%#llx" */
export function hex64(lo: number, hi: number): string {
  return hi === 0
    ? `0x${(lo >>> 0).toString(16)}`
    : `0x${(hi >>> 0).toString(16)}${(lo >>> 0).toString(16).padStart(8, "0")}`;
}

/** "%lld" */
export function dec64(lo: number, hi: number): string {
  if (hi === lo >> 31) return String(lo | 0);
  return String(BigInt.asIntN(64, (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)));
}

/** "%llu" */
export function udec64(lo: number, hi: number): string {
  if (hi === 0) return String(lo >>> 0);
  return String((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0));
}

/** Unsigned, in decimal up to 65535, else in hex. */
export function unum(lo: number, hi: number): string {
  return hi === 0 && lo >>> 0 <= 0xffff ? String(lo >>> 0) : hex64(lo, hi);
}

/** Signed, in decimal from -32768 to 32767, else in hex. */
export function snum(lo: number, hi: number): string {
  return hi === lo >> 31 && lo >= -0x8000 && lo <= 0x7fff ? String(lo) : hex64(lo, hi);
}

/** tnum_strn */
export function tnumText(valLo: number, valHi: number, maskLo: number, maskHi: number): string {
  if ((maskLo | maskHi) === 0 && has.stateFormat) return unum(valLo, valHi);
  return `(${hex64(valLo, valHi)}; ${hex64(maskLo, maskHi)})`;
}
