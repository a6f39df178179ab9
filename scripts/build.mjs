/**
 * Makes `dist/`: one ESM chunk set behind the sub-path exports (80 separate files
 * cost 1.7 × `node -e 0`), the command as one CommonJS bundle that can be started
 * from V8's code cache, and the types by tsc.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const out = join(root, "dist");
rmSync(out, { recursive: true, force: true });

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  target: "node20.19",
  external: ["koffi"],
  define: { BPFKIT_VERSION: JSON.stringify(version) },
  legalComments: "none",
  logLevel: "warning",
};

await build({
  ...common,
  entryPoints: {
    index: "src/probe/index.ts",
    asm: "src/asm/index.ts",
    btf: "src/btf/index.ts",
    elf: "src/elf/index.ts",
    compiler: "src/compiler/index.ts",
    syscall: "src/syscall/index.ts",
    load: "src/load/index.ts",
  },
  outdir: out,
  format: "esm",
  splitting: true,
  chunkNames: "chunks/[name]-[hash]",
  sourcemap: true,
  sourcesContent: false,
});

const cli = await build({
  ...common,
  entryPoints: { cli: "src/cli/main.ts" },
  outdir: out,
  outExtension: { ".js": ".cjs" },
  format: "cjs",
  define: { ...common.define, "import.meta.url": "bpfkitUrl", "import.meta.dirname": "__dirname" },
  banner: { js: 'const bpfkitUrl = require("node:url").pathToFileURL(__filename).href;' },
  metafile: true,
  minifySyntax: true,
  minifyWhitespace: true,
});

const hash = createHash("sha256").update(readFileSync(join(out, "cli.cjs"))).digest("hex").slice(0, 12);
await build({
  ...common,
  define: { ...common.define, BPFKIT_BUNDLE_HASH: JSON.stringify(hash) },
  banner: { js: "#!/usr/bin/env node" },
  entryPoints: { bpfkit: "src/cli/bin.ts" },
  outdir: out,
  outExtension: { ".js": ".cjs" },
  format: "cjs",
});
chmodSync(join(out, "bpfkit.cjs"), 0o755);

const tsc = join(root, "node_modules/typescript/bin/tsc");
if (existsSync(tsc)) execFileSync(process.execPath, [tsc, "--noCheck", "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });

if (process.argv.includes("--sizes")) {
  const { inputs } = Object.values(cli.metafile.outputs)[0];
  const rows = Object.entries(inputs).sort((a, b) => b[1].bytesInOutput - a[1].bytesInOutput);
  for (const [file, { bytesInOutput }] of rows.slice(0, 25)) console.log(String(bytesInOutput).padStart(8), file);
}
