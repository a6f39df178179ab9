import fc from "fast-check";
import type { Diagnostic, Span } from "../../src/core/diagnostic.ts";
import { renderDiagnostics } from "../../src/core/render.ts";
import { assert, suite } from "../harness.ts";

const test = suite("core render");

const at = (line: number, col: number, endCol: number, endLine = line, file = "a.ts"): Span => ({
  file,
  line,
  col,
  endLine,
  endCol,
});
const diagnostic = (d: Partial<Diagnostic>): Diagnostic => ({
  code: "BPF2001",
  severity: "error",
  message: "signs are mixed",
  labels: [],
  notes: [],
  ...d,
});
const render = (d: Partial<Diagnostic>, text: string, options: object = {}): string =>
  renderDiagnostics([diagnostic(d)], { sources: new Map([["a.ts", text]]), ...options });

test("one label", () => {
  const text = "const a = 1;\n  return a + b;\n";
  assert.fixture(
    render({ labels: [{ span: at(2, 10, 15), message: "here" }], notes: ["a is signed"], help: "cast one side" }, text),
    `\
error[BPF2001]: signs are mixed
 --> a.ts:2:10
  |
2 |   return a + b;
  |          ^^^^^ here
  |
  = note: a is signed
  = help: cast one side
`,
  );
});

test("several labels on a line hang below each other", () => {
  const labels = [
    { span: at(1, 9, 10), message: "signed" },
    { span: at(1, 13, 14), message: "unsigned" },
    { span: at(1, 17, 18), message: "a third" },
  ];
  assert.fixture(
    render({ labels }, "  f(x = a + b * c);"),
    `\
error[BPF2001]: signs are mixed
 --> a.ts:1:9
  |
1 |   f(x = a + b * c);
  |         ^   -   - a third
  |         |   |
  |         |   unsigned
  |         |
  |         signed
`,
  );
});

test("far lines are joined by dots, a single skipped line is shown", () => {
  const text = "one\ntwo\nthree\nfour\nfive\nsix\nseven";
  const labels = [{ span: at(1, 1, 4) }, { span: at(3, 1, 6), message: "x" }, { span: at(7, 1, 6), message: "y" }];
  assert.fixture(
    render({ labels }, text),
    `\
error[BPF2001]: signs are mixed
 --> a.ts:1:1
  |
1 | one
  | ^^^
2 | two
3 | three
  | ----- x
...
7 | seven
  | ----- y
`,
  );
});

test("a span of several lines is drawn at the left", () => {
  const text = "for (;;) {\n  x();\n  y();\n}\n";
  assert.fixture(
    render(
      {
        labels: [
          { span: at(1, 1, 2, 4), message: "this loop" },
          { span: at(3, 3, 6), message: "called" },
        ],
      },
      text,
    ),
    `\
error[BPF2001]: signs are mixed
 --> a.ts:1:1
  |
1 | / for (;;) {
2 | |   x();
3 | |   y();
  | |   --- called
4 | | }
  | |_^ this loop
`,
  );
  const long = `f(() => {\n${"  g();\n".repeat(20)}});`;
  assert.fixture(
    render({ labels: [{ span: at(1, 3, 2, 22) }] }, long),
    `\
error[BPF2001]: signs are mixed
  --> a.ts:1:3
   |
 1 | / f(() => {
 2 | |   g();
...
21 | |   g();
22 | | });
   | |_^
`,
  );
});

test("tabs, wide and combining characters keep the underline in place", () => {
  const text = "\tx = 漢字 + é + 🎉 + b;";
  const b = text.indexOf("b");
  assert.fixture(
    render(
      {
        labels: [
          { span: at(1, b + 1, b + 2), message: "b" },
          { span: at(1, text.indexOf("漢") + 1, text.indexOf("漢") + 3), message: "two" },
        ],
      },
      text,
    ),
    `\
error[BPF2001]: signs are mixed
 --> a.ts:1:${b + 1}
  |
1 |     x = 漢字 + é + 🎉 + b;
  |         ----            ^ b
  |         |
  |         two
`,
  );
});

test("unicode and colours", () => {
  const labels = [{ span: at(1, 1, 2), message: "here" }];
  assert.fixture(
    render({ severity: "warning", labels, help: "do" }, "x", { unicode: true }),
    `\
warning[BPF2001]: signs are mixed
 ╭─▸ a.ts:1:1
  │
1 │ x
  │ ━ here
  │
  ═ help: do
`,
  );
  const colored = render({ labels }, "x", { color: true });
  assert.ok(colored.includes("\u001b[1;31merror[BPF2001]\u001b[0m"));
  // oxlint-disable-next-line no-control-regex
  assert.is(colored.replace(/\u001b\[[\d;]*m/g, ""), render({ labels }, "x"), "colours change nothing else");
});

test("other files and files without text are named", () => {
  const labels = [{ span: at(1, 1, 2) }, { span: at(4, 2, 3, 4, "b.ts"), message: "declared here" }];
  assert.fixture(
    render({ labels }, "x"),
    `\
error[BPF2001]: signs are mixed
 --> a.ts:1:1
  |
1 | x
  | ^
  ::: b.ts:4:2
  | declared here
`,
  );
  assert.fixture(
    render({ notes: ["nothing\nto point at"] }, ""),
    `\
error[BPF2001]: signs are mixed
  = note: nothing
          to point at
`,
  );
});

test("a long line is cut around its label", () => {
  const text = `${"x".repeat(300)}oops${"y".repeat(300)}`;
  const lines = render({ labels: [{ span: at(1, 301, 305), message: "here" }] }, text, { width: 60 }).split("\n");
  assert.ok((lines[3]?.length ?? 99) < 75);
  assert.is(lines[3]?.indexOf("oops"), lines[4]?.indexOf("^^^^"));
});

test("a terminal obeys nothing that stands in the source", () => {
  const text = "a \u001b[31mred\u202e \u0007";
  for (const format of ["text", "plain"] as const) {
    const out = render(
      { message: "\u001b]0;title\u0007", labels: [{ span: at(1, 1, 2), message: "\u001b[2J" }] },
      text,
      { format },
    );
    // oxlint-disable-next-line no-control-regex
    assert.not.match(out, /[\u0000-\u0009\u000b-\u001f\u202e]/);
  }
});

test("plain sentences", () => {
  assert.fixture(
    render(
      { labels: [{ span: at(2, 3, 4), message: "signed" }, { span: at(1, 1, 2) }], notes: ["n"], help: "h" },
      "one\n  two",
      { format: "plain" },
    ),
    `\
error BPF2001: signs are mixed
  at a.ts line 2, column 3: signed
    source: two
  see a.ts line 1, column 1
    source: one
  note: n
  help: h
`,
  );
});

test("JSON has every field", () => {
  const labels = [{ span: at(1, 2, 3), message: "m" }];
  assert.equal(JSON.parse(render({ labels, notes: ["n"], help: "h" }, "", { format: "json" })), [
    {
      code: "BPF2001",
      severity: "error",
      message: "signs are mixed",
      labels: [{ file: "a.ts", line: 1, col: 2, endLine: 1, endCol: 3, message: "m" }],
      notes: ["n"],
      help: "h",
    },
  ]);
  assert.is(renderDiagnostics([], { format: "json" }), "[]\n");
  assert.is(renderDiagnostics([]), "");
});

test("any diagnostic on any text renders; an ASCII label is underlined under its text", () => {
  const position = fc.integer({ min: -2, max: 30 });
  const span = fc
    .tuple(position, position, position, position)
    .map(([line, col, endCol, endLine]) => at(line, col, endCol, endLine));
  const label = fc
    .tuple(span, fc.option(fc.string({ unit: "grapheme" }), { nil: undefined }))
    .map(([s, m]) => (m === undefined ? { span: s } : { span: s, message: m }));
  fc.assert(
    fc.property(
      fc.array(label, { maxLength: 5 }),
      fc.string({ unit: "binary", maxLength: 200 }),
      fc.boolean(),
      (labels, text, unicode) => {
        for (const format of ["text", "plain", "json"] as const) {
          const out = render({ labels }, text.replaceAll("q", "\n"), { format, unicode });
          assert.ok(out.endsWith("\n"));
        }
      },
    ),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(fc.stringMatching(/^[ -~]{1,60}$/), fc.nat(59), (text, start) => {
      const col = (start % text.length) + 1;
      const rows = render({ labels: [{ span: at(1, col, col + 1) }] }, text).split("\n");
      assert.is(rows[4]?.indexOf("^"), 4 + col - 1);
    }),
  );
});
