/** TypeScript to a syntax tree: acorn and its TypeScript plugin, with our own errors. */
import { tsPlugin } from "@sveltejs/acorn-typescript";
import { type Options, Parser } from "acorn";
import type * as acorn from "acorn";
import type { Diagnostic } from "../../core/diagnostic.ts";
import type { Expr } from "./ast.ts";
import { LineTable } from "./lines.ts";

const OPTIONS: Options = {
  ecmaVersion: "latest",
  sourceType: "module",
  allowHashBang: true,
  allowReturnOutsideFunction: true,
};
let typescript: typeof Parser | undefined;

interface TypeScriptParser {
  readonly tsParseConstModifier: unknown;
  tsTryParseTypeParameters(parseModifiers?: unknown): unknown;
}

/** The parser, made when it is first needed. */
function typescriptParser(): typeof Parser {
  if (typescript !== undefined) return typescript;
  typescript = Parser.extend(tsPlugin());
  // The plugin knows `const` type parameters of functions, but not of method signatures.
  const { prototype } = typescript as unknown as { prototype: TypeScriptParser };
  const parse = prototype.tsTryParseTypeParameters;
  prototype.tsTryParseTypeParameters = function (this: TypeScriptParser, parseModifiers): unknown {
    return parse.call(this, parseModifiers ?? this.tsParseConstModifier);
  };
  return typescript;
}

export type Parsed<N> =
  | { readonly ok: true; readonly node: N }
  | { readonly ok: false; readonly diagnostic: Diagnostic };

/** A whole module or script in TypeScript. */
export function parseModule(text: string, file: string): Parsed<acorn.Program> {
  return guarded(text, file, () => typescriptParser().parse(text, OPTIONS));
}

const lent = new Map<string, acorn.Program>();

/** {@link parseModule}, and the tree is kept for the one `takeParsed` that follows: loading and capturing read the same file. */
export function parseAndLend(text: string, file: string): Parsed<acorn.Program> {
  const parsed = parseModule(text, file);
  if (parsed.ok) {
    lent.set(text, parsed.node);
    if (lent.size > 16) lent.delete(lent.keys().next().value as string);
  }
  return parsed;
}

/** The tree that was kept for this text, else a new one. Nobody may change it. */
export function takeParsed(text: string, file: string): Parsed<acorn.Program> {
  const node = lent.get(text);
  if (node === undefined) return parseModule(text, file);
  lent.delete(text);
  return { ok: true, node };
}

/** The one expression that begins at `offset`: cheap in a long file. Of `a, b` it is `a`. */
export function parseExpressionAt(text: string, offset: number, file: string): Parsed<Expr> {
  return guarded(text, file, () =>
    firstOf(
      typescriptParser().parseExpressionAt(text, offset, {
        ...OPTIONS,
        allowAwaitOutsideFunction: true,
      }),
    ),
  );
}

/** JavaScript as an engine prints it (`fn.toString()`): an expression at `offset`. */
export function parseJavaScriptAt(text: string, offset: number, file: string): Parsed<Expr> {
  return guarded(text, file, () =>
    firstOf(Parser.parseExpressionAt(text, offset, { ...OPTIONS, sourceType: "script" })),
  );
}

function firstOf(expression: Expr): Expr {
  return expression.type === "SequenceExpression" ? (expression.expressions[0] ?? expression) : expression;
}

function guarded<N>(text: string, file: string, parse: () => N): Parsed<N> {
  try {
    return { ok: true, node: parse() };
  } catch (error) {
    return { ok: false, diagnostic: syntaxError(text, file, error) };
  }
}

/** The parser's error as a Diagnostic at the place it names. Errors of other kinds are its bugs, and also the source's. */
function syntaxError(text: string, file: string, error: unknown): Diagnostic {
  const { pos, message } = error as { pos?: unknown; message?: unknown };
  const start = typeof pos === "number" ? Math.min(pos, text.length) : 0;
  const word = /^[\p{ID_Continue}$]+|^\S/u.exec(text.slice(start, start + 64))?.[0] ?? "";
  const reason =
    error instanceof RangeError || /stack space/.test(String(message))
      ? "it is nested too deeply"
      : String(message).replace(/ \(\d+:\d+\)$/, "");
  return {
    code: "BPF7003",
    severity: "error",
    message: `the source cannot be parsed: ${reason === "Unexpected token" && word !== "" ? `unexpected '${word}'` : lowerFirst(reason)}`,
    labels: [{ span: new LineTable(text).span(file, start, start + Math.max(word.length, 1)) }],
    notes: [],
  };
}

function lowerFirst(text: string): string {
  return /^[A-Z][a-z]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}
