/** `verify` as it is called: log levels, limits, budgets, malformed programs, and a sample of the recorded corpus. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import type { Insn } from "../../src/asm/index.ts";
import { VerifierAborted, verify } from "../../src/verifier/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { arrayMap, bare } from "./bare.ts";
import { Corpus } from "./corpus.ts";
import { logDifference } from "./kernel-load.ts";

const test = suite("verifier verify");

const insn = (opcode: number, dst = 0, src = 0, off = 0, imm = 0): Insn => ({ opcode, dst, src, off, imm });
const mov = (dst: number, imm: number): Insn => insn(0xb7, dst, 0, 0, imm);
const exit = insn(0x95);
const text = (log: string): string[] =>
  log
    .replace(/\d+ usec/, "N usec")
    .trimEnd()
    .split("\n");

/** Without what differs from one load to the next: addresses of maps and the time. */
const plain = (log: string): string =>
  log.replace(/(\(18\) r\d+ = )0x[0-9a-f]{16}/g, "$1ADDR").replace(/time \d+ usec/, "time");

const BRANCHES = [insn(0x61, 1, 1, 0, 0), mov(0, 0), insn(0x15, 1, 0, 1, 5), mov(0, 1), exit];

test("the log of level 2 is the kernel's", () => {
  assert.equal(text(verify(bare(BRANCHES), { logLevel: 2 }).log), [
    "func#0 @0",
    "Live regs before insn:",
    "      0: .1........ (61) r1 = *(u32 *)(r1 +0)",
    "      1: .1........ (b7) r0 = 0",
    "      2: 01........ (15) if r1 == 0x5 goto pc+1",
    "      3: .......... (b7) r0 = 1",
    "      4: 0......... (95) exit",
    "0: R1=ctx() R10=fp0",
    "0: (61) r1 = *(u32 *)(r1 +0)          ; R1=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))",
    "1: (b7) r0 = 0                        ; R0=0",
    "2: (15) if r1 == 0x5 goto pc+1        ; R1=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))",
    "3: (b7) r0 = 1                        ; R0=1",
    "4: (95) exit",
    "",
    "from 2 to 4: R0=0 R1=5 R10=fp0",
    "4: R0=0 R1=5 R10=fp0",
    "4: (95) exit",
    "processed 6 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0",
  ]);
});

test("level 1 keeps the path that ends in the rejection, level 4 the statistics", () => {
  const bad = [insn(0x61, 1, 1, 0, 0), mov(0, 0), insn(0x15, 1, 0, 1, 5), exit, insn(0x79, 0, 1, 0, 0), exit];
  const one = verify(bare(bad), { logLevel: 1 });
  assert.is(one.verdict, "reject");
  assert.is(one.errno, 13);
  assert.is(one.message, "R1 invalid mem access 'scalar'");
  assert.match(one.log, /^2: \(15\) if r1 == 0x5 goto pc\+1/m);
  assert.not.match(one.log, /^3: \(95\) exit/m);
  assert.equal(text(verify(bare(BRANCHES), { logLevel: 4 }).log), [
    "verification time N usec",
    "stack depth 0",
    "processed 6 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0",
  ]);
  assert.is(verify(bare(BRANCHES), { logLevel: 0 }).log, "");
});

test("the verdict does not depend on the log level", () => {
  for (const logLevel of [0, 1, 2, 4, 7]) {
    const v = verify(bare([mov(2, 1), exit]), { logLevel });
    assert.is(v.errno, 13);
    assert.is(v.message, "R0 !read_ok");
  }
});

test("a log with a limit keeps its end", () => {
  const many = [...Array.from({ length: 3000 }, (_, i) => mov(0, i)), exit];
  const whole = verify(bare(many), { logLevel: 2 }).log;
  const cut = verify(bare(many), { logLevel: 2, logLimit: 4096 }).log;
  assert.is(cut.length, 4096);
  assert.ok(whole.endsWith(cut));
});

test("a million processed instructions are the end", () => {
  // r6 counts without an end, and its value is used as an offset-free scalar each time.
  const endless = [insn(0x61, 7, 1, 0, 0), mov(6, 0), insn(0x07, 6, 0, 0, 1), insn(0x2d, 7, 6, -2, 0), mov(0, 0), exit];
  const v = verify(bare(endless));
  assert.is(v.errno, 7);
  assert.is(v.insnsProcessed, 1_000_001);
  assert.is(v.message, "BPF program is too large. Processed 1000001 insn");
});

test("a loop that changes nothing is found", () => {
  const v = verify(bare([mov(0, 0), insn(0x05, 0, 0, -1, 0), exit]), { logLevel: 2 });
  assert.is(v.verdict, "reject");
  assert.match(v.log, /unreachable insn 2|infinite loop detected at insn/);
});

test("a budget and a signal end it without a verdict", () => {
  const endless = [insn(0x61, 7, 1, 0, 0), mov(6, 0), insn(0x07, 6, 0, 0, 1), insn(0x2d, 7, 6, -2, 0), mov(0, 0), exit];
  assert.throwsCode(() => verify(bare(endless), { budget: 10_000 }), "VERIFIER_ABORTED");
  const stopped = AbortSignal.abort();
  assert.throws(
    () => verify(bare(endless), { signal: stopped }),
    (e: unknown) => e instanceof VerifierAborted,
  );
  assert.is(verify(bare(BRANCHES), { budget: 6 }).verdict, "accept");
});

test("programs without instructions or with too many are refused", () => {
  assert.is(verify(bare([])).errno, 7);
  const huge = Array.from({ length: 1_000_001 }, () => exit);
  assert.is(verify(bare(huge)).errno, 7);
});

test("whatever the instructions are, there is a verdict", () => {
  const u8 = fc.integer({ min: 0, max: 255 });
  const reg = fc.integer({ min: 0, max: 15 });
  const off = fc.oneof(fc.integer({ min: -4, max: 8 }), fc.integer({ min: -32768, max: 32767 }));
  const imm = fc.oneof(fc.integer({ min: -8, max: 300 }), fc.integer({ min: -0x80000000, max: 0x7fffffff }));
  const any = fc.record({ opcode: u8, dst: reg, src: reg, off, imm });
  fc.assert(
    fc.property(
      fc.array(any, { minLength: 1, maxLength: 24 }),
      fc.integer({ min: 0, max: 33 }),
      fc.boolean(),
      (body, progType, unprivileged) => {
        const insns = [insn(0xbf, 6, 1), mov(0, 0), ...body, exit];
        const v = verify(
          { ...bare(insns, progType), maps: [arrayMap(2, 4, 16, 2)] },
          { logLevel: 2, budget: 100_000, unprivileged },
        );
        assert.ok(v.verdict === "accept" ? v.errno === 0 : v.errno > 0);
      },
    ),
    { numRuns: Number(process.env["FUZZ_RUNS"] ?? 1500) },
  );
});

test(
  "a sample of the recorded loads: verdict, message, counts and log",
  () => {
    requires({ env: "CORPUS" });
    const corpus = new Corpus(process.env["CORPUS"]!);
    const programs = corpus.truth.filter(
      (t) => t.verifier_ran && t.load_path !== null && t.verdict !== "env" && (t.insns_processed ?? 0) < 2000,
    );
    let compared = 0;
    for (let i = 0; i < programs.length; i += 29) {
      const t = programs[i]!;
      const name = `${t.suite}/${t.object}/${t.program}`;
      const v = verify(corpus.load(t), { logLevel: 6 });
      assert.is(v.verdict, t.verdict, name);
      if (t.verdict === "accept") assert.is(v.insnsProcessed, t.insns_processed, name);
      const path = t.log_level2_path === null ? "" : join(corpus.dir, t.log_level2_path);
      if (!existsSync(path) || t.log2_truncated === true) continue;
      const theirs = gunzipSync(readFileSync(path)).toString("utf8");
      assert.is(logDifference(plain(theirs), plain(v.log)) ?? "same", "same", name);
      compared++;
    }
    assert.ok(compared > 80, `only ${compared} logs were compared`);
  },
  { timeoutMs: 240_000 },
);
