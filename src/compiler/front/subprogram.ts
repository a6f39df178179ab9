/** Large functions that are called more than once become BPF subprograms instead of being copied. */
import { FuncBuilder } from "../ir/builder.ts";
import type { Inst } from "../ir/ir.ts";
import type { Ast, FunctionNode } from "./ast.ts";
import { walk } from "./ast.ts";
import type { Fn } from "./context.ts";
import { constType, describe } from "./context.ts";
import { Scope } from "./scope.ts";
import { commonType } from "./types.ts";
import type { ScalarType } from "./types.ts";
import type { FunctionVal, Val } from "./value.ts";
import { NOTHING, UNDEFINED } from "./value.ts";

/** Syntax nodes from which on a second copy costs more than a call. */
const LARGE = 120;
/** r1 to r5, of which the context takes one. */
const MAX_SCALARS = 4;

const weights = new WeakMap<FunctionNode, number>();
function weightOf(node: FunctionNode): number {
  let weight = weights.get(node);
  if (weight === undefined) {
    let count = 0;
    walk(node, () => void count++);
    weight = count;
    weights.set(node, weight);
  }
  return weight;
}

/** A subprogram made for one function and one kind of arguments. */
export interface Subprogram {
  readonly name: string;
  /** undefined: it returns nothing. */
  readonly type: ScalarType | undefined;
}

/** Calls `callee` as a subprogram; undefined when it has to be inlined. `body` compiles its statements. */
export function callSubprogram(
  fn: Fn,
  callee: FunctionVal,
  args: readonly Val[],
  node: Ast,
  body: (args: readonly Val[]) => void,
): Val | undefined {
  const { module } = fn;
  if (callee.scope !== undefined || weightOf(callee.node) < LARGE) return undefined;
  const key = signature(fn, args);
  if (key === undefined) return undefined;
  const calls = (module.calls.get(callee.node) ?? 0) + 1;
  module.calls.set(callee.node, calls);
  if (calls < 2) return undefined;
  const known = module.subprograms.get(callee.node) ?? new Map<string, Subprogram | null>();
  module.subprograms.set(callee.node, known);
  let sub = known.get(key);
  if (sub === undefined) {
    const before = module.subprogs.length;
    sub = compileSubprogram(fn, callee, args, body);
    if (sub === null) module.subprogs.length = before;
    known.set(key, sub);
  }
  if (sub === null) return undefined;
  const scalars = args.flatMap((a) => (a.k === "scalar" ? [a.v] : []));
  fn.mark(node);
  const v = fn.b.subprog(sub.name, [fn.ctx, ...scalars]);
  return sub.type === undefined ? UNDEFINED : { k: "scalar", type: sub.type, v };
}

/** What the code of a subprogram depends on; undefined when an argument cannot be passed in a register. */
function signature(fn: Fn, args: readonly Val[]): string | undefined {
  const parts: string[] = [];
  let scalars = 0;
  for (const a of args) {
    switch (a.k) {
      case "scalar": {
        const t = a.type;
        scalars++;
        // What it may be is known where it comes from.
        if (t.k === "literal") return undefined;
        if (t.k === "ptr" && t.space === "kernel" && t.to?.k !== "kstruct") return undefined;
        const sign = t.k === "int" || t.k === "enum" ? t.sign.kind() : "";
        // `u8(x)` of a u8 is no instruction, of a u16 it is one.
        const bits = t.k === "int" || t.k === "enum" ? t.bits : "";
        // A sign that is still open would be decided by one call for all of them.
        if (sign === undefined) return undefined;
        parts.push(
          `${t.k}${t.k === "enum" ? t.name : ""}${t.k === "ptr" ? `${t.space}${t.trust}${t.to?.k === "kstruct" ? t.to.id : (t.to?.k ?? "")}` : `${sign}${bits}`}`,
        );
        break;
      }
      case "int":
        parts.push(`${a.value}${a.type === undefined ? "" : describe(a)}`);
        break;
      case "js":
        parts.push(JSON.stringify(a.value) ?? "undefined");
        break;
      case "builtin":
        if (a.what !== "bpf" && !a.what.startsWith("the context of ")) return undefined;
        parts.push(a.what);
        break;
      case "handle":
        parts.push(`#${fn.module.identity(a.value)}`);
        break;
      default:
        return undefined;
    }
  }
  return scalars > MAX_SCALARS ? undefined : parts.join();
}

/** Null: what it returns does not fit a register, so it has to be inlined. */
function compileSubprogram(
  fn: Fn,
  callee: FunctionVal,
  args: readonly Val[],
  body: (args: readonly Val[]) => void,
): Subprogram | null {
  const name = fn.module.unique(`${fn.program.name}__${callee.name === "" ? "function" : callee.name}`);
  const inner = new FuncBuilder(name, "subprog");
  inner.span = callee.source.span(callee.node);
  inner.func.span = inner.span;
  const ctx = inner.param("ptr", "ctx");
  const named = args.flatMap((a, i) => {
    const p = callee.node.params[i];
    const plain = p?.type === "AssignmentPattern" ? p.left : p;
    return a.k === "scalar" ? [plain?.type === "Identifier" ? plain.name : `arg${i}`] : [];
  });
  fn.module.paramNames.set(name, ["ctx", ...named]);
  const inside = args.map((a): Val => {
    if (a.k !== "scalar") return a;
    const kernel = a.type.k === "ptr" && a.type.space === "kernel";
    const v: Inst = inner.param(kernel ? "ptr" : "int", kernel ? "btf" : "unknown");
    return { ...a, v };
  });
  const outer = fn.enter(inner);
  fn.ctx = ctx;
  fn.source = callee.source;
  fn.scope = new Scope();
  let type: ScalarType | undefined;
  let empty = false;
  let fits = true;
  const ret = (v: Inst | number): void => {
    fn.cleanUp();
    inner.ret(v);
  };
  fn.returns = {
    kind: "inline",
    give: (f, value, at) => {
      const v = value === undefined ? NOTHING : f.settle(value, at);
      const number =
        v.k === "int" || (v.k === "scalar" && v.type.k !== "literal") || (v.k === "js" && typeof v.value === "boolean");
      const s = number ? f.scalar(v, at) : undefined;
      if (s === undefined) {
        if (v.k === "void" || (v.k === "js" && (v.value === undefined || v.value === null))) empty = true;
        else fits = false;
        return ret(0);
      }
      const t = v.k === "int" ? constType(v) : s.type;
      const common = type === undefined ? t : commonType(type, t);
      if (common === undefined) fits = false;
      else type = common;
      ret(s.v);
    },
  };
  body(inside);
  if (!fn.ended) {
    empty = true;
    ret(0);
  }
  fn.leave(outer);
  const result = type as ScalarType | undefined;
  return fits && !(empty && result !== undefined) ? { name, type: result } : null;
}
