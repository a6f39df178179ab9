import { readFileSync } from "node:fs";
import { bpfkit, example, jsonLines, Running } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("examples runqlat");

interface Bucket {
  low?: number;
  high?: number;
  count: number;
}

/** Two threads that wake each other 2000 times, and more runners than CPUs for a moment. */
const LOAD = `
import os, threading, time
a, b = os.pipe(), os.pipe()
def echo():
    while os.read(a[0], 1): os.write(b[1], b"x")
threading.Thread(target=echo, daemon=True).start()
for _ in range(2000): os.write(a[1], b"x"); os.read(b[0], 1)
children = []
for _ in range(os.cpu_count() * 2):
    pid = os.fork()
    if pid == 0:
        end = time.process_time() + 0.05
        while time.process_time() < end: pass
        os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
`;
const switches = (): number => Number(/^ctxt (\d+)$/m.exec(readFileSync("/proc/stat", "utf8"))?.[1]);

async function histogram(): Promise<Bucket[]> {
  const { code, stdout, stderr } = await bpfkit([
    "run",
    "--json",
    example("runqlat"),
    "--",
    "/usr/bin/python3",
    "-c",
    LOAD,
  ]);
  assert.is(code, 0, stderr);
  const [line] = jsonLines<{ map: string; entries: Bucket[] }>(stdout);
  assert.is(line?.map, "waitMicroseconds");
  return line?.entries ?? [];
}
const total = (buckets: readonly Bucket[]): number => buckets.reduce((sum, b) => sum + b.count, 0);

test("every wait is in one power of two, and there are at most as many as context switches", async () => {
  requires({ root: true, kernel: "5.14", package: "python3" });
  const before = switches();
  const buckets = await histogram();
  const after = switches();
  for (const { low, high, count } of buckets) {
    assert.ok(count > 0);
    assert.ok(high !== undefined && (low === undefined ? high === 1 : high === low * 2), `[${low}, ${high})`);
  }
  const count = total(buckets);
  assert.ok(count >= 4000, `4000 wake-ups, but ${count} waits`);
  assert.ok(count <= after - before, `${count} waits in ${after - before} context switches`);
  // With twice as many runners as CPUs somebody waits for a time slice: at least half a millisecond.
  assert.ok(total(buckets.filter((b) => (b.low ?? 0) >= 512)) > 0, JSON.stringify(buckets));
});

test("as many waits as bpftrace sees switches to tasks that had to wait", async () => {
  requires({ root: true, kernel: "5.14", package: ["bpftrace", "python3"] });
  const program = `BEGIN { printf("ready\\n"); }
    tracepoint:sched:sched_wakeup, tracepoint:sched:sched_wakeup_new { @q[args->pid] = 1; }
    tracepoint:sched:sched_switch {
      if (args->prev_state == 0) { @q[args->prev_pid] = 1; }
      if (@q[args->next_pid] == 1) { @n = count(); delete(@q[args->next_pid]); }
    }
    END { clear(@q); }`;
  const other = new Running(
    "unshare",
    [
      "-m",
      "sh",
      "-c",
      'mountpoint -q /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing; exec bpftrace -e "$1"',
      "sh",
      program,
    ],
    {},
  );
  await other.until("stdout", /ready/);
  const ours = total(await histogram());
  other.kill("SIGINT");
  const theirs = Number(/@n: (\d+)/.exec((await other.done).stdout)?.[1]);
  // bpftrace was there earlier and left later, and keeps fewer keys at a time.
  assert.ok(ours <= theirs * 1.05 && ours >= theirs * 0.3, `${ours} waits, bpftrace ${theirs}`);
});

test("the histogram as text, as bpftrace draws it", async () => {
  requires({ root: true, kernel: "5.14" });
  const { stdout } = await bpfkit(["run", example("runqlat"), "--duration", "0.3"]);
  assert.match(stdout, /^\nwaitMicroseconds\n(?:(?:\(…, 1\)|\[\d+K?(?:, \d+K?\))?\]?) +\d+ \|@* *\|\n)+$/);
  assert.match(stdout, /\|@{40}\|/);
});
