import fc from "fast-check";
import { parseSync } from "oxc-parser";
import { LineTable } from "../../../src/compiler/syntax/lines.ts";
import { parseExpressionAt, parseModule } from "../../../src/compiler/syntax/parse.ts";
import { assert, suite } from "../../harness.ts";
import { ownSources, SNIPPETS } from "./files.ts";

const test = suite("syntax parse");

/** "start-end Type" of every node that is no type. */
function nodes(root: unknown): string[] {
  const out: string[] = [];
  const types = new Set([
    "typeAnnotation",
    "returnType",
    "typeParameters",
    "typeArguments",
    "superTypeArguments",
    "superTypeParameters",
    "implements",
    "parent",
    "decorators",
  ]);
  const walk = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(walk);
    if (typeof value !== "object" || value === null) return;
    const node = value as Record<string, unknown>;
    if (typeof node["type"] === "string") {
      if (/^TS(?!As|Satisfies|NonNull|TypeAssertion|Instantiation)/.test(node["type"])) return;
      // Where a method's function begins differs when it has type parameters; where it ends does not.
      const start = node["type"] === "FunctionExpression" ? "" : String(node["start"]);
      // Abstract members have their own type in oxc's tree.
      if (node["abstract"] === true && node["type"] !== "ClassDeclaration") return;
      if (!["TemplateElement", "ChainExpression"].includes(node["type"]))
        out.push(`${start}-${String(node["end"])} ${node["type"]}`);
    }
    for (const [key, member] of Object.entries(node)) if (!types.has(key)) walk(member);
  };
  walk(root);
  return out.sort();
}

function agrees(file: string, text: string): void {
  const ours = parseModule(text, file);
  const theirs = parseSync(file, text, { preserveParens: false });
  assert.equal(theirs.errors, [], file);
  if (!ours.ok) throw new Error(`${file}: ${ours.diagnostic.message} at line ${ours.diagnostic.labels[0]?.span.line}`);
  const [a, b] = [nodes(ours.node), nodes(theirs.program)];
  const [inA, inB] = [new Set(a), new Set(b)];
  assert.equal(
    { file, ours: a.filter((n) => !inB.has(n)), theirs: b.filter((n) => !inA.has(n)) },
    { file, ours: [], theirs: [] },
  );
}

test("the same trees as oxc on real sources", () => {
  const files = ownSources();
  assert.ok(files.size > 60);
  for (const [file, text] of files) agrees(file, text);
});
test("the same trees as oxc on constructs", () => {
  SNIPPETS.forEach((text, i) => agrees(`snippet${i}.ts`, text));
});

test("an error is at its place and says what it met", () => {
  const error = (text: string): unknown[] => {
    const result = parseModule(text, "a.ts");
    if (result.ok) throw new Error("it parsed");
    const { code, message, labels } = result.diagnostic;
    const span = labels[0]?.span;
    return [code, message, span?.line, span?.col, span?.endCol];
  };
  assert.equal(error("const a = 1;\nlet b = +;"), [
    "BPF7003",
    "the source cannot be parsed: unexpected ';'",
    2,
    10,
    11,
  ]);
  assert.equal(error("f(function wrong name() {})"), [
    "BPF7003",
    "the source cannot be parsed: unexpected 'name'",
    1,
    18,
    22,
  ]);
  assert.equal(error("let x = 1; let x = 2;"), [
    "BPF7003",
    "the source cannot be parsed: identifier 'x' has already been declared",
    1,
    16,
    17,
  ]);
});

test("one expression out of a file", () => {
  const text =
    "const big = 1;\nexport const p = tracepoint('a:b', (ctx: Ctx, bpf) => bpf.pid(), { name: 'x' });\nthis is { not parsed";
  const at = parseExpressionAt(text, text.indexOf("(ctx"), "a.ts");
  assert.ok(at.ok && at.node.type === "ArrowFunctionExpression");
  assert.is(at.ok && text.slice(at.node.start, at.node.end), "(ctx: Ctx, bpf) => bpf.pid()");
  assert.is(parseExpressionAt(text, text.indexOf("{ not"), "a.ts").ok, false);
});

test("mutated sources give a tree or a diagnostic, never an exception", () => {
  const texts = [...SNIPPETS, ...[...ownSources().values()].filter((t) => t.length < 3000)];
  const runs = Number(process.env["FUZZ_RUNS"] ?? 600);
  fc.assert(
    fc.property(
      fc.constantFrom(...texts),
      fc.array(fc.tuple(fc.nat(), fc.nat(12), fc.string({ unit: "binary", maxLength: 6 })), {
        minLength: 1,
        maxLength: 4,
      }),
      (text, edits) => {
        let mutated = text;
        for (const [where, remove, insert] of edits) {
          const from = where % (mutated.length + 1);
          mutated = mutated.slice(0, from) + insert + mutated.slice(from + remove);
        }
        const result = parseModule(mutated, "m.ts");
        if (!result.ok)
          assert.ok((result.diagnostic.labels[0]?.span.line ?? 0) >= 1 && result.diagnostic.message.length > 10);
      },
    ),
    { numRuns: runs },
  );
  const deep = parseModule(`${"(".repeat(50_000)}1${")".repeat(50_000)}`, "deep.ts");
  assert.match(deep.ok ? "" : deep.diagnostic.message, /nested too deeply/);
});

test("line tables know every line end of JavaScript", () => {
  const table = new LineTable("a\nbb\r\nc\rd\u2028e");
  assert.equal([table.count, [1, 2, 3, 4, 5, 6].map((l) => table.line(l))], [5, ["a", "bb", "c", "d", "e", ""]]);
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("a", "\n", "\r", "é", "🎉", "\u2028") }), fc.nat(), (text, n) => {
      const lines = new LineTable(text);
      const offset = n % (text.length + 1);
      const { line, col } = lines.at(offset);
      assert.is(lines.offset(line, col), offset);
      assert.is(
        text.slice(0, offset).split(/\r\n|[\n\r\u2028\u2029]/).length -
          (text[offset - 1] === "\r" && text[offset] === "\n" ? 1 : 0),
        line,
      );
    }),
  );
});
