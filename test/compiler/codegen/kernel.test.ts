/** Random programs, compiled at every level and instruction set, give on the kernel what the evaluator says. */
import fc from "fast-check";
import { disassemble, encodeInsns } from "../../../src/asm/index.ts";
import type { Target } from "../../../src/compiler/codegen/index.ts";
import { generate } from "../../../src/compiler/codegen/index.ts";
import { printModule } from "../../../src/compiler/ir/index.ts";
import { optimize } from "../../../src/compiler/opt/index.ts";
import { progLoad, progTestRun, realKernel } from "../../../src/syscall/index.ts";
import { BPF_PROG_TYPE } from "../../../src/uapi/index.ts";
import { assert, suite } from "../../harness.ts";
import { kernelAtLeast, requires } from "../../kernel.ts";
import { evaluate } from "./evaluate.ts";
import { CTX_SIZE, randomProgram } from "./random-program.ts";

const test = suite("compiler codegen on the kernel");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 150);
const SEED = process.env["FUZZ_SEED"];
const BPF_F_SLEEPABLE = 1 << 4;

const CONFIGS: readonly { level: 0 | 1 | 2; isa: Target["isa"] }[] = [
  { level: 0, isa: 3 },
  { level: 2, isa: 3 },
  { level: 2, isa: 2 },
  { level: 2, isa: 4 },
  { level: 1, isa: 4 },
  { level: 2, isa: 1 },
];

const program = fc.array(fc.nat(1 << 16), { minLength: 4, maxLength: 400, size: "max" });
const input = fc.uint8Array({ minLength: 128, maxLength: 128 });

test(
  "compiled programs compute what their IR says",
  () => {
    requires({ capability: ["CAP_BPF", "CAP_PERFMON"], kernel: "5.14" });
    // v4 needs Linux 6.6.
    const configs = CONFIGS.filter((c) => c.isa < 4 || kernelAtLeast("6.6"));
    const kernel = realKernel();
    let tooComplex = 0;
    let runs = 0;
    fc.assert(
      fc.property(program, input, (choices, bytes) => {
        const expected = new Uint8Array(CTX_SIZE);
        expected.set(bytes);
        const result = evaluate(randomProgram(choices), expected);
        for (const { level, isa } of configs) {
          const target: Target = { isa, endian: "little" };
          const m = randomProgram(choices);
          optimize(m, target, level);
          const ir = printModule(m);
          let code;
          try {
            code = generate(m, target);
          } catch (error) {
            if ((error as { code?: string }).code === "STACK_TOO_LARGE") continue;
            throw new Error(`level ${level} v${isa}: ${String((error as Error).stack)}\n${ir}`, { cause: error });
          }
          const name = `level ${level} v${isa}`;
          const insns = encodeInsns(code.insns);
          const load = { type: BPF_PROG_TYPE.SYSCALL, insns, flags: BPF_F_SLEEPABLE, license: "GPL" };
          let { result: fd, log } = progLoad(kernel, load);
          if (fd < 0) {
            ({ result: fd, log } = progLoad(kernel, { ...load, logLevel: 1 }));
            if (/too complex|too large|processed 1000001|combined stack size/.test(log)) {
              tooComplex++;
              continue;
            }
            throw new Error(
              `${name}: refused (${fd})\n${printModule(randomProgram(choices))}\n${ir}\n${disassemble(code.insns)}\n${log.slice(-3000)}`,
            );
          }
          try {
            const ctx = new Uint8Array(CTX_SIZE);
            ctx.set(bytes);
            const { returnValue } = progTestRun(kernel, fd, { ctx });
            runs++;
            if (BigInt(returnValue) !== BigInt.asUintN(32, result) || !Buffer.from(ctx).equals(Buffer.from(expected))) {
              let at = 0;
              while (at < CTX_SIZE && ctx[at] === expected[at]) at++;
              throw new Error(
                `${name}: r0 ${returnValue}, expected ${BigInt.asUintN(32, result)}; ctx differs at ${at}\n${printModule(randomProgram(choices))}\n${ir}\n${disassemble(code.insns)}`,
              );
            }
          } finally {
            kernel.close(fd);
          }
        }
      }),
      {
        numRuns: RUNS,
        includeErrorInReport: true,
        ...(SEED === undefined ? {} : { seed: Number(SEED) }),
        endOnFailure: process.env["FUZZ_SHRINK"] === undefined,
      },
    );
    if (RUNS > 1000) console.log(`${runs} runs, ${tooComplex} too complex for the verifier`);
    assert.ok(runs > RUNS * 3, `only ${runs} runs`);
  },
  { timeoutMs: 3_600_000 },
);
