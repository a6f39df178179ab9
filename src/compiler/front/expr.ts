/** Expressions: from the syntax tree to values. */
import type {
  AssignmentExpression,
  CallExpression,
  Identifier,
  Literal,
  ObjectExpression,
  SequenceExpression,
  TemplateLiteral,
  UnaryExpression,
  UpdateExpression,
} from "acorn";
import type { Schema } from "../../probe/schema-types.ts";
import { isSchema } from "../../probe/schema.ts";
import type { Slot } from "../ir/ir.ts";
import type { Ast, Expr, FunctionNode } from "./ast.ts";
import { unwrap } from "./ast.ts";
import { assign, update } from "./assign.ts";
import type { Fn } from "./context.ts";
import { nameOf, unsupported } from "./context.ts";
import { coverBranch } from "./cover.ts";
import { globalName } from "./globals.ts";
import { join } from "./join.ts";
import { spread, tuple } from "./lists.ts";
import { Merge } from "./merge.ts";
import { lacksKernelField } from "./kernel-access.ts";
import { member, memberOf } from "./member-expr.ts";
import { propertyName, storeInto } from "./memory.ts";
import { arithmetic, cast, compareValue, constInt, relationOf, unary } from "./ops.ts";
import { irSpace } from "./place.ts";
import { hint } from "./report.ts";
import { comparesMemory } from "./same.ts";
import { boolean, isText } from "./strings.ts";
import { defined, fromSchema, isScalar, sizeOf } from "./types.ts";
import type { PlaceVal, ScalarVal, Sym, Val } from "./value.ts";
import { ERROR, NOTHING, UNDEFINED } from "./value.ts";

export function expr(fn: Fn, node: Ast): Val {
  const e = unwrap(node);
  switch (e.type) {
    case "Literal":
      return literal(fn, e);
    case "Identifier":
      return identifier(fn, e);
    case "MemberExpression":
      return member(fn, e);
    case "ChainExpression":
      return chain(fn, e.expression);
    case "CallExpression":
      fn.mark(e);
      return call(fn, e);
    case "BinaryExpression":
      return binary(fn, e);
    case "LogicalExpression":
      return logical(fn, e);
    case "UnaryExpression":
      return unaryExpr(fn, e);
    case "UpdateExpression":
      return update(fn, e as UpdateExpression);
    case "AssignmentExpression":
      return assign(fn, e as AssignmentExpression);
    case "ConditionalExpression":
      return conditional(fn, e);
    case "TemplateLiteral":
      return template(fn, e);
    case "SequenceExpression":
      return sequence(fn, e);
    case "ArrowFunctionExpression":
    case "FunctionExpression":
      return {
        k: "function",
        name: (e as { id?: Identifier | null }).id?.name ?? "",
        node: e as FunctionNode,
        source: fn.source,
        scope: fn.scope,
      };
    case "ObjectExpression":
      return objectLiteral(fn, e);
    case "ArrayExpression": {
      if (e.elements.includes(null)) return unsupported(fn, e, "a hole in an array", "write the elements");
      const items = spread(fn, e.elements);
      return items === undefined ? ERROR : tuple(items);
    }
    default:
      return fn.report("BPF1001", e, {
        what: constructName(e.type),
        instead: INSTEAD[e.type] ?? "write it with numbers, structs and functions",
      });
  }
}

const NAMES: Readonly<Record<string, string>> = {
  AwaitExpression: "`await`",
  YieldExpression: "`yield`",
  NewExpression: "`new`",
  ThisExpression: "`this`",
  ClassExpression: "a class",
  TaggedTemplateExpression: "a tagged template",
  ImportExpression: "`import()`",
  MetaProperty: "`import.meta` or `new.target`",
  Super: "`super`",
};
const INSTEAD: Readonly<Record<string, string>> = {
  AwaitExpression: "a probe runs to its end without waiting",
  NewExpression: "declare a `struct` and write an object literal, or use a map",
  ThisExpression: "use a `global()` or a map for state",
  ClassExpression: "use functions and structs",
  TaggedTemplateExpression: "call `bpf.printk(`…`)` with a plain template",
  ImportExpression: "import at the top of the file",
};
export function constructName(type: string): string {
  return (
    NAMES[type] ??
    `${/^[AEIOU]/.test(type) ? "an" : "a"} ${type
      .replace(/(Expression|Statement|Declaration)$/, "")
      .replace(/([a-z])([A-Z])/g, "$1 $2")
      .toLowerCase()}`
  );
}
function literal(fn: Fn, e: Literal): Val {
  if (typeof e.value === "number") return constInt(fn, e.value, e);
  if (typeof e.bigint === "string") return constInt(fn, BigInt(e.bigint), e);
  if (typeof e.value === "string" || typeof e.value === "boolean" || e.value === null)
    return { k: "js", value: e.value };
  return unsupported(fn, e, "a regular expression", "use `===` or `startsWith`");
}

function identifier(fn: Fn, e: Identifier): Val {
  if (e.name === "undefined") return UNDEFINED;
  const sym = fn.find(e.name);
  if (sym !== undefined) return readSym(fn, sym);
  const r = fn.source.resolve(e.name, e);
  switch (r.k) {
    case "value":
      return globalName(fn, e.name, r.value) ?? fn.module.constant(fn, e.name, r.value, e);
    case "refused":
      return fn.report("BPF1015", e, { name: e.name, why: r.why, instead: r.instead });
    default: {
      const known = globalName(fn, e.name, undefined);
      return known ?? fn.report("BPF1002", e, { name: e.name }, { notes: similar(e.name, fn.scope.names()) });
    }
  }
}

function similar(name: string, names: Iterable<string>): string[] {
  const h = hint(name, names);
  return h === "" ? [] : [h.slice(2)];
}

/** The value of a variable now. */
export function readSym(fn: Fn, sym: Sym): Val {
  const fact = fn.facts.get(sym);
  const { slot } = sym;
  if (slot === undefined) {
    if (fact !== undefined && sym.val.k === "scalar") return { ...sym.val, type: defined(sym.val.type) };
    if (fact === undefined || sym.val.k !== "opt") return sym.val;
    return fact === true ? (sym.val.value ?? sym.val.inner) : fact;
  }
  const { b } = fn;
  switch (slot.k) {
    case "scalar":
      return {
        k: "scalar",
        type: fact === undefined ? slot.type : defined(slot.type),
        v: loadSlot(fn, slot.slot, slot.type),
      };
    case "ref": {
      const ptr = b.load(b.slotAddr(slot.slot), { size: 8, space: irSpace(slot.inner) });
      const inner: PlaceVal = { ...slot.inner, base: ptr };
      return slot.nullable && fact === undefined ? { k: "opt", ptr, inner, what: slot.what } : inner;
    }
    default: {
      const inner: PlaceVal = { k: "place", type: slot.type, base: b.slotAddr(slot.slot), off: 0, space: "stack" };
      if (fact !== undefined) return { k: "scalar", type: slot.type, v: loadSlot(fn, slot.slot, slot.type) };
      return { k: "opt", ptr: b.load(b.slotAddr(slot.present), { size: 8 }), inner, what: slot.what };
    }
  }
}

/** A variable's register: slots of variables always hold 64 bits. */
export function loadSlot(fn: Fn, slot: Slot, type: ScalarVal["type"]): ScalarVal["v"] {
  return fn.b.load(fn.b.slotAddr(slot), {
    size: 8,
    ...(type.k === "ptr" && type.space === "kernel" ? { space: "btf" as const } : {}),
  });
}

function chain(fn: Fn, e: Expr): Val {
  // `a?.b.c`: undefined as a whole when `a` is.
  return e.type === "CallExpression" ? call(fn, e) : e.type === "MemberExpression" ? member(fn, e) : expr(fn, e);
}

function call(fn: Fn, e: CallExpression): Val {
  if (e.callee.type === "Super") return unsupported(fn, e, "`super()`", "use functions and structs");
  const callee = fn.expr(e.callee);
  const spreads = e.arguments.find((a) => a.type === "SpreadElement");
  if (spreads !== undefined && callee.k !== "function" && callee.k !== "error")
    return unsupported(fn, spreads, "a spread argument here", "write the arguments");
  const args = e.arguments as Expr[];
  switch (callee.k) {
    case "error":
      // Their own mistakes are worth saying all the same.
      for (const a of args)
        if (a.type !== "ArrowFunctionExpression" && a.type !== "FunctionExpression" && a.type !== "ObjectExpression")
          fn.expr(a);
      return ERROR;
    case "builtin":
      if (callee.call !== undefined) return callee.call(args, e);
      break;
    case "handle":
      if (isSchema(callee.value)) return convert(fn, callee.value, args, e);
      break;
    case "function": {
      const values = spread(fn, args);
      if (values === undefined) return ERROR;
      return fn.lowering.call(fn, callee, values, e);
    }
    case "opt":
      return fn.report("BPF2007", e.callee, { what: callee.what, name: nameOf(e.callee) });
    default:
      break;
  }
  return fn.report("BPF1009", e.callee, { name: nameOf(e.callee) });
}

/** `u32(x)`, `Event({…})`, `char(16)(text)`: a schema called is a conversion. */
function convert(fn: Fn, schema: Schema, args: readonly Expr[], e: CallExpression): Val {
  const [arg] = args;
  const type = fromSchema(schema);
  if (args.length > 1 || (arg === undefined && isScalar(type))) {
    return fn.report("BPF1010", e, { name: nameOf(e.callee), expected: "one value", got: String(args.length) });
  }
  if (type.k === "int" && arg !== undefined) {
    const v = cast(fn, type.bits, type.sign.signed, fn.value(arg), arg);
    return v;
  }
  if (type.k === "enum" && arg !== undefined) {
    const v = fn.scalar(fn.value(arg), arg);
    return v === undefined ? ERROR : { k: "scalar", type, v: v.v };
  }
  if (type.k === "bool" && arg !== undefined) return toBoolean(fn, arg);
  const dest = fn.temp(type, "value");
  if (arg === undefined) fn.b.memset(dest.base, 0, sizeOf(type), 8);
  else storeInto(fn, dest, arg, { clean: true, partial: true });
  return dest;
}

function binary(fn: Fn, e: Extract<Expr, { type: "BinaryExpression" }>): Val {
  if (e.left.type === "PrivateIdentifier") return unsupported(fn, e, "a private member", "use structs");
  if (e.operator === "in" || e.operator === "instanceof")
    return unsupported(fn, e, `\`${e.operator}\``, "use `map.has(key)`");
  const relation = relationOf(e.operator);
  if (relation === undefined) {
    const a = fn.value(e.left);
    const b = fn.value(e.right);
    fn.mark(e);
    return arithmetic(fn, e.operator, a, b, e, e.left, e.right);
  }
  const a = fn.value(e.left);
  const b = fn.value(e.right);
  fn.mark(e);
  if (a.k === "opt" || b.k === "opt" || (isText(a) && isText(b)) || comparesMemory(a, b)) return conditionValue(fn, e);
  return compareValue(fn, relation, a, b, e);
}

/** A condition as a value, through control flow. */
function conditionValue(fn: Fn, e: Expr): Val {
  const before = fn.facts;
  const v = boolean(fn, (yes, no) => void fn.lowering.cond(fn, e, yes, no));
  fn.facts = before;
  return v;
}

export function toBoolean(fn: Fn, node: Ast): Val {
  return conditionValue(fn, unwrap(node));
}

function logical(fn: Fn, e: Extract<Expr, { type: "LogicalExpression" }>): Val {
  if (e.operator === "??") return coalesce(fn, e);
  return conditionValue(fn, e);
}

/** `a ?? b`. */
function coalesce(fn: Fn, node: Extract<Expr, { type: "LogicalExpression" }>): Val {
  const { b } = fn;
  const { left, right } = node;
  const e = unwrap(left);
  let a: Val;
  if (
    e.type === "MemberExpression" &&
    !e.computed &&
    !e.optional &&
    e.object.type !== "Super" &&
    e.property.type === "Identifier"
  ) {
    const object = fn.expr(e.object);
    // `task.state ?? task.__state`: whichever field this kernel has.
    if (lacksKernelField(fn, object, e.property.name)) return fn.value(right);
    a = memberOf(fn, object, e.property.name, e, false);
  } else {
    a = fn.expr(e);
  }
  if (a.k === "error") return ERROR;
  if (a.k === "js" && (a.value === undefined || a.value === null)) return fn.value(right);
  if (a.k !== "opt") return fn.settle(a, left);
  const yes = b.block("defined");
  const no = b.block("default");
  const ways = coverBranch(fn, "logical", node, [{ node: left, implied: true }, { node: right }]);
  const merge = new Merge(fn, "the value");
  fn.branchDefined(a, yes, no);
  return join(
    fn,
    merge,
    [
      { block: yes, value: () => fn.settle(a.inner, left), node: left },
      {
        block: no,
        value: () => {
          ways.take(1);
          return fn.value(right);
        },
        node: right,
      },
    ],
    node,
  );
}

function conditional(fn: Fn, e: Extract<Expr, { type: "ConditionalExpression" }>): Val {
  const { b } = fn;
  const yes = b.block("then");
  const no = b.block("else");
  const ways = coverBranch(fn, "conditional", e, [{ node: e.consequent }, { node: e.alternate }]);
  const merge = new Merge(fn, "the value");
  const known = fn.lowering.cond(fn, e.test, yes, no);
  const before = fn.facts;
  return join(
    fn,
    merge,
    [
      {
        block: yes,
        value: () => {
          ways.take(0);
          fn.facts = before;
          fn.assume(known.whenTrue);
          return fn.value(e.consequent);
        },
        node: e.consequent,
      },
      {
        block: no,
        value: () => {
          ways.take(1);
          fn.facts = before;
          fn.assume(known.whenFalse);
          return fn.value(e.alternate);
        },
        node: e.alternate,
      },
    ],
    e,
  );
}

function unaryExpr(fn: Fn, e: UnaryExpression): Val {
  switch (e.operator) {
    case "-":
    case "+":
    case "~": {
      const a = fn.value(e.argument);
      fn.mark(e);
      return unary(fn, e.operator, a, e);
    }
    case "!":
      return conditionValue(fn, e);
    case "void":
      fn.value(e.argument);
      return UNDEFINED;
    default:
      return unsupported(
        fn,
        e,
        `\`${e.operator}\``,
        e.operator === "typeof" ? "types are known when the probe is compiled" : "use `map.delete(key)`",
      );
  }
}

function sequence(fn: Fn, e: SequenceExpression): Val {
  let last: Val = NOTHING;
  for (const x of e.expressions) last = fn.value(x);
  return last;
}

function objectLiteral(fn: Fn, e: ObjectExpression): Val {
  const fields = new Map<string, Val>();
  for (const p of e.properties) {
    if (p.type === "SpreadElement") {
      const v = fn.value(p.argument);
      // `{ ...struct, field: value }` is a struct of the same kind.
      if (v.k === "place" && v.type.k === "struct") {
        const dest = fn.temp(v.type, "copy");
        storeInto(fn, dest, e, { clean: true, partial: false });
        return dest;
      }
      if (v.k === "record") for (const [n, x] of v.fields) fields.set(n, x);
      else
        return unsupported(
          fn,
          p,
          "a spread of a struct into an object without a schema",
          "write the fields, or store into a struct",
        );
      continue;
    }
    const name = propertyName(p.key, p.computed);
    if (name === undefined || p.kind !== "init")
      return unsupported(fn, p, "a computed, accessor or method property", "write `name: value`");
    fields.set(name, fn.value(p.value));
  }
  return { k: "record", fields, tuple: false };
}

function template(fn: Fn, e: TemplateLiteral): Val {
  let text = e.quasis[0]?.value.cooked ?? "";
  for (const [i, x] of e.expressions.entries()) {
    const v = fn.value(x);
    if (v.k === "error") return ERROR;
    if (v.k !== "int" && v.k !== "js") {
      return unsupported(
        fn,
        e,
        "a template string with run-time values (outside of bpf.printk)",
        "emit the values as fields and format them in user space",
      );
    }
    text += String(v.value) + (e.quasis[i + 1]?.value.cooked ?? "");
  }
  return { k: "js", value: text };
}
