/** 64-bit arithmetic on register pairs, in place: `r[d]` is the low half, `r[d + 1]` the high half. */

/** High 32 bits of the product of two unsigned 32-bit numbers. */
export function mulHigh(x: number, y: number): number {
  const a = x & 0xffff;
  const b = x >>> 16;
  const c = y & 0xffff;
  const d = y >>> 16;
  const low = a * c;
  const middle = b * c + (low >>> 16);
  const other = a * d + (middle & 0xffff);
  return (b * d + (middle >>> 16) + (other >>> 16)) | 0;
}

export function mul64(r: Int32Array, d: number, lo: number, hi: number): void {
  const a0 = r[d]!;
  const a1 = r[d + 1]!;
  r[d] = Math.imul(a0, lo);
  r[d + 1] = (mulHigh(a0, lo) + Math.imul(a0, hi) + Math.imul(a1, lo)) | 0;
}

const scratch = new BigInt64Array(2);
const scratch32 = new Int32Array(scratch.buffer);
const TWO32 = 0x1_0000_0000;

/** Unsigned; a zero divisor gives 0 for div and leaves the dividend for mod. */
export function divMod64(r: Int32Array, d: number, lo: number, hi: number, mod: boolean): void {
  if (lo === 0 && hi === 0) {
    if (!mod) r[d] = r[d + 1] = 0;
    return;
  }
  const a0 = r[d]!;
  const a1 = r[d + 1]!;
  // Below 2^53 doubles divide exactly, but for a quotient that may come out one too large.
  if (a1 >>> 21 === 0 && hi >>> 21 === 0) {
    const a = a1 * TWO32 + (a0 >>> 0);
    const b = hi * TWO32 + (lo >>> 0);
    let q = Math.floor(a / b);
    let rest = a - q * b;
    if (rest < 0) {
      q--;
      rest += b;
    }
    const v = mod ? rest : q;
    r[d + 1] = Math.floor(v / TWO32);
    r[d] = v | 0;
    return;
  }
  scratch32[0] = a0;
  scratch32[1] = a1;
  scratch32[2] = lo;
  scratch32[3] = hi;
  const a = BigInt.asUintN(64, scratch[0]!);
  const b = BigInt.asUintN(64, scratch[1]!);
  scratch[0] = BigInt.asIntN(64, mod ? a % b : a / b);
  r[d] = scratch32[0]!;
  r[d + 1] = scratch32[1]!;
}

/** Signed; the most negative number divided by -1 is itself, its remainder 0. */
export function sdivMod64(r: Int32Array, d: number, lo: number, hi: number, mod: boolean): void {
  if (lo === 0 && hi === 0) {
    if (!mod) r[d] = r[d + 1] = 0;
    return;
  }
  scratch32[0] = r[d]!;
  scratch32[1] = r[d + 1]!;
  scratch32[2] = lo;
  scratch32[3] = hi;
  const a = scratch[0]!;
  const b = scratch[1]!;
  scratch[0] = BigInt.asIntN(64, mod ? a % b : a / b);
  r[d] = scratch32[0]!;
  r[d + 1] = scratch32[1]!;
}

export function lsh64(r: Int32Array, d: number, count: number): void {
  const n = count & 63;
  if (n === 0) return;
  if (n < 32) {
    r[d + 1] = (r[d + 1]! << n) | (r[d]! >>> (32 - n));
    r[d]! <<= n;
  } else {
    r[d + 1] = r[d]! << (n - 32);
    r[d] = 0;
  }
}

export function rsh64(r: Int32Array, d: number, count: number): void {
  const n = count & 63;
  if (n === 0) return;
  if (n < 32) {
    r[d] = (r[d]! >>> n) | (r[d + 1]! << (32 - n));
    r[d + 1] = r[d + 1]! >>> n;
  } else {
    r[d] = r[d + 1]! >>> (n - 32);
    r[d + 1] = 0;
  }
}

export function arsh64(r: Int32Array, d: number, count: number): void {
  const n = count & 63;
  if (n === 0) return;
  if (n < 32) {
    r[d] = (r[d]! >>> n) | (r[d + 1]! << (32 - n));
    r[d + 1]! >>= n;
  } else {
    r[d] = r[d + 1]! >> (n - 32);
    r[d + 1]! >>= 31;
  }
}

export function swap32(x: number): number {
  return (x << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | (x >>> 24);
}

/** Byte swap of the low 16, 32 or 64 bits; the rest becomes 0. */
export function swapBytes(r: Int32Array, d: number, width: number): void {
  const lo = r[d]!;
  if (width === 16) {
    r[d] = ((lo & 0xff) << 8) | ((lo >>> 8) & 0xff);
    r[d + 1] = 0;
  } else if (width === 32) {
    r[d] = swap32(lo);
    r[d + 1] = 0;
  } else {
    r[d] = swap32(r[d + 1]!);
    r[d + 1] = swap32(lo);
  }
}

/** 32-bit division of the low half; the high half becomes 0. */
export function divMod32(r: Int32Array, d: number, by: number, mod: boolean, signed: boolean): void {
  const a = r[d]!;
  r[d + 1] = 0;
  if (by === 0) {
    if (!mod) r[d] = 0;
    return;
  }
  if (signed) r[d] = mod ? (a % by) | 0 : (a / by) | 0;
  else r[d] = mod ? ((a >>> 0) % (by >>> 0)) | 0 : ((a >>> 0) / (by >>> 0)) | 0;
}
