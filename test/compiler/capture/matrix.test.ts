/** The same probe, run by every tool that a user might run it with: the same source text and the same values. */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build, type BuildOptions } from "esbuild";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import {
  describe as describeIn,
  makeProject,
  type Project,
  root,
  type Rows,
  rowsOf,
  run,
  sameRows,
  sorted,
} from "./project.ts";

const tsxLoader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
const test = suite("capture matrix");

let project: Project = { dir: "", own: "" };
let dir = "";
let expected: Rows = {};

test.before(async () => {
  project = await makeProject();
  ({ dir } = project);
  expected = await describe(process.execPath, [], "probe.ts", "loader");
});
test.after(() => rmSync(dir, { recursive: true, force: true }));

function describe(node: string, flags: string[], file: string, how: "loader" | "import"): Promise<Rows> {
  return describeIn(project, node, flags, file, how);
}

/** As the own loader sees it. */
function same(actual: Rows): void {
  sameRows(actual, expected);
}

test("bpfkit's own loader: the source as written, every value", () => {
  assert.ok(expected["onExec"]?.text?.includes("uid as number"), "the text has its types");
  assert.is(expected["onExec"]?.at, "probe.ts:21:63");
  assert.equal(expected["onExec"]?.names, {
    onlyUid: "global rodata",
    byUid: "map hash",
    BIG: "number 18446744073709552000",
    settings: '{"name":"probe","mask":"18446744073709551615n"}',
    LIMIT: "1152921504606846976n",
    events: "map ringbuf",
    local: "function",
    parentPid: "function",
  });
  assert.equal(expected["onExec>local"]?.names, { kit: "namespace" });
  assert.is(expected["onExec>local"]?.at, "probe.ts:19:15");
  assert.is(expected["onExec>parentPid"]?.at, "helper.ts:5:8");
  assert.equal([expected["low"]?.names, expected["high"]?.names], [{ limit: "number 10" }, { limit: "number 1000" }]);
  assert.equal(expected["wrong"]?.names, { counter: "BPF7007", late: "BPF7008" });
  assert.equal(expected["usesThis"]?.codes, ["BPF7005", "BPF7006"]);
  assert.equal(expected["bound"]?.codes, ["BPF7004"]);
});

test("tsx", async () => same(await describe(process.execPath, ["--import", tsxLoader], "probe.ts", "import")));

test("a loader hook with inline maps that Node was not asked to keep", async () => {
  const compiler = pathToFileURL(createRequire(import.meta.url).resolve("esbuild")).href;
  writeFileSync(
    join(dir, "hooks.mjs"),
    `import { readFileSync } from "node:fs";
    import { fileURLToPath } from "node:url";
    import esbuild from ${JSON.stringify(compiler)};
    export async function load(url, context, next) {
      if (!url.endsWith(".ts")) return next(url, context);
      const file = fileURLToPath(url);
      const { code } = esbuild.transformSync(readFileSync(file, "utf8"), { loader: "ts", sourcemap: "inline", sourcefile: file, format: "esm" });
      return { format: "module", source: code, shortCircuit: true };
    }`,
  );
  writeFileSync(
    join(dir, "register.mjs"),
    `import { register } from "node:module"; register("./hooks.mjs", import.meta.url);`,
  );
  same(
    await describe(process.execPath, ["--import", pathToFileURL(join(dir, "register.mjs")).href], "probe.ts", "import"),
  );
});

test("node --test with tsx", async () => {
  writeFileSync(
    join(dir, "in.test.mjs"),
    `
    import { writeFileSync } from "node:fs";
    import test from "node:test";
    import { describe } from "./driver.mjs";
    test("capture", async () => { writeFileSync("rows.json", "@@" + JSON.stringify(await describe(${JSON.stringify(join(dir, "probe.ts"))}, "import", "")) + "@@"); });
  `,
  );
  await run(process.execPath, ["--import", tsxLoader, "--test", join(dir, "in.test.mjs")], { cwd: dir });
  same(rowsOf(readFileSync(join(dir, "rows.json"), "utf8")));
});

async function tsc(out: string, ...options: string[]): Promise<void> {
  await run(
    process.execPath,
    [
      join(root, "node_modules/typescript/bin/tsc"),
      "--noCheck",
      "--rewriteRelativeImportExtensions",
      "--target",
      "es2022",
      "--outDir",
      out,
      ...options,
      join(dir, "probe.ts"),
    ],
    { cwd: dir },
  ).catch((error: { stdout?: string }) => {
    throw new Error(error.stdout ?? "tsc failed");
  });
}
test("tsc, ESM with a map beside it", async () => {
  await tsc(join(dir, "esm"), "--module", "nodenext", "--sourceMap");
  same(await describe(process.execPath, [], "esm/probe.js", "import"));
});
test("tsc, ESM with an inline map", async () => {
  await tsc(join(dir, "inline"), "--module", "nodenext", "--inlineSourceMap", "--inlineSources");
  same(await describe(process.execPath, [], "inline/probe.js", "import"));
});
test("tsc, CommonJS with a map", async () => {
  mkdirSync(join(dir, "cjs"));
  writeFileSync(join(dir, "cjs/package.json"), "{}");
  await tsc(join(dir, "cjs"), "--module", "esnext", "--moduleResolution", "bundler", "--sourceMap", "--rootDir", dir);
  await build({
    entryPoints: [join(dir, "cjs/probe.js"), join(dir, "cjs/helper.js")],
    outdir: join(dir, "cjs"),
    allowOverwrite: true,
    format: "cjs",
    sourcemap: true,
  });
  same(await describe(process.execPath, [], "cjs/probe.js", "import"));
});

async function esbuild(outfile: string, options: BuildOptions): Promise<Rows> {
  await build({
    absWorkingDir: dir,
    bundle: true,
    external: ["bpfkit"],
    platform: "node",
    logLevel: "error",
    outfile: join(dir, outfile),
    entryPoints: ["probe.ts"],
    ...options,
  });
  return describe(process.execPath, [], outfile, "import");
}
test("esbuild, ESM with a map", async () => same(await esbuild("es.mjs", { format: "esm", sourcemap: true })));
test("esbuild, ESM with an inline map", async () =>
  same(await esbuild("esi.mjs", { format: "esm", sourcemap: "inline" })));
test("esbuild, CommonJS with a map", async () => same(await esbuild("es.cjs", { format: "cjs", sourcemap: true })));
test("esbuild, minified with a map", async () =>
  same(await esbuild("min.mjs", { format: "esm", sourcemap: true, minify: true })));
test("esbuild, bpfkit bundled too", async () =>
  same(await esbuild("all.mjs", { format: "esm", sourcemap: true, external: [] })));
test("esbuild, map and sources in other folders, a blank and a # in a path", async () => {
  const out = join(dir, "out of # here");
  mkdirSync(join(out, "maps"), { recursive: true });
  writeFileSync(join(out, "package.json"), "{}");
  const built = await esbuild("out of # here/x.cjs", { format: "cjs", sourcemap: "external", sourcesContent: false });
  assert.match(built["onExec"]?.at ?? "", /^x\.cjs:/, "the comment that names the map is not there yet");
  const map = JSON.parse(readFileSync(join(out, "x.cjs.map"), "utf8")) as { sources: string[] };
  map.sources = map.sources.map((source) => `../${source}`);
  writeFileSync(join(out, "maps/x.map"), JSON.stringify(map));
  rmSync(join(out, "x.cjs.map"));
  writeFileSync(join(out, "x.cjs"), `${readFileSync(join(out, "x.cjs"), "utf8")}\n//# sourceMappingURL=maps/x.map\n`);
  same(await describe(process.execPath, [], "out of # here/x.cjs", "import"));
});
test("esbuild without a map: the JavaScript is compiled", async () => {
  const rows = await esbuild("nomap.mjs", { format: "esm", target: "es2022" });
  assert.is(rows["onExec"]?.text?.includes("as number"), false);
  assert.match(rows["onExec"]?.at ?? "", /^nomap\.mjs:/);
  assert.equal(sorted(rows["onExec"]?.names), sorted(expected["onExec"]?.names));
  assert.equal([rows["low"]?.names, rows["high"]?.names], [{ limit: "number 10" }, { limit: "number 1000" }]);
});
test("a file that was edited since it was loaded is refused", async () => {
  await tsc(join(dir, "edited"), "--module", "nodenext", "--sourceMap");
  cpSync(join(dir, "probe.ts"), join(dir, "kept.ts"));
  writeFileSync(
    join(dir, "probe.ts"),
    "// nothing like it\n".repeat(60) + "export const onExec = 1;\nconst f = (x) => x.other.thing;\n",
  );
  try {
    const rows = await describe(process.execPath, [], "edited/probe.js", "import");
    assert.equal(rows["onExec"]?.codes, ["BPF7002"]);
  } finally {
    cpSync(join(dir, "kept.ts"), join(dir, "probe.ts"));
  }
});
test("a file with syntax that the parser lacks: the function alone is parsed", async () => {
  writeFileSync(
    join(dir, "odd.ts"),
    `import { hash, tracepoint, u32 } from "bpfkit";
    const counts = hash(u32, u32);
    export function unrelated(a: number, b: number[]): number { for ((a as number) of b) continue; return a; }
    export const onSwitch = tracepoint("sched:sched_switch", (ctx, bpf) => { counts.add(bpf.pid() as number, 1); });\n`,
  );
  const rows = await describe(process.execPath, ["--import", tsxLoader], "odd.ts", "import");
  assert.equal(rows, {
    onSwitch: {
      text: "(ctx, bpf) => { counts.add(bpf.pid() as number, 1); }",
      at: "odd.ts:4:62",
      names: { counts: "map hash" },
    },
  });
});
test("many functions that look alike are told apart, whatever compiled them", async () => {
  const forms: ((i: number) => string)[] = [
    (i) => `tracepoint("a:b", () => ${i})`,
    (i) => `tracepoint("a:b", (ctx, bpf) => ${i})`,
    (i) => `tracepoint("a:b", function () { return ${i}; })`,
    (i) => `tracepoint("a:b", function named(this: void, ctx: unknown) { return ${i} as number; })`,
    (i) => `tracepoint("a:b", ({ method(): number { return ${i}; } }).method)`,
    (i) => `((n: number) => tracepoint("a:b", () => ${i}))(1)`,
  ];
  const declare = (i: number): string => `export const p${i} = ${forms[i % forms.length]?.(i)};`;
  const numbers = (from: number): number[] => Array.from({ length: 60 }, (_, i) => from + i);
  // One a line, and as many on one line.
  const text = `import { tracepoint } from "bpfkit";\n${numbers(1000).map(declare).join("\n")}\n${numbers(3000).map(declare).join(" ")}\n`;
  writeFileSync(join(dir, "alike.ts"), text);
  await tsc(join(dir, "alike"), "--module", "nodenext", "--sourceMap", join(dir, "alike.ts"));
  const entry: BuildOptions = { entryPoints: ["alike.ts"], sourcemap: true };
  const runs: [string, Rows][] = [
    ["loader", await describe(process.execPath, [], "alike.ts", "loader")],
    ["tsx", await describe(process.execPath, ["--import", tsxLoader], "alike.ts", "import")],
    ["tsc", await describe(process.execPath, [], "alike/alike.js", "import")],
    ["esbuild", await esbuild("alike.mjs", { ...entry, format: "esm" })],
    ["minified", await esbuild("alike-min.mjs", { ...entry, format: "esm", minify: true })],
    ["CommonJS", await esbuild("alike.cjs", { ...entry, format: "cjs" })],
  ];
  for (const [how, rows] of runs) {
    const keys = Object.keys(rows).filter((k) => /^p\d+$/.test(k));
    assert.is(keys.length, 120, how);
    const wrong = keys.filter((key) => rows[key]?.text?.includes(key.slice(1)) !== true);
    assert.equal(
      wrong.map((key) => [how, key, rows[key]]),
      [],
    );
  }
});
test("without the inspector it says what to do, and the own loader still works", async () => {
  const flags = ["--experimental-permission", "--allow-fs-read=*", "--allow-fs-write=*"];
  await tsc(join(dir, "permission"), "--module", "nodenext", "--sourceMap");
  const rows = await describe(process.execPath, flags, "permission/probe.js", "import");
  assert.equal(rows["onExec"]?.codes, ["BPF7010"]);
  const loaded = await describe(process.execPath, flags, "probe.ts", "loader");
  assert.equal(loaded["onExec"]?.names, expected["onExec"]?.names);
  assert.equal(loaded["low"]?.names, { limit: "BPF7010" });
});

/** `NODES` names a directory with `22/node_modules/.bin/node` and so on, as `npm install --prefix 22 node@22` makes it. */
for (const version of ["22", "24"]) {
  const node = join(process.env["NODES"] ?? "", version, "node_modules/node/bin/node");
  test(`Node ${version}: own loader`, async () => {
    requires({ env: "NODES" });
    same(await describe(node, [], "probe.ts", "loader"));
  });
  test(`Node ${version}: its own type stripping`, async () => {
    requires({ env: "NODES" });
    same(await describe(node, ["--experimental-strip-types", "--no-warnings"], "probe.ts", "import"));
  });
  test(`Node ${version}: tsc, ESM with a map`, async () => {
    requires({ env: "NODES" });
    await tsc(join(dir, `esm${version}`), "--module", "nodenext", "--sourceMap");
    same(await describe(node, [], `esm${version}/probe.js`, "import"));
  });
}
