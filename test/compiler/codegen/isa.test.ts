/** Which instructions each instruction set gets: those of the bench programs and of random IR. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import type { Insn } from "../../../src/asm/index.ts";
import { disassemble } from "../../../src/asm/index.ts";
import * as bpf from "../../../src/asm/opcode.ts";
import type { Target } from "../../../src/compiler/codegen/index.ts";
import { generate, targetFor } from "../../../src/compiler/codegen/index.ts";
import { optimize } from "../../../src/compiler/opt/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { compileText, runningBtf } from "../compile-text.ts";
import { randomProgram } from "./random-program.ts";

const test = suite("compiler instruction sets");
const ISAS: readonly Target["isa"][] = [1, 2, 3, 4];

/** The lowest set that has the instruction. */
function neededBy(i: Insn): number {
  const code = bpf.codeOf(i.opcode);
  switch (bpf.classOf(i.opcode)) {
    case bpf.BPF_ALU:
      if (code === bpf.BPF_END) return 1;
      if (code === bpf.BPF_MOV && bpf.sourceOf(i.opcode) === bpf.BPF_X && i.off !== 0) return 4;
      return (code === bpf.BPF_DIV || code === bpf.BPF_MOD) && i.off !== 0 ? 4 : 3;
    case bpf.BPF_ALU64:
      if (code === bpf.BPF_END) return 4;
      if (code === bpf.BPF_MOV && bpf.sourceOf(i.opcode) === bpf.BPF_X && i.off !== 0) return 4;
      return (code === bpf.BPF_DIV || code === bpf.BPF_MOD) && i.off !== 0 ? 4 : 1;
    case bpf.BPF_JMP32:
      return code === bpf.BPF_JA ? 4 : 3;
    case bpf.BPF_JMP:
      return code === bpf.BPF_JLT || code === bpf.BPF_JLE || code === bpf.BPF_JSLT || code === bpf.BPF_JSLE ? 2 : 1;
    case bpf.BPF_LDX:
      return bpf.modeOf(i.opcode) === bpf.BPF_MEMSX ? 4 : 1;
    default:
      return 1;
  }
}

/** Opcodes above `isa`, as text. */
function above(insns: readonly Insn[], isa: number): string[] {
  const lines = disassemble([...insns]).split("\n");
  let wide = false;
  return insns.flatMap((i, k) => {
    const second = wide;
    wide = !second && i.opcode === bpf.LD_IMM64;
    return !second && neededBy(i) > isa ? [lines[k] ?? `opcode ${i.opcode}`] : [];
  });
}

test("random programs use nothing that their instruction set lacks, and something of what it adds", () => {
  const used = new Set<number>();
  fc.assert(
    fc.property(fc.array(fc.nat(1 << 16), { minLength: 40, maxLength: 400, size: "max" }), (choices) => {
      for (const isa of ISAS) {
        for (const level of [0, 2] as const) {
          const target: Target = { isa, endian: "little" };
          const m = randomProgram(choices);
          optimize(m, target, level);
          try {
            const { insns } = generate(m, target);
            assert.equal(above(insns, isa), [], `v${isa}, level ${level}`);
            for (const i of insns) if (neededBy(i) === isa) used.add(isa);
          } catch (error) {
            if ((error as { code?: string }).code !== "STACK_TOO_LARGE") throw error;
          }
        }
      }
    }),
    { numRuns: 60 },
  );
  assert.equal([...used].toSorted(), [...ISAS]);
});

const PROGRAMS = join(import.meta.dirname, "../../../bench/codegen");
test("so do the bench programs", () => {
  requires({ kernel: "5.8" });
  let compiled = 0;
  for (const name of readdirSync(PROGRAMS).filter((n) => n.endsWith(".ts") && !n.endsWith(".lib.ts"))) {
    const text = readFileSync(join(PROGRAMS, name), "utf8");
    // Of the modules only those that a test may evaluate as text.
    if (!/^import \{[^}]*\} from "bpfkit";/.test(text) || (text.match(/^import /gm)?.length ?? 0) > 1) continue;
    for (const isa of ISAS) {
      const { result } = compileText(text, { btf: runningBtf(), target: { isa, endian: "little" } });
      if (result === undefined) continue;
      compiled++;
      for (const p of result.spec.progs) assert.equal(above(p.insns, isa), [], `${name} v${isa}`);
    }
  }
  assert.ok(compiled >= 20, `only ${compiled} compiled`);
});

test("a kernel release decides the instruction set", () => {
  const isas = ["4.9", "4.14.1", "5.0", "5.1", "6.5.0-rc1", "6.6", "6.18.44-amd64", "7.0"].map((r) => targetFor(r).isa);
  assert.equal(isas, [1, 2, 2, 3, 3, 4, 4, 4]);
  assert.is(targetFor("6.1", "big").endian, "big");
  assert.throwsCode(() => targetFor("new"), "ARGUMENT", /expected a kernel release such as "6\.1", got "new"/);
});
