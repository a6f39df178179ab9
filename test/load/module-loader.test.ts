import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { PreparedModule } from "../../src/compiler/capture/prepare.ts";
import { loadModule, type ModuleResult } from "../../src/load/module-loader.ts";
import { assert, suite } from "../harness.ts";

const test = suite("load module");
let dir = "";
test.before(() => {
  dir = mkdtempSync(join(tmpdir(), "module-loader-"));
});
test.after(() => rmSync(dir, { recursive: true, force: true }));

let own = 0;
/** Writes `files` to a fresh folder and loads the first. */
async function load(
  files: Record<string, string>,
  options: { cache?: Map<string, PreparedModule> } = {},
): Promise<ModuleResult & { folder: string }> {
  const folder = join(dir, String(own++));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  const kit = join(folder, "kit.mjs");
  writeFileSync(kit, "export const u32 = 'our u32'; export const tracepoint = () => 1;");
  const { cache } = options;
  const result = await loadModule(join(folder, Object.keys(files)[0] ?? ""), {
    resolveOwn: (specifier) => `${pathToFileURL(kit).href}?${specifier}`,
    ...(cache === undefined
      ? {}
      : {
          cache: {
            get: (text: string) => cache.get(text),
            set: (text: string, p: PreparedModule) => void cache.set(text, p),
          },
        }),
  });
  return { ...result, folder };
}
const names = (r: ModuleResult, file: string): string[] => {
  const module = [...r.modules.values()].find((m) => m.url.endsWith(`/${file}`));
  return ["a", "b", "c", "d", "u32", "T", "missing"].filter((n) => {
    try {
      return module?.lookup(n) !== undefined;
    } catch {
      return true;
    }
  });
};

test("types are gone, exports are there, names can be asked for at any time", async () => {
  const r = await load({
    "main.ts": `import { type T, u32 } from "bpfkit";
      const a: number = 1 as const; let b: string = "x"; export let c = 0;
      interface T2 { x: T }
      export function bump(): void { c++; b += "y"; }
      export default async (x: T2): Promise<string> => a + b + u32;`,
  });
  assert.equal(names(r, "main.ts"), ["a", "b", "c", "u32"]);
  const module = [...r.modules.values()][0];
  assert.is(module?.url, pathToFileURL(join(r.folder, "main.ts")).href);
  assert.equal(module?.lookup("u32"), { value: "our u32" });
  (r.exports["bump"] as () => void)();
  assert.equal([module?.lookup("b"), module?.lookup("c")], [{ value: "xy" }, { value: 1 }]);
  assert.is(await (r.exports["default"] as (x: object) => Promise<string>)({}), "1xyour u32");
});

test("stack traces name the TypeScript file, line and column", async () => {
  const r = await load({
    "main.ts": `interface A {\n  x: number;\n}\nexport const fail = (a: A): never => { throw new Error(String(a)); };`,
  });
  try {
    (r.exports["fail"] as (a: object) => never)({});
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).stack ?? "", /main\.ts:4:46/);
  }
});

test("other TypeScript files are loaded the same way, also in a circle, once each", async () => {
  const temporary = join(dir, "tmp");
  mkdirSync(temporary);
  const before = process.env["TMPDIR"];
  process.env["TMPDIR"] = temporary;
  const r = await load({
    "main.ts": `import { b, count } from "./lib/b.ts"; import { c } from "./c.ts"; export const a: number = b() + c; export { count }; export function late(): number { return 40; }`,
    "lib/b.ts": `import { c } from "../c.ts"; import { late } from "../main.ts"; export let count = 0; count++; export const b = (): number => c + late();`,
    "c.ts": `export const c = 1 as number; export type T = string;`,
  });
  if (before === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = before;
  assert.is(r.exports["a"], 42);
  assert.is(r.exports["count"], 1);
  assert.equal([names(r, "main.ts"), names(r, "b.ts"), names(r, "c.ts")], [["a", "b", "c"], ["b", "c"], ["c"]]);
  assert.equal(readdirSync(temporary), [], "no temporary file stays");
});

test("imports: built in, JavaScript, JSON, packages, types only, import.meta", async () => {
  const r = await load({
    "main.ts": `#!/usr/bin/env bpfkit
      import fs, { readFileSync } from "node:fs"; import * as path from "path";
      import { js } from "./plain.mjs"; import data from "./data.json" with { type: "json" };
      import { cjs } from "old"; import { esm } from "new/sub/deep"; import scoped from "@s/pkg";
      import { OnlyType } from "nowhere"; import Def, { Other } from "nowhere-too";
      import "./effect.ts";
      type X = OnlyType | Def | Other;
      export const all = [typeof fs.readFileSync === typeof readFileSync, path.sep, js, data.n, cjs, esm, scoped, import.meta.url, import.meta.dirname, (globalThis as any).effect];
      export const lazy = (): Promise<unknown> => import("./lazy.ts");`,
    "plain.mjs": "export const js = 'js';",
    "data.json": '{"n": 7}',
    "effect.ts": "(globalThis as { effect?: number }).effect = 9;",
    "lazy.ts": "export const lazy: string = 'lazy';",
    "node_modules/old/package.json": '{"main": "./i.js"}',
    "node_modules/old/i.js": "exports.cjs = 'cjs';",
    "node_modules/new/package.json":
      '{"type": "module", "exports": {"./sub/*": {"types": "./x.d.ts", "import": "./dist/*.js"}}}',
    "node_modules/new/dist/deep.js": "export const esm = 'esm';",
    "node_modules/@s/pkg/package.json": '{"type": "module", "exports": ["./a.js"]}',
    "node_modules/@s/pkg/a.js": "export default 'scoped';",
  });
  assert.equal(r.exports["all"], [
    true,
    "/",
    "js",
    7,
    "cjs",
    "esm",
    "scoped",
    pathToFileURL(join(r.folder, "main.ts")).href,
    r.folder,
    9,
  ]);
  assert.is(((await (r.exports["lazy"] as () => Promise<unknown>)()) as { lazy: string }).lazy, "lazy");
});

test("errors say what to do", async () => {
  const fails = async (files: Record<string, string>, code: string, message: RegExp): Promise<void> => {
    try {
      await load(files);
    } catch (error) {
      assert.throwsCode(
        () => {
          throw error;
        },
        code,
        message,
      );
      return;
    }
    assert.unreachable(`expected ${code}`);
  };
  await fails(
    { "main.ts": "import { x } from './gone.ts'; x;" },
    "MODULE_NOT_FOUND",
    /gone\.ts, which .*main\.ts imports, does not exist/,
  );
  await fails(
    { "main.ts": "import { x } from 'no-such-package'; x;" },
    "MODULE_NOT_FOUND",
    /"no-such-package" that .*main\.ts imports cannot be found: install it with `npm install no-such-package`/,
  );
  await fails({ "main.ts": "const a = ;" }, "BPF7003", /unexpected ';'/);
  await fails({ "main.ts": "enum E { A }" }, "BPF7012", /an enum is not only a type/);
  await fails(
    { "main.ts": "import { u64 } from 'bpfkit'; u64;" },
    "IMPORT",
    /kit\.mjs exports nothing named 'u64'. If it is a type/,
  );
  await fails({ "main.ts": "throw Object.assign(new Error('mine'), { code: 'MINE' });" }, "MINE", /mine/);
  assert.is(Object.getOwnPropertySymbols(globalThis).includes(Symbol.for("bpfkit.module")), false, "the hook is gone");
});

test("with a cache an unchanged file is not parsed again", async () => {
  const cache = new Map<string, PreparedModule>();
  const files = { "main.ts": "export const a: number = 1;" };
  await load(files, { cache });
  const [[text, prepared]] = [...cache] as [[string, PreparedModule]];
  assert.equal(JSON.parse(JSON.stringify(prepared)), prepared, "plain data");
  cache.set(text, { ...prepared, code: prepared.code.replace("1", "2") });
  assert.is((await load(files, { cache })).exports["a"], 2, "what the cache holds is what runs");
});

test("a file that is loaded again is the same module, and its names are known to the second caller too", async () => {
  const first = await load({ "main.ts": "const secret = 7; export const read = () => secret;" });
  const file = join(first.folder, "main.ts");
  const second = await loadModule(file, { resolveOwn: (specifier) => specifier });
  assert.is(second.exports["read"], first.exports["read"]);
  assert.equal([...second.modules.keys()], [pathToFileURL(file).href]);
  assert.equal(second.modules.get(pathToFileURL(file).href)?.lookup("secret"), { value: 7 });
});
