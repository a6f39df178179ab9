/** Traces of compiled code against the interpreter's steps, and the interpreter's way back. */
import * as b from "../../src/asm/index.ts";
import { BPF_FUNC, BPF_MAP_TYPE, BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { Vm, collectionOf } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { mapSpec, progSpec } from "./kernel-run.ts";
import { Random } from "./random.ts";
import { CTX_SIZE, TABLE, VALUES, randomProgram } from "./random-programs.ts";

const test = suite("vm trace");
const ROUNDS = Number(process.env["FUZZ_RUNS"] ?? 150);

/** Slots as the interpreter runs them. */
function stepped(vm: Vm, name: string, ctx: Uint8Array): string[] {
  const run = vm.interpret(name, { ctx });
  const slots: string[] = [];
  do slots.push(`${run.image.spec.name} ${run.insn}`);
  while (run.step() !== "exited");
  return slots;
}

test("traced code runs what the interpreter runs, in the same order", () => {
  const r = new Random(5);
  for (let i = 0; i < ROUNDS; i++) {
    const prog = randomProgram(r, 5 + r.below(40));
    const ctx = new Uint8Array(CTX_SIZE).map(() => r.below(256));
    const spec = collectionOf([prog], [VALUES, TABLE]);
    const expected = stepped(new Vm(spec), prog.name, ctx);
    const { trace, executed, r0 } = new Vm(spec).trace(prog.name, { ctx });
    assert.equal(
      [...trace.insns()].map(({ image, slot }) => `${image.spec.name} ${slot}`),
      expected,
    );
    assert.is(executed, expected.length);
    assert.is(r0, new Vm(spec).run(prog.name, { ctx }).r0);
    const counts = trace.counts(new Vm(spec).image(prog.name));
    assert.equal([...counts], Array<number>(prog.insns.length).fill(0), "counts are of the VM's own image");
  }
});

test("tail calls, lines, a limit", () => {
  const progs = mapSpec("progs", BPF_MAP_TYPE.PROG_ARRAY, 4, 4, 1, { initialSlots: [{ key: 0, target: "second" }] });
  const line = (insn: number, n: number): { insn: number; file: string; text: string; line: number; col: number } => ({
    insn,
    file: "t.ts",
    text: "",
    line: n,
    col: 1,
  });
  const first = progSpec(
    "first",
    BPF_PROG_TYPE.SYSCALL,
    [b.mov64Imm(0, 1), ...b.ldMapFd(2, 0), b.mov64Imm(3, 0), b.callHelper(BPF_FUNC.tail_call), b.exit()],
    { refs: [{ kind: "map", insn: 1, map: "progs" }], lines: [line(0, 10), line(4, 11)] },
  );
  const loop = [b.mov64Imm(0, 0), b.add64Imm(0, 1), b.jmpImm("jlt", 0, 100, -2), b.exit()];
  const second = progSpec("second", BPF_PROG_TYPE.SYSCALL, loop, { lines: [line(0, 20), line(1, 21), line(3, 22)] });
  const vm = new Vm(collectionOf([first, second], [progs]));
  const { trace, executed } = vm.trace("first", { ctx: new Uint8Array(8) });
  assert.is(executed, 4 + 1 + 200 + 1);
  assert.is(trace.executed, executed);
  assert.equal(
    [...trace.lines()].map((l) => l.line),
    [10, 11, 20, 21, 22],
  );
  assert.equal([...trace.counts(vm.image("second"))], [1, 100, 100, 1]);
  const short = vm.trace("first", { ctx: new Uint8Array(8), limit: 16 });
  assert.is(short.trace.truncated, true);
  assert.is(short.executed, executed);
  assert.equal([...short.trace.lines()].map((l) => l.line).at(-1), 22);
  assert.throwsCode(() => vm.trace("first", { limit: 100 }), "ARGUMENT", /^limit/);
});
