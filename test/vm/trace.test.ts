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

/** Everything that shows of a run: registers, which of them have values, the stack, the maps. */
function look(vm: Vm, run: ReturnType<Vm["interpret"]>): string {
  const regs = Array.from({ length: 11 }, (_, n) => (run.isKnown(n) ? run.reg(n).toString(16) : "-"));
  const { memory } = vm;
  const stack = Buffer.from(memory.bytes(memory.stackBase, 2 * 576)).toString("hex");
  const init = Buffer.from(memory.stackInit.subarray(0, 144)).toString("hex");
  const values = vm.map(VALUES.name).lookup(new Uint8Array(4))!;
  const table = [0, 1, 2, 3, 4, 5].map((n) => vm.map(TABLE.name).lookup(new Uint8Array([n, 0, 0, 0, 0, 0, 0, 0])));
  return JSON.stringify([
    run.insn,
    run.depth,
    run.exited,
    regs,
    stack,
    init,
    [...values],
    table.map((v) => v && [...v]),
  ]);
}

test("a history goes back over everything and on again", () => {
  const r = new Random(9);
  for (let i = 0; i < Math.ceil(ROUNDS / 10); i++) {
    const prog = randomProgram(r, 5 + r.below(40));
    const ctx = new Uint8Array(CTX_SIZE).map(() => r.below(256));
    const vm = new Vm(collectionOf([prog], [VALUES, TABLE]));
    const history = vm.history(prog.name, { ctx });
    const seen: string[] = [look(vm, history.run)];
    while (history.step() !== "exited") seen.push(look(vm, history.run));
    seen.push(look(vm, history.run));
    assert.is(history.length, seen.length - 1);
    for (let k = seen.length - 2; k >= 0; k--) {
      assert.is(history.back(), true);
      assert.is(look(vm, history.run), seen[k], `back to step ${k}`);
    }
    assert.is(history.back(), false);
    for (let n = 0; n < 12; n++) {
      const to = r.below(seen.length);
      assert.is(history.goTo(to), true);
      assert.is(look(vm, history.run), seen[to], `to step ${to}`);
    }
  }
});

test("watches stop where something changes, either way", () => {
  const key = [0, 0, 0, 0];
  const map = mapSpec("counts", BPF_MAP_TYPE.ARRAY, 4, 8, 1);
  const insns = [
    b.mov64Imm(6, 0),
    b.stMem("w", 10, -4, 0),
    ...b.ldMapFd(1, 0),
    b.mov64Reg(2, 10),
    b.add64Imm(2, -4),
    b.callHelper(BPF_FUNC.map_lookup_elem),
    b.add64Imm(6, 5),
    b.stxMem("dw", 0, 6, 0),
    b.stMem("w", 10, -4, 9),
    b.mov64Imm(0, 0),
    b.exit(),
  ];
  const prog = progSpec("w", BPF_PROG_TYPE.SYSCALL, insns, { refs: [{ kind: "map", insn: 2, map: "counts" }] });
  const vm = new Vm(collectionOf([prog], [map]));
  const history = vm.history("w", { ctx: new Uint8Array(8) });
  const counted = { map: vm.map("counts"), key: new Uint8Array(key) };
  history.watch(counted);
  const stop = history.forward();
  assert.equal(stop.watch, { watched: counted, before: "0000000000000000", after: "0500000000000000" });
  assert.is(history.run.insn, 9);
  const slot = { address: vm.memory.stackBase + 512 - 4, size: 4 };
  history.watch(slot);
  assert.is(history.forward().watch?.after, "09000000");
  assert.equal(history.forward(), { reason: "end" });
  assert.is(history.backward().watch?.after, "09000000");
  assert.is(history.run.insn, 9);
  history.unwatch(slot);
  assert.is(history.backward().watch?.before, "0000000000000000");
  assert.is(history.run.insn, 8);
  history.unwatch(counted);
  history.watch({ reg: 6 });
  assert.is(history.backward().watch?.after, "5");
  history.run.breakpoints.add(9);
  assert.is(history.forward().reason, "watch");
  assert.is(history.forward().reason, "breakpoint");
  assert.is(history.forward(1).reason, "limit");
  const short = vm.history("w", { ctx: new Uint8Array(8) }, 4);
  while (short.step() !== "exited");
  assert.is(short.goTo(0), false);
  assert.is(short.position, short.length - 4);
});
