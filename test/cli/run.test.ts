import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { objectIds, realKernel } from "../../src/syscall/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { bpfkit, command, example, jsonLines, root, scratch, start } from "./bpfkit.ts";

const test = suite("cli run");
const directory = scratch("run");
writeFileSync(
  join(directory, "stubborn.ts"),
  'import { tracepoint } from "bpfkit";\nexport const a = tracepoint("sched:sched_switch", () => {});\nexport default async () => {\n  setInterval(() => {}, 1000);\n  console.log("ready");\n  await new Promise(() => {});\n};\n',
);
writeFileSync(
  join(directory, "twobuffers.ts"),
  `import { global, ringbuf, struct, tracepoint, u32, u64 } from "bpfkit";
import type { App } from "bpfkit/load";
import { limit } from "./settings.ts";
export const starts = ringbuf(struct({ pid: u32 }));
export const ends = ringbuf(struct({ pid: u32, seen: u64 }));
export const seen = global(u64, 0);
export const onExec = tracepoint("sched:sched_process_exec", (_ctx, bpf) => { starts.emit({ pid: bpf.pid() }); });
export const onExit = tracepoint("sched:sched_process_exit", (_ctx, bpf) => {
  if (seen.value >= limit) return;
  seen.value += 1;
  ends.emit({ pid: bpf.pid(), seen: seen.value });
});
export const onlyForTypes = (app: App): void => app.close();
`,
);
writeFileSync(join(directory, "settings.ts"), "export const limit = 5;\n");

/** Ids of the programs that a process holds, from the kernel's notes on its descriptors. */
function programIds(pid: number): number[] {
  const ids = readdirSync(`/proc/${pid}/fdinfo`).flatMap((fd) => {
    const id = /^prog_id:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"))?.[1];
    return id === undefined ? [] : [Number(id)];
  });
  return [...new Set(ids)];
}

async function gone(ids: readonly number[]): Promise<boolean> {
  for (let i = 0; i < 50; i++) {
    const now = new Set(objectIds(realKernel(), "PROG"));
    if (!ids.some((id) => now.has(id))) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

test("a main function that does not heed its end is left after --duration and after CMD", async () => {
  requires({ root: true, kernel: "5.8" });
  const stubborn = join(directory, "stubborn.ts");
  for (const [args, expected] of [
    [["--duration", "0.2"], 0],
    [["--", "sh", "-c", "exit 7"], 7],
  ] as const) {
    const { code, stdout, stderr } = await bpfkit(["run", stubborn, ...args]);
    assert.equal([code, stdout], [expected, "ready\n"], stderr);
    assert.match(stderr, /the main function went on after it was told to end/);
  }
});

test("-- CMD: its exit code is ours, also when a signal ended it", async () => {
  requires({ root: true, kernel: "5.8" });
  for (const [script, code] of [
    ["exit 0", 0],
    ["exit 7", 7],
    ["exit 255", 255],
    ["kill -9 $$", 137],
    ["kill -TERM $$", 143],
  ] as const) {
    assert.is((await bpfkit(["run", "--json", example("bashreadline"), "--", "sh", "-c", script])).code, code, script);
  }
});

test("-- CMD gets its arguments as they are, and our standard output", async () => {
  requires({ root: true, kernel: "5.8" });
  const { stdout } = await bpfkit(["run", example("bashreadline"), "--", "printf", "%s|", "a b", "--json", "-d", "*"]);
  assert.is(stdout, "a b|--json|-d|*|");
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`${signal} detaches, prints what was counted and exits with 0`, async () => {
    requires({ root: true, kernel: "5.8" });
    const running = start(["run", "-v", "--json", example("syscount")]);
    await running.until("stderr", /^Attached/m);
    const ids = programIds(running.child.pid ?? 0);
    assert.is(ids.length, 1);
    running.kill(signal);
    const { code, stdout } = await running.done;
    assert.is(code, 0);
    assert.equal(
      jsonLines(stdout).map((l) => l["map"]),
      ["calls", "processes"],
    );
    assert.ok(await gone(ids));
  });
}

test("it runs until it is told to end, and --duration tells it", async () => {
  requires({ root: true, kernel: "5.8" });
  const begin = performance.now();
  const { code } = await bpfkit(["run", example("runqlat"), "--duration", "0.7"]);
  assert.is(code, 0);
  assert.ok(performance.now() - begin >= 700);
});

test("a main function that does not end is left to a second Ctrl-C", async () => {
  requires({ root: true, kernel: "5.8" });
  const running = start(["run", "-v", join(directory, "stubborn.ts")]);
  await running.until("stdout", /ready/);
  const ids = programIds(running.child.pid ?? 0);
  running.kill("SIGINT");
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.is(running.child.exitCode, null);
  running.kill("SIGINT");
  assert.is((await running.done).code, 130);
  assert.ok(await gone(ids));
});

test("killed, it leaves nothing attached", async () => {
  requires({ root: true, kernel: "5.8" });
  const running = start(["run", "-v", example("opensnoop")]);
  await running.until("stderr", /(attached [^]*){4}/);
  const ids = programIds(running.child.pid ?? 0);
  assert.is(ids.length, 4);
  running.kill("SIGKILL");
  await running.done;
  assert.ok(await gone(ids));
});

test("a reader that leaves the pipe ends it quietly", () => {
  requires({ root: true, kernel: "5.8" });
  const script = '"$1" "$2" run "$3" -- sh -c "for i in 1 2 3 4 5 6 7 8 9; do /bin/true; sleep 0.1; done" | head -n 2';
  const { status, stdout, stderr } = spawnSync(
    "bash",
    ["-c", script, "bash", process.execPath, command(), example("execsnoop")],
    { encoding: "utf8" },
  );
  assert.equal([status, stderr], [0, ""]);
  assert.match(stdout, /^TIME .*\n.*\n$/);
});

test("several ring buffers: each sample says which; modules import each other; another start compiles nothing", async () => {
  requires({ root: true, kernel: "5.8" });
  const args = [
    "run",
    "--json",
    join(directory, "twobuffers.ts"),
    "--",
    "sh",
    "-c",
    "/bin/true; /bin/true; /bin/true; /bin/true; /bin/true; /bin/true; :",
  ];
  for (let i = 0; i < 2; i++) {
    const { code, stdout, stderr } = await bpfkit(args);
    assert.is(code, 0, stderr);
    const lines = jsonLines<{ buffer: string; sample: { pid: number; seen?: number } }>(stdout);
    const ends = lines.filter((l) => l.buffer === "ends");
    assert.equal(
      ends.map((l) => l.sample.seen),
      [1, 2, 3, 4, 5],
    );
    assert.ok(lines.filter((l) => l.buffer === "starts").length >= 7);
  }
  // The imported constant is part of what was compiled.
  writeFileSync(join(directory, "settings.ts"), "export const limit = 3;\n");
  const { stdout } = await bpfkit(args);
  assert.is(jsonLines(stdout).filter((l) => l["buffer"] === "ends").length, 3);
});

test("an unprivileged user is told which capabilities are missing, and what works without", async () => {
  requires({ root: true });
  const { code, stdout, stderr } = await bpfkit(["run", example("execsnoop")], { uid: 65534 });
  assert.equal([code, stdout], [3, ""]);
  assert.match(stderr, /^error: this process lacks CAP_BPF \(.*\) and CAP_PERFMON \(.*\)\.\n/);
  assert.match(stderr, /sudo npx bpfkit run /);
  assert.match(stderr, /bpfkit compile FILE\.ts/);
  assert.not.match(stderr, /^ {4}at /m);
  const json = await bpfkit(["run", "--json", example("execsnoop")], { uid: 65534 });
  assert.is((JSON.parse(json.stderr) as { error: string }).error, "NOT_PERMITTED");
});

test("what works without: compile, disasm, asm, types give a user what they give root", async () => {
  requires({ root: true, kernel: "5.4" });
  const outputs = async (uid: number | undefined): Promise<unknown[]> => {
    const as = uid === undefined ? {} : { uid };
    const results = [
      await bpfkit(["compile", "--explain", "-o", "/dev/null", example("execsnoop")], as),
      await bpfkit(["disasm", example("runqlat")], as),
      await bpfkit(["asm", "-"], { input: "r0 = 1\nexit\n", ...as }),
    ];
    for (const r of results) assert.is(r.code, 0, r.stderr);
    return results.map((r) => r.stdout);
  };
  assert.equal(await outputs(65534), await outputs(undefined));
  assert.is((await bpfkit(["types", "-o", "/dev/null"], { uid: 65534 })).code, 0);
});

test("--json: every command prints JSON", async () => {
  const object = join(directory, "x.o");
  const compiled = JSON.parse((await bpfkit(["compile", "--json", "-o", object, example("execsnoop")])).stdout) as {
    programs: { name: string }[];
    maps: { name: string }[];
  };
  assert.equal(
    compiled.programs.map((p) => p.name),
    ["onExec"],
  );
  assert.ok(compiled.maps.some((m) => m.name === "execs"));
  for (const file of [object, example("execsnoop")]) {
    const [program] = jsonLines<{ program: string; section: string; insns: unknown[]; lines: { line: number }[] }>(
      (await bpfkit(["disasm", "--json", file])).stdout,
    );
    assert.equal([program?.program, program?.section], ["onExec", "tracepoint/sched/sched_process_exec"]);
    assert.ok((program?.insns.length ?? 0) > 30 && (program?.lines.length ?? 0) > 10);
  }
  const { insns } = JSON.parse((await bpfkit(["asm", "--json", "-"], { input: "r0 = 1\nexit\n" })).stdout) as {
    insns: unknown[];
  };
  assert.is(insns.length, 2);
});

test("disasm shows the TypeScript lines between the instructions", async () => {
  const { stdout } = await bpfkit(["disasm", example("runqlat"), "-p", "onWakeup"], { cwd: root });
  assert.match(stdout, /^onWakeup \(tp_btf\/sched_wakeup\), \d+ instructions\n/);
  assert.match(stdout, /^; runnableSince\.set\(ctx\.p\.pid, bpf\.nsecs\(\)\); @ examples\/runqlat\.ts:\d+$/m);
  assert.match(stdout, /^ +\d+: \(85\) call bpf_map_update_elem#2$/m);
});

test("types writes what tsc accepts", async () => {
  requires({ kernel: "5.4" });
  const file = join(directory, "vmlinux.d.ts");
  assert.is((await bpfkit(["types", "-o", file])).code, 0);
  assert.match(readFileSync(file, "utf8"), /interface task_struct/);
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const examples = ["execsnoop", "opensnoop", "exitsnoop", "runqlat", "profile"].map(example);
  const flags = [
    "--noEmit",
    "--strict",
    "--module",
    "nodenext",
    "--target",
    "es2023",
    "--lib",
    "es2023,esnext.disposable",
    "--types",
    "node",
    "--typeRoots",
    join(root, "node_modules/@types"),
    "--allowImportingTsExtensions",
    "--skipLibCheck",
    "false",
  ];
  // As in a project of its own that has bpfkit installed.
  mkdirSync(join(directory, "node_modules"));
  symlinkSync(dirname(dirname(command())), join(directory, "node_modules/bpfkit"));
  const { status, stdout } = spawnSync(process.execPath, [tsc, "--ignoreConfig", ...flags, file, ...examples], {
    cwd: root,
    encoding: "utf8",
  });
  assert.is(status, 0, stdout);
});
