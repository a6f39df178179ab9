/** From a name to its value, or to the reason why it cannot be captured. */
import type { Ast, FunctionNode } from "../syntax/ast.ts";
import type { Binding } from "../syntax/scopes.ts";
import { type Chain, inlinedMembers, joinNames } from "./join.ts";
import type { SourceFile } from "./source.ts";
import type { Tag } from "./tag-of.ts";
import type { FunctionScopes, LoadedModule, Resolved } from "./types.ts";

/** The declaration that `name` means outside of `node`; undefined for globals and when the file cannot be parsed. */
export function bindingOf(source: SourceFile, node: FunctionNode, name: string): Binding | undefined {
  const parsed = source.parsed();
  return "code" in parsed ? undefined : parsed.scopes.outside(node, name);
}

function refusedBinding(source: SourceFile, binding: Binding | undefined): Resolved | undefined {
  const again = binding?.assigned[0];
  if (
    binding === undefined ||
    again === undefined ||
    (binding.kind !== "let" && binding.kind !== "var" && binding.kind !== "param")
  )
    return undefined;
  const { line } = source.lines.at(again.start);
  return {
    k: "refused",
    code: "BPF7007",
    why: `it is assigned again on line ${line}, and a program keeps only the value it had when it was compiled`,
    instead: `make it a \`const\`, or a \`global(…)\` or \`config(…)\` whose \`.value\` changes`,
  };
}

/** A captured value, or the refusal of `undefined`. */
function valueOf(value: unknown): Resolved {
  if (value !== undefined) return { k: "value", value };
  return {
    k: "refused",
    code: "BPF7008",
    why: "its value is undefined when the program is compiled",
    instead: "give it its value before the program is loaded",
  };
}

const notInitialised: Resolved = {
  k: "refused",
  code: "BPF7009",
  why: "it is not initialised yet",
  instead: "declare it above, and load the program after its module has run",
};

function unreadable(what: string): Resolved {
  return {
    k: "refused",
    code: "BPF7010",
    why: what,
    instead: "move it to the top level of the module, or run Node without --permission (or with --allow-inspector)",
  };
}

function globalValue(name: string): Resolved {
  return name in globalThis ? { k: "value", value: (globalThis as Record<string, unknown>)[name] } : { k: "unknown" };
}

/** Values of a module that bpfkit loaded itself: names are the source's own. */
export function moduleResolver(
  source: SourceFile,
  node: FunctionNode,
  module: LoadedModule,
  scopes: () => FunctionScopes | undefined,
): (name: string) => Resolved {
  return (name) => {
    const binding = bindingOf(source, node, name);
    if (binding === undefined) return globalValue(name);
    const refused = refusedBinding(source, binding);
    if (refused !== undefined) return refused;
    if (!binding.top) {
      const inner = scopes();
      if (inner === undefined) return unreadable("it is local to a function, which only Node's inspector can see into");
      return fromScope(inner, { root: name, path: [] }) ?? unreadable("no closure of this process holds it");
    }
    return lookUp(module, name);
  };
}

/** Values that a tagged function's own thunk gives, whatever scope they are in. */
export function tagResolver(source: SourceFile, node: FunctionNode, tag: Tag): (name: string) => Resolved {
  return (name) => {
    const binding = bindingOf(source, node, name);
    if (binding === undefined) return globalValue(name);
    const refused = refusedBinding(source, binding);
    return refused ?? lookUp(tag, name);
  };
}

function lookUp(from: Pick<LoadedModule, "lookup">, name: string): Resolved {
  try {
    const found = from.lookup(name);
    return found === undefined ? { k: "unknown" } : valueOf(found.value);
  } catch (error) {
    if (error instanceof ReferenceError) return notInitialised;
    throw error;
  }
}

function fromScope(scopes: FunctionScopes, chain: Chain): Resolved | undefined {
  const root = scopes.lookup(chain.root);
  if (!root.found) return root.uninitialised === true ? notInitialised : undefined;
  let value = root.value;
  for (const property of chain.path) {
    if (value === undefined || value === null) return undefined;
    // Imports of compiled modules are getters on the exports object: reading them is what the program's text does.
    value = (value as Record<string, unknown>)[property];
  }
  return valueOf(value);
}

/**
 * Values from the engine's scopes. `running` is the function in the text that runs (undefined: the
 * source itself runs), `original` maps an offset in that text to one in the source.
 */
export function scopeResolver(
  source: SourceFile,
  node: FunctionNode,
  scopes: FunctionScopes,
  running: Ast | undefined,
  original: (offset: number) => number | undefined,
): (name: string, at: Ast) => Resolved {
  let joined: ReadonlyMap<number, Chain> | undefined;
  return (name, at) => {
    const binding = bindingOf(source, node, name);
    const refused = refusedBinding(source, binding);
    if (refused !== undefined) return refused;
    if (running !== undefined) {
      joined ??= joinNames(node, running, original);
      const chain = joined.get(at.start);
      const found = chain === undefined ? undefined : fromScope(scopes, chain);
      if (found !== undefined) return found;
    }
    const direct = fromScope(scopes, { root: name, path: [] });
    if (direct !== undefined) return direct;
    const namespace =
      running === undefined || binding?.kind !== "import"
        ? undefined
        : inlinedNamespace(node, running, name, original, scopes);
    if (namespace !== undefined) return { k: "value", value: namespace };
    if (binding === undefined) return globalValue(name);
    return unreadable(
      "no closure of this process holds it: the compiler that made the running text renamed or removed it",
    );
  };
}

/** A bundler replaced `ns.name` by the variable `name`: the namespace again, with the members that are used. */
function inlinedNamespace(
  node: Ast,
  running: Ast,
  name: string,
  original: (offset: number) => number | undefined,
  scopes: FunctionScopes,
): object | undefined {
  const members = inlinedMembers(node, running, name, original);
  const namespace: Record<string, unknown> = {};
  for (const [member, chain] of members) {
    const found = fromScope(scopes, chain);
    if (found?.k !== "value") return undefined;
    namespace[member] = found.value;
  }
  return members.size === 0 ? undefined : Object.freeze(namespace);
}
