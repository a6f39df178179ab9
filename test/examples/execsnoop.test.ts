import { chmodSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { bpfkit, example, jsonLines, Running, scratch } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("examples execsnoop");

interface Exec {
  time: string;
  pid: number;
  ppid: number;
  uid: number;
  comm: string;
  file: string;
  args: string[];
}

/** Events of `root` and what it started, in order. */
function below(events: readonly Exec[], root: Exec | undefined): Exec[] {
  const pids = new Set([root?.pid]);
  return events.filter((e) => {
    if (pids.has(e.ppid)) pids.add(e.pid);
    return pids.has(e.pid);
  });
}

const LONG = "x".repeat(3000);
const MANY = Array.from({ length: 60 }, (_, i) => `argument-${i}`);

/** A script that starts known programs, and fails to start others. */
function commands(directory: string): { script: string; expected: [file: string, comm: string, args: string[]][] } {
  const tool = join(directory, "tool");
  writeFileSync(tool, "#!/bin/sh\n:\n");
  chmodSync(tool, 0o755);
  const plain = join(directory, "plain");
  writeFileSync(plain, "no program");
  chmodSync(plain, 0o755);
  const secret = join(directory, "secret");
  writeFileSync(secret, "#!/bin/sh\n:\n");
  chmodSync(secret, 0o644);
  const script = join(directory, "script");
  writeFileSync(
    script,
    [
      `/bin/echo "a b" 'c"d' ''`,
      `env true`,
      `${tool} one`,
      `/bin/true ${LONG} last`,
      `/bin/true ${MANY.join(" ")}`,
      `no-such-program; ${secret}; env no-such-program-either`,
      `/bin/true naïve ☃`,
      `:`,
    ].join("\n"),
  );
  return {
    script,
    expected: [
      ["/bin/echo", "echo", ["/bin/echo", "a b", 'c"d', ""]],
      ["env", "env", ["env", "true"]],
      ["true", "true", ["true"]],
      [tool, "tool", ["/bin/sh", tool, "one"]],
      ["/bin/true", "true", ["/bin/true", LONG.slice(0, 1024 - "/bin/true\0".length)]],
      ["/bin/true", "true", ["/bin/true", ...MANY]],
      ["env", "env", ["env", "no-such-program-either"]],
      ["/bin/true", "true", ["/bin/true", "naïve", "☃"]],
    ],
  };
}

test("every program that a script starts, with its arguments, and none that it failed to start", async () => {
  requires({ root: true, kernel: "5.8" });
  const { script, expected } = commands(scratch("execsnoop"));
  const { code, stdout, stderr } = await bpfkit(["run", "--json", example("execsnoop"), "--", "sh", script]);
  assert.is(code, 0, stderr);
  const events = jsonLines<Exec>(stdout);
  const first = events.find((e) => e.args[1] === script);
  const seen = below(events, first).slice(1);
  assert.equal(
    seen.map((e, i) => [expected[i]?.[0].startsWith("/") ? e.file : basename(e.file), e.comm, e.args]),
    expected,
  );
  const direct = seen.filter((e) => e.comm !== "true" || e.args.length > 1);
  for (const e of direct) assert.is(e.ppid, first?.pid, JSON.stringify(e));
  for (const e of seen) assert.is(e.uid, process.getuid?.());
  assert.match(first?.time ?? "", /^\d\d:\d\d:\d\d$/);
});

test("--set onlyUid shows one user's programs", async () => {
  requires({ root: true, kernel: "5.8" });
  const script = "/bin/true by-root; setpriv --reuid=65534 --clear-groups /bin/true by-nobody; /bin/true by-root";
  const { code, stdout } = await bpfkit([
    "run",
    "--json",
    example("execsnoop"),
    "--set",
    "onlyUid=65534",
    "--",
    "sh",
    "-c",
    script,
  ]);
  assert.is(code, 0);
  assert.equal(
    jsonLines<Exec>(stdout).map((e) => [e.uid, e.args]),
    [[65534, ["/bin/true", "by-nobody"]]],
  );
});

test("the table: a header, and a row whose arguments a shell would read back", async () => {
  requires({ root: true, kernel: "5.8" });
  const { stdout } = await bpfkit(["run", example("execsnoop"), "--", "/bin/echo", "two words", "plain", "\u001b[31m"]);
  const [header = "", ...rows] = stdout.split("\n");
  assert.match(header, /^TIME +PID +PPID +UID +COMM +FILE ARGUMENTS$/);
  const row = rows.find((r) => r.includes("two words") && r.includes("echo"));
  assert.match(row ?? "", /^\d\d:\d\d:\d\d \d+ +\d+ +0 +echo +\/bin\/echo "two words" plain "\\u001b\[31m"$/);
});

test("agrees with bpftrace's one-liner", async () => {
  requires({ root: true, kernel: "5.8", package: "bpftrace" });
  const program =
    'BEGIN { printf("ready\\n"); } tracepoint:syscalls:sys_enter_execve { printf("%d ", pid); join(args->argv); }';
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
    {
      env: { ...process.env, BPFTRACE_MAX_STRLEN: "200" },
    },
  );
  await other.until("stdout", /ready/);
  const script = Array.from({ length: 8 }, (_, i) => `/bin/true ${"abcdefgh".slice(0, i)} ${i}`).join("\n");
  const { stdout } = await bpfkit(["run", "--json", example("execsnoop"), "--", "sh", "-c", `${script}\n:`]);
  const ours = jsonLines<Exec>(stdout).filter((e) => e.file === "/bin/true" && e.args.length > 1);
  assert.is(ours.length, 8);
  const lines = ours.map((e) => `${e.pid} ${e.args.join(" ")}`);
  await other.until("stdout", new RegExp(`^${lines.at(-1)}$`, "m"));
  other.kill("SIGINT");
  const theirs = new Set((await other.done).stdout.split("\n").map((l) => l.trimEnd()));
  for (const line of lines) assert.ok(theirs.has(line), `bpftrace has no ${line}`);
});
