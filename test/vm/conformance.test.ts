/** The public ISA conformance vectors (bpf_conformance): `CONFORMANCE` is the directory of its `tests/*.data`. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import * as b from "../../src/asm/index.ts";
import { BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { runProgram } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { parseVector } from "./conformance-asm.ts";
import { progSpec } from "./kernel-run.ts";

const test = suite("vm conformance");

/** Vectors for instructions that Linux does not have, with what we say instead. */
const NOT_LINUX: Readonly<Record<string, RegExp>> = {
  // A call through a register (0x8d): the kernel's verifier knows no such opcode.
  "callx.data": /ILLEGAL_INSN/,
};

test("the vectors' assembly", () => {
  const { insns, memory, result } = parseVector(
    "-- asm\nmov32 %r0, 0 # zero\nldxdw %r1, [%r1+8]\njne %r1, 0x5, exit\nlock fetch add32 [%r10-8], %r1\nexit\n-- mem\n00 01\n-- result\n0x2\n",
  );
  assert.equal(insns, [
    b.mov32Imm(0, 0),
    b.ldxMem("dw", 1, 1, 8),
    b.jmpImm("jne", 1, 5, 1),
    b.atomic("add", "w", 10, 1, -8, true),
    b.exit(),
  ]);
  assert.equal([...memory], [0, 1]);
  assert.is(result, 2n);
});

test("every vector, in both engines", () => {
  requires({ env: "CONFORMANCE" });
  const folder = process.env["CONFORMANCE"]!;
  const files = readdirSync(folder).filter((f) => f.endsWith(".data"));
  const failed: string[] = [];
  for (const file of files) {
    const { insns, memory, result } = parseVector(readFileSync(join(folder, file), "utf8"));
    // r1 is the memory, r2 its length.
    const prog = progSpec("vector", BPF_PROG_TYPE.SYSCALL, [b.mov64Imm(2, memory.length), ...insns]);
    for (const engine of ["interp", "jit"] as const) {
      let got: string;
      try {
        got = runProgram(prog, { engine, ctx: memory }).r0.toString(16);
      } catch (error) {
        got = `${(error as { code?: string }).code ?? ""} ${(error as Error).message}`;
      }
      if (NOT_LINUX[file] !== undefined) assert.match(got, NOT_LINUX[file], file);
      else if (got !== result?.toString(16)) failed.push(`${file} ${engine}: ${got}, expected ${result?.toString(16)}`);
    }
  }
  assert.ok(files.length > 200, `only ${files.length} vectors in ${folder}`);
  assert.equal(failed, []);
  console.log(`${files.length} vectors, ${Object.keys(NOT_LINUX).length} of them not of Linux`);
});
