import { transformSync } from "esbuild";
import { blankTypes } from "../../../src/compiler/syntax/blank.ts";
import { parseModule } from "../../../src/compiler/syntax/parse.ts";
import { Scopes } from "../../../src/compiler/syntax/scopes.ts";
import { assert, suite } from "../../harness.ts";
import { ownSources, SNIPPETS } from "./files.ts";

const test = suite("syntax blank");

function blank(text: string, file = "a.ts"): string {
  const parsed = parseModule(text, file);
  if (!parsed.ok) throw new Error(`${file}: ${parsed.diagnostic.message}`);
  const blanked = blankTypes(text, parsed.node, file);
  if (!blanked.ok) throw new Error(`${file}: ${blanked.diagnostics[0]?.message}`);
  return blanked.code;
}

/** The code without what may differ: empty statements, emptied imports. */
const essence = (code: string): string =>
  code
    .replace(/import\{\}from/g, "import")
    .replace(/import"[^"]*"(?:with\{[^}]*\})?;/g, "")
    .replace(/export\{\}(?:from"[^"]*")?;?/g, "")
    .replace(/\n/g, "")
    .replace(/;+/g, ";")
    .replace(/([{}]);/g, "$1")
    .replace(/;}/g, "}")
    .replace(/^;/, "");

function agrees(file: string, text: string): void {
  const options = {
    minifyWhitespace: true,
    target: "esnext",
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
  } as const;
  const code = blank(text, file);
  assert.is(code.length, text.length, `${file}: every token keeps its place`);
  for (let i = 0; i < text.length; i++) {
    // A token may only be replaced by a blank, or by one of the characters that guard a statement's end.
    if (code[i] !== text[i] && !" ;()".includes(code[i] as string))
      throw new Error(`${file}: ${JSON.stringify(text[i])} became ${JSON.stringify(code[i])} at ${i}`);
  }
  const theirs = essence(transformSync(text, { ...options, loader: "ts" }).code);
  const ours = essence(transformSync(code, { ...options, loader: "js" }).code);
  assert.fixture(ours, theirs, file);
}

test("the same JavaScript as esbuild's on real sources", () => {
  for (const [file, text] of ownSources()) agrees(file, text);
});
test("the same JavaScript as esbuild's on constructs", () => {
  SNIPPETS.forEach((text, i) => agrees(`snippet${i}.ts`, text));
});

test("what types cannot be erased from is refused at its place", () => {
  const refused = (text: string): unknown[] => {
    const parsed = parseModule(text, "a.ts");
    if (!parsed.ok) throw new Error(parsed.diagnostic.message);
    const result = blankTypes(text, parsed.node, "a.ts");
    if (result.ok) throw new Error("it was blanked");
    return result.diagnostics.map((d) => [
      d.code,
      d.message.split(" is not only")[0],
      d.labels[0]?.span.line,
      d.labels[0]?.span.col,
    ]);
  };
  assert.equal(refused("let a;\nexport enum E { A }"), [["BPF7012", "an enum", 2, 8]]);
  assert.equal(refused("namespace N { export const a = 1 }"), [["BPF7012", "a namespace", 1, 1]]);
  assert.equal(refused("class A { constructor(private x: number) {} }"), [["BPF7012", "a parameter property", 1, 23]]);
  assert.equal(refused("import fs = require('fs');"), [["BPF7012", "`import x = …`", 1, 1]]);
  assert.equal(refused("export = 3;"), [["BPF7012", "`export = …`", 1, 1]]);
});

test("scopes: which declaration a name means, and where it is assigned again", () => {
  const text = `
    import dflt, { a as b, type T } from "x"; import * as ns from "y"; import type { U } from "z";
    const c = 1; let d = 2; var e = 3; let never = 1;
    function outer(p: number, { q }: { q: number }) {
      let d = 5; e++;
      { const inner = 1; var hoisted = 2; d = 6; [p] = [7]; }
      for (const i of []) { target(() => i); }
      return (x) => x + d + inner + hoisted + p + q + e + unknown;
    }
    for (d of [1]) {} ({ c: never } = { c: 2 });
    export class K { static { never; } }
    try {} catch (err) { (() => err)(); }
  `;
  const parsed = parseModule(text, "a.ts");
  if (!parsed.ok) throw new Error(parsed.diagnostic.message);
  const scopes = new Scopes(parsed.node);
  assert.equal([...scopes.top.keys()].sort(), ["K", "b", "c", "d", "dflt", "e", "never", "ns", "outer"]);
  const arrow = find(parsed.node, (n) => n.type === "ArrowFunctionExpression" && text.startsWith("(x)", n.start));
  const of = (name: string): unknown => {
    const binding = scopes.outside(arrow as never, name);
    return (
      binding && [
        binding.kind,
        binding.top,
        binding.assigned.map(
          (n) => new Set(text.slice(0, n.start).split("\n")).size > 0 && text.slice(0, n.start).split("\n").length,
        ),
      ]
    );
  };
  assert.equal(of("d"), ["let", false, [6]]);
  assert.equal(of("e"), ["var", true, [5]]);
  assert.equal(of("p"), ["param", false, [6]]);
  assert.equal(of("q"), ["param", false, []]);
  assert.equal(of("hoisted"), ["var", false, []]);
  assert.equal(of("b"), ["import", true, []]);
  assert.equal(of("c"), ["const", true, []]);
  assert.equal(of("never"), ["let", true, [10]]);
  assert.equal(
    [of("inner"), of("unknown"), of("T"), of("U"), of("i")],
    [undefined, undefined, undefined, undefined, undefined],
  );
  assert.equal(scopes.top.get("d")?.assigned.length, 1);
});

function find(root: unknown, wanted: (node: { type: string; start: number }) => boolean): unknown {
  if (Array.isArray(root)) {
    for (const item of root) {
      const found = find(item, wanted);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  if (typeof root !== "object" || root === null) return undefined;
  if ("type" in root && wanted(root as { type: string; start: number })) return root;
  return find(Object.values(root), wanted);
}
