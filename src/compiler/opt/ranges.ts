/**
 * What is known about a value without its context: an unsigned upper bound. Two of them:
 * what is true, and what the verifier can be expected to know as well. Only the second may decide a comparison, for a
 * check that goes must be one that the verifier does not need.
 *
 * Bounds are doubles: exact up to 2^53, `UNKNOWN` above.
 */
import type { Inst } from "../ir/ir.ts";

export const UNKNOWN = 2 ** 64;
const LIMIT = 2 ** 53;

const clamp = (v: number): number => (v < LIMIT ? v : UNKNOWN);
/** Smallest 2^k - 1 that is not below `v`. */
function ones(v: number): number {
  if (v >= LIMIT) return UNKNOWN;
  return 2 ** (v === 0 ? 0 : Math.floor(Math.log2(v)) + 1) - 1;
}

export class Bounds {
  readonly #max: Float64Array;
  readonly #known: Float64Array;

  constructor(instCount: number) {
    // Instructions that a pass adds on the way have no entry: unknown.
    this.#max = new Float64Array(instCount).fill(-1);
    this.#known = new Float64Array(instCount).fill(-1);
  }

  /** Unsigned maximum. */
  max(v: Inst): number {
    return this.#get(this.#max, v, false, 0);
  }
  /** Unsigned maximum that the verifier also sees. */
  known(v: Inst): number {
    return this.#get(this.#known, v, true, 0);
  }
  /** Bits that can be set, from bit 0. */
  bits(v: Inst): number {
    const m = this.max(v);
    return m >= LIMIT ? 64 : m === 0 ? 0 : Math.floor(Math.log2(m)) + 1;
  }
  forget(v: Inst): void {
    if (v.id < this.#max.length) this.#max[v.id] = this.#known[v.id] = -1;
  }

  #get(table: Float64Array, v: Inst, strict: boolean, depth: number): number {
    if (v.op === "const") return v.value >= 0n && v.value < BigInt(LIMIT) ? Number(v.value) : UNKNOWN;
    if (v.type === "ptr" || depth > 12) return UNKNOWN;
    if (v.id < table.length) {
      const m = table[v.id]!;
      if (m >= 0) return m;
    }
    const m = this.#compute(v, (x) => this.#get(table, x, strict, depth + 1), strict);
    if (v.id < table.length) table[v.id] = m;
    return m;
  }

  #compute(v: Inst, of: (x: Inst) => number, strict: boolean): number {
    const cap = v.width === 32 ? 2 ** 32 - 1 : UNKNOWN;
    const [a, b] = v.args as [Inst, Inst];
    switch (v.op) {
      case "load":
        return v.signed || v.size === 8 ? UNKNOWN : 2 ** (v.size * 8) - 1;
      case "zext":
        return Math.min(2 ** v.bits - 1, of(a));
      case "cmp":
        return 1;
      case "call":
        return !strict && v.call!.bits < 53 ? 2 ** v.call!.bits - 1 : UNKNOWN;
      case "bswap":
      case "tobe":
      case "tole":
        return !strict && v.bits < 53 ? 2 ** v.bits - 1 : UNKNOWN;
      case "and":
        return Math.min(cap, of(a), of(b));
      case "or":
      case "xor":
        return Math.min(cap, Math.max(ones(of(a)), ones(of(b))));
      case "add":
        return wrapped(of(a) + of(b), cap);
      case "mul":
        return wrapped(of(a) * of(b), cap);
      case "shl":
        return b.op === "const" ? wrapped(of(a) * 2 ** (Number(BigInt.asUintN(64, b.value)) % v.width), cap) : cap;
      case "lshr":
        if (b.op === "const") {
          const count = Number(BigInt.asUintN(64, b.value) & BigInt(v.width - 1));
          const m = Math.min(of(a), cap);
          return m >= LIMIT
            ? count > 11
              ? 2 ** (64 - count) - 1
              : count === 0
                ? m
                : UNKNOWN
            : Math.floor(m / 2 ** count);
        }
        // The verifier forgets everything about a value shifted by an unknown count.
        return strict ? cap : Math.min(cap, of(a));
      case "udiv":
        if (strict) return cap;
        return Math.min(
          cap,
          b.op === "const" && b.value > 0n && of(a) < LIMIT ? Math.floor(of(a) / Number(b.value)) : of(a),
        );
      case "umod":
        if (strict) return cap;
        return b.op === "const" && b.value > 0n && b.value < BigInt(LIMIT)
          ? Math.min(of(a), Number(b.value) - 1, cap)
          : Math.min(cap, of(a));
      case "select":
        return Math.max(of(b), of(v.args[2]!));
      case "atomic":
        return v.size === 4 ? (strict ? UNKNOWN : 2 ** 32 - 1) : UNKNOWN;
      case "sext": {
        const m = of(a);
        return m < 2 ** (v.bits - 1) ? m : UNKNOWN;
      }
      default:
        return cap;
    }
  }
}

function wrapped(v: number, cap: number): number {
  return v <= cap ? clamp(v) : cap;
}
