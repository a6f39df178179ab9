/** Names that mean something without being declared: `Math`, `Number`, `range`. */
import { range } from "../../probe/range.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import { compare, signOf } from "./ops.ts";
import { commonNumber } from "./ranges.ts";
import type { BuiltinVal, Val } from "./value.ts";
import { ERROR } from "./value.ts";

/** A global of JavaScript's, or `range`; undefined when `name` (with this value, if it was captured) is none. */
export function globalName(fn: Fn, name: string, value: unknown): Val | undefined {
  if (value === range) return { k: "builtin", what: "range", call: (args, node) => rangeOf(fn, args, node) };
  if (name === "Math" && (value === undefined || value === Math)) return math(fn);
  if (
    (name === "Number" && (value === undefined || value === Number)) ||
    (name === "BigInt" && (value === undefined || value === BigInt))
  ) {
    return { k: "builtin", what: name, call: (args, node) => same(fn, args, node) };
  }
  if (name === "Boolean" && (value === undefined || value === Boolean)) {
    return {
      k: "builtin",
      what: name,
      call: (args, node) =>
        args[0] === undefined ? fn.report("BPF1010", node, { name, expected: "one value", got: 0 }) : fn.truth(args[0]),
    };
  }
  return undefined;
}

/** `Number(x)` and `BigInt(x)`: integers are what they are. */
function same(fn: Fn, args: readonly Ast[], node: Ast): Val {
  const [arg] = args;
  if (arg === undefined || args.length > 1)
    return fn.report("BPF1010", node, { name: "the conversion", expected: "one value", got: args.length });
  const v = fn.value(arg);
  if (v.k === "int") return v;
  return fn.scalar(v, arg) ?? ERROR;
}

function rangeOf(fn: Fn, args: readonly Ast[], node: Ast): Val {
  if (args.length < 1 || args.length > 3)
    return fn.report("BPF1010", node, { name: "range", expected: "1 to 3 arguments", got: args.length });
  const zero: Val = { k: "int", value: 0n, js: 0, type: undefined };
  const [first, second, third] = args.map((a) => fn.value(a));
  const step: Val = third ?? { k: "int", value: 1n, js: 1, type: undefined };
  if (step.k !== "int")
    return step.k === "error"
      ? ERROR
      : fn.report("BPF2006", args[2] ?? node, { expected: "a step known at compile time", found: describe(step) });
  if (step.value === 0n) return fn.report("BPF2006", args[2] ?? node, { expected: "a step other than 0", found: "0" });
  if (first === undefined) return ERROR;
  return second === undefined
    ? { k: "range", from: zero, to: first, step: step.value }
    : { k: "range", from: first, to: second, step: step.value };
}

function math(fn: Fn): BuiltinVal {
  const names = ["min", "max", "abs", "trunc", "floor"];
  return {
    k: "builtin",
    what: "Math",
    members: () => names,
    member: (name) => {
      switch (name) {
        case "min":
        case "max":
          return { k: "builtin", what: `Math.${name}`, call: (args, node) => extreme(fn, name, args, node) };
        case "abs":
          return { k: "builtin", what: "Math.abs", call: (args, node) => abs(fn, args, node) };
        // Integers have no fraction: these document an integer division.
        case "trunc":
        case "floor":
          return { k: "builtin", what: `Math.${name}`, call: (args, node) => same(fn, args, node) };
        default:
          return undefined;
      }
    },
  };
}

function extreme(fn: Fn, name: "min" | "max", args: readonly Ast[], node: Ast): Val {
  if (args.length === 0)
    return fn.report("BPF1010", node, { name: `Math.${name}`, expected: "at least one value", got: 0 });
  let best = fn.value(args[0]!);
  for (const arg of args.slice(1)) best = pick(fn, name, best, fn.value(arg), node);
  return best;
}

function pick(fn: Fn, name: "min" | "max", a: Val, b: Val, node: Ast): Val {
  if (a.k === "error" || b.k === "error") return ERROR;
  if (a.k === "int" && b.k === "int") return (name === "min") === a.value <= b.value ? a : b;
  const x = fn.scalar(a, node);
  const y = fn.scalar(b, node);
  if (x === undefined || y === undefined) return ERROR;
  const c = compare(fn, name === "min" ? "lt" : "gt", a.k === "int" ? a : x, b.k === "int" ? b : y, node);
  if (c === undefined) return ERROR;
  if (typeof c === "boolean") return c ? x : y;
  const out = fn.b.func.slot(8, 8, name);
  fn.b.start(out);
  const yes = fn.b.block(name);
  const no = fn.b.block("other");
  const end = fn.b.block("end");
  fn.branch(c.relation, c.a, c.b, c.sign, yes, no);
  for (const [block, v] of [
    [yes, x.v],
    [no, y.v],
  ] as const) {
    fn.b.at(block);
    fn.b.store(fn.b.slotAddr(out), v, { size: 8 });
    fn.b.jmp(end);
  }
  fn.b.at(end);
  const v = fn.b.load(fn.b.slotAddr(out), { size: 8 });
  const max = name === "min" ? commonNumber(a, b) : undefined;
  return { k: "scalar", type: { k: "int", bits: 64, sign: signOf(x.type) }, v, ...(max === undefined ? {} : { max }) };
}

function abs(fn: Fn, args: readonly Ast[], node: Ast): Val {
  const [arg] = args;
  if (arg === undefined || args.length > 1)
    return fn.report("BPF1010", node, { name: "Math.abs", expected: "one value", got: args.length });
  const v = fn.value(arg);
  if (v.k === "int")
    return {
      k: "int",
      value: v.value < 0n ? -v.value : v.value,
      js: v.js === undefined ? undefined : v.js < 0 ? -v.js : v.js,
      type: v.type,
    };
  const x = fn.scalar(v, arg);
  if (x === undefined) return ERROR;
  if (signOf(x.type).kind() === "u") return x;
  const out = fn.b.func.slot(8, 8, "abs");
  fn.b.start(out);
  fn.b.store(fn.b.slotAddr(out), x.v, { size: 8 });
  const negative = fn.b.block("negative");
  const end = fn.b.block("end");
  fn.b.br("slt", x.v, 0, negative, end);
  fn.b.at(negative);
  fn.b.store(fn.b.slotAddr(out), fn.b.neg(x.v), { size: 8 });
  fn.b.jmp(end);
  fn.b.at(end);
  return { k: "scalar", type: x.type, v: fn.b.load(fn.b.slotAddr(out), { size: 8 }) };
}
