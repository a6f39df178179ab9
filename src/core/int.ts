/** 64-bit integers as bigint: wrapping, sign extension, splitting. */

/** `value` modulo 2^64, in [0, 2^64). */
export function u64(value: bigint | number): bigint {
  return BigInt.asUintN(64, BigInt(value));
}
/** `value` modulo 2^64, in [-2^63, 2^63). */
export function s64(value: bigint | number): bigint {
  return BigInt.asIntN(64, BigInt(value));
}
/** Low 32 bits of `value`, unsigned. */
export function lo32(value: bigint): number {
  return Number(BigInt.asUintN(32, value));
}
/** High 32 bits of the 64-bit `value`, unsigned. */
export function hi32(value: bigint): number {
  return Number(BigInt.asUintN(32, value >> 32n));
}
/** The unsigned 64-bit number with these halves (signed or unsigned 32-bit numbers). */
export function fromHalves(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
}
/** `value` rounded up to a multiple of the power of two `align`. */
export function alignUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}
