/** `bpfkit run --simulate`: a probe file's own main function, or the tables, in the built-in world. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bpfkit, example, jsonLines } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";

const test = suite("testing simulated run");
const directory = mkdtempSync(join(tmpdir(), "simulated-"));
chmodSync(directory, 0o755);
test.after(() => rmSync(directory, { recursive: true, force: true }));
const nobody = process.getuid?.() === 0 ? { uid: 65534 } : {};

interface Row {
  readonly [field: string]: unknown;
}

async function simulated(name: string, ...args: string[]): Promise<Row[]> {
  const { code, stdout, stderr } = await bpfkit(["run", "--simulate", "--json", example(name), ...args], nobody);
  assert.is(code, 0, `${name}: ${stderr}`);
  return jsonLines(stdout);
}

test("every example reports what happens there, without privilege", async () => {
  const execs = await simulated("execsnoop");
  assert.equal([execs.length, execs[0]?.["args"]], [10, ["ls", "-la", "/tmp/a b"]]);
  const exits = await simulated("exitsnoop", "--set", "onlyFailed=1");
  assert.equal(exits.map((e) => [e["comm"], e["code"], e["signal"]]).slice(0, 2), [
    ["cat", 1, "none"],
    ["sleep", 0, "SIGKILL"],
  ]);
  const opens = await simulated("opensnoop");
  assert.ok(opens.some((e) => e["file"] === "/etc/shadow" && e["error"] === "EACCES"));
  const [latency] = await simulated("runqlat");
  assert.is(latency?.["map"], "waitMicroseconds");
  const lines = await simulated("bashreadline");
  assert.is(lines[2]?.["text"], "curl -s http://192.0.2.10/");
  const counts = await simulated("syscount");
  assert.match(JSON.stringify(counts), /\["openat",38\]/);
  const packets = await simulated("xdpcount");
  assert.equal(
    packets.map((p) => [p["protocol"], p["packets"]]),
    [
      ["UDP", 4],
      ["TCP", 10],
      ["ICMP", 2],
    ],
  );
});

test("the same file gives the same output each time; stacks have names", async () => {
  const run = (): Promise<{ stdout: string }> => bpfkit(["run", "--simulate", example("profile")], nobody);
  const [one, other] = await Promise.all([run(), run()]);
  assert.is(one.stdout, other.stdout);
  assert.match(one.stdout, /^gzip;main;compress;do_syscall_64_\[k\]/m);
});

test("a main function sleeps by the clock of that world, and what it throws ends the run", async () => {
  const path = join(directory, "main.ts");
  const text = (body: string): string => `import { hash, tracepoint, u32, u64 } from "bpfkit";
export const execs = hash(u32, u64);
export const onExec = tracepoint("sched:sched_process_exec", (_ctx, bpf) => { execs.add(bpf.uid(), 1); });
export default async (app) => { ${body} };
`;
  writeFileSync(
    path,
    text(
      "while (!app.signal.aborted) { await app.sleep(1000); console.log(JSON.stringify([...app.map(execs).entries()].map(([k, v]) => [k, Number(v)]))); }",
    ),
  );
  const { code, stdout, stderr } = await bpfkit(["run", "--simulate", path], nobody);
  assert.equal([code, stderr], [0, ""]);
  const seen = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as [number, number][]);
  assert.equal(seen.at(-1), [[1000, 10]]);
  assert.ok(seen.length >= 3 && seen[0]?.[0]?.[1] !== 10, stdout);
  writeFileSync(path, text('await app.sleep(500); throw new Error("had enough");'));
  const failed = await bpfkit(["run", "--simulate", path], nobody);
  assert.is(failed.code, 1);
  assert.match(failed.stderr, /had enough/);
});

test("what never happens there is said; without privilege `run` says that this exists", async () => {
  const path = join(directory, "never.ts");
  writeFileSync(
    path,
    `import { tracepoint } from "bpfkit";\nexport const never = tracepoint("syscalls:sys_enter_mount", () => {});\n`,
  );
  const { code, stderr } = await bpfkit(["run", "--simulate", path], nobody);
  assert.is(code, 0);
  assert.match(stderr, /nothing in the built-in world leads to tracepoint\/syscalls\/sys_enter_mount/);
  const refused = await bpfkit(["run", path], nobody);
  if (nobody.uid !== undefined) {
    assert.is(refused.code, 3);
    assert.match(refused.stderr, /bpfkit run --simulate/);
  }
});
