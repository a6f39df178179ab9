/**
 * TypeScript to JavaScript by overwriting types with spaces: every token that stays
 * keeps its line and column, so stack traces and breakpoints need no source map.
 */
import type * as acorn from "acorn";
import type { Diagnostic } from "../../core/diagnostic.ts";
import { type AnyNode, type Ast, eachChild } from "./ast.ts";
import { LineTable } from "./lines.ts";

export type Blanked =
  | { readonly ok: true; readonly code: string }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/** `text` with its types blanked. What types cannot be erased from (enums, namespaces, …) is an error. */
export function blankTypes(text: string, program: acorn.Program, file: string): Blanked {
  const blanker = new Blanker(text, file);
  blanker.visit(program as unknown as AnyNode);
  if (blanker.diagnostics.length > 0) return { ok: false, diagnostics: blanker.diagnostics };
  return { ok: true, code: blanker.apply() };
}

const NOT_ERASABLE: Readonly<Record<string, { what: string; instead: string }>> = {
  TSEnumDeclaration: { what: "an enum", instead: "use `enumOf({ … })`, or an object with `as const`" },
  TSModuleDeclaration: { what: "a namespace", instead: "use a module" },
  TSImportEqualsDeclaration: { what: "`import x = …`", instead: "use `import x from …`" },
  TSExportAssignment: { what: "`export = …`", instead: "use `export default …`" },
  TSParameterProperty: { what: "a parameter property", instead: "declare the field and assign it in the constructor" },
  Decorator: { what: "a decorator", instead: "call the function explicitly" },
};

const TYPE_MEMBERS = new Set([
  "typeAnnotation",
  "returnType",
  "typeParameters",
  "typeArguments",
  "superTypeParameters",
  "implements",
]);

class Blanker {
  readonly #text: string;
  readonly #file: string;
  readonly diagnostics: Diagnostic[] = [];
  /** Ranges to blank; `put` replaces the first characters. */
  readonly #holes: { start: number; end: number; put: string }[] = [];

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  apply(): string {
    this.#holes.sort((a, b) => a.start - b.start || b.end - a.end);
    let out = "";
    let at = 0;
    for (const { start, end, put } of this.#holes) {
      if (end <= at) continue;
      const from = Math.max(start, at);
      out += this.#text.slice(at, from);
      const gap = this.#text.slice(from, end).replace(/[^\r\n\u2028\u2029]/g, " ");
      out +=
        from === start && put.length <= gap.length && !/[\r\n\u2028\u2029]/.test(gap.slice(0, put.length))
          ? put + gap.slice(put.length)
          : gap;
      at = end;
    }
    return out + this.#text.slice(at);
  }

  #blank(start: number, end: number, put = ""): void {
    if (end > start) this.#holes.push({ start, end, put });
  }

  /** A whole statement: `;` stays, so that what follows does not continue the statement before. */
  #statement(node: Ast): void {
    this.#blank(node.start, node.end, ";");
  }

  #refuse(node: Ast, what: string, instead: string): void {
    this.diagnostics.push({
      code: "BPF7012",
      severity: "error",
      message: `${what} is not only a type: it would have to be turned into code`,
      labels: [{ span: new LineTable(this.#text).span(this.#file, node.start, node.end) }],
      notes: ["bpfkit loads TypeScript by erasing its types, as Node does"],
      help: instead,
    });
  }

  /** Offset of `token` at or after `from`, past white space and comments. -1 when something else comes first. */
  #next(token: string, from: number): number {
    const skipped = /(?:\s|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*/y;
    skipped.lastIndex = from;
    skipped.exec(this.#text);
    const at = skipped.lastIndex;
    return this.#text.startsWith(token, at) ? at : -1;
  }

  visit(node: AnyNode): void {
    const refused = NOT_ERASABLE[node.type];
    if (refused !== undefined && node["declare"] !== true) {
      this.#refuse(node, refused.what, refused.instead);
      return;
    }
    if (node["declare"] === true && node.type !== "PropertyDefinition") {
      this.#statement(node);
      return;
    }
    switch (node.type) {
      case "TSInterfaceDeclaration":
      case "TSTypeAliasDeclaration":
      case "TSDeclareFunction":
      case "TSNamespaceExportDeclaration":
        this.#statement(node);
        return;
      case "TSDeclareMethod":
      case "TSIndexSignature":
      case "TSAbstractMethodDefinition":
      case "TSAbstractPropertyDefinition":
        this.#statement(node);
        return;
      case "ImportDeclaration":
      case "ExportAllDeclaration":
        if (node["importKind"] === "type" || node["exportKind"] === "type") this.#statement(node);
        else this.#specifiers(node, "importKind");
        return;
      case "ExportNamedDeclaration": {
        const declaration = node["declaration"] as AnyNode | null;
        if (node["exportKind"] === "type" || (declaration !== null && this.#isTypeOnly(declaration))) {
          if (declaration?.type === "TSEnumDeclaration" && declaration["declare"] !== true) this.visit(declaration);
          else this.#statement(node);
          return;
        }
        this.#specifiers(node, "exportKind");
        if (declaration !== null) this.visit(declaration);
        return;
      }
      case "ExportDefaultDeclaration":
        if (this.#isTypeOnly(node["declaration"] as AnyNode)) this.#statement(node);
        else this.visit(node["declaration"] as AnyNode);
        return;
      case "TSAsExpression":
      case "TSSatisfiesExpression": {
        const expression = node["expression"] as AnyNode;
        this.visit(expression);
        const end = this.#closing(expression.end, node.end);
        this.#blank(end, node.end, this.#hazard(node.end) ? ";" : "");
        return;
      }
      case "TSNonNullExpression":
        this.visit(node["expression"] as AnyNode);
        this.#blank(node.end - 1, node.end);
        return;
      case "TSTypeAssertion": {
        const expression = node["expression"] as AnyNode;
        this.visit(expression);
        this.#blank(node.start, this.#text.lastIndexOf(">", expression.start) + 1);
        return;
      }
      case "TSInstantiationExpression":
        this.visit(node["expression"] as AnyNode);
        break;
      case "ClassDeclaration":
      case "ClassExpression":
        this.#class(node);
        return;
      case "MethodDefinition":
      case "PropertyDefinition":
      case "AccessorProperty":
        this.#member(node);
        return;
      case "ArrowFunctionExpression":
      case "FunctionExpression":
      case "FunctionDeclaration":
        this.#function(node);
        return;
      case "VariableDeclarator":
        if (node["definite"] === true) {
          const id = node["id"] as AnyNode;
          this.#blankChar("!", id.start + ((id as { name?: string }).name?.length ?? 0));
        }
        break;
    }
    this.#pattern(node);
    this.#children(node);
  }

  #children(node: AnyNode): void {
    eachChild(node, (child, member) => {
      if (TYPE_MEMBERS.has(member)) this.#blank(child.start, child.end);
      else this.visit(child);
    });
  }

  /** `?` of an optional parameter. */
  #pattern(node: AnyNode): void {
    if (
      node["optional"] !== true ||
      (node.type !== "Identifier" && node.type !== "ObjectPattern" && node.type !== "ArrayPattern")
    )
      return;
    const type = node["typeAnnotation"] as AnyNode | undefined;
    const from =
      node.type === "Identifier" ? node.start + (node as unknown as { name: string }).name.length : node.start;
    const end = type?.start ?? node.end;
    const at = this.#text.lastIndexOf("?", end);
    if (at >= from) this.#blank(at, at + 1);
  }

  #blankChar(char: string, from: number): void {
    const at = this.#next(char, from);
    if (at >= 0) this.#blank(at, at + char.length);
  }

  #isTypeOnly(node: AnyNode): boolean {
    return (
      ["TSInterfaceDeclaration", "TSTypeAliasDeclaration", "TSDeclareFunction"].includes(node.type) ||
      node["declare"] === true
    );
  }

  /** `type` specifiers among values, with their comma. */
  #specifiers(node: AnyNode, kind: string): void {
    const list = (node["specifiers"] ?? []) as AnyNode[];
    for (const specifier of list) {
      if (specifier[kind] !== "type" && specifier["importKind"] !== "type" && specifier["exportKind"] !== "type")
        continue;
      const comma = this.#next(",", specifier.end);
      this.#blank(specifier.start, comma < 0 ? specifier.end : comma + 1);
    }
  }

  /** Past the parentheses that close around an expression before its `as`. */
  #closing(from: number, limit: number): number {
    let at = from;
    for (;;) {
      const next = this.#next(")", at);
      if (next < 0 || next >= limit) return at;
      at = next + 1;
    }
  }

  /** Would what follows `at` on a new line continue the expression, once the type in front of it is gone? */
  #hazard(at: number): boolean {
    return /^[^\S\n]*(?:\/\/[^\n]*)?\n\s*[([`]/.test(this.#text.slice(at, at + 200));
  }

  #function(node: AnyNode): void {
    const body = node["body"] as AnyNode;
    const params = node["params"] as AnyNode[];
    const first = params[0];
    if (first?.type === "Identifier" && (first as unknown as { name: string }).name === "this") {
      const comma = this.#next(",", first.end);
      this.#blank(first.start, comma < 0 ? first.end : comma + 1);
    }
    const returnType = node["returnType"] as AnyNode | undefined;
    // `=>` must stay on the line of `)`: when the return type spans lines, `)` moves to its end.
    if (
      returnType !== undefined &&
      node.type === "ArrowFunctionExpression" &&
      this.#text.slice(returnType.start, returnType.end).includes("\n")
    ) {
      const paren = this.#text.lastIndexOf(")", returnType.start);
      this.#blank(paren, paren + 1);
      this.#blank(returnType.start, returnType.end - 1);
      this.#holes.push({ start: returnType.end - 1, end: returnType.end, put: ")" });
    } else if (returnType !== undefined) {
      this.#blank(returnType.start, returnType.end);
    }
    const generics = node["typeParameters"] as AnyNode | undefined;
    if (generics !== undefined) this.#generics(node, generics);
    for (const param of params) this.visit(param);
    if (body !== null && body !== undefined) this.visit(body);
  }

  /** As for return types: `(` of an arrow must not be alone on a later line than what comes before it. */
  #generics(node: AnyNode, generics: AnyNode): void {
    const spansLines = this.#text.slice(generics.start, generics.end).includes("\n");
    if (node.type !== "ArrowFunctionExpression" || !spansLines) {
      this.#blank(generics.start, generics.end);
      return;
    }
    const paren = this.#next("(", generics.end);
    this.#holes.push({ start: generics.start, end: generics.end, put: "(" });
    this.#blank(paren, paren + 1);
  }

  #class(node: AnyNode): void {
    if (node["abstract"] === true) this.#keyword("abstract", node.start);
    for (const member of TYPE_MEMBERS) {
      const value = node[member];
      if (Array.isArray(value)) {
        const [first, last] = [value[0] as AnyNode | undefined, value.at(-1) as AnyNode | undefined];
        if (first !== undefined && last !== undefined)
          this.#blank(this.#text.lastIndexOf("implements", first.start), last.end);
      } else if (value !== undefined && value !== null) this.#blank((value as AnyNode).start, (value as AnyNode).end);
    }
    for (const decorator of (node["decorators"] ?? []) as AnyNode[]) this.visit(decorator);
    if (node["superClass"] !== null) this.visit(node["superClass"] as AnyNode);
    this.visit(node["body"] as AnyNode);
  }

  #keyword(word: string, from: number): void {
    const at = this.#text.indexOf(word, from);
    if (at >= 0) this.#blank(at, at + word.length);
  }

  #member(node: AnyNode): void {
    const key = node["key"] as AnyNode;
    const value = node["value"] as AnyNode | null;
    const bodiless =
      node.type === "MethodDefinition" &&
      (value === null || value.type.startsWith("TS") || (value["body"] ?? null) === null);
    if (node["declare"] === true || node["abstract"] === true || bodiless) {
      this.#statement(node);
      return;
    }
    const modifiers = /\b(?:public|private|protected|readonly|override)\b/g;
    const head = this.#text.slice(node.start, key.start);
    let first = true;
    for (const m of head.matchAll(modifiers)) {
      // A computed key after a modifier would continue the member before.
      const put = first && m.index === 0 && node["computed"] === true ? ";" : "";
      this.#blank(node.start + m.index, node.start + m.index + m[0].length, put);
      first = false;
    }
    const keyEnd = node["computed"] === true ? this.#text.indexOf("]", key.end) + 1 : key.end;
    if (node["optional"] === true) this.#blankChar("?", keyEnd);
    if (node["definite"] === true) this.#blankChar("!", keyEnd);
    for (const decorator of (node["decorators"] ?? []) as AnyNode[]) this.visit(decorator);
    for (const part of ["typeAnnotation", "typeParameters"]) {
      const type = node[part] as AnyNode | undefined;
      if (type !== undefined) this.#blank(type.start, type.end);
    }
    if (node["computed"] === true) this.visit(key);
    if (value !== null && value !== undefined) this.visit(value);
  }
}
