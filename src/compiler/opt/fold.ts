/** Exact arithmetic on constants, with BPF's rules for division by zero and shift counts. */
import type { BinOp, Cond, Inst, Width } from "../ir/ir.ts";

/** `a op b`, as a signed 64-bit number. */
export function foldBin(op: BinOp, a: bigint, b: bigint, width: Width): bigint {
  const ua = BigInt.asUintN(width, a);
  const ub = BigInt.asUintN(width, b);
  const sa = BigInt.asIntN(width, a);
  const sb = BigInt.asIntN(width, b);
  const count = ub & BigInt(width - 1);
  let r: bigint;
  switch (op) {
    case "add":
      r = ua + ub;
      break;
    case "sub":
      r = ua - ub;
      break;
    case "mul":
      r = ua * ub;
      break;
    case "udiv":
      r = ub === 0n ? 0n : ua / ub;
      break;
    case "umod":
      r = ub === 0n ? ua : ua % ub;
      break;
    case "sdiv":
      r = sb === 0n ? 0n : sa / sb;
      break;
    case "smod":
      r = sb === 0n ? sa : sa % sb;
      break;
    case "and":
      r = ua & ub;
      break;
    case "or":
      r = ua | ub;
      break;
    case "xor":
      r = ua ^ ub;
      break;
    case "shl":
      r = ua << count;
      break;
    case "lshr":
      r = ua >> count;
      break;
    case "ashr":
      r = sa >> count;
      break;
  }
  return width === 32 ? BigInt.asUintN(32, r) : BigInt.asIntN(64, r);
}

export function foldCond(cond: Cond, a: bigint, b: bigint, width: Width): boolean {
  const ua = BigInt.asUintN(width, a);
  const ub = BigInt.asUintN(width, b);
  const sa = BigInt.asIntN(width, a);
  const sb = BigInt.asIntN(width, b);
  switch (cond) {
    case "eq":
      return ua === ub;
    case "ne":
      return ua !== ub;
    case "ugt":
      return ua > ub;
    case "uge":
      return ua >= ub;
    case "ult":
      return ua < ub;
    case "ule":
      return ua <= ub;
    case "sgt":
      return sa > sb;
    case "sge":
      return sa >= sb;
    case "slt":
      return sa < sb;
    case "sle":
      return sa <= sb;
    case "set":
      return (ua & ub) !== 0n;
    case "nset":
      return (ua & ub) === 0n;
  }
}

/** Value with the low `bits / 8` bytes reversed, zero-extended. */
export function foldSwap(a: bigint, bits: number): bigint {
  let r = 0n;
  for (let k = 0; k < bits; k += 8) r = (r << 8n) | ((a >> BigInt(k)) & 0xffn);
  return BigInt.asIntN(64, r);
}

/** A one-operand operation on a constant. */
export function foldUnary(i: Inst, a: bigint, littleEndian: boolean): bigint {
  switch (i.op) {
    case "neg":
      return i.width === 32 ? BigInt.asUintN(32, -a) : BigInt.asIntN(64, -a);
    case "bswap":
      return foldSwap(a, i.bits);
    case "tobe":
    case "tole":
      return (i.op === "tobe") === littleEndian ? foldSwap(a, i.bits) : BigInt.asIntN(64, BigInt.asUintN(i.bits, a));
    case "zext":
      return BigInt.asUintN(i.bits, a);
    default:
      return BigInt.asIntN(i.bits, a);
  }
}
