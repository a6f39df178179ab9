import { example, jsonLines, Running, start } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("examples syscount");

interface MapLine<K> {
  map: string;
  entries: { key: K; value: number }[];
}

/** Waits for a line, makes exactly so many calls, waits for another line. */
const CALLER = `
import os, sys
print("ready", flush=True); sys.stdin.readline()
for _ in range(12345): os.getppid()
for _ in range(678): os.sched_yield()
print("done", flush=True); sys.stdin.readline()
`;

test("counts every call of one process by name, until Ctrl-C", async () => {
  requires({ root: true, kernel: "5.8", package: "python3" });
  const caller = new Running("/usr/bin/python3", ["-c", CALLER], {});
  await caller.until("stdout", /ready/);
  // What the shell found may be a wrapper that has become python by now.
  const pid = caller.child.pid ?? 0;
  const running = start(["run", "--json", example("syscount"), "--set", `onlyPid=${pid}`]);
  await running.until("stderr", /^Attached/m);
  caller.child.stdin?.write("\n");
  await caller.until("stdout", /done/);
  running.kill("SIGINT");
  const { code, stdout, stderr } = await running.done;
  assert.is(code, 0, stderr);
  caller.child.stdin?.end("\n");
  await caller.done;

  const lines = jsonLines<MapLine<string>>(stdout);
  const calls = new Map(lines.find((l) => l.map === "calls")?.entries.map((e) => [e.key, e.value]));
  assert.is(calls.get("getppid"), 12345);
  assert.is(calls.get("sched_yield"), 678);
  assert.ok((calls.get("write") ?? 0) >= 1);
  for (const name of calls.keys()) assert.type(name, "string");
  const total = [...calls.values()].reduce((a, b) => a + b, 0);
  const processes = lines.find((l) => l.map === "processes")?.entries as
    | MapLine<{ pid: number; comm: string }>["entries"]
    | undefined;
  assert.is(processes?.length, 1);
  assert.is(processes?.[0]?.key.pid, pid);
  assert.match(processes?.[0]?.key.comm ?? "", /^python/);
  assert.is(processes?.[0]?.value, total);
});

test("the table shows the most frequent first", async () => {
  requires({ root: true, kernel: "5.8" });
  const running = start(["run", example("syscount"), "--duration", "0.3"]);
  const { code, stdout } = await running.done;
  assert.is(code, 0);
  const table = /^calls\n +key +value\n((?: .*\n)+)/m.exec(stdout)?.[1] ?? "";
  const values = table
    .trimEnd()
    .split("\n")
    .filter((l) => !l.includes("…"))
    .map((l) => Number(/(\d+)$/.exec(l)?.[1]));
  assert.ok(values.length >= 3, stdout);
  assert.equal(
    values,
    values.toSorted((a, b) => b - a),
  );
});
