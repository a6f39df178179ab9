/** Every example has a unit test that needs no kernel, and that test runs every line of its programs. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { bpfkit, jsonLines, root } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";

const test = suite("testing examples");

interface Row {
  readonly file: string;
  readonly lines: { readonly hit: number; readonly found: number; readonly percent: number };
  readonly branches: { readonly percent: number };
  readonly missed: readonly number[];
}

test("bpfkit test examples: all pass, every line is covered, of the ways 98 %", async () => {
  const names = readdirSync(join(root, "examples")).filter((f) => f.endsWith(".ts") && !f.endsWith(".test.ts"));
  assert.is(names.length, 8);
  for (const name of names) assert.ok(existsSync(join(root, "examples", name.replace(/\.ts$/, ".test.ts"))), name);
  const args = ["test", "--json", "--lines", "100", "--branches", "98", "examples"];
  // As nobody in particular: no privilege is needed.
  const uid = process.getuid?.() === 0 ? { uid: 65534 } : {};
  const { code, stdout, stderr } = await bpfkit(args, uid);
  assert.is(code, 0, stdout + stderr);
  const rows = jsonLines<Row>(stdout);
  assert.equal(
    rows.map((r) => [r.file, r.lines.percent, r.missed]),
    names.sort().map((name) => [`examples/${name}`, 100, []]),
  );
  for (const { file, lines } of rows) assert.ok(lines.found >= 3, file);
});
