/** What a user does wrong: the right exit code, a message that helps, never a stack trace of ours. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { bpfkit, example, type Result, type RunOptions, scratch } from "./bpfkit.ts";

const test = suite("cli mistakes");

const FILES: Readonly<Record<string, string>> = {
  "none.ts": "export const x = 1;\n",
  "syntax.ts":
    'import { tracepoint } from "bpfkit";\nexport const a = tracepoint("sched:sched_switch", () => {\n  const = 5;\n});\n',
  "field.ts":
    'import { tracepoint } from "bpfkit";\nexport const a = tracepoint("sched:sched_switch", (ctx, bpf) => {\n  bpf.printk("%d", ctx.nosuch);\n});\n',
  "missing.ts": 'import { x } from "./nothing.ts";\nexport const y = x;\n',
  "package.ts": 'import { x } from "no-such-package-at-all";\nexport const y = x;\n',
  "name.ts": 'import { tracepiont } from "bpfkit";\nexport const y = tracepiont;\n',
  "throws.ts": 'export const x = 1;\nthrow new Error("my own mistake");\n',
  "main.ts":
    'import { tracepoint } from "bpfkit";\nexport const a = tracepoint("sched:sched_switch", () => {});\nexport default async () => {\n  await null;\n  throw new RangeError("in my main");\n};\n',
  "tracepoint.ts": 'import { tracepoint } from "bpfkit";\nexport const a = tracepoint("sched:no_such", () => {});\n',
  "symbol.ts":
    'import { uprobe } from "bpfkit";\nexport const a = uprobe({ binary: "sh", symbol: "no_such_function" }, () => {});\n',
  "binary.ts":
    'import { uprobe } from "bpfkit";\nexport const a = uprobe({ binary: "no-such-binary", symbol: "f" }, () => {});\n',
  "packets.ts": 'import { XDP, xdp } from "bpfkit";\nexport const a = xdp(() => XDP.PASS);\n',
  "settings.ts":
    'import { char, config, enumOf, tracepoint, u8 } from "bpfkit";\nexport const small = config(u8, 1);\nexport const mode = config(enumOf({ OFF: 0, ON: 1 }), 0);\nexport const name = config(char(8), "none");\nexport const a = tracepoint("sched:sched_switch", (_ctx, bpf) => {\n  if (small.value === 7 && mode.value === 1 && name.value === "12") bpf.printk("x");\n});\n',
  "options.ts": 'import { hash, u32 } from "bpfkit";\nexport const m =\n  hash(u32, u32, 4096 as never);\n',
  "bad.s": "r0 = 1\nr11 = foo\nexit\n",
  "garbage.o": "this is no object",
};
const directory = scratch("mistakes");
for (const [name, text] of Object.entries(FILES)) writeFileSync(join(directory, name), text);
mkdirSync(join(directory, "folder.ts"));

function run(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  return bpfkit(args, { cwd: directory, ...options });
}
const STACK = /^ {4}at .*(?:dist|src|node:)/m;

async function fails(args: readonly string[], code: number, message: RegExp): Promise<void> {
  const result = await run(args);
  assert.is(result.code, code, `bpfkit ${args.join(" ")}: ${result.stderr}`);
  assert.match(result.stderr, message);
  assert.not.match(result.stderr, STACK);
  assert.is(result.stdout, "");
}

test("wrong arguments: exit code 2, what was expected, and how to get help", async () => {
  const file = example("runqlat");
  await fails(["rnu"], 2, /^bpfkit: "rnu" is not a command; did you mean run\? \(bpfkit --help lists them\)\n$/);
  await fails(["run"], 2, /^bpfkit: expected FILE\.ts.*\nusage: bpfkit run .*\ntry: bpfkit run --help\n$/);
  await fails(["run", "a.ts", "b.ts"], 2, /unexpected argument "b\.ts"/);
  await fails(["run", file, "--duratio", "5"], 2, /--duratio: no such option; did you mean --duration\?/);
  await fails(["run", file, "--json=yes"], 2, /--json takes no value/);
  await fails(["run", file, "--duration"], 2, /--duration needs a value: SECONDS/);
  for (const bad of ["abc", "0", "-1", "", "1e999"])
    await fails(["run", file, `--duration=${bad}`], 2, /expected a number of seconds/);
  await fails(["run", file, "--duration", "1", "-d", "2"], 2, /--duration is given twice/);
  await fails(["run", file, "--set", "x"], 2, /--set x: expected NAME=VALUE/);
  await fails(["run", file, "--", "no-such-command-at-all"], 2, /no-such-command-at-all: there is no such command/);
  await fails(["disasm"], 2, /expected FILE/);
  await fails(["asm", "bad.s", "more"], 2, /unexpected argument "more"/);
  await fails(["asm", "bad.s", "-z"], 2, /-z: no such option/);
});

test("files that are not there or not what they should be: exit code 1 and the file's name", async () => {
  await fails(["compile", "nosuch.ts"], 1, /^error: nosuch\.ts does not exist\n$/);
  await fails(["compile", "folder.ts"], 1, /folder\.ts/);
  await fails(["compile", "/etc/passwd"], 1, /passwd: expected a TypeScript or JavaScript file/);
  await fails(
    ["compile", "-o", "/no/such/dir/x.o", example("runqlat")],
    1,
    /\/no\/such\/dir\/x\.o: there is no such directory/,
  );
  await fails(["disasm", "garbage.o"], 1, /garbage\.o/);
  await fails(
    ["disasm", example("runqlat"), "-p", "nosuch"],
    1,
    /has no program "nosuch"; it has onSwitch, onWakeup, onWakeupNew/,
  );
  await fails(["asm", "nosuch.s"], 1, /nosuch\.s: there is no such file/);
  await fails(["asm", "bad.s"], 1, /bad\.s:2:1\n/);
  await fails(["compile", "--btf", "/etc/passwd", example("runqlat")], 1, /passwd/);
});

test("mistakes in the program: exit code 1, the line, and the place in it", async () => {
  await fails(["compile", "none.ts"], 1, /none\.ts exports no program/);
  await fails(["compile", "syntax.ts"], 1, /syntax\.ts:3:9\n.*\n3 \|   const = 5;\n +\| +\^/);
  await fails(
    ["compile", "field.ts"],
    1,
    /no field 'nosuch'[^]*field\.ts:3:24\n.*\n3 \|   bpf\.printk\("%d", ctx\.nosuch\);\n +\| +\^{6}/,
  );
  await fails(["compile", "missing.ts"], 1, /nothing\.ts, which missing\.ts imports, does not exist/);
  await fails(["compile", "package.ts"], 1, /"no-such-package-at-all" that package\.ts imports cannot be found/);
  await fails(["compile", "name.ts"], 1, /bpfkit exports nothing named 'tracepiont'. Did you mean 'tracepoint'\?/);
});

test("what the user's own code throws is shown with the user's own lines", async () => {
  const atImport = await run(["compile", "throws.ts"]);
  assert.equal([atImport.code, atImport.stdout], [1, ""]);
  assert.match(atImport.stderr, /^error: Error: my own mistake\n {4}at .*throws\.ts:2:7\)?\n$/);
  const options = await run(["check", "options.ts"]);
  assert.match(
    options.stderr,
    /^error: hash\(options\): expected an object.*, got 4096\n {4}at .*options\.ts:3:3\)?\n$/,
  );
  requires({ root: true });
  const atRun = await run(["run", "main.ts"]);
  assert.equal([atRun.code, atRun.stdout], [1, ""]);
  assert.match(atRun.stderr, /^error: RangeError: in my main\n {4}at .*main\.ts:5:9\)?\n$/);
});

test("what this machine lacks is named", async () => {
  requires({ root: true });
  await fails(["run", "tracepoint.ts"], 1, /this kernel has no tracepoint sched:no_such/);
  await fails(["run", "symbol.ts"], 1, /has no function no_such_function/);
  await fails(["run", "binary.ts"], 1, /neither a command nor a library called "no-such-binary"/);
  await fails(["run", "packets.ts"], 2, /xdp and tc programs need --device NAME/);
});

test("--set takes what the schema takes, and says what that is", async () => {
  requires({ root: true });
  const set = (value: string): Promise<Result> => run(["run", "settings.ts", "--duration", "0.01", "--set", value]);
  for (const good of ["small=7", "small=0xff", "mode=ON", "mode=1", "name=12", "name=abc"]) {
    const { code, stderr } = await set(good);
    assert.is(code, 0, `${good}: ${stderr}`);
  }
  for (const [bad, message] of [
    ["nosuch=1", /there is no global variable nosuch to set; there are .*small/],
    ["small=abc", /small: expected an integer, got "abc"/],
    ["small=256", /small: expected an integer of 8 bits, got 256/],
    ["small=", /small: expected an integer, got ""/],
    ["mode=MAYBE", /mode: expected one of OFF, ON, got "MAYBE"/],
    ["name=123456789", /name: expected at most 8 bytes, got 9/],
  ] as const) {
    const { code, stderr } = await set(bad);
    assert.is(code, 1, bad);
    assert.match(stderr, message);
    assert.not.match(stderr, STACK);
  }
});

test("--json reports errors as JSON", async () => {
  const { code, stdout, stderr } = await run(["compile", "--json", "field.ts"]);
  assert.equal([code, stdout], [1, ""]);
  const report = JSON.parse(stderr) as {
    error: string;
    message: string;
    diagnostics: { code: string; labels: { span: { file: string } }[] }[];
  };
  assert.match(report.message, /nosuch/);
  assert.match(report.diagnostics[0]?.labels[0]?.span.file ?? "", /field\.ts$/);
});
