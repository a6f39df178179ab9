/**
 * A module as a function: a module that imports only "bpfkit" and what is built in runs without Node's
 * ES module loader, whose first use costs 3 ms (5 % of `node -e 0`). Every token keeps its
 * place, so positions in stack traces are those of the source.
 */
import { type AnyNode, eachChild, isFunction } from "../syntax/ast.ts";
import { patternIds } from "../syntax/scopes.ts";

/** Plain data, so that it can be kept in a cache. */
export interface ScriptForm {
  /** First parameter, an object: holds an anonymous default export. */
  readonly module: string;
  /** Replacements of the same length, in order: `import` and `export` go. */
  readonly edits: readonly { readonly start: number; readonly end: number; readonly text: string }[];
  /** What the function is given: names of "bpfkit" and of modules that are built into Node. */
  readonly imports: readonly { readonly local: string; readonly imported: string; readonly from: string }[];
  /** Names the module exports, and the expressions that give their present values. */
  readonly exports: readonly { readonly name: string; readonly value: string }[];
}

/** A text that has this anywhere stays a module. */
const MODULE = "$m";
const DEFAULT = `;${MODULE}.default=`;

/**
 * Undefined when the module needs the loader: other imports, `await` outside of functions, exports from elsewhere.
 *
 * @param code the module with its types blanked
 * @param used names of imports that are used as values
 */
export function scriptForm(code: string, program: AnyNode, used: ReadonlySet<string>): ScriptForm | undefined {
  // In a function `<!--` and `-->` begin comments, in a module they are operators.
  if (code.includes(MODULE) || code.includes("<!--") || code.includes("-->")) return undefined;
  const edits: { start: number; end: number; text: string }[] = [];
  const imports: { local: string; imported: string; from: string }[] = [];
  const exports: { name: string; value: string }[] = [];
  // A semicolon stands where a statement goes, or the line before could go on behind it.
  const blank = (start: number, end: number, put = ";"): void => {
    edits.push({ start, end, text: put + code.slice(start + put.length, end).replace(/[^\r\n]/g, " ") });
  };
  for (const statement of program["body"] as AnyNode[]) {
    const { type, start, end } = statement;
    const declaration = statement["declaration"] as AnyNode | null | undefined;
    const specifiers = (): AnyNode[] => statement["specifiers"] as AnyNode[];
    // What declares types only has been blanked.
    if (/^[\s;]*$/.test(code.slice(start, end))) continue;
    switch (type) {
      case "ImportDeclaration": {
        const from = String((statement["source"] as AnyNode)["value"]);
        if (from !== "bpfkit" && !from.startsWith("node:")) return undefined;
        for (const s of specifiers()) {
          if (s["importKind"] === "type" || !used.has(nameOf(s["local"]))) continue;
          if (s.type === "ImportNamespaceSpecifier") return undefined;
          imports.push({
            local: nameOf(s["local"]),
            imported: s.type === "ImportSpecifier" ? keyOf(s["imported"]) : "default",
            from,
          });
        }
        blank(start, end);
        break;
      }
      case "ExportAllDeclaration":
        return undefined;
      case "ExportNamedDeclaration":
        if (typeof (statement["source"] ?? undefined) === "object") return undefined;
        if (declaration === null || declaration === undefined) {
          for (const s of specifiers()) {
            if (s["exportKind"] !== "type") exports.push({ name: keyOf(s["exported"]), value: nameOf(s["local"]) });
          }
          blank(start, end);
          break;
        }
        if (declaration.type === "VariableDeclaration") {
          for (const d of declaration["declarations"] as AnyNode[])
            for (const { name } of patternIds(d["id"] as AnyNode)) exports.push({ name, value: name });
        } else if (isNamed(declaration)) {
          exports.push({ name: nameOf(declaration["id"]), value: nameOf(declaration["id"]) });
        } else return undefined;
        blank(start, declaration.start);
        break;
      case "ExportDefaultDeclaration": {
        if (declaration === null || declaration === undefined) return undefined;
        if (isNamed(declaration)) {
          exports.push({ name: "default", value: nameOf(declaration["id"]) });
          blank(start, declaration.start);
          break;
        }
        const keywords = /^export\s+default(?![\w$])/.exec(code.slice(start, end));
        // As an expression, a function or class without a name would go on behind its end.
        if (keywords === null || /Declaration$/.test(declaration.type)) return undefined;
        exports.push({ name: "default", value: `${MODULE}.default` });
        blank(start, start + keywords[0].length, DEFAULT);
      }
    }
  }
  if (code.includes("await") && awaits(program)) return undefined;
  // A module's namespace lists its names in this order.
  exports.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { module: MODULE, edits, imports, exports };
}

/** `await` outside of functions. */
function awaits(node: AnyNode): boolean {
  if (isFunction(node)) return false;
  if (node.type === "AwaitExpression" || (node.type === "ForOfStatement" && node["await"] === true)) return true;
  let found = false;
  eachChild(node, (child) => {
    found ||= awaits(child);
  });
  return found;
}

function isNamed(declaration: AnyNode): boolean {
  const { type } = declaration;
  return (
    (type === "FunctionDeclaration" || type === "ClassDeclaration") &&
    typeof (declaration["id"] ?? undefined) === "object"
  );
}
function nameOf(node: unknown): string {
  return String((node as { name?: unknown }).name);
}
/** A name in braces, which may be a string. */
function keyOf(node: unknown): string {
  const { name, value } = node as { name?: unknown; value?: unknown };
  return String(name ?? value);
}
