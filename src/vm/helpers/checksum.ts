/** Internet checksums: one's complement sums, in memory order. */

/** a + b with the carry added back. */
export function csumAdd(a: number, b: number): number {
  const sum = (a >>> 0) + (b >>> 0);
  return (sum > 0xffff_ffff ? sum - 0xffff_ffff : sum) >>> 0;
}

/** csum_partial: the 32-bit sum over `size` bytes, starting from `seed`; a short last word counts as filled up with zeros. */
export function csumPartial(view: DataView, at: number, size: number, seed: number): number {
  let sum = seed >>> 0;
  let i = 0;
  for (; i + 4 <= size; i += 4) sum = csumAdd(sum, view.getUint32(at + i, true));
  let last = 0;
  for (let k = 0; i + k < size; k++) last |= view.getUint8(at + i + k) << (8 * k);
  return csumAdd(sum, last);
}

/** csum_from32to16. */
export function from32to16(sum: number): number {
  const s = sum >>> 0;
  const swapped = ((s >>> 16) | (s << 16)) >>> 0;
  return ((s + swapped) % 0x1_0000_0000) >>> 16;
}

/** The checksum after 32 bits of what it covers changed from `from` to `to`. */
export function csumReplace(sum: number, from: number, to: number): number {
  const inverted = ~sum & 0xffff;
  const next = csumAdd(csumAdd(inverted, ~from), to);
  return ~from32to16(next) & 0xffff;
}
