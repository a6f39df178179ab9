/** The arrows between layers point down only, and nothing below `syscall` needs Node. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { assert, suite } from "./harness.ts";

const src = resolve(import.meta.dirname, "../src");

/** What each layer may import, besides itself. */
const ALLOWED: Record<string, readonly string[]> = {
  core: [],
  uapi: ["core"],
  asm: ["uapi", "core"],
  btf: ["asm", "uapi", "core"],
  elf: ["btf", "asm", "uapi", "core"],
  probe: ["uapi", "core"],
  verifier: ["elf", "btf", "asm", "uapi", "core"],
  vm: ["elf", "btf", "asm", "uapi", "core"],
  compiler: ["probe", "elf", "btf", "asm", "uapi", "core"],
  values: ["probe", "elf", "btf", "asm", "uapi", "core"],
  host: ["compiler", "probe", "elf", "btf", "asm", "uapi", "core"],
  testing: ["values", "host", "vm", "verifier", "compiler", "probe", "elf", "btf", "asm", "uapi", "core"],
  syscall: ["elf", "btf", "asm", "uapi", "core"],
  plugin: ["compiler", "core"],
  load: ["syscall", "values", "host", "compiler", "probe", "elf", "btf", "asm", "uapi", "core"],
  cli: [
    "testing",
    "load",
    "syscall",
    "values",
    "host",
    "vm",
    "verifier",
    "compiler",
    "probe",
    "elf",
    "btf",
    "asm",
    "uapi",
    "core",
  ],
};
const NODE_LAYERS = new Set(["plugin", "syscall", "load", "cli"]);

function* sources(dir: string): Generator<string> {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    if (entry.isDirectory()) yield* sources(join(dir, entry.name));
    else if (entry.name.endsWith(".ts")) yield join(dir, entry.name);
  }
}

const imports = [...sources(src)].flatMap((file) => {
  const from = relative(src, file);
  return [
    ...readFileSync(file, "utf8").matchAll(
      /^(?:import|export)\b[^;]*?\bfrom\s+"([^"]+)"|\bimport\("([^"]+)"\)|^import\s+"([^"]+)"/gm,
    ),
  ].map((m) => ({
    from,
    layer: from.split("/")[0] ?? "",
    to: m[1] ?? m[2] ?? m[3] ?? "",
    target: resolve(join(src, from, ".."), m[1] ?? m[2] ?? m[3] ?? ""),
  }));
});

const test = suite("layering");

test("every folder of src is a known layer", () => {
  for (const entry of readdirSync(src, { withFileTypes: true })) {
    assert.ok(entry.isDirectory() && entry.name in ALLOWED, `src/${entry.name} is not a layer: add it to ALLOWED`);
  }
  assert.ok(imports.length > 20, "the import scan finds imports");
});

test("imports point down only", () => {
  const wrong = imports
    .filter((i) => i.to.startsWith("."))
    .map((i) => ({ ...i, to: relative(src, i.target).split("/")[0] ?? "" }))
    .filter((i) => i.to !== i.layer && !(ALLOWED[i.layer] ?? []).includes(i.to))
    .map((i) => `src/${i.from} imports ${i.to}`);
  assert.equal(wrong, []);
});

test("only syscall, load, cli and the bundler plugin import Node; only syscall/ffi.ts imports koffi", () => {
  const wrong = imports
    .filter((i) => !i.to.startsWith("."))
    .filter((i) =>
      i.to === "koffi" ? i.from !== "syscall/ffi.ts" : i.to.startsWith("node:") && !NODE_LAYERS.has(i.layer),
    )
    .map((i) => `src/${i.from} imports ${i.to}`);
  assert.equal(wrong, []);
});

test("no default exports, enums or namespaces in src", () => {
  const wrong = [...sources(src)].filter((f) =>
    /^export default|^(export )?(const )?enum |^(export )?namespace /m.test(readFileSync(f, "utf8")),
  );
  assert.equal(
    wrong.map((f) => relative(src, f)),
    [],
  );
});

test("files of src stay below 600 lines, tables of facts excepted", () => {
  const long = [...sources(src)]
    .filter((f) => !f.includes("/uapi/") && !f.endsWith(".generated.ts"))
    .map((f) => ({ file: relative(src, f), lines: readFileSync(f, "utf8").split("\n").length - 1 }))
    .filter((f) => f.lines > 600);
  assert.equal(long, []);
});
