/** Packed, installed elsewhere and run with `npx`, as users get it. NODE_VERSIONS="20 22 24" tries it on each of them. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { command, example, jsonLines, scratch } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("package install");
const project = scratch("install");
const cache = join(project, "cache");

interface Options {
  readonly node?: string;
  readonly cwd?: string;
}
function sh(file: string, args: readonly string[], { node, cwd = project }: Options = {}): string {
  const env: NodeJS.ProcessEnv = { ...process.env, XDG_CACHE_HOME: cache, NO_COLOR: "1" };
  if (node !== undefined) env["PATH"] = `${dirname(node)}:${process.env["PATH"] ?? ""}`;
  const { status, stdout, stderr } = spawnSync(file, args, { cwd, encoding: "utf8", env });
  assert.is(status, 0, `${file} ${args.join(" ")}\n${stdout}\n${stderr}`);
  return stdout;
}

/** A project of its own with bpfkit from a tarball. */
function install(): void {
  if (existsSync(join(project, "node_modules"))) return;
  const source = dirname(dirname(command()));
  sh("npm", ["pack", "--ignore-scripts", "--pack-destination", project], { cwd: source });
  const [tarball = ""] = readdirSync(project).filter((f) => f.endsWith(".tgz"));
  writeFileSync(join(project, "package.json"), '{ "name": "user", "private": true, "type": "module" }\n');
  sh("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", `./${tarball}`]);
  const files = readdirSync(join(project, "node_modules/bpfkit"), { recursive: true }) as string[];
  for (const f of files) assert.not.match(f, /^(src|test|bench|scripts|examples|docs)\b|\.cache$/);
  mkdirSync(join(project, "probes"));
  cpSync(example("execsnoop"), join(project, "probes/execsnoop.ts"));
}

const USE = `
import { struct, u32 } from "bpfkit";
import { parseAsm, encodeInsns } from "bpfkit/asm";
import { Btf } from "bpfkit/btf";
import { readObject } from "bpfkit/elf";
import { compile } from "bpfkit/compiler";
import { syscallName } from "bpfkit/syscall";
import { load, start } from "bpfkit/load";
if ([Btf, readObject, compile, load, start].some((f) => typeof f !== "function")) throw new Error("an export is missing");
console.log(struct({ a: u32 }).size, encodeInsns(parseAsm("r0 = 1\\nexit")).length, syscallName("x64", 321));
`;

function works(options: Options = {}): void {
  const out = sh(
    "npx",
    ["--no", "bpfkit", "run", "--json", "probes/execsnoop.ts", "--", "/bin/echo", "from npx"],
    options,
  );
  assert.ok(
    jsonLines<{ args: string[] }>(out).some((e) => e.args?.join("|") === "/bin/echo|from npx"),
    out,
  );
  assert.match(
    sh("npx", ["--no", "bpfkit", "disasm", "probes/execsnoop.ts"], options),
    /^; e\.pid = bpf\.pid\(\); @ probes\/execsnoop\.ts:\d+$/m,
  );
  assert.is(sh(options.node ?? process.execPath, ["use.mjs"], options), "4 16 bpf\n");
}

test("npm pack, npm install elsewhere, npx bpfkit run", () => {
  requires({ root: true, kernel: "5.8" });
  install();
  writeFileSync(join(project, "use.mjs"), USE);
  works();
  // From the cache of the first start, too.
  works();
});

for (const version of (process.env["NODE_VERSIONS"] ?? "").split(/\s+/).filter((v) => v !== "")) {
  test(
    `on Node ${version}`,
    () => {
      requires({ root: true, kernel: "5.8" });
      install();
      writeFileSync(join(project, "use.mjs"), USE);
      const home = join(project, `node-${version}`);
      mkdirSync(home);
      writeFileSync(join(home, "package.json"), '{ "allowScripts": { "node": true } }\n');
      sh("npm", ["install", "--no-audit", "--no-fund", `node@${version}`], { cwd: home });
      const node = join(home, "node_modules/node/bin/node");
      assert.match(sh(node, ["--version"]), new RegExp(`^v${version}\\.`));
      works({ node });
      works({ node });
    },
    { timeoutMs: 300_000 },
  );
}
