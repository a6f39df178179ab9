/** Bob Jenkins' hash as include/linux/jhash.h computes it on a little-endian machine. */
const INITVAL = 0xdeadbeef | 0;

const rol = (x: number, n: number): number => (x << n) | (x >>> (32 - n));

const s = new Int32Array(3);

function mix(): void {
  let a = s[0]!;
  let b = s[1]!;
  let c = s[2]!;
  a = (a - c) | 0;
  a ^= rol(c, 4);
  c = (c + b) | 0;
  b = (b - a) | 0;
  b ^= rol(a, 6);
  a = (a + c) | 0;
  c = (c - b) | 0;
  c ^= rol(b, 8);
  b = (b + a) | 0;
  a = (a - c) | 0;
  a ^= rol(c, 16);
  c = (c + b) | 0;
  b = (b - a) | 0;
  b ^= rol(a, 19);
  a = (a + c) | 0;
  c = (c - b) | 0;
  c ^= rol(b, 4);
  b = (b + a) | 0;
  s[0] = a;
  s[1] = b;
  s[2] = c;
}

function final(): number {
  let a = s[0]!;
  let b = s[1]!;
  let c = s[2]!;
  c ^= b;
  c = (c - rol(b, 14)) | 0;
  a ^= c;
  a = (a - rol(c, 11)) | 0;
  b ^= a;
  b = (b - rol(a, 25)) | 0;
  c ^= b;
  c = (c - rol(b, 16)) | 0;
  a ^= c;
  a = (a - rol(c, 4)) | 0;
  b ^= a;
  b = (b - rol(a, 14)) | 0;
  c ^= b;
  c = (c - rol(b, 24)) | 0;
  return c >>> 0;
}

/** Of `words` 32-bit words at `at`. */
export function jhash2(view: DataView, at: number, words: number, initval: number): number {
  s.fill((INITVAL + (words << 2) + initval) | 0);
  let left = words;
  let p = at;
  for (; left > 3; left -= 3, p += 12) {
    for (let i = 0; i < 3; i++) s[i] = s[i]! + view.getInt32(p + i * 4, true);
    mix();
  }
  if (left === 0) return s[2]! >>> 0;
  for (let i = 0; i < left; i++) s[i] = s[i]! + view.getInt32(p + i * 4, true);
  return final();
}

/** Of `length` bytes at `at`. */
export function jhash(view: DataView, at: number, length: number, initval: number): number {
  s.fill((INITVAL + length + initval) | 0);
  let left = length;
  let p = at;
  for (; left > 12; left -= 12, p += 12) {
    for (let i = 0; i < 3; i++) s[i] = s[i]! + view.getInt32(p + i * 4, true);
    mix();
  }
  if (left === 0) return s[2]! >>> 0;
  for (let i = 0; i < left; i++) s[i >> 2] = s[i >> 2]! + (view.getUint8(p + i) << ((i & 3) * 8));
  return final();
}
