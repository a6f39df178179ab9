/** Where a running kernel gives what the instructions do not say: random programs found these. */
import * as b from "../../src/asm/index.ts";
import { BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { runProgram } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { kernel, mustLoad, progSpec, testRun } from "./kernel-run.ts";

const test = suite("vm kernel bugs");
const SLEEPABLE = 0x10;
const TEST_STATE_FREQ = 0x8;

test("an atomic that fetches a spilled constant: 6.18.44 removes a branch that runs", () => {
  requires({ root: true, kernel: "5.14" });
  // backtrack_insn() does not carry precision from the fetched register to the stack slot (6.12.117 does). The way
  // with 1 in the slot is pruned by that with 0, and the code only it would reach is removed as dead.
  const insns = [
    b.ldxMem("dw", 2, 1, 0),
    b.mov64Imm(3, 1),
    b.stxMem("dw", 10, 3, -8),
    b.jmpImm("jeq", 2, 0, 2),
    b.mov64Imm(3, 0),
    b.stxMem("dw", 10, 3, -8),
    b.mov64Imm(3, 7),
    b.atomic("xchg", "dw", 10, 3, -8, true),
    b.jmpImm("jeq", 3, 0, 2),
    b.mov64Imm(0, 1),
    b.exit(),
    b.mov64Imm(0, 2),
    b.exit(),
  ];
  const ctx = new Uint8Array(8);
  const result = (flags: number): number => {
    const prog = progSpec("fetch", BPF_PROG_TYPE.SYSCALL, insns, { flags: SLEEPABLE | flags });
    for (const engine of ["interp", "jit"] as const) assert.is(runProgram(prog, { engine, ctx }).returnValue, 1);
    const fd = mustLoad(prog);
    const { returnValue } = testRun(fd, prog.type, { ctx });
    kernel.close(fd);
    return returnValue;
  };
  assert.is(result(0), 1);
  // A kernel with the fix gives 1, one without 2; nothing else.
  assert.ok([1, 2].includes(result(TEST_STATE_FREQ)));
});
