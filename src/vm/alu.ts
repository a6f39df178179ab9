/**
 * Arithmetic, branches and plain memory access by opcode, on register pairs. V8 makes jump tables of
 * literals only: the cases are those of the instruction tables, which a test compares.
 */
import { arsh64, lsh64, mul64, rsh64 } from "./arith.ts";

/** log2 of the size in bytes, by bits 3-4 of the opcode. */
export const SIZE_SHIFT = [2, 1, 0, 3];

export function loadPlain(dv: DataView, r: Int32Array, d: number, a: number, size: number): void {
  r[d + 1] = 0;
  if (a < 0) r[d] = 0;
  else if (size === 8) {
    r[d] = dv.getInt32(a, true);
    r[d + 1] = dv.getInt32(a + 4, true);
  } else r[d] = size === 4 ? dv.getInt32(a, true) : size === 2 ? dv.getUint16(a, true) : dv.getUint8(a);
}

export function storePlain(dv: DataView, r: Int32Array, s: number, a: number, size: number): void {
  const v = r[s]!;
  if (size === 8) {
    dv.setInt32(a, v, true);
    dv.setInt32(a + 4, r[s + 1]!, true);
  } else if (size === 4) dv.setInt32(a, v, true);
  else if (size === 2) dv.setInt16(a, v, true);
  else dv.setInt8(a, v);
}

export function alu64(r: Int32Array, d: number, code: number, b0: number, b1: number): void {
  switch (code & 0xf0) {
    case 0x00 /* BPF_ADD */: {
      const lo = (r[d]! >>> 0) + (b0 >>> 0);
      r[d] = lo;
      r[d + 1] = (r[d + 1]! + b1 + (lo > 0xffff_ffff ? 1 : 0)) | 0;
      break;
    }
    case 0x10 /* BPF_SUB */: {
      const lo = (r[d]! >>> 0) - (b0 >>> 0);
      r[d] = lo;
      r[d + 1] = (r[d + 1]! - b1 - (lo < 0 ? 1 : 0)) | 0;
      break;
    }
    case 0x20 /* BPF_MUL */:
      mul64(r, d, b0, b1);
      break;
    case 0x40 /* BPF_OR */:
      r[d]! |= b0;
      r[d + 1]! |= b1;
      break;
    case 0x50 /* BPF_AND */:
      r[d]! &= b0;
      r[d + 1]! &= b1;
      break;
    case 0xa0 /* BPF_XOR */:
      r[d]! ^= b0;
      r[d + 1]! ^= b1;
      break;
    case 0x60 /* BPF_LSH */:
      lsh64(r, d, b0);
      break;
    case 0x70 /* BPF_RSH */:
      rsh64(r, d, b0);
      break;
    case 0xc0 /* BPF_ARSH */:
      arsh64(r, d, b0);
      break;
    default:
      r[d] = b0;
      r[d + 1] = b1;
  }
}

export function alu32(r: Int32Array, d: number, code: number, b: number): void {
  const a = r[d]!;
  r[d + 1] = 0;
  switch (code & 0xf0) {
    case 0x00 /* BPF_ADD */:
      r[d] = a + b;
      break;
    case 0x10 /* BPF_SUB */:
      r[d] = a - b;
      break;
    case 0x20 /* BPF_MUL */:
      r[d] = Math.imul(a, b);
      break;
    case 0x40 /* BPF_OR */:
      r[d] = a | b;
      break;
    case 0x50 /* BPF_AND */:
      r[d] = a & b;
      break;
    case 0xa0 /* BPF_XOR */:
      r[d] = a ^ b;
      break;
    case 0x60 /* BPF_LSH */:
      r[d] = a << b;
      break;
    case 0x70 /* BPF_RSH */:
      r[d] = a >>> b;
      break;
    case 0xc0 /* BPF_ARSH */:
      r[d] = a >> b;
      break;
    default:
      r[d] = b;
  }
}

/** The condition of a branch. 32-bit operands come sign-extended: that keeps unsigned order, too. */
export function test64(code: number, a0: number, a1: number, b0: number, b1: number): boolean {
  switch (code & 0xf0) {
    case 0x10 /* BPF_JEQ */:
      return a0 === b0 && a1 === b1;
    case 0x50 /* BPF_JNE */:
      return a0 !== b0 || a1 !== b1;
    case 0x40 /* BPF_JSET */:
      return ((a0 & b0) | (a1 & b1)) !== 0;
    case 0x20 /* BPF_JGT */:
      return a1 === b1 ? a0 >>> 0 > b0 >>> 0 : a1 >>> 0 > b1 >>> 0;
    case 0x30 /* BPF_JGE */:
      return a1 === b1 ? a0 >>> 0 >= b0 >>> 0 : a1 >>> 0 > b1 >>> 0;
    case 0xa0 /* BPF_JLT */:
      return a1 === b1 ? a0 >>> 0 < b0 >>> 0 : a1 >>> 0 < b1 >>> 0;
    case 0xb0 /* BPF_JLE */:
      return a1 === b1 ? a0 >>> 0 <= b0 >>> 0 : a1 >>> 0 < b1 >>> 0;
    case 0x60 /* BPF_JSGT */:
      return a1 === b1 ? a0 >>> 0 > b0 >>> 0 : a1 > b1;
    case 0x70 /* BPF_JSGE */:
      return a1 === b1 ? a0 >>> 0 >= b0 >>> 0 : a1 > b1;
    case 0xc0 /* BPF_JSLT */:
      return a1 === b1 ? a0 >>> 0 < b0 >>> 0 : a1 < b1;
    default:
      return a1 === b1 ? a0 >>> 0 <= b0 >>> 0 : a1 < b1;
  }
}
