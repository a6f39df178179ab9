import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bpfkit, example, jsonLines, scratch } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("examples opensnoop");

interface Open {
  pid: number;
  uid: number;
  comm: string;
  fd: number;
  error: string;
  file: string;
}

async function opens(args: readonly string[], comm: string): Promise<Open[]> {
  const { stdout, stderr } = await bpfkit(["run", "--json", example("opensnoop"), ...args]);
  assert.not.match(stderr, /^error|were lost/m);
  return jsonLines<Open>(stdout).filter((e) => e.comm === comm);
}

test("every file that a command opens, and why some cannot be", async () => {
  requires({ root: true, kernel: "5.8" });
  const directory = scratch("opensnoop");
  const file = (name: string): string => {
    writeFileSync(join(directory, name), "contents");
    return join(directory, name);
  };
  const wanted = [
    file("plain"),
    join(directory, "missing"),
    file("with space"),
    join(directory, "plain/below"),
    file("é☃"),
  ];
  mkdirSync(join(directory, "d".repeat(200)));
  const long = join(directory, "d".repeat(200), "f".repeat(200));
  const seen = (await opens(["--", "cat", ...wanted, long], "cat")).filter((e) => e.file.startsWith(directory));
  assert.equal(
    seen.map((e) => [e.file, e.error]),
    [
      ...wanted.map((f, i) => [f, ["ok", "ENOENT", "ok", "ENOTDIR", "ok"][i]]),
      [Buffer.from(long).subarray(0, 255).toString(), "ENOENT"],
    ],
  );
  for (const e of seen) assert.is(e.fd >= 3, e.error === "ok", JSON.stringify(e));
  assert.is(new Set(seen.map((e) => e.pid)).size, 1);
});

test("openat2, and a user who may not", async () => {
  requires({ root: true, kernel: "5.8", package: "python3" });
  // The name is a constant of the program that no instruction has touched before the call.
  const program = [
    "import ctypes, os",
    "libc = ctypes.CDLL(None, use_errno=True)",
    "how = (ctypes.c_uint64 * 3)(0, 0, 0)",
    "libc.prctl(15, b'opener', 0, 0, 0)",
    "libc.syscall(437, -100, b'/etc/passwd', how, 24)",
    "os.setuid(65534)",
    "libc.syscall(437, -100, b'/etc/shadow', how, 24)",
  ].join("\n");
  const seen = (await opens(["--", "/usr/bin/python3", "-c", program], "opener")).filter((e) =>
    e.file.startsWith("/etc"),
  );
  assert.equal(
    seen.map((e) => [e.file, e.error, e.uid]),
    [
      ["/etc/passwd", "ok", 0],
      ["/etc/shadow", "EACCES", 65534],
    ],
  );
});

test("--set onlyFailed=1 shows failures only", async () => {
  requires({ root: true, kernel: "5.8" });
  const seen = await opens(["--set", "onlyFailed=1", "--", "cat", "/etc/hostname", "/no/such/file"], "cat");
  assert.ok(seen.some((e) => e.file === "/no/such/file"));
  for (const e of seen) assert.ok(e.error !== "ok", JSON.stringify(e));
});
