/** `bpfkit compile` makes objects that libbpf loads, and libbpf relocates them as bpfkit does. */
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { readObject } from "../../src/elf/index.ts";
import { load } from "../../src/load/index.ts";
import { bpfkit, example, scratch, start } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("examples libbpf");

/** Loads the object $1 in a bpffs that nobody else sees, and prints every program's instructions. */
const LOAD = `
set -e
mount -t bpf none /sys/fs/bpf
mountpoint -q /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing
bpftool prog loadall "$1" /sys/fs/bpf/test >&2
for p in /sys/fs/bpf/test/*; do
  echo "program $(basename "$p")"
  bpftool prog dump xlated pinned "$p"
done
bpftool map show >&2
`;

function nameOfMap(id: string, maps: string): string {
  const name = new RegExp(`^${id}: \\S+ +name (\\S+)`, "m").exec(maps)?.[1] ?? "";
  // libbpf puts the object's name before a data section, cut to what the kernel's 15 characters leave.
  return name.replace(/^.*(\.(?:rodata|data|bss))$/, "$1");
}

/** The instructions alone: no source lines, maps by name. */
function normal(dump: string, maps: string): string[] {
  return dump
    .split("\n")
    .filter((line) => /^ *\d+: \(/.test(line))
    .map((line) => line.replace(/map\[id:(\d+)\]/, (_, id: string) => `map[${nameOfMap(id, maps)}]`));
}

interface Loaded {
  readonly programs: ReadonlyMap<string, readonly string[]>;
  /** The source lines between the instructions. */
  readonly lines: ReadonlyMap<string, readonly string[]>;
}

function byLibbpf(object: string): Loaded {
  const script = `exec 2>&1; ${LOAD}`;
  const text = execFileSync("unshare", ["-m", "bash", "-c", script, "bash", object], { encoding: "utf8" });
  const parts = text.split(/^program /m).slice(1);
  const programs = new Map<string, readonly string[]>();
  const lines = new Map<string, readonly string[]>();
  for (const part of parts) {
    const name = part.slice(0, part.indexOf("\n"));
    programs.set(name, normal(part, text));
    lines.set(
      name,
      [...part.matchAll(/^; (.*)$/gm)].map((m) => m[1] ?? ""),
    );
  }
  return { programs, lines };
}

const bpftool = (...args: string[]): string =>
  execFileSync("bpftool", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });

/** Ids of the programs that a process holds, from the kernel's notes on its descriptors. */
function programIds(pid: number): Set<string> {
  const ids = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
    const id = /^prog_id:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"))?.[1];
    if (id !== undefined) ids.add(id);
  }
  return ids;
}

function dumpById(ids: Iterable<string>): Map<string, readonly string[]> {
  const maps = bpftool("map", "show");
  const out = new Map<string, readonly string[]>();
  for (const id of ids) {
    const { name } = JSON.parse(bpftool("-j", "prog", "show", "id", id)) as { name: string };
    out.set(name, normal(bpftool("prog", "dump", "xlated", "id", id), maps));
  }
  return out;
}

const examples = readdirSync(join(import.meta.dirname, "../../examples"))
  .filter((f) => !f.endsWith(".test.ts"))
  .map((f) => basename(f, ".ts"));
const directory = scratch("libbpf");
/** Objects that were compiled on another kernel (see kernels.ts). */
const given = process.env["OBJECTS"];

for (const name of examples) {
  test(`${name}: bpftool loads the object; libbpf's relocated instructions are ours`, async () => {
    requires({ root: true, kernel: "5.18", package: "bpftool" });
    const object = join(given ?? directory, `${name}.o`);
    if (given === undefined) {
      const compiled = await bpfkit(["compile", "-o", object, example(name)]);
      assert.equal([compiled.code, compiled.stderr], [0, ""]);
    }
    const theirs = byLibbpf(object);
    assert.ok(theirs.programs.size > 0);
    for (const [program, lines] of theirs.lines) {
      assert.ok(
        lines.some((l) => l.includes("bpf.") || l.includes("ctx")),
        `${program} has no TypeScript lines: ${lines.join("\n")}`,
      );
    }

    if (given === undefined) compare(await byCommand(name), theirs.programs, "run from TypeScript");
    using collection = load(readObject(readFileSync(object), { name: `${name}.o` }));
    const ids = [...collection.programs.values()].map((p) => String(p.info().id));
    compare(dumpById(ids), theirs.programs, "loaded from the object");
  });
}

async function byCommand(name: string): Promise<Map<string, readonly string[]>> {
  const running = start(["run", "-v", example(name), ...(name === "xdpcount" ? ["--device", "lo"] : [])]);
  await running.until("stderr", /^attached /m);
  const ours = dumpById(programIds(running.child.pid ?? 0));
  running.kill("SIGINT");
  await running.done;
  return ours;
}

function compare(
  ours: ReadonlyMap<string, readonly string[]>,
  theirs: ReadonlyMap<string, readonly string[]>,
  how: string,
): void {
  assert.equal([...ours.keys()].toSorted(), [...theirs.keys()].toSorted(), how);
  for (const [program, insns] of theirs)
    assert.fixture((ours.get(program) ?? []).join("\n"), insns.join("\n"), `${how}: ${program}`);
}
