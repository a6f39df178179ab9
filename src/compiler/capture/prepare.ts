/** Makes a TypeScript module ready to run as it is: types blanked, names to hand out, imports to rewrite. */
import { DiagnosticError } from "../../core/errors.ts";
import { blankTypes } from "../syntax/blank.ts";
import { type AnyNode, type Ast, eachChild } from "../syntax/ast.ts";
import { parseAndLend } from "../syntax/parse.ts";
import { Scopes } from "../syntax/scopes.ts";
import { references } from "./join.ts";
import { type ScriptForm, scriptForm } from "./script-form.ts";

/** A specifier of an import or export: the range of its string literal, with the quotes. */
export interface Specifier {
  readonly start: number;
  readonly end: number;
  readonly value: string;
  /** `import("…")`, run later. */
  readonly dynamic: boolean;
}

/** Plain data, so that it can be kept in a cache. */
export interface PreparedModule {
  /** The source with its types blanked: every token keeps its place. */
  readonly code: string;
  /** Module-level names that have a value. */
  readonly names: readonly string[];
  readonly specifiers: readonly Specifier[];
  readonly usesImportMeta: boolean;
  /** How to run it without the ES module loader; undefined when it needs that. */
  readonly script: ScriptForm | undefined;
}

/**
 * Parses `text` and blanks its types. Imports that are used as types only are dropped, as TypeScript does.
 *
 * @param file how messages name the file
 * @throws DiagnosticError when the text cannot be parsed, or has code that erasing types cannot give (enums, …).
 */
export function prepareModule(text: string, file: string): PreparedModule {
  const parsed = parseAndLend(text, file);
  if (!parsed.ok) throw new DiagnosticError("BPF7003", [parsed.diagnostic]);
  const blanked = blankTypes(text, parsed.node, file);
  if (!blanked.ok) throw new DiagnosticError("BPF7012", blanked.diagnostics);
  const program = parsed.node as unknown as AnyNode;
  const used = usedNames(program);
  const unused: { start: number; end: number }[] = [];
  const specifiers: Specifier[] = [];
  let usesImportMeta = false;
  const dropped = new Set<string>();

  const specifier = (source: AnyNode, dynamic: boolean): void => {
    specifiers.push({ start: source.start, end: source.end, value: String(source["value"]), dynamic });
  };
  for (const statement of program["body"] as AnyNode[]) {
    const source = statement["source"] as AnyNode | null | undefined;
    if (
      source === null ||
      source === undefined ||
      statement["importKind"] === "type" ||
      statement["exportKind"] === "type"
    )
      continue;
    if (statement.type === "ImportDeclaration") {
      const list = (statement["specifiers"] as AnyNode[]).filter(
        (s) => s["importKind"] !== "type" || s.type !== "ImportSpecifier",
      );
      const kept = list.filter((s) => used.has(nameOf(s["local"])));
      for (const s of list) if (!kept.includes(s)) dropped.add(nameOf(s["local"]));
      const sideEffectsOnly = (statement["specifiers"] as AnyNode[]).length === 0;
      if (kept.length === 0 && !sideEffectsOnly) {
        unused.push(statement);
        continue;
      }
      for (const s of list) if (!kept.includes(s)) unused.push(withComma(text, s));
    }
    specifier(source, false);
  }
  const walk = (node: AnyNode | Ast): void => {
    const n = node as AnyNode;
    if (n.type === "ImportExpression" && (n["source"] as AnyNode).type === "Literal")
      specifier(n["source"] as AnyNode, true);
    if (n.type === "MetaProperty" && nameOf(n["meta"]) === "import") usesImportMeta = true;
    eachChild(node, walk);
  };
  // Each declaration has the word once; what has it more often may have `import(…)` or `import.meta`.
  const declarations = (program["body"] as AnyNode[]).filter((s) => s.type === "ImportDeclaration").length;
  if (text.split("import").length - 1 > declarations) walk(program);
  specifiers.sort((a, b) => a.start - b.start);

  let code = blanked.code;
  for (const { start, end } of unused)
    code = code.slice(0, start) + code.slice(start, end).replace(/[^\r\n]/g, " ") + code.slice(end);
  const names = Scopes.names(parsed.node).filter((name) => !dropped.has(name));
  const needsLoader = usesImportMeta || specifiers.some((s) => s.dynamic);
  return { code, names, specifiers, usesImportMeta, script: needsLoader ? undefined : scriptForm(code, program, used) };
}

function nameOf(node: unknown): string {
  return String((node as { name?: unknown }).name);
}

function usedNames(program: AnyNode): ReadonlySet<string> {
  const used = new Set<string>();
  for (const statement of program["body"] as AnyNode[]) {
    if (statement.type === "ImportDeclaration") continue;
    for (const { chain } of references(statement)) used.add(chain.root);
  }
  return used;
}

/** The specifier and the comma after it; for a default import before `{` too. */
function withComma(text: string, node: Ast): { start: number; end: number } {
  const after = /^\s*,/.exec(text.slice(node.end));
  return { start: node.start, end: node.end + (after?.[0].length ?? 0) };
}
