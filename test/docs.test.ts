/** Every TypeScript snippet of README and docs compiles, type-checks and runs as a reader would run it. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { assert, suite } from "./harness.ts";
import { requires } from "./kernel.ts";

const root = resolve(import.meta.dirname, "..");

interface Snippet {
  readonly where: string;
  readonly text: string;
  /** Exports programs: for `bpfkit run`. */
  readonly probe: boolean;
}

function snippetsOf(file: string): Snippet[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((m) => ({
    where: `${basename(file)}:${text.slice(0, m.index).split("\n").length}`,
    text: m[1] ?? "",
    probe:
      /^export const \w+ = \w+\((?:"|\{|\(|[\w.]+,)/m.test(m[1] ?? "") &&
      !/from "bpfkit\/(?:load|elf|syscall|compiler|testing)"/.test((m[1] ?? "").replace(/^import type.*$/gm, "")),
  }));
}

const files = [
  join(root, "README.md"),
  ...readdirSync(join(root, "docs"))
    .filter((f) => f.endsWith(".md"))
    .map((f) => join(root, "docs", f)),
];
const snippets = files.flatMap(snippetsOf);

const test = suite("docs");
let directory = "";
test.before(() => {
  // Below the package, so that `import "bpfkit"` means the package itself.
  mkdirSync(join(root, ".cache"), { recursive: true });
  directory = mkdtempSync(join(root, ".cache", "docs-"));
  snippets.forEach((s, i) => writeFileSync(pathOf(i), s.text));
});
test.after(() => rmSync(directory, { recursive: true, force: true }));
const pathOf = (i: number): string => join(directory, `snippet${i}.ts`);

test("README has snippets", () => {
  assert.ok(snippets.filter((s) => s.where.startsWith("README")).length >= 5);
});

test("snippets type-check against the published types", () => {
  writeFileSync(
    join(directory, "tsconfig.json"),
    JSON.stringify({ extends: join(root, "tsconfig.json"), compilerOptions: { rootDir: root }, include: ["*.ts"] }),
  );
  const tsc = spawnSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", directory], {
    encoding: "utf8",
  });
  const named = tsc.stdout.replace(/[^\s(]*snippet(\d+)\.ts/g, (_, i: string) => snippets[Number(i)]?.where ?? "");
  assert.is(named, "");
});

for (const [i, snippet] of snippets.entries()) {
  test(`${snippet.where} ${snippet.probe ? "runs with bpfkit run" : "runs as a script"}`, () => {
    requires({ root: true, kernel: "5.8" });
    const args = snippet.probe
      ? [join(root, "dist/bpfkit.cjs"), "run", "--no-cache", pathOf(i), "--duration", "0.3"]
      : ["--import", "tsx", pathOf(i)];
    execFileSync(process.execPath, args, { cwd: root, stdio: ["ignore", "ignore", "pipe"] });
  });
}
