/** Functions: the program's own, and those it calls. */
import type { BlockStatement, Pattern } from "acorn";
import type { Span } from "../../core/diagnostic.ts";
import type { Inst } from "../ir/ir.ts";
import type { Ast, FunctionNode, Stmt } from "./ast.ts";
import { assignedNames, isFunction, walk } from "./ast.ts";
import { declare, declarePattern } from "./assign.ts";
import { cond, truth } from "./cond.ts";
import type { Fn, Lowering, ReturnTarget } from "./context.ts";
import { describe } from "./context.ts";
import { coverFunction } from "./cover.ts";
import { expr, toBoolean } from "./expr.ts";
import { tuple } from "./lists.ts";
import { Merge } from "./merge.ts";
import { Scope } from "./scope.ts";
import { statements, stmt } from "./stmt.ts";
import { callSubprogram } from "./subprogram.ts";
import type { FunctionVal, Val } from "./value.ts";
import { NOTHING, UNDEFINED } from "./value.ts";

export const LOWERING: Lowering = { expr, cond, truth: toBoolean, branch: truth, stmt, call };

/** Compiles the body of `node`; control is at its end afterwards unless `fn.ended`. */
export function lowerBody(fn: Fn, node: FunctionNode): void {
  coverFunction(fn, fn.callStack.at(-1)?.name ?? "", node);
  if (node.body.type !== "BlockStatement") {
    const v = fn.expr(node.body);
    fn.returns.give(fn, v, node.body);
    fn.ended = true;
    return;
  }
  statements(fn, node.body.body as Stmt[]);
}

/** Names `params` with `args`. Parameters that the body assigns become variables. */
export function bindParams(fn: Fn, node: FunctionNode, args: readonly Val[]): void {
  const assigned = assignedNames([node.body]);
  node.params.forEach((p: Pattern, i) => {
    const given = args[i] ?? UNDEFINED;
    if (p.type === "Identifier") {
      // A `this` parameter is a type only.
      const mutable = assigned.has(p.name);
      declare(fn, p, mutable ? fn.settle(given, p) : given, mutable, false);
    } else if (p.type === "RestElement") {
      declarePattern(fn, p.argument, tuple(args.slice(i)), false);
    } else {
      declarePattern(fn, p, given, false);
    }
  });
}

const MAX_DEPTH = 32;

/** Calls a function of the user's by compiling its body here. */
function call(fn: Fn, callee: FunctionVal, args: readonly Val[], node: Ast): Val {
  const active = fn.callStack.findIndex((c) => c.node === callee.node);
  if (active >= 0 || fn.callStack.length >= MAX_DEPTH) {
    const names = [...fn.callStack.slice(Math.max(active, 0)).map((c) => c.name), callee.name].map((n) =>
      n === "" ? "an arrow function" : n,
    );
    return fn.report("BPF1007", node, { cycle: names.join(" → ") });
  }
  if (
    (callee.node as { async?: boolean }).async === true ||
    (callee.node as { generator?: boolean }).generator === true
  ) {
    return fn.report("BPF1001", node, { what: "an async or generator function", instead: "write a plain function" });
  }
  const required = callee.node.params.filter((p) => p.type !== "AssignmentPattern" && p.type !== "RestElement").length;
  if (
    (args.length > callee.node.params.length && callee.node.params.at(-1)?.type !== "RestElement") ||
    (args.length < required && !optionalParams(callee.node, args.length))
  ) {
    return fn.report("BPF1010", node, {
      name: callee.name,
      expected: `${callee.node.params.length} argument${callee.node.params.length === 1 ? "" : "s"}`,
      got: String(args.length),
    });
  }
  const saved = { source: fn.source, scope: fn.scope, jumps: fn.jumps, returns: fn.returns, ended: fn.ended };
  const callSpan: Span = fn.span(node);
  fn.callStack = [...fn.callStack, { name: callee.name, node: callee.node, callSpan }];
  let result = callSubprogram(fn, callee, args, node, (inside) => {
    bindParams(fn, callee.node, inside);
    lowerBody(fn, callee.node);
  });
  if (result === undefined) {
    fn.source = callee.source;
    fn.scope = new Scope(callee.scope);
    fn.jumps = [];
    bindParams(fn, callee.node, args);
    result = inlineBody(fn, callee.node);
    Object.assign(fn, saved);
  }
  fn.callStack = fn.callStack.slice(0, -1);
  fn.mark(node);
  return result;
}

function optionalParams(node: FunctionNode, given: number): boolean {
  return node.params
    .slice(given)
    .every((p) => p.type === "AssignmentPattern" || (p as { optional?: boolean }).optional === true);
}

/** Return statements of this function (not of those inside it). */
function returnsOf(body: BlockStatement): Ast[] {
  const found: Ast[] = [];
  walk(body, (n) => {
    if (n.type === "ReturnStatement") found.push(n);
    return !isFunction(n);
  });
  return found;
}

function inlineBody(fn: Fn, node: FunctionNode): Val {
  coverFunction(fn, fn.callStack.at(-1)?.name ?? "", node);
  const { nothingIsFalse } = fn;
  fn.nothingIsFalse = false;
  if (node.body.type !== "BlockStatement") {
    const v = fn.expr(node.body);
    return v.k === "string" || v.k === "opt" ? v : fn.settle(v, node.body);
  }
  const { body } = node.body;
  const returns = returnsOf(node.body);
  const last = body.at(-1);
  if (returns.length === 0 || (returns.length === 1 && returns[0] === last)) {
    // One way out: whatever it gives, it gives as it is.
    let result: Val = returns.length === 0 ? UNDEFINED : NOTHING;
    fn.returns = {
      kind: "inline",
      give: (f, v, at) => {
        result = v === undefined ? UNDEFINED : v.k === "string" || v.k === "opt" ? v : f.settle(v, at);
      },
    };
    fn.ended = false;
    statements(fn, body as Stmt[]);
    return result;
  }
  const { facts } = fn;
  const merge = new Merge(fn, "the result");
  const end = fn.b.block("return");
  fn.returns = {
    kind: "inline",
    give: (f, v, at) => {
      merge.give(v ?? UNDEFINED, at);
      f.b.jmp(end);
    },
  };
  fn.ended = false;
  statements(fn, body as Stmt[]);
  if (!fn.ended) {
    merge.give(UNDEFINED, node);
    fn.b.jmp(end);
  }
  fn.b.at(end);
  fn.facts = facts;
  return merge.result(node, nothingIsFalse);
}

/** `return` of the program itself: an integer, or a boolean as 0 or 1. */
export const ENTRY_RETURN: ReturnTarget = {
  kind: "entry",
  give: (fn, value, node) => {
    const v = value === undefined ? UNDEFINED : fn.settle(value, node);
    let result: Inst | number = 0;
    if ((v.k === "scalar" && v.type.k !== "literal") || v.k === "int" || (v.k === "js" && typeof v.value === "boolean"))
      result = fn.scalar(v, node)?.v ?? 0;
    else if (v.k !== "void" && v.k !== "error" && !(v.k === "js" && (v.value === undefined || v.value === null)))
      fn.report("BPF1017", node, { what: describe(v) });
    fn.cleanUp();
    fn.b.ret(result);
  },
};
