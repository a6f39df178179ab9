/**
 * Compile-time arithmetic. A constant knows whether JavaScript would agree: a
 * literal-only expression is computed the way JavaScript does *and* in 64 bits,
 * and an expression on which the two differ is an error.
 */
import { s64, u64 } from "../../core/int.ts";

/** `js`: what JavaScript computes (undefined once a cast or a run-time width took part). */
export interface ConstInt {
  readonly value: bigint;
  readonly js: number | bigint | undefined;
}

export type FoldResult =
  | { readonly ok: true; readonly result: ConstInt }
  | { readonly ok: false; readonly why: "differs"; readonly js: string; readonly int: string }
  | { readonly ok: false; readonly why: "zero" | "shift" | "mixed" | "overflow"; readonly value: string };

const MIN = -(1n << 63n);
const MAX = (1n << 64n) - 1n;

export function fitsInt64(value: bigint): boolean {
  return value >= MIN && value <= MAX;
}

/** `a op b` for JavaScript's arithmetic, bitwise and shift operators (without `=`). `signed`: how 64 bits are read. */
export function foldBinary(op: string, a: ConstInt, b: ConstInt, signed: boolean): FoldResult {
  const value = exact(op, a.value, b.value, signed);
  if (typeof value === "string")
    return { ok: false, why: value, value: op === "<<" || op === ">>" || op === ">>>" ? String(b.value) : "" };
  const js = jsBinary(op, a.js, b.js);
  if (js === "mixed") return { ok: false, why: "mixed", value: "" };
  if (js === undefined) return { ok: true, result: { value: signed ? s64(value) : u64(value), js: undefined } };
  if (!fitsInt64(value)) return { ok: false, why: "overflow", value: String(value) };
  if (typeof js === "bigint" ? js !== value : !Number.isInteger(js) || BigInt(js) !== value) {
    return { ok: false, why: "differs", js: String(js), int: String(value) };
  }
  return { ok: true, result: { value, js } };
}

function exact(op: string, a: bigint, b: bigint, signed: boolean): bigint | "zero" | "shift" {
  switch (op) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return b === 0n ? "zero" : a / b;
    case "%":
      return b === 0n ? "zero" : a % b;
    case "**":
      return b < 0n || b > 64n ? "shift" : a ** b;
    case "&":
      return a & b;
    case "|":
      return a | b;
    case "^":
      return a ^ b;
    case "<<":
      return b < 0n || b > 63n ? "shift" : signed ? (s64(a << b) === a << b ? a << b : u64(a << b)) : u64(a << b);
    case ">>":
      return b < 0n || b > 63n ? "shift" : a >> b;
    case ">>>":
      return b < 0n || b > 63n ? "shift" : u64(a) >> b;
    default:
      throw new Error(`not a binary operator: ${op}`);
  }
}

function jsBinary(
  op: string,
  a: number | bigint | undefined,
  b: number | bigint | undefined,
): number | bigint | undefined | "mixed" {
  if (a === undefined || b === undefined) return undefined;
  if (typeof a === "bigint" && typeof b === "bigint") {
    switch (op) {
      case "+":
        return a + b;
      case "-":
        return a - b;
      case "*":
        return a * b;
      case "/":
        return a / b;
      case "%":
        return a % b;
      case "**":
        return a ** b;
      case "&":
        return a & b;
      case "|":
        return a | b;
      case "^":
        return a ^ b;
      case "<<":
        return a << b;
      case ">>":
        return a >> b;
      default:
        return "mixed";
    }
  }
  // JavaScript refuses to mix the two at run time; a number literal beside a bigint literal is exact all the same.
  if (typeof a !== typeof b) return undefined;
  const x = Number(a);
  const y = Number(b);
  switch (op) {
    case "+":
      return x + y;
    case "-":
      return x - y;
    case "*":
      return x * y;
    case "/":
      return x / y;
    case "%":
      return x % y;
    case "**":
      return x ** y;
    case "&":
      return x & y;
    case "|":
      return x | y;
    case "^":
      return x ^ y;
    case "<<":
      return x << y;
    case ">>":
      return x >> y;
    default:
      return x >>> y;
  }
}

/** `op a` for unary `-`, `+` and `~`. */
export function foldUnary(op: string, a: ConstInt): FoldResult {
  const value = op === "-" ? -a.value : op === "~" ? ~a.value : a.value;
  if (a.js === undefined) return { ok: true, result: { value: s64(value), js: undefined } };
  const js = op === "-" ? -a.js : op === "~" ? ~(a.js as number) : a.js;
  if (!fitsInt64(value)) return { ok: false, why: "overflow", value: String(value) };
  if (typeof js === "bigint" ? js !== value : BigInt(js) !== value)
    return { ok: false, why: "differs", js: String(js), int: String(value) };
  return { ok: true, result: { value, js: Object.is(js, -0) ? 0 : js } };
}

/** `a op b` for comparisons. */
export function foldCompare(op: string, a: bigint, b: bigint): boolean {
  switch (op) {
    case "<":
      return a < b;
    case "<=":
      return a <= b;
    case ">":
      return a > b;
    case ">=":
      return a >= b;
    case "===":
    case "==":
      return a === b;
    default:
      return a !== b;
  }
}
