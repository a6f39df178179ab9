/** A source file: its text, its tree and its scopes, each made when first asked for. */
import type { Diagnostic, Span } from "../../core/diagnostic.ts";
import { type AnyNode, type Ast, eachChild, type FunctionNode, isFunction } from "../syntax/ast.ts";
import { LineTable } from "../syntax/lines.ts";
import { parseExpressionAt, takeParsed } from "../syntax/parse.ts";
import { Scopes } from "../syntax/scopes.ts";

export interface FunctionEntry {
  readonly node: FunctionNode;
  /** Where it begins: at the key for methods. */
  readonly start: number;
  /** Where the engine's text of it begins: at `(` for an arrow function with type parameters. */
  readonly runs: number;
  readonly end: number;
}

export class SourceFile {
  /** As shown to the user. */
  readonly path: string;
  readonly text: string;
  readonly lines: LineTable;
  #parsed:
    | { readonly functions: readonly FunctionEntry[]; readonly scopes: Scopes; readonly program: AnyNode }
    | Diagnostic
    | undefined;

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text;
    this.lines = new LineTable(text);
  }

  span(start: number, end: number): Span {
    return this.lines.span(this.path, start, end);
  }

  /** Tree, functions in order of their start, and scopes; or why the text cannot be parsed. */
  parsed():
    | { readonly functions: readonly FunctionEntry[]; readonly scopes: Scopes; readonly program: AnyNode }
    | Diagnostic {
    if (this.#parsed !== undefined) return this.#parsed;
    const result = takeParsed(this.text, this.path);
    if (!result.ok) return (this.#parsed = result.diagnostic);
    const functions: FunctionEntry[] = [];
    collect(result.node, this.text, functions);
    functions.sort((a, b) => a.start - b.start);
    return (this.#parsed = { functions, scopes: new Scopes(result.node), program: result.node as unknown as AnyNode });
  }
}

/** The one function that begins at `offset` of a file that cannot be parsed as a whole (the parser lacks some rare syntax). */
export function functionAt(source: SourceFile, offset: number): FunctionEntry | undefined {
  const result = parseExpressionAt(source.text, offset, source.path);
  if (!result.ok || !isFunction(result.node as Ast)) return undefined;
  const node = result.node as Ast as FunctionNode;
  return { node, start: node.start, runs: runsFrom(node, source.text), end: node.end };
}

function collect(node: Ast, text: string, out: FunctionEntry[]): void {
  if (isFunction(node)) out.push({ node, start: node.start, runs: runsFrom(node, text), end: node.end });
  const parent = node as AnyNode;
  const isMethod =
    parent.type === "MethodDefinition" ||
    (parent.type === "Property" && (parent["method"] === true || parent["kind"] !== "init"));
  eachChild(node, (child) => {
    if (isMethod && isFunction(child) && parent["value"] === child) {
      out.push({ node: child, start: node.start, runs: node.start, end: node.end });
      eachChild(child, (c) => collect(c, text, out));
    } else {
      collect(child, text, out);
    }
  });
}

function runsFrom(node: FunctionNode, text: string): number {
  const generics = (node as unknown as AnyNode)["typeParameters"] as AnyNode | undefined;
  if (generics === undefined || node.type !== "ArrowFunctionExpression") return node.start;
  // Blanking moves `(` up when the type parameters span lines.
  return text.slice(generics.start, generics.end).includes("\n") ? generics.start : text.indexOf("(", generics.end);
}
