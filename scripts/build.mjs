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
const packOf = (output) => (run.has(output) ? packs.run : compile.has(output) ? packs.compile : packs.more);
for (const file of cli.outputFiles) {
  const name = chunkName(file.path);
  const { code } = await transform(file.text, {
    format: "cjs",
    platform: "node",
    target: "node20.19",
    define: { "import.meta": "bpfkitMeta" },
    // Dynamic imports of chunks become `require`, which the launcher answers.
    supported: { "dynamic-import": false },
    minifyWhitespace: true,
    minifyIdentifiers: true,
    legalComments: "none",
  });
  const output = Object.keys(outputs).find((o) => chunkName(o) === name);
  packOf(output).push(`${JSON.stringify(name)}: function (exports, require, module, bpfkitMeta) {${code}\n}`);
}
const hash = createHash("sha256");
mkdirSync(join(out, "cli"), { recursive: true });
for (const [name, chunks] of Object.entries(packs)) {
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
