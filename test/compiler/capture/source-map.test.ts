import { SourceMap } from "node:module";
import { transformSync } from "esbuild";
import fc from "fast-check";
import { dataUrlText, sourceMappingUrl, SourceMapV3 } from "../../../src/compiler/capture/source-map.ts";
import { assert, suite } from "../../harness.ts";

const test = suite("source maps");
const SOURCE = `const a = 1;\nexport const f = (x: number, y: { z: string }) => {\n  if (x > a) return y.z;\n  return "é🎉" + x;\n};\n`;

test("positions are Node's own on esbuild's maps", () => {
  for (const minify of [false, true]) {
    const { code, map } = transformSync(SOURCE, { loader: "ts", sourcemap: "external", sourcefile: "a.ts", minify });
    const ours = SourceMapV3.decode(map);
    const node = new SourceMap(JSON.parse(map));
    code.split("\n").forEach((line, l) => {
      for (let c = 0; c <= line.length; c++) {
        const theirs = node.findEntry(l, c) as {
          originalLine?: number;
          originalColumn?: number;
          generatedLine?: number;
          generatedColumn?: number;
        };
        const found = ours?.original(l, c);
        if (found === undefined) continue;
        assert.equal(
          [found.line, found.col, found.exact],
          [theirs.originalLine, theirs.originalColumn, theirs.generatedColumn === c],
          `${l}:${c}`,
        );
      }
    });
    assert.is(ours?.content("a.ts"), SOURCE);
  }
});

test("index maps, source roots, unmapped parts", () => {
  const part = { version: 3, sources: ["a.ts"], sourceRoot: "src/", mappings: "AAAA,E,IAAI" };
  const map = SourceMapV3.decode({
    version: 3,
    sections: [
      { offset: { line: 0, column: 0 }, map: part },
      { offset: { line: 2, column: 5 }, map: { ...part, sources: ["b.ts"] } },
    ],
  });
  assert.equal(map?.sources, ["src/a.ts", "src/b.ts"]);
  assert.equal(map?.original(0, 0), { source: "src/a.ts", line: 0, col: 0, exact: true });
  assert.is(map?.original(0, 3), undefined, "unmapped");
  assert.equal(map?.original(2, 6), { source: "src/b.ts", line: 0, col: 0, exact: false });
  assert.is(map?.original(1, 0), undefined);
});

test("wrong maps are no maps", () => {
  for (const wrong of [
    undefined,
    null,
    3,
    "",
    "{",
    "[]",
    {},
    { version: 2, sources: [], mappings: "" },
    { version: 3, sources: ["a"], mappings: "!!" },
    { version: 3, sources: [], mappings: "AAAA" },
    { version: 3, sources: ["a"], mappings: "gggggggggggggggggggggggggg" },
    { sections: [null] },
    { sections: [{ offset: {}, map: {} }] },
  ]) {
    assert.is(SourceMapV3.decode(wrong), undefined, JSON.stringify(wrong) ?? "undefined");
  }
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("A", "C", "D", "g", "h", "/", "+", "9", ";", ",") }),
      fc.array(fc.string()),
      (mappings, sources) => {
        const map = SourceMapV3.decode({ version: 3, sources, mappings });
        const at = map?.original(0, 3);
        assert.ok(at === undefined || sources.includes(at.source));
      },
    ),
  );
});

test("where a script says its map is", () => {
  assert.is(sourceMappingUrl("a\n//# sourceMappingURL=one.map\n//# sourceMappingURL=two.map \n"), "two.map");
  assert.is(sourceMappingUrl("a"), undefined);
  assert.is(dataUrlText("data:application/json;charset=utf-8;base64,eyJhIjoi4oKsIn0="), '{"a":"€"}');
  assert.is(dataUrlText("data:application/json,%7B%7D"), "{}");
  assert.is(dataUrlText("data:text/plain,%"), undefined);
  assert.is(dataUrlText("two.map"), undefined);
});
