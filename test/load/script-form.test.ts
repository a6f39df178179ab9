import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { prepareModule } from "../../src/compiler/capture/prepare.ts";
import { loadModule, type ModuleResult } from "../../src/load/module-loader.ts";
import { assert, suite } from "../harness.ts";

const test = suite("script form");
const dir = mkdtempSync(join(tmpdir(), "script-form-"));
test.after(() => rmSync(dir, { recursive: true, force: true }));

const kit = join(dir, "kit.mjs");
writeFileSync(kit, "export const u32 = { name: 'u32' }; export const tracepoint = (name, fn) => ({ name, fn });");
const own = (await import(pathToFileURL(kit).href)) as Readonly<Record<string, unknown>>;

let count = 0;
/** Loads `text` as Node's loader runs it, and as a function. */
async function both(text: string): Promise<{ module: ModuleResult; script: ModuleResult }> {
  const load = (options: object): Promise<ModuleResult> => {
    const file = join(dir, `${count++}.ts`);
    writeFileSync(file, text);
    return loadModule(file, { resolveOwn: () => pathToFileURL(kit).href, ...options });
  };
  return { module: await load({}), script: await load({ own }) };
}

test("exports are those of the module: names in order, values, present values", async () => {
  const { module, script } = await both(`#!/usr/bin/env bpfkit
    import { tracepoint as tp, type Missing, u32 } from "bpfkit";
    import os, { platform } from "node:os"
    import type { App } from "bpfkit/load";
    interface X { n: number }
    export type Y = X;
    export const zed = 1, { a, b: [c = 5, ...rest], ...more } = { a: 2, b: [undefined, 7, 8], d: 9 }
    export let n: number = 0;
    export function bump(): number { return ++n; }
    export async function later(): Promise<number> { return n; }
    export class K { x = u32; static y: number = 3; }
    const local = "l"
    export { local, local as alias, u32, K as "a string" }
    ;(() => { n += 10; })();
    export const kinds = [typeof os.platform, platform === os.platform, typeof tp, this === undefined];
    export const probe = tp("x:y", (ctx: X) => ctx.n + n);
    export default async (app: App): Promise<string> => { for await (const x of [app]) return String(x); return ""; };
  `);
  assert.is(prepareModule("export const a = 1;", "x.ts").script?.exports.length, 1);
  assert.equal(Object.keys(script.exports), Object.keys(module.exports));
  for (const [name, value] of Object.entries(module.exports)) {
    const other = script.exports[name];
    if (typeof value === "function") assert.is(String(other), String(value), name);
    else if (name !== "probe") assert.equal(other, value, name);
  }
  assert.is((script.exports["bump"] as () => number)(), 11);
  assert.is(script.exports["n"], 11);
  assert.is(await (script.exports["default"] as (x: string) => Promise<string>)("app"), "app");
  const [loaded] = [...script.modules.values()];
  assert.equal(
    [loaded?.lookup("n"), loaded?.lookup("local"), loaded?.lookup("u32")],
    [{ value: 11 }, { value: "l" }, { value: own["u32"] }],
  );
  assert.is(loaded?.lookup("nothing"), undefined);
});

test("default exports of every kind", async () => {
  for (const text of [
    "export default function named() { return 1; }",
    "export default function () { return 1; }",
    "export default class { x = 1 }",
    "export default class Named { x = 1 }",
    "export default 1 + 1",
    "export default(1, 2)",
    "export\ndefault { a: 1 }\nexport const after = 2",
    "const x = 1; export { x as default };",
    "export default <T>(x: T): T => x;",
    "const x = 1\nexport default x as number\n;[2].map(String)",
  ]) {
    const { module, script } = await both(text);
    assert.equal(Object.keys(script.exports), Object.keys(module.exports), text);
    assert.is(String(script.exports["default"]), String(module.exports["default"]), text);
  }
});

test("stack traces name the TypeScript file, line and column", async () => {
  for (const [text, place] of [
    ["export const fail = () => { throw new Error('x'); };", ":1:35"],
    ["interface A {\n  x: number;\n}\nexport default (a: A): never => { throw new Error(String(a)); };", ":4:41"],
  ] as const) {
    const { script } = await both(text);
    try {
      (Object.values(script.exports)[0] as () => void)();
      assert.unreachable();
    } catch (error) {
      assert.match((error as Error).stack ?? "", new RegExp(`file:///.*\\.ts${place}`));
    }
  }
});

test("what needs the loader stays a module", () => {
  for (const text of [
    "export const x = await 1;",
    "for await (const x of []) {}",
    "export const x = import.meta.url;",
    "export const x = () => import('node:fs');",
    "import * as x from 'bpfkit'; x;",
    "import { x } from './other.ts'; x;",
    "export * from 'bpfkit';",
    "export { u32 } from 'bpfkit';",
    "let $m = 1;",
    "let y = 2; export const x = 1 <!--y;",
  ]) {
    assert.is(prepareModule(text, "x.ts").script, undefined, text);
  }
});

test("a name that bpfkit does not have is reported as the loader reports it", async () => {
  const file = join(dir, "missing.ts");
  writeFileSync(file, "import { u33 } from 'bpfkit'; export const x = u33;");
  try {
    await loadModule(file, { own, resolveOwn: () => pathToFileURL(kit).href });
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /exports nothing named 'u33'/);
  }
});
