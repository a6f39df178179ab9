/** A folder with a probe, a helper file and bpfkit installed, and what the driver prints of a way to run the probe. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { build, type BuildOptions } from "esbuild";
import { assert } from "../../harness.ts";

export const root = resolve(import.meta.dirname, "../../..");
const data = join(import.meta.dirname, "testdata");
export const run = promisify(execFile);

/** What was captured of each program and of the functions that it uses. */
export type Rows = Record<
  string,
  { text?: string; at?: string; codes?: string[]; names?: Record<string, string> | undefined }
>;

export interface Project {
  readonly dir: string;
  /** URL of the installed package. */
  readonly own: string;
}

export async function makeProject(): Promise<Project> {
  const dir = mkdtempSync(join(tmpdir(), "capture-"));
  const kit = join(dir, "node_modules/bpfkit");
  mkdirSync(kit, { recursive: true });
  const common: BuildOptions = { bundle: true, platform: "node", logLevel: "error", absWorkingDir: root };
  await build({ ...common, entryPoints: ["src/probe/index.ts"], format: "esm", outfile: join(kit, "index.mjs") });
  await build({ ...common, entryPoints: ["src/probe/index.ts"], format: "cjs", outfile: join(kit, "index.cjs") });
  await build({ ...common, entryPoints: [join(data, "driver.ts")], format: "esm", outfile: join(dir, "driver.mjs") });
  writeFileSync(
    join(kit, "package.json"),
    JSON.stringify({
      name: "bpfkit",
      exports: { ".": { types: "./types/index.ts", import: "./index.mjs", require: "./index.cjs" } },
    }),
  );
  symlinkSync(join(root, "src/probe"), join(kit, "types"));
  for (const file of ["probe.ts", "helper.ts"]) cpSync(join(data, file), join(dir, file));
  writeFileSync(join(dir, "package.json"), JSON.stringify({ type: "module" }));
  return { dir, own: pathToFileURL(join(kit, "index.mjs")).href };
}

/** Runs the driver in a fresh process. */
export async function describe(
  { dir, own }: Project,
  node: string,
  flags: string[],
  file: string,
  how: "loader" | "import",
): Promise<Rows> {
  const { stdout } = await run(node, [...flags, join(dir, "driver.mjs"), join(dir, file), how, own], {
    cwd: dir,
    maxBuffer: 1 << 24,
  });
  return rowsOf(stdout);
}
export function rowsOf(stdout: string): Rows {
  return JSON.parse(/@@(.*)@@/.exec(stdout)?.[1] ?? "{}") as Rows;
}

/** Both captured the same text at the same place, with the same values. */
export function sameRows(actual: Rows, expected: Rows): void {
  assert.fixture(normal(actual), normal(expected));
}
function normal(rows: Rows): string {
  const entries = Object.entries(rows).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(
    entries.map(([key, row]) => [key, { ...row, names: sorted(row.names) }]),
    null,
    1,
  );
}
export function sorted(names: Record<string, string> | undefined): Record<string, string> | undefined {
  return names && Object.fromEntries(Object.entries(names).sort(([a], [b]) => (a < b ? -1 : 1)));
}
