/** Programs that no verifier has seen: they end with a result or a typed error, and what runs gives the same in both engines. */
import fc from "fast-check";
import { BpfkitError } from "../../src/core/errors.ts";
import type { Insn } from "../../src/asm/index.ts";
import { disassemble, exit, mov64Imm } from "../../src/asm/index.ts";
import { BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { type RunResult, runProgram } from "../../src/vm/index.ts";
import { legalInsn, nearlyLegal } from "../asm/arbitraries.ts";
import { assert, suite } from "../harness.ts";
import { progSpec } from "./kernel-run.ts";

const test = suite("vm hostile");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 1500);

/** Jumps and calls stay near, so that some of them hit. */
const tamed = (insns: Insn[]): Insn[] =>
  insns.map((insn, i) => {
    const cls = insn.opcode & 7;
    if (cls === 5 || cls === 6)
      return {
        ...insn,
        off: insn.off % 8,
        imm: insn.opcode === 0x85 || insn.opcode === 0x06 ? insn.imm % 40 : insn.imm,
      };
    return i === 0 || insn.opcode === 0x18 ? insn : { ...insn, off: (insn.opcode & 7) <= 3 ? insn.off % 64 : insn.off };
  });

function outcome(insns: readonly Insn[], type: number, engine: "interp" | "jit"): RunResult | BpfkitError {
  try {
    return runProgram(progSpec("hostile", type, insns), {
      engine,
      budget: 3000,
      ...(type === BPF_PROG_TYPE.SYSCALL ? { ctx: new Uint8Array(64) } : { data: new Uint8Array(64) }),
    });
  } catch (error) {
    if (error instanceof BpfkitError) return error;
    throw new Error(`${engine}: ${String(error)}\n${disassemble(insns)}`, { cause: error });
  }
}

test("random instructions", () => {
  const body = fc
    .array(fc.oneof({ weight: 12, arbitrary: legalInsn }, nearlyLegal), { maxLength: 24 })
    .map((list) => tamed(list.flat()));
  let ran = 0;
  fc.assert(
    fc.property(
      body,
      fc.constantFrom(BPF_PROG_TYPE.SYSCALL, BPF_PROG_TYPE.XDP, BPF_PROG_TYPE.SCHED_CLS),
      (insns, type) => {
        const whole = [...[0, 2, 3, 4, 5, 6, 7, 8, 9].map((reg) => mov64Imm(reg, reg * 1001)), ...insns, exit()];
        const expected = outcome(whole, type, "interp");
        const got = outcome(whole, type, "jit");
        if (expected instanceof BpfkitError) return;
        ran++;
        assert.ok(!(got instanceof BpfkitError), `the JIT faults: ${String(got)}\n${disassemble(whole)}`);
        assert.is((got as RunResult).r0, expected.r0, disassemble(whole));
      },
    ),
    { numRuns: RUNS },
  );
  assert.ok(ran > RUNS / 50, `only ${ran} of ${RUNS} ran to their end`);
});
