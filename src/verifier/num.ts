/** 64-bit words as JavaScript numbers, for comparing with small constants: exact below 2^53, ordered above. */

export const s64 = (lo: number, hi: number): number => hi * 0x1_0000_0000 + (lo >>> 0);
export const u64 = (lo: number, hi: number): number => (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0);
/** Bytes of BPF_W (0), BPF_H (8), BPF_B (16), BPF_DW (24). */
export const sizeBytes = (bpfSize: number): number => (bpfSize === 0 ? 4 : bpfSize === 8 ? 2 : bpfSize === 16 ? 1 : 8);
/** fls64: number of bits needed. */
export const fls64 = (lo: number, hi: number): number => (hi !== 0 ? 64 - Math.clz32(hi) : 32 - Math.clz32(lo));
