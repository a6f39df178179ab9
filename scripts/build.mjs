/**
 * Makes `dist/`: one ESM chunk set behind the sub-path exports (80 separate files
 * cost 1.7 × `node -e 0`), the command as one CommonJS bundle that can be started
 * from V8's code cache, and the types by tsc.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";
import { leanAcorn } from "./lean-acorn.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const place = process.env.BPFKIT_DIST ?? join(root, "dist");
// Made beside its place and moved there when whole: a build that fails leaves the last good one.
const out = `${place}.${process.pid}.tmp`;
process.on("exit", () => rmSync(out, { recursive: true, force: true }));

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  target: "node20.19",
  external: ["koffi"],
  plugins: [leanAcorn],
  define: { BPFKIT_VERSION: JSON.stringify(version) },
  legalComments: "none",
  logLevel: "warning",
};

await build({
  ...common,
  entryPoints: {
    index: "src/probe/index.ts",
    uapi: "src/uapi/index.ts",
    vm: "src/vm/index.ts",
    asm: "src/asm/index.ts",
    btf: "src/btf/index.ts",
    elf: "src/elf/index.ts",
    compiler: "src/compiler/index.ts",
    syscall: "src/syscall/index.ts",
    load: "src/load/index.ts",
    plugin: "src/plugin/index.ts",
    testing: "src/testing/index.ts",
    verifier: "src/verifier/index.ts",
  },
  outdir: out,
  format: "esm",
  splitting: true,
  chunkNames: "chunks/[name]-[hash]",
  sourcemap: true,
  sourcesContent: false,
});

// The command: chunks split at its dynamic imports, each made CommonJS so that `src/cli/bin.ts` can start it
// from V8's code cache. A start of `run` with a cached program never reads the compiler's chunk.
const cli = await build({
  ...common,
  entryPoints: { main: "src/cli/main.ts" },
  outdir: join(out, "cli"),
  chunkNames: "[name]-[hash]",
  format: "esm",
  splitting: true,
  minifySyntax: true,
  metafile: true,
  write: false,
});
const outputs = cli.metafile.outputs;
const chunkName = (path) => path.replace(/^.*\//, "").replace(/\.js$/, "");

/** Chunks that `entry` needs before it can run. */
function closure(entry, into = new Set()) {
  if (into.has(entry)) return into;
  into.add(entry);
  for (const i of outputs[entry].imports) if (i.kind === "import-statement" && !i.external) closure(i.path, into);
  return into;
}
const entryOf = (source) => Object.keys(outputs).find((o) => outputs[o].entryPoint === source);
// Three packs instead of twenty files: what every start of `run` needs, what compiling adds, and the rest.
const all = (...sources) => sources.reduce((into, source) => closure(entryOf(source), into), new Set());
const run = all("src/cli/main.ts", "src/cli/commands/run.ts", "src/cli/print-app.ts");
const compile = all("src/cli/compile-file.ts", "src/compiler/capture/prepare.ts", "src/cli/report.ts");
const packs = { run: [], compile: [], more: [] };
const packOf = (output) => (run.has(output) ? "run" : compile.has(output) ? "compile" : "more");
for (const output of Object.keys(outputs)) packs[packOf(output)].push(output);
const texts = new Map(cli.outputFiles.map((file) => [chunkName(file.path), file.text]));
const toScript = {
  format: "cjs",
  platform: "node",
  target: "node20.19",
  define: { "import.meta": "bpfkitMeta" },
  // Dynamic imports of chunks become `require`, which the launcher answers.
  supported: { "dynamic-import": false },
  minifyWhitespace: true,
  minifyIdentifiers: true,
  legalComments: "none",
};
const asFunction = (code) => `function (exports, require, module, bpfkitMeta) {${code}\n}`;

/**
 * The chunks of a pack in one scope. As modules that import each other, each of their 400 exports would be two getters
 * that are defined at every start, and each use of one a call. What other packs use of a chunk is in an object under the
 * chunk's name, as it is once the pack has run.
 */
async function merged(pack) {
  const own = new Map(packs[pack].map((output) => [chunkName(output), outputs[output]]));
  const used = new Set([...own.keys()].filter((name) => own.get(name).entryPoint !== undefined));
  for (const [output, { imports }] of Object.entries(outputs)) {
    if (packOf(output) === pack) for (const input of Object.keys(outputs[output].inputs)) requireConstants(input);
    else for (const { path } of imports) if (own.has(chunkName(path))) used.add(chunkName(path));
  }
  const entry = [...used].map((name, i) => {
    const { exports } = own.get(name);
    const imports = exports.map((e) => `${e} as ${e}_${i}`).join(", ");
    const members = exports.map((e) => `${e}: ${e}_${i}`).join(", ");
    return `import { ${imports} } from "./${name}.js"; const x${i} = { ${members} }; export { x${i} as "${name}" };`;
  });
  const result = await build({
    ...common,
    ...toScript,
    minifySyntax: true,
    stdin: { contents: entry.join("\n"), resolveDir: out },
    write: false,
    plugins: [
      {
        name: "chunks",
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /^\.\/[\w-]+\.js$/ }, ({ path, kind }) =>
            kind === "import-statement" && own.has(chunkName(path))
              ? { path, namespace: "chunk" }
              : { path, external: true },
          );
          onLoad({ filter: /./, namespace: "chunk" }, ({ path }) => ({
            contents: texts.get(chunkName(path)),
            resolveDir: out,
          }));
        },
      },
    ],
  });
  return `"*": ${asFunction(result.outputFiles[0].text)}`;
}
/** What other packs see of a module is a copy: it must not be assigned again. */
function requireConstants(input) {
  if (input.startsWith("src/") && /^export (let|var) /m.test(readFileSync(join(root, input), "utf8")))
    throw new Error(`${input} exports a variable, which a start of bpfkit run cannot share between packs`);
}
const scripts = {
  run: [await merged("run")],
  compile: [await merged("compile")],
  more: await Promise.all(
    packs.more.map(async (output) => {
      const { code } = await transform(texts.get(chunkName(output)), toScript);
      return `${JSON.stringify(chunkName(output))}: ${asFunction(code)}`;
    }),
  ),
};
const hash = createHash("sha256");
mkdirSync(join(out, "cli"), { recursive: true });
for (const [name, chunks] of Object.entries(scripts)) {
  const text = `({\n${chunks.join(",\n")}\n})`;
  hash.update(text);
  writeFileSync(join(out, "cli", `${name}.pack`), text);
}

await build({
  ...common,
  define: {
    ...common.define,
    BPFKIT_BUNDLE_HASH: JSON.stringify(hash.digest("hex").slice(0, 12)),
    BPFKIT_PACKS: JSON.stringify(Object.keys(packs)),
  },
  banner: { js: "#!/usr/bin/env node" },
  entryPoints: { bpfkit: "src/cli/bin.ts" },
  outdir: out,
  outExtension: { ".js": ".cjs" },
  format: "cjs",
});
chmodSync(join(out, "bpfkit.cjs"), 0o755);

const tsc = join(root, "node_modules/typescript/bin/tsc");
if (existsSync(tsc))
  execFileSync(process.execPath, [tsc, "--noCheck", "-p", "tsconfig.build.json", "--outDir", join(out, "types")], {
    cwd: root,
    stdio: "inherit",
  });

rmSync(place, { recursive: true, force: true });
renameSync(out, place);

// A first start without V8's code cache takes twice as long: this Node gets what compiling uses of it now. (Where the
// kernel gives no types it compiles nothing, and caches less.) Starting a probe adds the rest.
try {
  const env = { ...process.env, BPFKIT_PARTIAL_CODE_CACHE: "1" };
  execFileSync(
    process.execPath,
    [join(place, "bpfkit.cjs"), "compile", "examples/execsnoop.ts", "-o", join(place, "sample.o")],
    { cwd: root, env, stdio: "ignore" },
  );
} catch {
  // Nothing depends on it.
}
rmSync(join(place, "sample.o"), { force: true });

if (process.argv.includes("--sizes")) {
  for (const [output, { bytes, inputs }] of Object.entries(cli.metafile.outputs)) {
    console.log(`${String(bytes).padStart(8)} ${output}`);
    const rows = Object.entries(inputs).sort((a, b) => b[1].bytesInOutput - a[1].bytesInOutput);
    for (const [file, { bytesInOutput }] of rows.slice(0, 12))
      console.log(`${String(bytesInOutput).padStart(16)} ${file}`);
  }
}
