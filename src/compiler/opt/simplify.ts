/** Algebra on one instruction: a value to use in its place, or the instruction rewritten in place. */
import type { Target } from "../codegen/target.ts";
import type { Cond, Func, Inst, Width } from "../ir/ir.ts";
import { isBinOp, negateCond, swapCond } from "../ir/ir.ts";
import { foldBin, foldCond, foldSwap, foldUnary } from "./fold.ts";
import { Bounds, UNKNOWN } from "./ranges.ts";
import { constInst } from "./util.ts";

const LOW32 = 0xffff_ffffn;

function isConst(i: Inst, v?: bigint): boolean {
  return i.op === "const" && (v === undefined || i.value === v);
}

export class Simplifier {
  readonly #f: Func;
  readonly #target: Target;
  readonly bounds: Bounds;
  /** Instructions that a rewritten one needs in front of it. */
  readonly extra: Inst[] = [];
  /** Uses by id, never too few: what merging and rewriting add is counted, what they take away is not. */
  readonly #uses: Int32Array;

  constructor(f: Func, target: Target, uses: Int32Array) {
    this.#f = f;
    this.#target = target;
    this.#uses = uses;
    this.bounds = new Bounds(f.instCount);
  }

  #const(v: bigint): Inst {
    return constInst(this.#f, v);
  }
  #once(i: Inst): boolean {
    return this.#uses[i.id] === 1;
  }
  /**
   * Upper bound by which an extension or a mask to `bits` bits may go. Those to 8 or 16 bits may be what bounds an index:
   * they stay unless the verifier knows the bound without them.
   */
  #bound(x: Inst, bits: number): number {
    return bits >= 32 ? this.bounds.max(x) : this.bounds.known(x);
  }
  #zext(x: Inst, bits: number, i: Inst): Inst {
    if (bits === 64 || this.#bound(x, bits) <= 2 ** bits - 1) return x;
    i.op = "zext";
    i.bits = bits;
    i.width = 64;
    i.args = [x];
    return i;
  }

  /** `v` takes the place of `i` at its uses. */
  merged(i: Inst, v: Inst): void {
    this.#uses[v.id]! += this.#uses[i.id] ?? 2;
  }
  /** `v` became an operand of something that did not have it before. */
  used(v: Inst): void {
    this.#uses[v.id]!++;
  }
  #taken(i: Inst, before: readonly Inst[]): void {
    if (i.args !== before) for (const a of i.args) if (!before.includes(a)) this.used(a);
  }

  /** The value that `i` equals: another one, or `i` itself (perhaps rewritten). */
  simplify(i: Inst): Inst {
    for (let round = 0; round < 8; round++) {
      const before = i.op;
      const args = i.args;
      const r = this.#step(i);
      if (r !== i) return r;
      this.#taken(i, args);
      if (i.op === before && i.args === args) break;
    }
    return i;
  }

  #step(i: Inst): Inst {
    switch (i.op) {
      case "neg":
      case "bswap":
      case "tobe":
      case "tole":
      case "zext":
      case "sext":
        return this.#unary(i);
      case "cmp":
        return this.#cmp(i);
      case "select":
        return this.#select(i);
      case "store":
        this.#narrowOperand(i, 1, i.size * 8);
        return i;
      default:
        return isBinOp(i.op) ? this.#bin(i) : i;
    }
  }

  /** `i` reads only the low `bits` bits of an operand: extensions and masks of it are not needed. */
  #narrowOperand(i: Inst, k: number, bits: number): void {
    if (bits >= 64) return;
    let a = i.args[k]!;
    for (;;) {
      const low = (1n << BigInt(bits)) - 1n;
      if ((a.op === "zext" || a.op === "sext") && a.bits >= bits) a = a.args[0]!;
      else if (a.op === "and" && a.width >= bits && isConst(a.args[1]!) && (a.args[1]!.value & low) === low)
        a = a.args[0]!;
      else break;
    }
    if (a === i.args[k] || a.type === "ptr") return;
    i.args = i.args.slice();
    i.args[k] = a;
  }

  #unary(i: Inst): Inst {
    const little = this.#target.endian === "little";
    const a = i.args[0]!;
    if (a.op === "const") return this.#const(foldUnary(i, a.value, little));
    if (i.op === "neg") {
      if (i.width === 32) this.#narrowOperand(i, 0, 32);
      return a.op === "neg" && a.width === 64 && i.width === 64 ? a.args[0]! : i;
    }
    if (i.op === "zext") {
      if (this.#bound(a, i.bits) <= 2 ** i.bits - 1) return a;
      this.#narrowOperand(i, 0, i.bits);
      const x = i.args[0]!;
      if (x !== a) return i;
      if (i.bits === 32 && this.#target.isa >= 3 && this.#once(x) && x.width === 64 && x.type === "int") {
        // The w-register form of the operation extends by itself.
        if (x.op === "add" || x.op === "sub" || x.op === "mul" || x.op === "and" || x.op === "or" || x.op === "xor") {
          i.op = x.op;
          i.width = 32;
          i.args = x.args.slice();
        } else if (x.op === "neg") {
          i.op = "neg";
          i.width = 32;
          i.args = x.args.slice();
        } else if (x.op === "shl" && isConst(x.args[1]!) && x.args[1]!.value < 32n) {
          i.op = "shl";
          i.width = 32;
          i.args = x.args.slice();
        }
      }
      return i;
    }
    if (i.op === "sext") {
      if (this.#bound(a, i.bits) < 2 ** (i.bits - 1)) return a;
      if (a.op === "sext" && a.bits <= i.bits) return a;
      if (a.op === "load" && a.signed && a.size * 8 <= i.bits) return a;
      this.#narrowOperand(i, 0, i.bits);
      return i;
    }
    // Byte orders.
    this.#narrowOperand(i, 0, i.bits);
    const x = i.args[0]!;
    const swaps = i.op === "bswap" || (i.op === "tobe") === little;
    if (!swaps) return this.#zext(x, i.bits, i);
    if (
      (x.op === "bswap" || ((x.op === "tobe" || x.op === "tole") && (x.op === "tobe") === little)) &&
      x.bits === i.bits
    ) {
      return this.#zext(x.args[0]!, i.bits, i);
    }
    return i;
  }

  #bin(i: Inst): Inst {
    let [a, b] = i.args as [Inst, Inst];
    const op = i.op as Parameters<typeof foldBin>[0];
    const { width } = i;
    if (a.op === "const" && b.op === "const" && i.type === "int")
      return this.#const(foldBin(op, a.value, b.value, width));
    const commutes = op === "add" || op === "mul" || op === "and" || op === "or" || op === "xor";
    if (commutes && a.op === "const") {
      i.args = [b, a];
      [a, b] = [b, a];
    }
    if (width === 32 && op !== "lshr" && op !== "ashr") {
      this.#narrowOperand(i, 0, 32);
      if (op !== "shl") this.#narrowOperand(i, 1, 32);
      [a, b] = i.args as [Inst, Inst];
    } else if (width === 32) {
      this.#narrowOperand(i, 0, 32);
      [a, b] = i.args as [Inst, Inst];
    }
    /** `a`, as this width gives it. */
    const same = (): Inst => (width === 32 ? this.#zext(a, 32, i) : a);
    if (a === b) {
      if (op === "sub" || op === "xor") return this.#const(0n);
      if (op === "and" || op === "or") return same();
    }
    if (op === "add" && i.type === "ptr" && a.type !== "ptr" && b.type === "ptr") {
      i.args = [b, a];
      [a, b] = [b, a];
    }
    if (b.op !== "const") {
      if (
        op === "add" &&
        i.type === "ptr" &&
        b.op === "add" &&
        b.width === 64 &&
        b.args[1]!.op === "const" &&
        this.#once(b)
      ) {
        // p + (x + c): the constant goes last, where accesses take it into their offset.
        const p = this.#f.inst("add", "ptr", [a, b.args[0]!], i.span);
        p.space = i.space;
        this.extra.push(p);
        i.args = [p, b.args[1]!];
        return i;
      }
      if (op === "add" && b.op === "neg" && b.width === width && i.type === "int") {
        i.op = "sub";
        i.args = [a, b.args[0]!];
      }
      return i;
    }
    if (i.type === "int" && this.#once(a)) {
      // A choice between constants takes the operation into its arms.
      const arms =
        a.op === "cmp"
          ? [this.#const(1n), this.#const(0n)]
          : a.op === "select" && isConst(a.args[1]!) && isConst(a.args[2]!)
            ? [a.args[1]!, a.args[2]!]
            : undefined;
      if (arms !== undefined && arms[0]!.type === "int" && arms[1]!.type === "int") {
        const value = b.value;
        i.op = "select";
        i.args = [a.op === "cmp" ? a : a.args[0]!, ...arms.map((x) => this.#const(foldBin(op, x.value, value, width)))];
        i.width = 64;
        return i;
      }
    }
    const raw = width === 32 ? BigInt.asUintN(32, b.value) : b.value;
    const ones = width === 32 ? LOW32 : -1n;
    switch (op) {
      case "sub":
        i.op = "add";
        i.args = [a, this.#const(width === 32 ? BigInt.asIntN(32, -raw) : -raw)];
        return i;
      case "add":
        if (raw === 0n) return same();
        // (x + c1) + c2
        if (
          a.op === "add" &&
          a.width === width &&
          a.args[1]!.op === "const" &&
          (a.type === "ptr") === (i.type === "ptr") &&
          (i.type === "ptr" || this.#once(a))
        ) {
          const sum = a.args[1]!.value + b.value;
          i.args = [a.args[0]!, this.#const(width === 32 ? BigInt.asIntN(32, sum) : sum)];
        }
        return i;
      case "mul":
        if (raw === 0n) return this.#const(0n);
        if (raw === 1n) return same();
        if (raw === ones) {
          i.op = "neg";
          i.args = [a];
          return i;
        }
        return this.#powerOfTwo(i, "shl", a, raw);
      case "udiv":
        if (raw === 0n) return this.#const(0n);
        if (raw === 1n) return same();
        return this.#powerOfTwo(i, "lshr", a, raw);
      case "umod":
        if (raw === 0n) return same();
        if (raw === 1n) return this.#const(0n);
        if (raw > 0n && (raw & (raw - 1n)) === 0n) {
          i.op = "and";
          i.args = [a, this.#const(raw - 1n)];
        }
        return i;
      case "sdiv":
        if (raw === 1n) return same();
        if (raw === 0n) return this.#const(0n);
        if (this.#nonNegative(a, width) && BigInt.asIntN(width, raw) > 0n) i.op = "udiv";
        return this.#flagChange(i, op);
      case "smod":
        if (raw === 0n) return same();
        if (raw === 1n) return this.#const(0n);
        if (this.#nonNegative(a, width) && BigInt.asIntN(width, raw) > 0n) i.op = "umod";
        return this.#flagChange(i, op);
      case "and": {
        if (raw === 0n) return this.#const(0n);
        if (raw === ones) return same();
        if (a.op === "and" && a.width === width && a.args[1]!.op === "const") {
          i.args = [a.args[0]!, this.#const(a.args[1]!.value & b.value)];
          return i;
        }
        const max = this.bounds.known(a);
        // A mask of ones that covers every bit that can be set.
        if (raw > 0n && (raw & (raw + 1n)) === 0n && max < UNKNOWN && BigInt(max) <= raw) return a;
        if (raw === 0xffn || raw === 0xffffn || raw === LOW32)
          return this.#zext(a, raw === 0xffn ? 8 : raw === 0xffffn ? 16 : 32, i);
        if (width === 64 && raw > 0x7fff_ffffn && raw <= LOW32 && this.#target.isa >= 3) {
          i.width = 32;
          i.args = [a, this.#const(BigInt.asIntN(32, raw))];
        }
        return i;
      }
      case "or":
        if (raw === 0n) return same();
        if (raw === ones) return this.#const(ones);
        if (a.op === "or" && a.width === width && a.args[1]!.op === "const" && this.#once(a))
          i.args = [a.args[0]!, this.#const(a.args[1]!.value | b.value)];
        return i;
      case "xor":
        if (raw === 0n) return same();
        if (a.op === "xor" && a.width === width && a.args[1]!.op === "const" && this.#once(a))
          i.args = [a.args[0]!, this.#const(a.args[1]!.value ^ b.value)];
        return i;
      default:
        return this.#shift(i, a, raw & BigInt(width - 1));
    }
  }
  #flagChange(i: Inst, was: string): Inst {
    if (i.op !== was) i.args = i.args.slice();
    return i;
  }
  #nonNegative(a: Inst, width: Width): boolean {
    return this.bounds.max(a) < 2 ** (width - 1);
  }
  #powerOfTwo(i: Inst, shift: "shl" | "lshr", a: Inst, v: bigint): Inst {
    const u = BigInt.asUintN(i.width, v);
    if (u === 0n || (u & (u - 1n)) !== 0n) return i;
    i.op = shift;
    i.args = [a, this.#const(BigInt(u.toString(2).length - 1))];
    return i;
  }
  #shift(i: Inst, a: Inst, count: bigint): Inst {
    if (count === 0n) return i.width === 32 ? this.#zext(a, 32, i) : a;
    if (i.args[1]!.value !== count) i.args = [a, this.#const(count)];
    if (i.op === "lshr" && this.bounds.max(a) < UNKNOWN && this.bounds.max(a) < 2 ** Number(count))
      return this.#const(0n);
    if (i.op === "ashr" && this.#nonNegative(a, i.width)) {
      i.op = "lshr";
      i.args = i.args.slice();
      return i;
    }
    // Two shifts in the same direction. What else uses the first may be a check, which holds for its register only.
    if (a.op === i.op && a.width === i.width && a.args[1]!.op === "const" && this.#once(a)) {
      const sum = (a.args[1]!.value & BigInt(i.width - 1)) + count;
      if (sum < BigInt(i.width)) i.args = [a.args[0]!, this.#const(sum)];
      else if (i.op !== "ashr") return this.#const(0n);
    }
    return i;
  }

  #select(i: Inst): Inst {
    const [c, a, b] = i.args as [Inst, Inst, Inst];
    if (c.op === "const") return c.value !== 0n ? a : b;
    if (a === b || (isConst(a) && isConst(b) && a.value === b.value && a.type === b.type)) return a;
    if (c.op === "cmp") {
      if (isConst(a, 1n) && isConst(b, 0n)) return c;
      const inner = this.#truth(c);
      if (inner !== undefined) {
        i.args = inner.negated ? [inner.value, b, a] : [inner.value, a, b];
      } else if (isConst(a, 0n) && isConst(b, 1n) && c.cond !== "set") {
        i.op = "cmp";
        i.cond = negateCond(c.cond);
        i.width = c.width;
        i.args = c.args.slice();
      }
    } else if (this.bounds.max(c) <= 1 && isConst(a, 1n) && isConst(b, 0n)) return c;
    return i;
  }
  /** `c` is only a test of a 0/1 value against zero. */
  #truth(c: Inst): { value: Inst; negated: boolean } | undefined {
    if ((c.cond === "ne" || c.cond === "eq") && isConst(c.args[1]!, 0n) && c.args[0]!.op === "cmp") {
      return { value: c.args[0]!, negated: c.cond === "eq" };
    }
    return undefined;
  }

  #cmp(i: Inst): Inst {
    const r = this.condition(i);
    if (r !== undefined) return this.#const(r ? 1n : 0n);
    const [a, b] = i.args as [Inst, Inst];
    if (
      this.bounds.max(a) <= 1 &&
      b.op === "const" &&
      ((i.cond === "ne" && b.value === 0n) || (i.cond === "eq" && b.value === 1n))
    )
      return a;
    return i;
  }

  /** Normalises the comparison that `i` (a `cmp` or `br`) makes, in place; its outcome when that is certain. */
  condition(i: Inst): boolean | undefined {
    for (let round = 0; round < 8; round++) {
      const { args, cond } = i;
      const r = this.#conditionStep(i);
      if (r !== undefined) return r;
      this.#taken(i, args);
      if (i.args === args && i.cond === cond) break;
    }
    return undefined;
  }

  #conditionStep(i: Inst): boolean | undefined {
    let [a, b] = i.args as [Inst, Inst];
    if (a.op === "const" && b.op === "const") return foldCond(i.cond, a.value, b.value, i.width);
    if (a === b) {
      switch (i.cond) {
        case "eq":
        case "uge":
        case "ule":
        case "sge":
        case "sle":
          return true;
        case "ne":
        case "ugt":
        case "ult":
        case "sgt":
        case "slt":
          return false;
        default:
      }
    }
    if (a.op === "const") {
      i.args = [b, a];
      i.cond = swapCond(i.cond);
      [a, b] = [b, a];
    }
    if (i.width === 32) {
      this.#narrowOperand(i, 0, 32);
      this.#narrowOperand(i, 1, 32);
      [a, b] = i.args as [Inst, Inst];
    }
    if (b.op !== "const") {
      this.#narrowCondition(i, a, b);
      return undefined;
    }
    const v = i.width === 32 ? BigInt.asUintN(32, b.value) : b.value;
    const u = BigInt.asUintN(i.width, v);
    // 0/1 values and comparisons of them.
    if (a.op === "cmp" && (i.cond === "ne" || i.cond === "eq") && (u === 0n || u === 1n)) {
      const holds = (i.cond === "ne") === (u === 0n);
      i.cond = holds ? a.cond : negateCond(a.cond);
      i.width = a.width;
      i.args = a.args.slice();
      return undefined;
    }
    // Strictness.
    if (u === 0n) {
      if (i.cond === "ult") return false;
      if (i.cond === "uge") return true;
      if (i.cond === "ugt" || i.cond === "ule") i.cond = i.cond === "ugt" ? "ne" : "eq";
      if (i.cond === "set" || i.cond === "nset") return i.cond === "nset";
    } else if (u === 1n && (i.cond === "ult" || i.cond === "uge")) {
      i.cond = i.cond === "ult" ? "eq" : "ne";
      i.args = [a, this.#const(0n)];
      return undefined;
    }
    const byRange = this.#outcome(i.cond, a, v, u, i.width);
    if (byRange !== undefined) return byRange;
    const equality = i.cond === "eq" || i.cond === "ne";
    if (equality && a.type === "int") {
      if (u === 0n) {
        if ((a.op === "sub" || a.op === "xor") && a.width === i.width && this.#once(a)) {
          i.args = a.args.slice();
          return undefined;
        }
        if (a.op === "and" && a.width === i.width && this.#once(a)) {
          i.cond = i.cond === "eq" ? "nset" : "set";
          i.args = a.args.slice();
          return undefined;
        }
      }
      if (a.op === "add" && a.width === i.width && a.args[1]!.op === "const" && this.#once(a)) {
        i.args = [a.args[0]!, this.#const(BigInt.asIntN(i.width, v - a.args[1]!.value))];
        return undefined;
      }
      const swapped =
        a.op === "bswap" ||
        ((a.op === "tobe" || a.op === "tole") && (a.op === "tobe") === (this.#target.endian === "little"));
      if (swapped && this.#once(a) && u < 1n << BigInt(a.bits)) {
        // Compare as it lies in memory with the swapped constant.
        const x = a.args[0]!;
        const fits = this.bounds.max(x) <= 2 ** a.bits - 1 || a.bits === 64;
        if (fits || (a.bits === 32 && this.#target.isa >= 3)) {
          i.args = [x, this.#const(foldSwap(u, a.bits))];
          i.width = a.bits === 32 && this.#target.isa >= 3 ? 32 : 64;
          return undefined;
        }
      }
    }
    this.#narrowCondition(i, a, b);
    return undefined;
  }

  /** By what the verifier also knows about `a`. */
  #outcome(cond: Cond, a: Inst, v: bigint, u: bigint, width: Width): boolean | undefined {
    const max = this.bounds.known(a);
    if (max >= UNKNOWN || (width === 32 && max > 2 ** 32 - 1)) return undefined;
    const m = BigInt(max);
    switch (cond) {
      case "eq":
        return u > m ? false : undefined;
      case "ne":
        return u > m ? true : undefined;
      case "ult":
        return m < u ? true : undefined;
      case "ule":
        return m <= u ? true : undefined;
      case "ugt":
        return m <= u ? false : undefined;
      case "uge":
        return m < u ? false : undefined;
      default:
    }
    const s = BigInt.asIntN(width, v);
    if (m >= 1n << BigInt(width - 1)) return undefined;
    switch (cond) {
      case "slt":
        return s <= 0n ? false : m < s ? true : undefined;
      case "sge":
        return s <= 0n ? true : m < s ? false : undefined;
      case "sgt":
        return s < 0n ? true : m <= s ? false : undefined;
      case "sle":
        return s < 0n ? false : m <= s ? true : undefined;
      default:
        return undefined;
    }
  }

  /** A 64-bit comparison of values that fit 32 bits reads the halves directly, when that saves extending them. */
  #narrowCondition(i: Inst, a: Inst, b: Inst): void {
    if (i.width !== 64 || this.#target.isa < 3 || a.type === "ptr" || b.type === "ptr") return;
    const signed = i.cond === "sgt" || i.cond === "sge" || i.cond === "slt" || i.cond === "sle";
    const fits = (x: Inst): boolean => this.bounds.max(x) <= (signed ? 2 ** 31 - 1 : 2 ** 32 - 1);
    /** Only made for this comparison: without it the extension goes. */
    const free = (x: Inst): boolean => x.op === "zext" && x.bits === 32 && this.#once(x);
    if (fits(a) && fits(b)) {
      const big = b.op === "const" && b.value > 0x7fff_ffffn;
      if (free(a) || free(b) || big) {
        i.width = 32;
        i.args = [free(a) ? a.args[0]! : a, free(b) ? b.args[0]! : big ? this.#const(BigInt.asIntN(32, b.value)) : b];
      }
      return;
    }
    const extended = (x: Inst): boolean => x.op === "sext" && x.bits === 32;
    const small = (x: Inst): boolean => x.op === "const" && x.value >= -0x8000_0000n && x.value <= 0x7fff_ffffn;
    if (!signed && i.cond !== "eq" && i.cond !== "ne") return;
    // Sign-extended halves compare as the halves do (not for unsigned order).
    if (extended(a) && this.#once(a) && (small(b) || (extended(b) && this.#once(b)))) {
      i.width = 32;
      i.args = [a.args[0]!, extended(b) ? b.args[0]! : b];
    }
  }
}
