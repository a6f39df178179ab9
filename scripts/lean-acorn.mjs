/**
 * What acorn does at its start that a start of `bpfkit run` would pay for: 40 regular expressions
 * of words (for Unicode's scripts and properties), two of all letters, and one more for each word of
 * the source. Sets and later construction give the same answers; cold, they save 2 of 9 ms.
 */
import { readFileSync } from "node:fs";

const PATCHES = {
  "acorn/dist/acorn.mjs": [
    [
      'return regexpCache[words] || (regexpCache[words] = new RegExp("^(?:" + words.replace(/ /g, "|") + ")$"))',
      'var set; return regexpCache[words] || (regexpCache[words] = { test: function (word) { return (set = set || new Set(words.split(" "))).has(word) } })',
    ],
    [
      'var nonASCIIidentifierStart = new RegExp("[" + nonASCIIidentifierStartChars + "]");',
      'var nonASCIIidentifierStart = { test: function (s) { nonASCIIidentifierStart = new RegExp("[" + nonASCIIidentifierStartChars + "]"); return nonASCIIidentifierStart.test(s) } };',
    ],
    [
      'var nonASCIIidentifier = new RegExp("[" + nonASCIIidentifierStartChars + nonASCIIidentifierChars + "]");',
      'var nonASCIIidentifier = { test: function (s) { nonASCIIidentifier = new RegExp("[" + nonASCIIidentifierStartChars + nonASCIIidentifierChars + "]"); return nonASCIIidentifier.test(s) } };',
    ],
  ],
  "@sveltejs/acorn-typescript/index.js": [
    [
      'const tsKeywordsRegExp = new RegExp(`^(?:${Object.keys(tsKwTokenType).join("|")})$`);',
      "const tsKeywords = new Set(Object.keys(tsKwTokenType)); const tsKeywordsRegExp = { test: (word) => tsKeywords.has(word) };",
    ],
    ["new RegExp(keywordsRegExp).test(word)", "keywordsRegExp.test(word)"],
  ],
};

/** An esbuild plugin. Fails when a patch does not fit, so that an update of acorn is looked at. */
export const leanAcorn = {
  name: "lean-acorn",
  setup(build) {
    for (const [file, patches] of Object.entries(PATCHES)) {
      build.onLoad({ filter: new RegExp(`/${file.replace(/[.]/g, "\\.")}$`) }, ({ path }) => {
        let contents = readFileSync(path, "utf8");
        for (const [from, to] of patches) {
          if (contents.split(from).length !== 2) throw new Error(`${path} has changed: look at scripts/lean-acorn.mjs`);
          contents = contents.replace(from, () => to);
        }
        return { contents, loader: "js" };
      });
    }
  },
};
