/** Arithmetic, comparisons and casts: the integer rules of the language. */
import type { BinOp, Inst } from "../ir/ir.ts";
import { s64, u64 } from "../../core/int.ts";
import type { Ast } from "./ast.ts";
import type { Fn, Relation } from "./context.ts";
import { condOf, constType, describe, nameOf } from "./context.ts";
import type { ConstInt, FoldResult } from "./fold.ts";
import { foldBinary, foldCompare, foldUnary } from "./fold.ts";
import type { Sign } from "./sign.ts";
import { SIGNED, UNSIGNED, joinSigns } from "./sign.ts";
import type { EnumType, IntType, ScalarType, Width } from "./types.ts";
import { BOOL, typeName } from "./types.ts";
import type { IntConst, ScalarVal, Val } from "./value.ts";
import { ERROR } from "./value.ts";

const RELATIONS: Readonly<Record<string, Relation>> = {
  "===": "eq",
  "==": "eq",
  "!==": "ne",
  "!=": "ne",
  "<": "lt",
  "<=": "le",
  ">": "gt",
  ">=": "ge",
};
export function relationOf(op: string): Relation | undefined {
  return RELATIONS[op];
}
const SYMBOLS: Readonly<Record<Relation, string>> = { eq: "===", ne: "!==", lt: "<", le: "<=", gt: ">", ge: ">=" };

/** The sign of a number of this type; pointers are unsigned addresses. */
export function signOf(t: ScalarType): Sign {
  return t.k === "int" || t.k === "enum" ? t.sign : UNSIGNED;
}

/** A JavaScript number, bigint or member of an enumeration as a constant; reports numbers that are no integers. */
export function constInt(fn: Fn, value: number | bigint, node: Ast): Val {
  if (typeof value === "number") {
    if (!Number.isInteger(value)) return fn.report("BPF2003", node, { value: String(value) });
    if (!Number.isSafeInteger(value)) {
      const raw = (node as { raw?: string }).raw ?? String(BigInt(value));
      return fn.report("BPF2005", node, { value: raw, fix: `${raw}n` });
    }
    return { k: "int", value: BigInt(value), js: value, type: undefined };
  }
  if (value < -(1n << 63n) || value >= 1n << 64n) return fn.report("BPF2004", node, { value: String(value) });
  return { k: "int", value, js: value, type: undefined };
}

function foldProblem(
  fn: Fn,
  op: string,
  r: Extract<FoldResult, { ok: false }>,
  node: Ast,
  a: ConstInt,
  b?: ConstInt,
): Val {
  switch (r.why) {
    case "zero":
      return fn.report("BPF2013", node);
    case "shift":
      return fn.report("BPF2014", node, { count: r.value });
    case "overflow":
      return fn.report("BPF2004", node, { value: r.value });
    case "mixed":
      return fn.report("BPF2017", node, { op: `'${op}'`, what: "bigints" });
    default: {
      const suffix = (c: ConstInt): string => `${c.value}n`;
      const fix =
        b === undefined
          ? `write the number that is meant, or \`${op}u64(${a.value})\``
          : `write the number that is meant, or \`${suffix(a)} ${op} ${suffix(b)}\` for the 64-bit result`;
      return fn.report("BPF2002", node, { js: r.js, int: r.int, fix });
    }
  }
}

/** `a op b` for arithmetic, bitwise and shift operators. */
export function arithmetic(fn: Fn, op: string, a: Val, b: Val, node: Ast, left: Ast = node, right: Ast = node): Val {
  if (a.k === "error" || b.k === "error") return ERROR;
  if (a.k === "int" && b.k === "int") return foldInts(fn, op, a, b, node);
  if (!numeric(fn, op, a, left) || !numeric(fn, op, b, right)) return ERROR;
  const x = fn.scalar(a, node);
  const y = fn.scalar(b, node);
  if (x === undefined || y === undefined) return ERROR;
  const xs = signOf(x.type);
  const ys = signOf(y.type);
  switch (op) {
    case "+":
    case "-":
      if (x.type.k === "ptr" && (op === "+" || y.type.k !== "ptr")) return pointerArithmetic(fn, op, x, y);
      if (op === "+" && y.type.k === "ptr") return pointerArithmetic(fn, op, y, x);
      return result(joinSigns(xs, ys), fn.b.bin(op === "+" ? "add" : "sub", x.v, y.v));
    case "*":
      return result(joinSigns(xs, ys), fn.b.mul(x.v, y.v));
    case "&":
      return { ...result(bitSign(xs, ys, a, b), fn.b.and(x.v, y.v)), ...bound(a.k === "int" ? a : b) };
    case "|":
      return result(joinSigns(xs, ys), fn.b.or(x.v, y.v));
    case "^":
      return result(joinSigns(xs, ys), fn.b.xor(x.v, y.v));
    case "<<":
      if (!shiftCount(fn, b, node)) return ERROR;
      return result(xs, fn.b.bin("shl", x.v, y.v));
    case ">>>":
      if (!shiftCount(fn, b, node)) return ERROR;
      return result(UNSIGNED, fn.b.bin("lshr", x.v, y.v));
    case ">>":
      if (!shiftCount(fn, b, node)) return ERROR;
      if (xs.kind() === "mixed") return mixed(fn, "shifting right", node);
      return result(xs, signedOp(fn, "lshr", "ashr", x.v, y.v, xs));
    case "/":
    case "%": {
      if (b.k === "int" && b.value === 0n) return fn.report("BPF2013", node);
      if (!xs.unify(ys)) return mixed(fn, op === "/" ? "this division" : "this remainder", node);
      if (op === "%" && b.k === "int" && xs.kind() === "u")
        return { ...result(xs, fn.b.bin("umod", x.v, y.v)), max: b.value - 1n };
      return result(
        xs,
        op === "/" ? signedOp(fn, "udiv", "sdiv", x.v, y.v, xs) : signedOp(fn, "umod", "smod", x.v, y.v, xs),
      );
    }
    case "**":
      return fn.report("BPF1001", node, {
        what: "`**` with a run-time operand",
        instead: "multiply, or shift left for powers of two",
      });
    default:
      return fn.report("BPF2017", node, { op: `'${op}'`, what: describe(a) });
  }
}

/** `x & mask` with a non-negative constant is non-negative: it takes the other side's sign, and an open one stays open. */
function bitSign(xs: Sign, ys: Sign, a: Val, b: Val): Sign {
  const mask = a.k === "int" ? a : b.k === "int" ? b : undefined;
  const other = a.k === "int" ? ys : xs;
  if (
    mask !== undefined &&
    mask.type === undefined &&
    mask.value >= 0n &&
    mask.value < 1n << 63n &&
    other.kind() === "mixed"
  )
    return UNSIGNED;
  return joinSigns(xs, ys);
}

/** `x & mask` is at most the mask. */
function bound(mask: Val): { max?: bigint } {
  return mask.k === "int" && mask.value >= 0n ? { max: mask.value } : {};
}

function result(sign: Sign, v: Inst): ScalarVal {
  return { k: "scalar", type: { k: "int", bits: 64, sign }, v };
}

function signedOp(fn: Fn, unsigned: BinOp, signed: BinOp, a: Inst, b: Inst, sign: Sign): Inst {
  const i = fn.b.bin(sign.signed ? signed : unsigned, a, b);
  fn.whenDecided(sign, (isSigned) => void (i.op = isSigned ? signed : unsigned));
  return i;
}

function pointerArithmetic(fn: Fn, op: string, p: ScalarVal, n: ScalarVal): Val {
  // An address that is only passed on to a read: plain 64-bit arithmetic.
  const v = fn.b.bin(op === "+" ? "add" : "sub", p.v, n.v);
  const type = p.type.k === "ptr" ? { ...p.type, to: undefined, trust: "probe" as const } : p.type;
  return { k: "scalar", type, v };
}

function shiftCount(fn: Fn, count: Val, node: Ast): boolean {
  if (count.k === "int" && (count.value < 0n || count.value > 63n)) {
    fn.report("BPF2014", node, { count: count.value });
    return false;
  }
  return true;
}

function mixed(fn: Fn, what: string, node: Ast): Val {
  return fn.report("BPF2001", node, { what, fix: "s64(x)" });
}

function numeric(fn: Fn, op: string, v: Val, node: Ast): boolean {
  if (v.k === "int") return true;
  if (v.k === "scalar" && v.type.k !== "bool" && v.type.k !== "literal") return true;
  if (v.k === "opt") {
    fn.report("BPF2007", node, { what: v.what, name: nameOf(node) });
    return false;
  }
  fn.report("BPF2017", node, { op: `'${op}'`, what: describe(v) });
  return false;
}

function foldInts(fn: Fn, op: string, a: IntConst, b: IntConst, node: Ast): Val {
  const typed = a.type !== undefined || b.type !== undefined;
  const xs = signOf(constType(a));
  const ys = signOf(constType(b));
  const needsOne = op === "/" || op === "%";
  if (needsOne && !xs.unify(ys)) return mixed(fn, op === "/" ? "this division" : "this remainder", node);
  const shift = op === "<<" || op === ">>" || op === ">>>";
  const sign = op === ">>>" ? UNSIGNED : shift ? xs : joinSigns(xs, ys);
  if (op === ">>" && sign.kind() === "mixed") return mixed(fn, "shifting right", node);
  const left = typed ? { value: a.value, js: undefined } : a;
  const folded = foldBinary(op, left, b, sign.signed);
  if (!folded.ok) return foldProblem(fn, op, folded, node, a, b);
  return {
    k: "int",
    ...folded.result,
    type: typed ? { k: "int", bits: 64, sign: sign.kind() === undefined ? SIGNED : sign } : undefined,
  };
}

/** Unary `-`, `+`, `~`. */
export function unary(fn: Fn, op: "-" | "+" | "~", a: Val, node: Ast): Val {
  if (a.k === "error") return ERROR;
  if (a.k === "int") {
    const folded = foldUnary(op, a);
    if (!folded.ok) return foldProblem(fn, op, folded, node, a);
    const type =
      a.type === undefined
        ? undefined
        : ({ k: "int", bits: 64, sign: op === "-" ? SIGNED : signOf(a.type) } satisfies IntType);
    const { value } = folded.result;
    return {
      k: "int",
      value: type === undefined ? value : type.sign.signed ? s64(value) : u64(value),
      js: folded.result.js,
      type,
    };
  }
  if (!numeric(fn, op, a, node)) return ERROR;
  const x = fn.scalar(a, node);
  if (x === undefined) return ERROR;
  if (op === "+") return x;
  if (op === "-") return result(SIGNED, fn.b.neg(x.v));
  return result(signOf(x.type), fn.b.not(x.v));
}

/** The two sides of a comparison in registers, with their common sign; undefined when reported. */
export interface Compared {
  readonly relation: Relation;
  readonly a: Inst;
  readonly b: Inst;
  readonly sign: Sign;
}

/** Compares integers, bools, enums and pointers. A boolean is a result known at compile time. */
export function compare(fn: Fn, relation: Relation, a: Val, b: Val, node: Ast): Compared | boolean | undefined {
  if (a.k === "error" || b.k === "error") return undefined;
  if (a.k === "int" && b.k === "int") {
    if ((a.type !== undefined || b.type !== undefined) && !signOf(constType(a)).unify(signOf(constType(b))))
      return void mixed(fn, `\`${SYMBOLS[relation]}\``, node);
    return foldCompare(SYMBOLS[relation], a.value, b.value);
  }
  const texts = literals(fn, relation, a, b, node);
  if (texts !== undefined) return texts === "reported" ? undefined : texts;
  const named = enumMember(fn, a, b, node);
  if (named === "reported") return undefined;
  if (named !== undefined) return compare(fn, relation, named.a, named.b, node);
  const na = nullish(a);
  const nb = nullish(b);
  if (na || nb) {
    const other = na ? b : a;
    const equality = relation === "eq" || relation === "ne";
    if (equality && na && nb) return relation === "eq";
    const p = fn.settle(other, node);
    if (equality && p.k === "scalar" && p.type.k === "ptr")
      return { relation, a: p.v, b: fn.b.nullPtr(), sign: UNSIGNED };
    // A number, struct or string is never undefined.
    if (
      equality &&
      (p.k === "scalar" || p.k === "int" || p.k === "place" || p.k === "string" || p.k === "js" || p.k === "record")
    )
      return relation === "ne";
    return void fn.report("BPF2015", node, { what: describe(a), other: describe(b) });
  }
  const x = comparable(fn, a, a, b, node);
  const y = comparable(fn, b, a, b, node);
  if (x === undefined || y === undefined) return undefined;
  const bothBool = x.type.k === "bool" && y.type.k === "bool";
  if ((x.type.k === "bool") !== (y.type.k === "bool"))
    return void fn.report("BPF2015", node, { what: describe(a), other: describe(b) });
  const sign = bothBool ? UNSIGNED : signOf(x.type);
  if (!bothBool && x.type.k !== "ptr" && y.type.k !== "ptr" && !sign.unify(signOf(y.type))) {
    return void mixed(fn, `\`${SYMBOLS[relation]}\``, node);
  }
  if (sign.kind() === "u") {
    const zero =
      b.k === "int" && b.value === 0n ? (relation === "lt" ? false : relation === "ge" ? true : undefined) : undefined;
    if (zero !== undefined) fn.report("BPF6001", node, { value: String(zero) });
  }
  return { relation, a: x.v, b: y.v, sign };
}

export function nullish(v: Val): boolean {
  return v.k === "js" && (v.value === undefined || v.value === null);
}

function comparable(fn: Fn, v: Val, a: Val, b: Val, node: Ast): ScalarVal | undefined {
  const s = fn.settle(v, node);
  if (
    s.k === "scalar" ||
    s.k === "int" ||
    (s.k === "js" && typeof s.value === "boolean") ||
    s.k === "opt" ||
    s.k === "error"
  )
    return fn.scalar(s, node);
  fn.report("BPF2015", node, { what: describe(a), other: describe(b) });
  return undefined;
}

/** `kind === "tcp"`, where `kind` is one of several texts. */
function literals(fn: Fn, relation: Relation, a: Val, b: Val, node: Ast): Compared | "reported" | undefined {
  const isLiteral = (v: Val): v is ScalarVal => v.k === "scalar" && v.type.k === "literal";
  if (!isLiteral(a) && !isLiteral(b)) return undefined;
  const number = (v: Val): Inst | undefined =>
    isLiteral(v)
      ? v.v
      : v.k === "js" && typeof v.value === "string"
        ? fn.b.int(fn.module.textNumber(v.value))
        : undefined;
  const x = number(a);
  const y = number(b);
  if (x !== undefined && y !== undefined && (relation === "eq" || relation === "ne"))
    return { relation, a: x, b: y, sign: UNSIGNED };
  fn.report("BPF2015", node, { what: describe(a), other: describe(b) });
  return "reported";
}

/** `state === "OPEN"`: the name of a member of an enumeration stands for its value. */
function enumMember(fn: Fn, a: Val, b: Val, node: Ast): { a: Val; b: Val } | "reported" | undefined {
  const ea = enumOf(a);
  const eb = enumOf(b);
  if (ea !== undefined && b.k === "js" && typeof b.value === "string") {
    const v = memberOf(fn, ea, b.value, node);
    return v === undefined ? "reported" : { a, b: v };
  }
  if (eb !== undefined && a.k === "js" && typeof a.value === "string") {
    const v = memberOf(fn, eb, a.value, node);
    return v === undefined ? "reported" : { a: v, b };
  }
  return undefined;
}

function enumOf(v: Val): EnumType | undefined {
  return v.k === "scalar" && v.type.k === "enum" ? v.type : undefined;
}

export function memberOf(fn: Fn, e: EnumType, name: string, node: Ast): IntConst | undefined {
  const value = e.values.get(name);
  if (value === undefined) {
    fn.report("BPF1019", node, {
      name,
      instead: `members of ${e.name}: ${[...e.values.keys()].slice(0, 8).join(", ")}`,
    });
    return undefined;
  }
  return { k: "int", value: BigInt(value), js: undefined, type: e };
}

/** A comparison as a value. */
export function compareValue(fn: Fn, relation: Relation, a: Val, b: Val, node: Ast): Val {
  const c = compare(fn, relation, a, b, node);
  if (c === undefined) return ERROR;
  if (typeof c === "boolean") return { k: "js", value: c };
  const i = fn.b.cmp(condOf(c.relation, c.sign.signed), c.a, c.b);
  fn.whenDecided(c.sign, (signed) => void (i.cond = condOf(c.relation, signed)));
  return { k: "scalar", type: BOOL, v: i };
}

/** `u32(x)`, `s8(x)`, `be16(x)` …: the value modulo 2^bits with the type's sign. */
export function cast(fn: Fn, bits: Width, signed: boolean, v: Val, node: Ast): Val {
  const type: IntType = { k: "int", bits, sign: signed ? SIGNED : UNSIGNED };
  if (v.k === "error") return ERROR;
  if (v.k === "int") {
    return {
      k: "int",
      value: signed ? BigInt.asIntN(bits, v.value) : BigInt.asUintN(bits, v.value),
      js: undefined,
      type,
    };
  }
  const x = fn.scalar(v, node, `something that ${typeName(type)}() can convert`);
  if (x === undefined) return ERROR;
  return { k: "scalar", type, v: extend(fn, x, bits, signed) };
}

/** The register holding `x` narrowed to `bits`, which costs nothing where it is known to fit. */
function extend(fn: Fn, x: ScalarVal, bits: Width, signed: boolean): Inst {
  if (bits === 64) return x.v;
  const t = x.type;
  if (t.k === "bool") return x.v;
  if (t.k === "int" || t.k === "enum") {
    const kind = t.sign.kind();
    if (kind === "u" && (t.bits < bits || (t.bits === bits && !signed))) return x.v;
    if (kind === "s" && signed && t.bits <= bits) return x.v;
  }
  return signed ? fn.b.sext(x.v, bits) : fn.b.zext(x.v, bits);
}

/** Checks that a constant fits a narrower place: a truncation must be asked for. */
export function checkFits(fn: Fn, v: Val, t: ScalarType, node: Ast): void {
  if (v.k !== "int" || v.type !== undefined || (t.k !== "int" && t.k !== "enum")) return;
  const signed = t.sign.kind() === "s";
  const low = signed ? -(1n << BigInt(t.bits - 1)) : 0n;
  const high = (1n << BigInt(signed ? t.bits - 1 : t.bits)) - 1n;
  // -1 is the usual way to write "all ones" of an unsigned type.
  if ((v.value < low || v.value > high) && !(v.value < 0n && v.value >= -(1n << BigInt(t.bits - 1)))) {
    fn.report("BPF2011", node, { value: v.value, type: typeName(t), range: `${low} to ${high}` });
  }
}
