/** Looking at the syntax tree. */
import type * as acorn from "acorn";

import type { Ast, Expr } from "../syntax/ast.ts";
import { eachChild } from "../syntax/ast.ts";

export type { Ast, Expr, FunctionNode, Stmt } from "../syntax/ast.ts";
export { isFunction } from "../syntax/ast.ts";

/** The expression below `as`, `satisfies`, `!`, `<T>x` and parentheses: types never change the program. */
export function unwrap(node: Ast): Expr {
  let at = node as Ast & { expression?: Ast };
  while (
    at.type === "TSAsExpression" ||
    at.type === "TSSatisfiesExpression" ||
    at.type === "TSNonNullExpression" ||
    at.type === "TSTypeAssertion" ||
    at.type === "TSInstantiationExpression" ||
    at.type === "ParenthesizedExpression"
  ) {
    at = at.expression as Ast;
  }
  return at as Expr;
}

/** The parser leaves out an optional part as null or undefined. */
export function isAbsent(part: unknown): part is null | undefined {
  return part === null || part === undefined;
}

/** Calls `visit` for every node below and including `node`; `visit` returns false to skip what is below. */
export function walk(node: Ast, visit: (node: Ast) => boolean | void): void {
  if (visit(node) === false) return;
  eachChild(node, (child) => walk(child, visit));
}

/** Names that are assigned (`=`, `+=`, `++`) anywhere below `nodes`. */
export function assignedNames(nodes: readonly (Ast | null | undefined)[]): ReadonlySet<string> {
  if (nodes.length === 1 && nodes[0] !== null && nodes[0] !== undefined) return assignedBelow(nodes[0]);
  const names = new Set<string>();
  for (const root of nodes) {
    if (root === null || root === undefined) continue;
    for (const name of assignedBelow(root)) names.add(name);
  }
  return names;
}

/** By node: a function that is called often is walked once. */
const assigned = new WeakMap<Ast, ReadonlySet<string>>();

function assignedBelow(root: Ast): ReadonlySet<string> {
  let names = assigned.get(root);
  if (names === undefined) {
    const found = new Set<string>();
    walk(root, (n) => {
      if (n.type === "AssignmentExpression") patternNames((n as acorn.AssignmentExpression).left, found);
      else if (n.type === "UpdateExpression") patternNames((n as acorn.UpdateExpression).argument, found);
    });
    names = found;
    assigned.set(root, names);
  }
  return names;
}

function patternNames(node: Ast, names: Set<string>): void {
  const at = unwrap(node) as Ast;
  if (at.type === "Identifier") names.add((at as acorn.Identifier).name);
  else if (at.type === "ArrayPattern") {
    for (const e of (at as acorn.ArrayPattern).elements) if (e !== null) patternNames(e, names);
  } else if (at.type === "ObjectPattern") {
    for (const p of (at as acorn.ObjectPattern).properties)
      patternNames(p.type === "RestElement" ? p.argument : p.value, names);
  } else if (at.type === "AssignmentPattern") patternNames((at as acorn.AssignmentPattern).left, names);
}
