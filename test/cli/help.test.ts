import { readFileSync } from "node:fs";
import { join } from "node:path";
import { assert, suite } from "../harness.ts";
import { bpfkit, root } from "./bpfkit.ts";

const test = suite("cli help");

const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  run: [
    "--duration SECONDS",
    "--set NAME=VALUE",
    "--device NAME",
    "--cgroup DIR",
    "--json",
    "--simulate",
    "--no-cache",
    "--verbose",
    "Exit codes",
  ],
  sim: [
    "--program NAME",
    "--ctx JSON",
    "--packet HEX",
    "--pcap FILE",
    "--trace",
    "--break LINE",
    "--kernel VERSION",
    "Exit codes",
  ],
  test: ["--lcov FILE", "--listing", "--lines PERCENT", "Exit codes"],
  compile: ["--output FILE.o", "--btf FILE", "--explain", "--json"],
  disasm: ["--program NAME", "--btf FILE", "--no-source", "--json"],
  asm: ["--output OUT", "--section NAME", "--big-endian", "--json"],
  types: ["--output", "--btf"],
};

test("the overview names every command and exits with 0; without arguments it exits with 2", async () => {
  const asked = await bpfkit(["--help"]);
  assert.equal([asked.code, asked.stderr], [0, ""]);
  for (const name of Object.keys(COMMANDS)) assert.match(asked.stdout, new RegExp(`^  ${name} +\\S`, "m"));
  const bare = await bpfkit([]);
  assert.equal([bare.code, bare.stdout], [2, asked.stdout]);
});

for (const [name, options] of Object.entries(COMMANDS)) {
  test(`${name} --help shows its usage and every option`, async () => {
    const { code, stdout, stderr } = await bpfkit([name, "--help"]);
    assert.equal([code, stderr], [0, ""]);
    assert.match(stdout, new RegExp(`^usage: bpfkit ${name} `, "m"));
    for (const option of options) assert.ok(stdout.includes(option), `${option} is missing in\n${stdout}`);
    assert.ok(
      stdout.split("\n").every((line) => line.length <= 120),
      "a line is too long",
    );
    assert.is((await bpfkit([name, "-h"])).stdout, stdout);
  });
}

test("--version says what package.json says", async () => {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const { code, stdout } = await bpfkit(["--version"]);
  assert.equal([code, stdout], [0, `bpfkit ${version}\n`]);
});
