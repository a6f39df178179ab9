import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { bpfkit, example, scratch } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("examples profile");

/** One second of CPU time: most of it in `spin_inside`, some of it in the kernel. */
const SOURCE = `
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
static double used(void) { struct timespec t; clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); return t.tv_sec + t.tv_nsec / 1e9; }
volatile unsigned long work;
__attribute__((noinline)) void spin_inside(void) { for (int i = 0; i < 1000000; i++) work += i; }
__attribute__((noinline)) void spin_outside(double end) { while (used() < end) { spin_inside(); work++; } }
static char buffer[1 << 20];
__attribute__((noinline)) void read_much(int fd, double end) { while (used() < end) { work += read(fd, buffer, sizeof buffer); } }
int main(void) { spin_outside(0.7); read_much(open("/dev/urandom", O_RDONLY), 1.0); return 0; }
`;

test("a busy loop is found under its symbol, with its callers, as often as it ran", async () => {
  requires({ root: true, kernel: "5.8", package: "gcc" });
  const directory = scratch("profile");
  const program = join(directory, "busyloop");
  writeFileSync(`${program}.c`, SOURCE);
  execFileSync("gcc", ["-O0", "-o", program, `${program}.c`]);
  const { code, stdout, stderr } = await bpfkit(["run", example("profile"), "--", program]);
  assert.is(code, 0, stderr);

  const lines = stdout
    .trimEnd()
    .split("\n")
    .map((line) => /^(.+) (\d+)$/.exec(line));
  for (const [i, line] of lines.entries()) assert.ok(line, `line ${i} is not folded: ${stdout.split("\n")[i]}`);
  const ours = lines.filter((l) => l?.[1]?.startsWith("busyloop;"));
  const samples = (pattern: RegExp): number =>
    ours.reduce((sum, l) => sum + (pattern.test(l?.[1] ?? "") ? Number(l?.[2]) : 0), 0);
  const spin = samples(/;main;spin_outside;spin_inside(;\w+_\[k\])*$/);
  const kernel = samples(/;main;(read_much;)?read;.*vfs_read_\[k\]/);
  // 99 samples per second of CPU time, of which 0.7 s and 0.3 s were theirs. An emulated machine loses ticks.
  assert.ok(
    spin > 20 && spin < 90 && spin > kernel,
    `${spin} samples of spin_inside\n${ours.map((l) => l?.[0]).join("\n")}`,
  );
  assert.ok(
    kernel > 5 && kernel < 45,
    `${kernel} samples of reading /dev/urandom\n${ours.map((l) => l?.[0]).join("\n")}`,
  );
});

test("--set onlyPid leaves everybody else out", async () => {
  requires({ root: true, kernel: "5.8" });
  const { code, stdout } = await bpfkit(["run", example("profile"), "--set", "onlyPid=4194304", "--duration", "0.3"]);
  assert.equal([code, stdout], [0, ""]);
});
