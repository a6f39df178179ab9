/** The syntax tree: ESTree as acorn makes it, and the TypeScript nodes that its plugin adds. */
import type * as acorn from "acorn";

/** Any node. `start` and `end` are UTF-16 offsets into the file's text. */
export type Ast = acorn.Node;
export type Expr = acorn.Expression;
export type Stmt = acorn.Statement | acorn.ModuleDeclaration;
export type FunctionNode =
  | acorn.ArrowFunctionExpression
  | acorn.FunctionExpression
  | acorn.FunctionDeclaration
  | acorn.AnonymousFunctionDeclaration;

/** A node whose members are not known statically: what walkers look at. */
export type AnyNode = Ast & { readonly [member: string]: unknown };

export function isNode(value: unknown): value is AnyNode {
  return typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string";
}

export function isFunction(node: Ast): node is FunctionNode {
  return (
    node.type === "ArrowFunctionExpression" || node.type === "FunctionExpression" || node.type === "FunctionDeclaration"
  );
}

/** Calls `visit` for every child node of `node`, in no particular order of members but in order within lists. */
export function eachChild(node: Ast, visit: (child: AnyNode, member: string) => void): void {
  for (const member in node) {
    if (member === "start" || member === "end" || member === "type" || member === "loc") continue;
    const value = (node as AnyNode)[member];
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) visit(item, member);
    } else if (isNode(value)) {
      visit(value, member);
    }
  }
}
