import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { example, jsonLines, Running, start } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("examples bashreadline");

test("the lines typed into a bash on a terminal appear, and only those", async () => {
  requires({ root: true, kernel: "5.8", package: ["bash", "bsdutils"] });
  const running = start(["run", "-v", "--json", example("bashreadline")]);
  await running.until("stderr", /^attached onReadline to .*readline/m);
  const typed = ["echo first-line", "  true 'quoted'  # naïve ☃", `: ${"x".repeat(400)}`, "exit 3"];
  const shell = new Running("script", ["-q", "-e", "-c", "bash --norc --noprofile -i", "/dev/null"], {
    env: { ...process.env, TERM: "dumb", LC_ALL: "C.UTF-8", INPUTRC: "/dev/null" },
  });
  for (const line of typed) {
    // One line at a time, as a person does: what comes before the prompt is not read by readline.
    await shell.until("stdout", /[#$] $/);
    shell.stdout = "";
    shell.child.stdin?.write(`${line}\n`);
  }
  assert.is((await shell.done).code, 3);
  await running.until("stdout", /exit 3/);
  running.kill("SIGINT");
  const { code, stdout } = await running.done;
  assert.is(code, 0);
  const lines = jsonLines<{ pid: number; uid: number; text: string }>(stdout);
  const pid = lines.find((l) => l.text === typed[0])?.pid;
  const expected = typed.map((t) => Buffer.from(t).subarray(0, 255).toString());
  assert.equal(
    lines.filter((l) => l.pid === pid).map((l) => l.text),
    expected,
  );
});

test("a breakpoint is in bash only while it is attached", async () => {
  requires({ root: true, kernel: "5.8", package: ["bash", "binutils"] });
  const bash = execFileSync("sh", ["-c", "command -v bash"], { encoding: "utf8" }).trim();
  const before = readFileSync(bash);
  const { done } = start(["run", example("bashreadline"), "--duration", "0.2"]);
  assert.is((await done).code, 0);
  assert.ok(before.equals(readFileSync(bash)));
});
