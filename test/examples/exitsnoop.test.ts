import { bpfkit, example, jsonLines } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("examples exitsnoop");

interface Exit {
  pid: number;
  ppid: number;
  uid: number;
  comm: string;
  code: number;
  signal: string;
  microseconds: number;
}

/** The shell says pid, exit code and signal of each child; bpfkit must say the same. */
const SCRIPT = `
expect() { echo "expect $1 $2 $3"; }
sh -c 'exit 0' & wait $!; expect $! 0 none
sh -c 'exit 7' & wait $!; expect $! 7 none
sh -c 'exit 255' & wait $!; expect $! 255 none
for s in TERM KILL SEGV USR1; do sleep 100 & kill -$s $!; wait $! 2>/dev/null; expect $! 0 SIG$s; done
sleep 0.4 & wait $!; expect $! 0 none; echo "slept $!"
`;

test("exit codes, signals and run times are those that the shell saw", async () => {
  requires({ root: true, kernel: "5.8" });
  const { code, stdout, stderr } = await bpfkit(["run", "--json", example("exitsnoop"), "--", "sh", "-c", SCRIPT]);
  assert.is(code, 0, stderr);
  const exits = new Map(jsonLines<Exit>(stdout).map((e) => [e.pid, e]));
  const expected = [...stdout.matchAll(/^expect (\d+) (\d+) (\w+)$/gm)];
  assert.is(expected.length, 8);
  const parents = new Set<number | undefined>();
  for (const [, pid, status, signal] of expected) {
    const e = exits.get(Number(pid));
    assert.equal([e?.code, e?.signal, e?.uid], [Number(status), signal, process.getuid?.()], `pid ${pid}`);
    parents.add(e?.ppid);
  }
  assert.is(parents.size, 1);
  const slept = exits.get(Number(/^slept (\d+)$/m.exec(stdout)?.[1]));
  assert.is(slept?.comm, "sleep");
  assert.ok(
    slept !== undefined && slept.microseconds >= 400_000 && slept.microseconds < 5_000_000,
    `${slept?.microseconds}`,
  );
});

test("threads that end are not processes that end", async () => {
  requires({ root: true, kernel: "5.8", package: "python3" });
  const program =
    "import threading\nfor i in range(20): t = threading.Thread(target=lambda: None); t.start(); t.join()";
  const { stdout } = await bpfkit([
    "run",
    "--json",
    example("exitsnoop"),
    "--",
    "setpriv",
    "--reuid=65533",
    "--clear-groups",
    "/usr/bin/python3",
    "-c",
    program,
  ]);
  const exits = jsonLines<Exit>(stdout).filter((e) => e.uid === 65533);
  assert.is(exits.filter((e) => e.comm.startsWith("python")).length, 1, JSON.stringify(exits));
});

test("--set onlyFailed=1 leaves out what ended well", async () => {
  requires({ root: true, kernel: "5.8" });
  const { stdout } = await bpfkit([
    "run",
    "--json",
    example("exitsnoop"),
    "--set",
    "onlyFailed=1",
    "--",
    "sh",
    "-c",
    "/bin/true; /bin/false; :",
  ]);
  const exits = jsonLines<Exit>(stdout);
  assert.ok(exits.some((e) => e.comm === "false" && e.code === 1));
  for (const e of exits) assert.ok(e.code !== 0 || e.signal !== "none", JSON.stringify(e));
});
