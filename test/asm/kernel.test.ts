/** The same instructions before the running kernel: its text, its verdict on encodings, bpftool's dump. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { assert, suite } from "../harness.ts";
import { kernelAtLeast, requires } from "../kernel.ts";
import {
  checkInsn,
  decodeInsns,
  disassemble,
  exit,
  fromOp,
  insnSlots,
  jmpImm,
  minKernel,
  mov64Imm,
  mov64Reg,
  parseAsm,
  printInsn,
  toOp,
  ldMapFd,
  ldMapValue,
} from "../../src/asm/index.ts";
import type { Insn, Op } from "../../src/asm/index.ts";
import { Btf } from "../../src/btf/index.ts";
import { hostEndian } from "../../src/core/bytes.ts";
import { anySlot, legalOp, nearlyLegal } from "./arbitraries.ts";
import * as oracle from "./kernel-oracle.ts";

const test = suite("asm against the kernel");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 1000);
const MAX_JUMP = 24;

/** r6 holds the context, the others but r10 their own number. */
const PROLOGUE: readonly Insn[] = [mov64Reg(6, 1), ...[0, 1, 2, 3, 4, 5, 7, 8, 9].map((r) => mov64Imm(r, r))];
const FILLER = Array.from({ length: MAX_JUMP }, () => mov64Imm(0, 0));

/** The instruction amid slots that it can jump to, all of them reachable. */
function around(insns: readonly Insn[]): { program: Insn[]; at: number } {
  // The branch, never taken, keeps what follows the instruction reachable when that jumps away.
  const before = [...PROLOGUE, ...FILLER, jmpImm("jeq", 7, 0, insns.length)];
  return { program: [...before, ...insns, ...FILLER, mov64Imm(0, 0), exit()], at: before.length };
}

/** The same op with its jump within the program. */
function nearby(o: Op): Op {
  const near = (off: number): number => off % MAX_JUMP;
  switch (o.kind) {
    case "goto":
    case "branch":
    case "may-goto":
    case "call-subprog":
      return { ...o, off: near(o.off) };
    default:
      return o;
  }
}

/** What is not printed before it is resolved: that needs a live map, BTF id or subprogram. */
const isPrintedFirst = (o: Op): boolean =>
  o.kind !== "call-kfunc" && o.kind !== "call-subprog" && !(o.kind === "ld-imm64" && o.value.kind !== "const");

test("text of every kind of legal instruction is that of the verifier's log", () => {
  requires({ root: true, kernel: "6.9" });
  const printed = new Map<string, number>();
  let unprinted = 0;
  fc.assert(
    fc.property(legalOp.filter(isPrintedFirst).map(nearby), (o) => {
      if (!kernelAtLeast(minKernel(o))) return;
      const insns = fromOp(o);
      const { program, at } = around(insns);
      const { fd, log } = oracle.load(program);
      if (fd >= 0) oracle.close(fd);
      const text = oracle.logTexts(log).get(at);
      if (text === undefined) {
        unprinted++;
        return;
      }
      printed.set(o.kind, (printed.get(o.kind) ?? 0) + 1);
      assert.is(printInsn(program, at), text, JSON.stringify(o));
      assert.equal(parseAsm(text), insns, text);
    }),
    { numRuns: RUNS * 2 },
  );
  for (const kind of [
    "alu",
    "neg",
    "movsx",
    "end",
    "load",
    "store",
    "atomic",
    "ld-abs",
    "ld-ind",
    "ld-imm64",
    "goto",
    "may-goto",
    "branch",
    "call-helper",
    "exit",
    "addr-space-cast",
    ...(kernelAtLeast("6.15") ? ["load-acquire", "store-release"] : []),
  ]) {
    assert.ok((printed.get(kind) ?? 0) > 10, `the log never showed ${kind}: ${JSON.stringify([...printed])}`);
  }
  assert.ok(unprinted < RUNS / 4, `${unprinted} not shown`);
});

const ENCODING_ERROR =
  /uses reserved fields|unknown opcode|bpf_ld_imm64 insn|invalid BPF_ALU opcode|invalid atomic operand size|invalid atomic opcode|R1[1-5] is invalid|invalid may_goto|addr_space_cast insn can only convert|invalid BPF_LD/;

test("what checkInsn calls illegal the kernel calls so too, and the other way round", () => {
  requires({ root: true, kernel: "6.15" });
  let agreedIllegal = 0;
  let legal = 0;
  let undecided = 0;
  fc.assert(
    fc.property(
      fc.oneof({ weight: 4, arbitrary: nearlyLegal }, { weight: 1, arbitrary: anySlot.map((insn) => [insn]) }),
      (slots) => {
        const { program, at } = around(slots.map((insn) => nearbySlot(insn)));
        const { fd, log } = oracle.load(program);
        if (fd >= 0) oracle.close(fd);
        const kernelSays = ENCODING_ERROR.exec(log)?.[0];
        const ours =
          checkInsn(program, at) ??
          (slots.length === 2 && insnSlots(program[at]!) === 1 ? checkInsn(program, at + 1) : undefined);
        const what = `${JSON.stringify(program.slice(at, at + slots.length))} ours: ${ours?.message ?? "legal"}\n${log.slice(-300)}`;
        if (kernelSays !== undefined) {
          assert.ok(ours !== undefined, what);
          assert.ok(ENCODING_ERROR.test(ours.message), what);
          agreedIllegal++;
        } else if (ours !== undefined) {
          assert.ok(fd < 0, what);
          undecided++;
        } else {
          legal++;
        }
      },
    ),
    { numRuns: RUNS * 2 },
  );
  assert.ok(
    agreedIllegal > RUNS / 2 && legal > RUNS / 10 && undecided < RUNS / 2,
    JSON.stringify({ agreedIllegal, legal, undecided }),
  );
});

/** Keeps the jumps of slots that may be no instruction within the program. */
function nearbySlot(insn: Insn): Insn {
  const cls = insn.opcode & 7;
  if (cls !== 5 && cls !== 6) return insn;
  const code = insn.opcode & 0xf0;
  if (code === 0x80 || code === 0x90) return insn;
  if (insn.opcode === 0x06 && insn.off === 0) return { ...insn, imm: insn.imm % MAX_JUMP };
  return { ...insn, off: insn.off % MAX_JUMP };
}

// Straight-line programs the verifier takes.

type Scalar = Extract<Op, { kind: "alu" | "neg" | "end" }>;
/** bpftool 7.1 knows what Linux 6.1 knew. */
const scalarOp: fc.Arbitrary<Op> = legalOp
  .filter(
    (o): o is Scalar =>
      (o.kind === "alu" && o.op !== "sdiv" && o.op !== "smod") ||
      o.kind === "neg" ||
      (o.kind === "end" && o.to !== "swap"),
  )
  .map((o): Op => {
    const dst = [0, 7, 8, 9][o.dst % 4]!;
    if (o.kind !== "alu") return { ...o, dst };
    if (o.src.kind === "reg") return { ...o, dst, src: { kind: "reg", reg: [0, 7, 8, 9][o.src.reg % 4]! } };
    const isShift = o.op === "lsh" || o.op === "rsh" || o.op === "arsh";
    const imm = isShift ? (o.src.imm >>> 0) % 32 : o.op === "div" || o.op === "mod" ? o.src.imm | 1 : o.src.imm;
    return { ...o, dst, src: { kind: "imm", imm } };
  });
const slot = fc.integer({ min: 1, max: 8 }).map((n) => -8 * n);
const memoryOp: fc.Arbitrary<Op> = fc.oneof(
  fc.record({
    kind: fc.constant("store" as const),
    size: fc.constantFrom("b", "h", "w", "dw"),
    dst: fc.constant(10),
    off: slot,
    src: fc.oneof(
      fc.record({ kind: fc.constant("reg" as const), reg: fc.constantFrom(0, 7, 8, 9) }),
      fc.record({ kind: fc.constant("imm" as const), imm: fc.integer() }),
    ),
  }),
  fc.record({
    kind: fc.constant("load" as const),
    size: fc.constantFrom("b", "h", "w", "dw"),
    signed: fc.constant(false),
    dst: fc.constantFrom(0, 7, 8, 9),
    src: fc.constant(10),
    off: slot,
  }),
  fc.record({
    kind: fc.constant("atomic" as const),
    op: fc.constantFrom("add", "or", "and", "xor"),
    fetch: fc.boolean(),
    size: fc.constantFrom("w", "dw"),
    dst: fc.constant(10),
    src: fc.constantFrom(7, 8, 9),
    off: slot,
  }),
  fc.record({
    kind: fc.constant("atomic" as const),
    op: fc.constantFrom("xchg", "cmpxchg"),
    fetch: fc.constant(true),
    size: fc.constantFrom("w", "dw"),
    dst: fc.constant(10),
    src: fc.constantFrom(7, 8, 9),
    off: slot,
  }),
  fc.record({
    kind: fc.constant("ld-imm64" as const),
    dst: fc.constantFrom(0, 7, 8, 9),
    value: fc.record({ kind: fc.constant("const" as const), lo: fc.integer(), hi: fc.integer() }),
  }),
) as fc.Arbitrary<Op>;
const branchOp: fc.Arbitrary<Op> = legalOp
  .filter((o): o is Extract<Op, { kind: "branch" }> => o.kind === "branch")
  .map((o) => ({
    ...o,
    off: 0,
    dst: [0, 7, 8, 9][o.dst % 4]!,
    src: o.src.kind === "reg" ? { kind: "reg", reg: [0, 7, 8, 9][o.src.reg % 4]! } : o.src,
  }));

/** Names the first line that differs: whole programs say too little in a report of shrunk values. */
function sameLines(ours: string, theirs: string): void {
  const a = ours.split("\n");
  const b = theirs.split("\n");
  const at = a.findIndex((line, i) => line !== b[i]);
  if (at >= 0 || a.length !== b.length)
    throw new Error(`line ${at}: ours \`${a[at] ?? ""}\`, bpftool \`${b[at] ?? ""}\``);
}

test("disassemble of loaded programs is `bpftool prog dump xlated`", () => {
  requires({ root: true, kernel: "5.12", package: "bpftool" });
  const map = oracle.arrayMap(64);
  const fds = [map];
  try {
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(fc.oneof(scalarOp, memoryOp, branchOp), { minLength: 20, maxLength: 80 }), (ops) => {
        const stack = [1, 2, 3, 4, 5, 6, 7, 8].flatMap((n) =>
          fromOp({ kind: "store", size: "dw", dst: 10, off: -8 * n, src: { kind: "imm", imm: n } }),
        );
        const body = ops.flatMap(fromOp);
        const source = [
          ...PROLOGUE,
          ...stack,
          ...ldMapFd(1, map),
          ...ldMapValue(2, map, 16),
          ...body,
          ...parseAsm("call pc+2\nr0 = 0\nexit\nr0 = 1\nexit"),
        ];
        const { fd, log } = oracle.load(source);
        if (fd < 0) {
          assert.match(log, /processed \d+ insns|\d+: /);
          return;
        }
        accepted++;
        try {
          const insns = decodeInsns(oracle.xlated(fd), { endian: hostEndian });
          const dump = oracle.bpftoolDump(fd);
          // The subprogram's symbol and address are bpftool's own knowledge.
          const theirs = dump.replace(/(call pc[+-]\d+)#\S+/g, "$1");
          sameLines(disassemble(insns, { xlated: true }), theirs);
          assert.equal(parseAsm(dump).length, insns.length);
        } finally {
          oracle.close(fd);
        }
      }),
      { numRuns: 30, endOnFailure: true, includeErrorInReport: true },
    );
    assert.ok(accepted > 10, `only ${accepted} programs were accepted`);
  } finally {
    for (const fd of fds) oracle.close(fd);
  }
});

test("callx is refused by kernel and by us", () => {
  requires({ root: true });
  const program: Insn[] = [mov64Imm(0, 0), { opcode: 0x8d, dst: 0, src: 0, off: 0, imm: 0 }, exit()];
  assert.match(oracle.load(program).log, /unknown opcode 8d/);
  assert.throws(() => toOp(program, 1), /unknown opcode 8d/);
});

test("kernel functions by name, subprograms and loops: the text loads, and the log has it back", () => {
  requires({ root: true, kernel: "6.9" });
  const vmlinux = Btf.parse(readFileSync("/sys/kernel/btf/vmlinux"));
  const resolve = (kind: string, name: string): number | undefined =>
    kind === "kfunc" ? vmlinux.findByName(name, "func")?.id : undefined;
  const program = parseAsm(
    `call bpf_rcu_read_lock
     call bpf_rcu_read_unlock
     call ktime_get_ns
     call sub
     exit
     sub: may_goto out
     goto sub
     out: r0 = 7
     exit`,
    { resolve },
  );
  const { fd, log } = oracle.load(program, oracle.TRACEPOINT);
  assert.ok(fd >= 0, log);
  oracle.close(fd);
  const texts = oracle.logTexts(log);
  const ids = new Map(["bpf_rcu_read_lock", "bpf_rcu_read_unlock"].map((name) => [resolve("kfunc", name), name]));
  for (const [slot, text] of texts) {
    assert.is(printInsn(program, slot, { kfuncName: (id) => ids.get(id) }), text);
  }
  assert.match(texts.get(0)!, /^call bpf_rcu_read_lock#\d+$/);
  assert.is(texts.get(2), "call bpf_ktime_get_ns#5");
  assert.is(texts.get(3), "call pc+1");
  assert.is(texts.get(5), "may_goto pc+1");
});
