/**
 * Names joined by position: what a name of the original source is called in the text
 * that runs. Compilers rename imports (`bpf` becomes `import_bk.bpf`), minifiers rename everything.
 */
import type * as acorn from "acorn";
import { type AnyNode, type Ast, eachChild } from "../syntax/ast.ts";
import { TYPE_ONLY } from "../syntax/scopes.ts";

/** A name in the text that runs, and the properties read from it: `a.b.c` is root "a", path ["b", "c"]. */
export interface Chain {
  readonly root: string;
  readonly path: readonly string[];
}

/** A reference to a name in the original, followed by property accesses. */
interface Reference {
  readonly node: Ast & { name: string };
  readonly chain: Chain;
  /** Start of every property identifier. */
  readonly properties: readonly number[];
}

/** Every identifier of `root` that reads or writes a variable, with the static properties read from it. */
export function references(root: Ast): Reference[] {
  const out: Reference[] = [];
  visit(root, out);
  return out;
}

function visit(node: AnyNode | Ast, out: Reference[]): void {
  const chain = chainOf(node);
  if (chain !== undefined) {
    out.push(chain);
    return;
  }
  const n = node as AnyNode;
  eachChild(node, (child, member) => {
    if (TYPE_ONLY.has(member)) return;
    if (n.type === "MemberExpression" && member === "property" && n["computed"] !== true) return;
    if (n.type === "Property" && member === "key" && n["computed"] !== true) return;
    if (n.type === "Property" && member === "value" && n["shorthand"] === true && child.type === "Identifier") {
      out.push({
        node: child as unknown as Ast & { name: string },
        chain: { root: String(child["name"]), path: [] },
        properties: [],
      });
      return;
    }
    if (
      (n.type === "LabeledStatement" || n.type === "BreakStatement" || n.type === "ContinueStatement") &&
      member === "label"
    )
      return;
    visit(child, out);
  });
}

/** `a`, `a.b.c`, `a!.b`, `(0, a.b)` as a chain. */
function chainOf(node: AnyNode | Ast): Reference | undefined {
  const n = node as AnyNode;
  switch (n.type) {
    case "Identifier":
      return {
        node: n as unknown as Ast & { name: string },
        chain: { root: String(n["name"]), path: [] },
        properties: [],
      };
    case "MemberExpression": {
      const property = n["property"] as AnyNode;
      if (n["computed"] === true && property.type !== "Literal") return undefined;
      const object = chainOf(n["object"] as AnyNode);
      if (object === undefined) return undefined;
      const name = String(property.type === "Literal" ? property["value"] : property["name"]);
      return {
        node: object.node,
        chain: { root: object.chain.root, path: [...object.chain.path, name] },
        properties: [...object.properties, property.start],
      };
    }
    case "TSNonNullExpression":
    case "ParenthesizedExpression":
    case "ChainExpression":
      return chainOf(n["expression"] as AnyNode);
    default:
      return undefined;
  }
}

/**
 * For each reference of the original, by the offset of its identifier: the chain that gives the
 * same value in the text that runs. `original(offset)` gives the offset in the source for an offset in that text.
 */
export function joinNames(
  written: Ast,
  running: Ast,
  original: (offset: number) => number | undefined,
): ReadonlyMap<number, Chain> {
  const byPosition = new Map<number, Reference[]>();
  for (const reference of references(running)) {
    for (const start of [reference.node.start, ...reference.properties]) {
      const at = original(start);
      if (at === undefined) continue;
      const list = byPosition.get(at);
      if (list === undefined) byPosition.set(at, [reference]);
      else list.push(reference);
    }
  }
  const joined = new Map<number, Chain>();
  for (const reference of references(written)) {
    const found = candidates(reference, byPosition);
    if (found !== undefined) joined.set(reference.node.start, found);
  }
  return joined;
}

function candidates(reference: Reference, byPosition: ReadonlyMap<number, Reference[]>): Chain | undefined {
  const { path } = reference.chain;
  for (const there of byPosition.get(reference.node.start) ?? []) {
    const extra = there.chain.path.length - path.length;
    // The tail must be the same properties; what comes before it is the name's replacement.
    if (extra >= 0 && path.every((name, i) => there.chain.path[extra + i] === name)) {
      return { root: there.chain.root, path: there.chain.path.slice(0, extra) };
    }
  }
  return undefined;
}

/** Where a bundler took `ns.name` apart: the chains of the members of namespace `name`, by member. */
export function inlinedMembers(
  written: Ast,
  running: Ast,
  name: string,
  original: (offset: number) => number | undefined,
): ReadonlyMap<string, Chain> {
  const byPosition = new Map<number, Reference>();
  for (const reference of references(running)) {
    const at = original(reference.node.start);
    if (at !== undefined && !byPosition.has(at)) byPosition.set(at, reference);
  }
  const members = new Map<string, Chain>();
  for (const reference of references(written)) {
    const [first, ...rest] = reference.chain.path;
    if (reference.chain.root !== name || first === undefined) continue;
    const there = byPosition.get(reference.properties[0] as number) ?? byPosition.get(reference.node.start);
    if (there === undefined) continue;
    const extra = there.chain.path.length - rest.length;
    if (extra >= 0) members.set(first, { root: there.chain.root, path: there.chain.path.slice(0, extra) });
  }
  return members;
}

/** Static property names, strings and calls of a function, counted: what compilers keep. */
export function fingerprint(fn: acorn.Node): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  const count = (key: string): void => void counts.set(key, (counts.get(key) ?? 0) + 1);
  const walk = (node: AnyNode | Ast): void => {
    const n = node as AnyNode;
    if (n.type === "MemberExpression" && n["computed"] !== true)
      count(`.${String((n["property"] as AnyNode)["name"])}`);
    if (n.type === "Literal" && typeof n["value"] === "string") count(JSON.stringify(n["value"]));
    if (n.type === "CallExpression") count("()");
    eachChild(node, (child, member) => {
      if (!TYPE_ONLY.has(member)) walk(child);
    });
  };
  walk(fn);
  return counts;
}
