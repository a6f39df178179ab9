/** The whole repository: types, lint, format, unused files and dependencies, and what is published. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { command, root } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";

const test = suite("package checks");

/** Runs a development tool of this repository; it must find nothing. */
function clean(tool: string, file: string, ...args: string[]): void {
  command();
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, "node_modules", file), ...args], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  assert.is(status, 0, `${tool} ${args.join(" ")}\n${(stdout + stderr).slice(-4000)}`);
}

test("tsc", () => clean("tsc", "typescript/bin/tsc", "--noEmit"));
test("oxlint", () => clean("oxlint", "oxlint/bin/oxlint", "--type-aware", "src", "test", "bench", "examples"));
test("oxfmt", () => clean("oxfmt", "oxfmt/bin/oxfmt", "--check"));
test("knip", () => clean("knip", "knip/bin/knip.js"));
test("publint", () => clean("publint", "publint/src/cli.js", "run", "--strict"));

test("examples are short: each below 60 lines, with its command at the top", () => {
  for (const name of [
    "execsnoop",
    "opensnoop",
    "exitsnoop",
    "syscount",
    "runqlat",
    "profile",
    "bashreadline",
    "xdpcount",
  ]) {
    const lines = readFileSync(join(root, "examples", `${name}.ts`), "utf8")
      .trimEnd()
      .split("\n");
    assert.ok(lines.length < 60, `${name}: ${lines.length} lines`);
    assert.ok(
      lines.slice(0, 3).some((l) => l.startsWith("//") && l.includes(`sudo npx bpfkit run examples/${name}.ts`)),
      name,
    );
  }
});
