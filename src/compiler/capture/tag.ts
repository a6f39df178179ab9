/** What the bundler plugin does to a file: a tag around every function that a probe could be, or could use. */
import { DiagnosticError } from "../../core/errors.ts";
import { type AnyNode, type Ast, eachChild, isFunction } from "../syntax/ast.ts";
import { parseModule } from "../syntax/parse.ts";
import { Scopes, TYPE_ONLY } from "../syntax/scopes.ts";
import { references } from "./join.ts";
import { encodeInsertions, type RawSourceMap } from "./map-insertions.ts";
import { TAGS } from "./tag-of.ts";

export interface TaggedModule {
  readonly code: string;
  readonly map: RawSourceMap;
}

/** Whether a file mentions the package: others have no probes, and need no parsing. */
export function mayHaveProbes(text: string): boolean {
  return /["']bpfkit["'/]/.test(text);
}

interface Insertion {
  readonly at: number;
  readonly text: string;
}

/**
 * `text` with a tag around every function that a probe could be, or could use. The text may be TypeScript and stays what
 * it is; nothing moves to another line.
 *
 * @param path how messages name the file; it becomes part of the bundle
 * @returns undefined when there is nothing to tag
 * @throws DiagnosticError when the text cannot be parsed
 */
export function tagFunctions(text: string, path: string): TaggedModule | undefined {
  const parsed = parseModule(text, path);
  if (!parsed.ok) throw new DiagnosticError("BPF7003", [parsed.diagnostic]);
  const tagger = new Tagger(text, new Scopes(parsed.node));
  tagger.module(parsed.node as unknown as AnyNode);
  if (tagger.insertions.length + tagger.statements.length === 0) return undefined;
  const { name } = tagger;
  const module = `{ path: ${JSON.stringify(path)}, text: ${JSON.stringify(text)} }`;
  // Hoisted, and with its state on itself: it works while the module's constants are not initialised yet.
  const runtime = `function ${name}(fn, start, lookup, name) {
  if (name !== undefined && fn.name === "") Object.defineProperty(fn, "name", { value: name, configurable: true });
  const tags = (globalThis[Symbol.for(${JSON.stringify(TAGS)})] ??= new WeakMap());
  return tags.set(fn, { module: (${name}.module ??= ${module}), start, lookup }), fn;
}`;
  const insertions = tagger.insertions.toSorted((a, b) => a.at - b.at);
  return {
    code: `${insert(text, insertions)}\n${tagger.statements.join("\n")}\n${runtime}\n`,
    map: encodeInsertions(text, insertions, path),
  };
}

function insert(text: string, insertions: readonly Insertion[]): string {
  let out = "";
  let from = 0;
  for (const { at, text: added } of insertions) {
    out += text.slice(from, at) + added;
    from = at;
  }
  return out + text.slice(from);
}

class Tagger {
  readonly insertions: Insertion[] = [];
  /** Tags of function declarations: they come behind the module. */
  readonly statements: string[] = [];
  /** A name that the module does not use. */
  readonly name: string;
  readonly #scopes: Scopes;
  /** Names of the package's functions in this module. */
  readonly #declaring = new Set<string>();

  constructor(text: string, scopes: Scopes) {
    this.#scopes = scopes;
    let name = "__bpfkit";
    while (text.includes(name)) name += "_";
    this.name = name;
  }

  module(program: AnyNode): void {
    for (const statement of program["body"] as AnyNode[]) {
      if (statement.type !== "ImportDeclaration" || (statement["source"] as AnyNode)["value"] !== "bpfkit") continue;
      for (const s of statement["specifiers"] as AnyNode[])
        this.#declaring.add(String((s["local"] as AnyNode)["name"]));
    }
    for (const statement of program["body"] as AnyNode[]) this.#visit(statement, undefined, undefined);
  }

  /** `name`: what the function would be called after where it stands; `block`: the nearest block, which takes tags. */
  #visit(node: AnyNode, name: string | undefined, block: AnyNode | undefined): void {
    if (isFunction(node)) {
      const f = node as unknown as AnyNode;
      const plain = f["async"] !== true && f["generator"] !== true;
      if (plain && node.type === "FunctionDeclaration") this.#declaration(f, block);
      else if (plain) this.#expression(f, name);
    }
    const inner = node.type === "BlockStatement" ? node : block;
    const declares = node.type === "CallExpression" && this.#declaring.has(rootName(node["callee"] as AnyNode));
    eachChild(node, (child, member) => {
      if (TYPE_ONLY.has(member)) return;
      // The body of a program is compiled, never run: what is in it needs no tag.
      if (declares && member === "arguments" && isFunction(child)) {
        const f = child as unknown as AnyNode;
        if (f["async"] !== true && f["generator"] !== true) this.#expression(f, undefined);
        return;
      }
      const method =
        (node.type === "Property" && (node["method"] === true || node["kind"] !== "init")) ||
        node.type === "MethodDefinition";
      if (method && member === "value") {
        eachChild(child, (c, m) => {
          if (!TYPE_ONLY.has(m)) this.#visit(c, undefined, inner);
        });
        return;
      }
      this.#visit(child, nameFrom(node, member), inner);
    });
  }

  #expression(f: AnyNode, name: string | undefined): void {
    const last = name === undefined ? "" : `, ${JSON.stringify(name)}`;
    this.insertions.push({ at: f.start, text: `/* @__PURE__ */ ${this.name}(` });
    this.insertions.push({ at: f.end, text: `, ${f.start}, ${this.#lookup(f)}${last})` });
  }

  #declaration(f: AnyNode, block: AnyNode | undefined): void {
    const id = f["id"] as AnyNode | null;
    if (id === null || (f["body"] as AnyNode | undefined)?.type !== "BlockStatement" || f["declare"] === true) return;
    const text = `${this.name}(${String(id["name"])}, ${f.start}, ${this.#lookup(f)});`;
    if (block === undefined) this.statements.push(text);
    else this.insertions.push({ at: block.start + 1, text: ` ${text}` });
  }

  /** A function from the names that `f` uses to their values. */
  #lookup(f: AnyNode): string {
    const names = new Set<string>();
    for (const { node } of references(f)) if (this.#scopes.outside(f, node.name) !== undefined) names.add(node.name);
    const cases = [...names].map((n) => `case ${JSON.stringify(n)}: return { value: ${n} };`);
    return `(n) => { switch (n) { ${cases.join(" ")} } }`;
  }
}

function rootName(callee: AnyNode): string {
  let node = callee;
  while (node.type === "MemberExpression") node = node["object"] as AnyNode;
  return node.type === "Identifier" ? String(node["name"]) : "";
}

/** The name that JavaScript gives to an anonymous function in this place. */
function nameFrom(parent: AnyNode, member: string): string | undefined {
  const key =
    parent.type === "VariableDeclarator" && member === "init"
      ? parent["id"]
      : parent.type === "Property" && member === "value" && parent["computed"] !== true
        ? parent["key"]
        : undefined;
  const id = key as (Ast & { name?: unknown }) | undefined;
  return id?.type === "Identifier" ? String(id.name) : undefined;
}
