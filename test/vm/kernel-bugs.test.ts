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

/** Both engines give `right`; so does a kernel that was mended, and one that was not gives `wrong`. */
function compare(insns: readonly b.Insn[], ctx: Uint8Array, right: number, wrong: number): void {
  const prog = progSpec("bug", BPF_PROG_TYPE.SYSCALL, insns, { flags: SLEEPABLE | TEST_STATE_FREQ });
  for (const engine of ["interp", "jit"] as const) assert.is(runProgram(prog, { engine, ctx }).returnValue, right);
  const fd = mustLoad(prog);
  const { returnValue } = testRun(fd, prog.type, { ctx });
  kernel.close(fd);
  assert.ok([right, wrong].includes(returnValue), `the kernel gives ${returnValue}`);
}

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
  compare(insns, new Uint8Array(8), 1, 2);
});

test("a 32-bit cmpxchg that succeeds: 6.18.44 leaves the high half of r0 as it was", () => {
  requires({ root: true, kernel: "5.14" });
  // The verifier asks for the zero extension when it sees r0 read whole. Here the first way through the shift has an
  // r0 from memory, and the way that comes from the atomic is pruned by it before it gets there.
  const insns = [
    b.ldxMem("dw", 2, 1, 0),
    b.ldxMem("dw", 0, 1, 8),
    b.stxMem("dw", 10, 0, -8),
    b.mov64Imm(3, 5),
    b.jmpImm("jeq", 2, 0, 2),
    b.ldxMem("dw", 0, 1, 8),
    b.ja(1),
    b.atomic("cmpxchg", "w", 10, 3, -8, true),
    b.alu64Imm("rsh", 0, 32),
    b.exit(),
  ];
  const ctx = new Uint8Array(16);
  ctx[12] = 9;
  compare(insns, ctx, 0, 9);
});
