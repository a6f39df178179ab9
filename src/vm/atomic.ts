/** Atomic read-modify-write on memory; one thread runs here, so plain accesses do. */
import * as op from "../asm/opcode.ts";

/** `kind` is the instruction's `imm`, `s` the index of the source register's low half. */
export function atomicPair(dv: DataView, r: Int32Array, kind: number, a: number, s: number, size: number): void {
  const old0 = dv.getInt32(a, true);
  const old1 = size === 8 ? dv.getInt32(a + 4, true) : 0;
  const b0 = r[s]!;
  const b1 = size === 8 ? r[s + 1]! : 0;
  let new0 = b0;
  let new1 = b1;
  if (kind === op.BPF_CMPXCHG) {
    const same = r[0] === old0 && (size === 4 || r[1] === old1);
    r[0] = old0;
    r[1] = old1;
    if (!same) return;
  } else {
    switch (kind & ~op.BPF_FETCH) {
      case op.BPF_ADD: {
        const lo = (old0 >>> 0) + (b0 >>> 0);
        new0 = lo | 0;
        new1 = (old1 + b1 + (lo > 0xffff_ffff ? 1 : 0)) | 0;
        break;
      }
      case op.BPF_OR:
        new0 = old0 | b0;
        new1 = old1 | b1;
        break;
      case op.BPF_AND:
        new0 = old0 & b0;
        new1 = old1 & b1;
        break;
      case op.BPF_XOR:
        new0 = old0 ^ b0;
        new1 = old1 ^ b1;
        break;
      default:
    }
    if ((kind & op.BPF_FETCH) !== 0) {
      r[s] = old0;
      r[s + 1] = old1;
    }
  }
  dv.setInt32(a, new0, true);
  if (size === 8) dv.setInt32(a + 4, new1, true);
}
