/** `bpfkit test` and `bpfkit sim` as a user calls them, and simulate() under other test runners. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eth, ipv4, packet, udp, writePcap } from "../../src/testing/index.ts";
import { bpfkit, command, example, root } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("testing command");

// Below the package, so that test runners find their own package and "bpfkit".
mkdirSync(join(root, ".cache"), { recursive: true });
const directory = mkdtempSync(join(root, ".cache", "testing-"));
test.after(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const PROBE = `import { XDP, config, hash, ringbuf, struct, u32, u64, xdp } from "bpfkit";
export const sizes = hash(u32, u64);
export const events = ringbuf(struct({ size: u32 }));
export const limit = config(u32, 100);
export const filter = xdp((ctx, bpf) => {
  const size = bpf.xdpGetBuffLen(ctx);
  if (size > limit.value) {
    events.emit({ size });
    return XDP.DROP;
  }
  sizes.add(size, 1);
  bpf.printk("%d bytes", size);
  return XDP.PASS;
});
`;
const probe = file("filter.ts", PROBE);
const imports = `import { strict as assert } from "node:assert";
import { simulate } from "bpfkit/testing";
import * as probe from "./filter.ts";
`;
const small = `const sim = simulate(probe);
assert.equal(sim.run(probe.filter, new Uint8Array(64)).returnValue, 2);`;

test("a file of asserts alone: coverage by line and way, lcov, a listing", async () => {
  const path = file("plain.test.ts", `${imports}${small}\n`);
  const lcov = join(directory, "lcov.info");
  const { code, stdout, stderr } = await bpfkit(["test", path, "--lcov", lcov, "--listing"], { cwd: directory });
  assert.equal([code, stderr], [0, ""]);
  assert.match(stdout, /^filter\.ts +71.4 % \(5\/7\) +50 % \(1\/2\) +100 % \(1\/1\) +8-9$/m);
  assert.match(
    stdout,
    /^ +1\| +7\| {2}if \(size > limit\.value\) \{\n +\| +\| {2}\^ then never taken\n +#####\| +8\|/m,
  );
  const lines = readFileSync(lcov, "utf8").split("\n");
  for (const line of [
    "SF:filter.ts",
    "FN:5,filter",
    "FNDA:1,filter",
    "DA:8,0",
    "DA:11,1",
    "BRDA:7,0,0,0",
    "BRDA:7,0,1,1",
    "LF:7",
    "LH:5",
  ])
    assert.ok(lines.includes(line), line);
});

test("a failing assertion, a missing file, too little coverage: exit code 1, and what is wrong", async () => {
  const failing = file("failing.test.ts", `${imports}assert.equal(1, 2, "one is not two");\n`);
  const failed = await bpfkit(["test", failing]);
  assert.is(failed.code, 1);
  assert.match(failed.stderr, /one is not two/);
  const missing = await bpfkit(["test", join(directory, "nothing.test.ts")]);
  assert.equal([missing.code, missing.stdout], [1, ""]);
  assert.match(missing.stderr, /there is no such file/);
  const plain = file("plain.test.ts", `${imports}${small}\n`);
  const little = await bpfkit(["test", plain, "--lines", "80"]);
  assert.equal([little.code, little.stderr], [1, "less is covered than asked for\n"]);
  assert.is((await bpfkit(["test", plain, "--lines", "71", "--branches", "50%"])).code, 0);
  assert.is((await bpfkit(["test", plain, "--lines", "many"])).code, 2);
});

test("uvu and node:test decide how it ends; coverage of several files is added", async () => {
  const uvu = (expected: number): string =>
    `import { test } from "uvu";\n${imports}test("small", () => {\n  ${small.replace(", 2)", `, ${expected})`)}\n});\ntest.run();\n`;
  const node = (expected: number): string =>
    `import { test } from "node:test";\n${imports}void test("large", () => {
  const sim = simulate(probe);
  assert.equal(sim.run(probe.filter, new Uint8Array(101)).returnValue, ${expected});
  assert.deepEqual(sim.drain(probe.events), [{ size: 101 }]);
});\n`;
  const good = [file("uvu.test.ts", uvu(2)), file("node.test.ts", node(1))];
  for (const [path, percent] of [
    [good[0]!, "71.4 %"],
    [good[1]!, "57.1 %"],
  ] as const) {
    const { code, stdout } = await bpfkit(["test", path], { cwd: directory });
    assert.is(code, 0, stdout);
    assert.ok(stdout.includes(percent), stdout);
  }
  const both = await bpfkit(["test", ...good], { cwd: directory });
  assert.is(both.code, 0, both.stdout + both.stderr);
  assert.match(both.stdout, /^filter\.ts +100 % \(7\/7\) +100 % \(2\/2\)/m);
  for (const bad of [file("uvu-bad.test.ts", uvu(1)), file("node-bad.test.ts", node(2))]) {
    assert.is((await bpfkit(["test", bad])).code, 1, bad);
    const all = await bpfkit(["test", good[0]!, bad]);
    assert.is(all.code, 1);
    assert.match(all.stdout, /bad\.test\.ts: failed \(exit code 1\)/);
  }
});

test("a directory is searched for *.test.ts", async () => {
  const inner = mkdtempSync(join(directory, "inner-"));
  const none = await bpfkit(["test", inner]);
  assert.is(none.code, 1);
  assert.match(none.stderr, /no file below it is called \*\.test\.ts/);
  writeFileSync(join(inner, "a.test.mts"), `${imports.replace("./filter.ts", probe)}${small}\n`);
  writeFileSync(join(inner, "helper.ts"), "throw new Error('not a test')");
  assert.is((await bpfkit(["test", inner])).code, 0);
});

/** The same file in the runner's own process: nothing of `bpfkit test` is there. */
function under(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { code: number | null; output: string } {
  command();
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: directory,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", ...env },
  });
  return { code: status, output: stdout + stderr };
}
const asserts = `const sim = simulate(probe);
  assert.equal(sim.run(probe.filter, new Uint8Array(64)).returnValue, 2);
  const { lines, missed } = sim.coverage();
  assert.deepEqual([lines.hit, lines.found], [5, 7]);
  assert.deepEqual(missed.map((m) => m.replace(/.*filter/, "filter")), ["filter.ts:8", "filter.ts:9"]);`;

test("under node:test and uvu with tsx", () => {
  const node = file(
    "own.node.mts",
    `import { test } from "node:test";\n${imports}void test("small", () => {\n  ${asserts}\n});\n`,
  );
  const uvu = file(
    "own.uvu.mts",
    `import { test } from "uvu";\n${imports}test("small", () => {\n  ${asserts}\n});\ntest.run();\n`,
  );
  for (const args of [
    ["--import", "tsx", "--test", node],
    ["--import", "tsx", uvu],
  ]) {
    const { code, output } = under(args);
    assert.is(code, 0, output);
  }
});

test("under vitest, in its pools", () => {
  requires({ env: "VITEST" });
  const bin = join(process.env["VITEST"] ?? "", "node_modules/vitest/vitest.mjs");
  mkdirSync(join(directory, "node_modules"), { recursive: true });
  symlinkSync(join(process.env["VITEST"] ?? "", "node_modules/vitest"), join(directory, "node_modules/vitest"));
  file("own.vitest.ts", `import { test } from "vitest";\n${imports}test("small", () => {\n  ${asserts}\n});\n`);
  file("vitest.config.mjs", 'export default { test: { include: ["own.vitest.ts"] } };\n');
  for (const pool of ["forks", "threads", "vmThreads"]) {
    const { code, output } = under([bin, "run", "--pool", pool]);
    assert.is(code, 0, `${pool}: ${output}`);
  }
});

test("sim runs a TypeScript program on a packet, on the packets of a capture, and shows what it did", async () => {
  const data = packet(eth(), ipv4(), udp(), "hello");
  const hex = Buffer.from(data).toString("hex");
  const one = await bpfkit(["sim", probe, "--packet", hex]);
  assert.is(one.code, 0, one.stderr);
  assert.is(
    one.stdout,
    `filter returned 2 (Linux 6.18)\n  printed: ${data.length} bytes\n\nsizes\n  key  value\n   ${data.length}      1\n`,
  );
  const pcap = join(directory, "capture.pcap");
  writeFileSync(pcap, writePcap([data, packet(eth(), ipv4(), udp(), "x".repeat(100)), data]));
  const all = await bpfkit([
    "sim",
    probe,
    "--pcap",
    pcap,
    "--json",
    "--kernel",
    "6.1",
    "--map",
    `sizes=[[${data.length}, 40]]`,
  ]);
  assert.is(all.code, 0, all.stderr);
  const rows = all.stdout
    .trim()
    .split("\n")
    .map(
      (line) => JSON.parse(line) as { returnValue: number; kernel: string; maps: { sizes: unknown; events: unknown } },
    );
  assert.equal(
    rows.map((r) => [r.returnValue, r.kernel, r.maps.events]),
    [
      [2, "6.1", []],
      [1, "6.1", [{ size: 142 }]],
      [2, "6.1", []],
    ],
  );
  assert.equal(rows[2]?.maps.sizes, [[data.length, 42]]);
  const limited = await bpfkit(["sim", probe, "--packet", hex, "--set", "limit=10", "--json"]);
  assert.match(limited.stdout, /"returnValue":1/);
});

test("sim shows every instruction between the lines, or the registers at a line", async () => {
  const hex = "00".repeat(64);
  const trace = await bpfkit(["sim", probe, "--packet", hex, "--trace"]);
  assert.is(trace.code, 0, trace.stderr);
  assert.match(
    trace.stdout,
    /^; const size = bpf\.xdpGetBuffLen\(ctx\); @ .*filter\.ts:6\n(?: .*\n)* +\d+: \(85\) call bpf_xdp_get_buff_len#188 +r0 = 0x40$/m,
  );
  assert.match(trace.stdout, /map\[sizes\]|sizes/);
  assert.match(trace.stdout, /^filter returned 2 after \d+ instructions \(Linux 6\.18\)$/m);
  const stopped = await bpfkit(["sim", probe, "--packet", hex, "--break", "filter.ts:11"]);
  assert.match(stopped.stdout, /^; sizes\.add\(size, 1\); @ .*filter\.ts:11\n {2}at instruction \d+: r.*r6 = 0x40/m);
  assert.is((await bpfkit(["sim", probe, "--break", "here"])).code, 2);
});

test("sim runs objects of other compilers, and tasks with kernel structs", async () => {
  const object = join(directory, "opensnoop.o");
  requires({ root: true, kernel: "5.8" });
  assert.is((await bpfkit(["compile", example("opensnoop"), "-o", object])).code, 0);
  const { code, stdout, stderr } = await bpfkit([
    "sim",
    object,
    "-p",
    "enterOpenat",
    "-p",
    "exitOpenat",
    "--ctx",
    '{"filename": "/etc/passwd"}',
    "--task",
    '{"pid": 42, "comm": "cat"}',
  ]);
  // The second program has another context: the field is refused by name.
  assert.is(code, 1);
  assert.match(stderr, /exit_openat has no field filename/);
  assert.match(stdout, /^enterOpenat returned 0/m);
});

test("sim: rejections and faults are explained with the line; wrong arguments are exit code 2", async () => {
  const bad = file(
    "bad.ts",
    `import { XDP, array, struct, u8, xdp } from "bpfkit";
const Room = struct({ bytes: array(u8, 16) });
export const bad = xdp((ctx, bpf) => {
  const room = Room({});
  bpf.xdpLoadBytes(ctx, 0, room, bpf.xdpGetBuffLen(ctx));
  return room.bytes[0] ?? XDP.PASS;
});
`,
  );
  const rejected = await bpfkit(["sim", bad]);
  assert.is(rejected.code, 1);
  assert.match(rejected.stderr, /^error\[BPF3\d+\][\s\S]*bad\.ts:5/);
  const fault = await bpfkit(["sim", bad, "--unverified", "--trace"]);
  assert.is(fault.code, 1);
  assert.match(fault.stdout, /call bpf_xdp_load_bytes#189$/m);
  assert.match(fault.stderr, /^error\[BPF8001\][\s\S]*bad\.ts:5/);
  for (const args of [
    [],
    ["--packet", "0g"],
    ["--ctx", "{"],
    ["--ctx", "[]"],
    ["--map", "sizes"],
    ["--cpus", "-1"],
    ["--packet", "00", "--pcap", "x"],
  ]) {
    assert.is((await bpfkit(["sim", ...(args.length === 0 ? [] : [probe]), ...args])).code, 2, args.join(" "));
  }
  const several = await bpfkit(["sim", example("opensnoop")]);
  assert.is(several.code, 2);
  assert.match(several.stderr, /choose with --program one of enterOpenat/);
});
