/** `bpfkit verify`, as a user runs it. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { progLoadToJson } from "../../src/elf/index.ts";
import { bpfkit, example, jsonLines, scratch } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { loadOf, mistakes } from "./explain/mistakes.ts";
import { probes } from "./explain/probes.ts";

const test = suite("cli verify");
const SLOW = { timeoutMs: 60_000 };
const directory = scratch("verify");

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}
const probe = (part: string): string => file("bad.ts", probes.find((p) => p.name.includes(part))?.source ?? "");
const capture = (part: string): string =>
  file(
    "bad.json",
    JSON.stringify(progLoadToJson({ ...loadOf(mistakes.find((m) => m.name.includes(part))!), name: "bad" })),
  );

interface Line {
  readonly file: string;
  readonly program: string;
  readonly type: string;
  readonly verdict: string;
  readonly message: string;
  readonly insnsProcessed: number;
  readonly totalStates: number;
  readonly peakStates: number;
  readonly timeMs: number;
  readonly diagnostics?: readonly { readonly code: string; readonly labels: readonly { readonly line: number }[] }[];
}

test(
  "without privilege: a table, and exit code 0 when all is accepted",
  async () => {
    requires({ root: true });
    const { code, stdout, stderr } = await bpfkit(["verify", example("execsnoop"), example("xdpcount")], {
      uid: 65534,
    });
    assert.is(code, 0, stdout + stderr);
    assert.match(stdout, /^FILE +PROGRAM +TYPE +VERDICT/);
    assert.match(stdout, /execsnoop\.ts +onExec +tracepoint +accept +\d+/);
    assert.match(stdout, /xdpcount\.ts +count +xdp +accept/);
  },
  SLOW,
);

test(
  "--json: one object a program with all counts; the kernel counts the same",
  async () => {
    const { code, stdout } = await bpfkit(["verify", "--json", example("opensnoop"), capture("null check")]);
    assert.is(code, 1);
    const lines = jsonLines<Line>(stdout);
    assert.equal(
      lines.map((l) => l.program),
      ["enterOpenat", "enterOpenat2", "exitOpenat", "exitOpenat2", "bad"],
    );
    const last = lines.at(-1);
    assert.is(last?.verdict, "reject");
    assert.is(last?.message, "R0 invalid mem access 'map_value_or_null'");
    for (const l of lines) {
      assert.equal(Object.keys(l), [
        "file",
        "program",
        "type",
        "verdict",
        "message",
        "insnsProcessed",
        "totalStates",
        "peakStates",
        "timeMs",
      ]);
      assert.ok(l.insnsProcessed > 0 && l.timeMs > 0 && l.peakStates <= l.totalStates);
    }
  },
  SLOW,
);

test(
  "--explain points at the TypeScript line, with source and a tried fix",
  async () => {
    const path = probe("never submitted");
    const { code, stdout } = await bpfkit(["verify", "--explain", path]);
    assert.is(code, 1);
    assert.match(stdout, /error\[BPF3140\]/);
    assert.match(stdout, /bad\.ts:6:3/);
    assert.match(stdout, /4 \| +const room = bpf\.ringbufReserve\(events, 8, 0\);\n.*-+ acquired here/);
    assert.match(stdout, /tried: with this change the verifier accepts the program/);
    const [line] = jsonLines<Line>((await bpfkit(["verify", "--explain", "--json", path])).stdout);
    assert.is(line?.diagnostics?.[0]?.labels[0]?.line, 6);
  },
  SLOW,
);

test(
  "--stats and --folded count every processed instruction once",
  async () => {
    const folded = join(directory, "out.folded");
    const { stdout } = await bpfkit(["verify", "--json", "--stats", "--folded", folded, example("xdpcount")]);
    const [line] = jsonLines<
      Line & { readonly lines: readonly { readonly insns: number; readonly states: number; readonly line: number }[] }
    >(stdout);
    const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
    assert.is(sum(line?.lines.map((l) => l.insns) ?? []), line?.insnsProcessed);
    assert.is(sum(line?.lines.map((l) => l.states) ?? []), line?.totalStates);
    const stacks = readFileSync(folded, "utf8").trim().split("\n");
    assert.is(sum(stacks.map((s) => Number(s.slice(s.lastIndexOf(" "))))), line?.insnsProcessed);
    assert.match(stacks[0] ?? "", /^count;count;xdpcount\.ts:\d+ \d+$/);
  },
  SLOW,
);

test(
  "run --capture writes what verify reads; both give the same verdict",
  async () => {
    requires({ root: true, kernel: "5.8" });
    const path = join(directory, "captured.json");
    const run = await bpfkit(["run", "--no-cache", probe("tail call"), "--capture", path]);
    assert.is(run.code, 1);
    assert.match(run.stderr, /expected prog array map for tail call/);
    const { stdout, code } = await bpfkit(["verify", "--log-level", "1", path]);
    assert.is(code, 1);
    assert.match(stdout, /reject .*expected prog array map for tail call/);
    assert.match(stdout, /; bpf\.tailCall\(ctx, seen, 0\); @ /);
  },
  SLOW,
);

test(
  "what is wrong with the arguments is said",
  async () => {
    const kernel = await bpfkit(["verify", "--kernel", "6.1,new", example("execsnoop")]);
    assert.is(kernel.code, 2);
    assert.match(kernel.stderr, /--kernel new: expected versions such as 5\.4, .*6\.18, or live/);
    const none = await bpfkit(["verify", "--program", "nope", capture("null check")]);
    assert.is(none.code, 1);
    assert.match(none.stderr, /no program "nope"; there are bad/);
    const broken = await bpfkit(["verify", file("broken.json", "{")]);
    assert.is(broken.code, 1);
    assert.match(broken.stderr, /broken\.json: not JSON/);
  },
  SLOW,
);
