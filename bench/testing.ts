/**
 * A test file with 100 simulated runs, from exec to exit: `bpfkit test` compiles, verifies and runs two examples. `cpu` is
 * user and system time of the process, which other load does not distort.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Row, row } from "./row.ts";

const ROUNDS = 9;
const LIMIT_MS = 500;
const root = join(import.meta.dirname, "..");

const test = (example: string, body: string): string => `
import { strict as assert } from "node:assert";
import { simulate } from "bpfkit/testing";
import * as probe from ${JSON.stringify(join(root, "examples", `${example}.ts`))};
const sim = simulate(probe, { kernel: "6.1" });
for (let i = 0; i < 100; i++) {
  ${body}
}
assert.ok(sim.coverage().lines.hit > 5);
`;

const CASES: readonly (readonly [name: string, text: string])[] = [
  ["xdpcount", test("xdpcount", "sim.run(probe.count, new Uint8Array(64));")],
  [
    "opensnoop",
    test(
      "opensnoop",
      'sim.run(probe.enterOpenat, { filename: "/etc/passwd" });\n  sim.run(probe.exitOpenat, { ret: i });\n  assert.equal(sim.drain(probe.opens).length, 1);',
    ),
  ],
];

/** Wall and CPU milliseconds of one run of the command. */
function once(file: string): { wall: number; cpu: number } {
  // The shell's `times` gives what its children used.
  const start = performance.now();
  const { status, stdout, stderr } = spawnSync(
    "sh",
    ["-c", '"$@" >&2 && times', "sh", process.execPath, join(root, "dist/bpfkit.cjs"), "test", file],
    { encoding: "utf8" },
  );
  const wall = performance.now() - start;
  if (status !== 0) throw new Error(`${file}: ${stderr}`);
  const children = stdout.trim().split("\n").at(-1) ?? "";
  const cpu = [...children.matchAll(/(\d+)m([\d.]+)s/g)].reduce((sum, [, m, s]) => sum + Number(m) * 60 + Number(s), 0);
  return { wall, cpu: cpu * 1000 };
}

export async function run(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "bpfkit-bench-"));
  try {
    return CASES.flatMap(([name, text]) => {
      const file = join(directory, `${name}.test.ts`);
      writeFileSync(file, text);
      once(file); // fills V8's code cache
      const runs = Array.from({ length: ROUNDS }, () => once(file));
      return [
        row("testing", `100 runs of ${name}`, "file", "ms", Math.min(...runs.map((r) => r.wall)), LIMIT_MS, "limit"),
        row("testing", `100 runs of ${name}`, "cpu", "ms", Math.min(...runs.map((r) => r.cpu)), LIMIT_MS, "limit"),
      ];
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
