/** Bundles that the plugin made: probes are found as they were written, with nothing but what the bundle holds. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build, type BuildOptions, transform } from "esbuild";
import { rollup as bundleWithRollup } from "rollup";
import { build as buildWithVite } from "vite";
import { esbuild, rollup, vite } from "../../src/plugin/index.ts";
import { SourceMapV3 } from "../../src/compiler/capture/index.ts";
import { tagFunctions } from "../../src/compiler/capture/tag.ts";
import { assert, suite } from "../harness.ts";
import { describe, makeProject, type Project, type Rows, sameRows } from "../compiler/capture/project.ts";

const test = suite("bundler plugin");
let project: Project = { dir: "", own: "" };
let dir = "";
let expected: Rows = {};

test.before(async () => {
  project = await makeProject();
  ({ dir } = project);
  expected = await describe(project, process.execPath, [], "probe.ts", "loader");
  // What an inspector is needed for otherwise.
  assert.equal([expected["low"]?.names, expected["high"]?.names], [{ limit: "number 10" }, { limit: "number 1000" }]);
});
test.after(() => rmSync(dir, { recursive: true, force: true }));

/** No inspector, no source map, no source file. */
const ALONE = ["--experimental-permission", "--allow-fs-read=*"];

async function captured(file: string): Promise<Rows> {
  return describe(project, process.execPath, ALONE, file, "import");
}
async function bundle(outfile: string, options: BuildOptions): Promise<void> {
  await build({
    absWorkingDir: dir,
    bundle: true,
    external: ["bpfkit"],
    platform: "node",
    logLevel: "error",
    outfile: join(dir, outfile),
    entryPoints: ["probe.ts"],
    plugins: [esbuild({ root: dir })],
    ...options,
  });
}

test("esbuild, ESM", async () => {
  await bundle("es.mjs", { format: "esm" });
  sameRows(await captured("es.mjs"), expected);
});
test("esbuild, minified, without a map", async () => {
  await bundle("min.mjs", { format: "esm", minify: true });
  sameRows(await captured("min.mjs"), expected);
});
test("esbuild, CommonJS, bpfkit bundled too", async () => {
  await bundle("all.cjs", { format: "cjs", minify: true, external: [] });
  sameRows(await captured("all.cjs"), expected);
});
test("esbuild's map leads to the source as it was", async () => {
  await bundle("mapped.mjs", { format: "esm", sourcemap: true });
  const map = SourceMapV3.decode(readFileSync(join(dir, "mapped.mjs.map"), "utf8"));
  const source = map?.sources.find((s) => s.endsWith("probe.ts")) ?? "";
  assert.is(map?.content(source), readFileSync(join(dir, "probe.ts"), "utf8"));
  const running = readFileSync(join(dir, "mapped.mjs"), "utf8").split("\n");
  const line = running.findIndex((text) => text.includes("ctx.filename"));
  const at = map?.original(line, running[line]?.indexOf("ctx.filename") ?? 0);
  const written = (map?.content(source) ?? "").split("\n")[at?.line ?? 0] ?? "";
  assert.ok(written.slice(at?.col).startsWith("ctx.filename"), written);
});
test("Rollup", async () => {
  const bundled = await bundleWithRollup({
    input: join(dir, "probe.ts"),
    external: ["bpfkit"],
    plugins: [
      rollup({ root: dir }),
      { name: "types", transform: (code) => transform(code, { loader: "ts", sourcemap: true }) },
    ],
  });
  await bundled.write({ file: join(dir, "rollup.mjs"), format: "es" });
  sameRows(await captured("rollup.mjs"), expected);
});
test("Vite", async () => {
  await buildWithVite({
    root: dir,
    logLevel: "error",
    configFile: false,
    plugins: [vite({ root: dir })],
    build: {
      outDir: "vite",
      ssr: "probe.ts",
      minify: true,
      rollupOptions: { external: ["bpfkit"], output: { entryFileNames: "probe.mjs" } },
    },
  });
  sameRows(await captured("vite/probe.mjs"), expected);
});

test("functions in every place are tagged once, and what they do stays the same", () => {
  const text = `import { global, u32, xdp } from "bpfkit";
export const total = global(u32, 0);
function hoisted(n: number): number { return twice(n) + one; }
const early = hoisted.name;
const one = 1, twice = (n: number): number => n * 2;
export default function () { return one; }
const table = { plain: (x: number) => x + one, method(x: number) { return x; }, get got() { return 1; } };
async function user() { await 0; return [1].map((x) => x + one); }
function* all() { yield 1; }
class Box { field = (x: number) => x; run() { return () => one; } }
export const make = (limit: number) => { function inner() { return limit; } return xdp(() => limit + inner() + [1].map((x) => x).length); };
export const names = [early, hoisted.name, twice.name, table.plain.name, table.method.name];
export const results = [hoisted(3), twice(4), table.plain(1), table.method(2), table.got, new Box().run()(), [...all()].length];
export { user };
`;
  const tagged = tagFunctions(text, "a.ts");
  const code = tagged?.code ?? "";
  // hoisted, twice, plain, map in user, field, run's, make, inner, the program: methods, generators, async and default ones are not.
  assert.is(code.split("__bpfkit(").length - 2, 9);
  const lineOf = (of: string): number => of.split("\n").indexOf("export { user };");
  assert.is(lineOf(code), lineOf(text));
  writeFileSync(join(dir, "places.ts"), text);
  return bundle("places.mjs", { format: "esm", entryPoints: ["places.ts"] }).then(async () => {
    const module = (await import(join(dir, "places.mjs"))) as Record<string, unknown>;
    assert.equal(module["names"], ["hoisted", "hoisted", "twice", "plain", "method"]);
    assert.equal(module["results"], [7, 8, 2, 2, 1, 1, 1]);
  });
});

test("a file that cannot be parsed is left alone, and said so", () => {
  const warnings: string[] = [];
  const plugin = rollup({ root: "/p" });
  const seen = plugin.transform.call(
    { warn: (message) => warnings.push(message) },
    'import { xdp } from "bpfkit";\nconst = 1;',
    "/p/a.ts",
  );
  assert.is(seen, undefined);
  assert.match(
    warnings[0] ?? "",
    /^the probes of a\.ts are left as they are: error BPF7003: .*a\.ts line 2, column 7/s,
  );
  assert.is(plugin.transform.call(undefined, "export const a = () => 1;", "/p/b.ts"), undefined);
  assert.is(plugin.transform.call(undefined, 'import "bpfkit"; f(() => 1)', "/p/node_modules/c/b.js"), undefined);
  assert.ok(rollup({ include: /\/lib\// }).transform.call(undefined, "export const a = () => 1;", "/p/lib/b.js?v=1"));
});
