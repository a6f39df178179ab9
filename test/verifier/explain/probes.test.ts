/** Mistakes written in TypeScript: the label is on the user's line, and the kernel's last word is the simulator's. */
import type { CompileResult } from "../../../src/compiler/index.ts";
import { LoadMaker } from "../../../src/elf/index.ts";
import { VerifierError, load } from "../../../src/load/index.ts";
import { type Explanation, type ProgLoad, explain } from "../../../src/verifier/index.ts";
import { compiled, runningBtf } from "../../compiler/compile-text.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { type ProbeMistake, probes } from "./probes.ts";

const test = suite("verifier explain TypeScript");

function made(m: ProbeMistake): {
  readonly result: CompileResult;
  readonly load: ProgLoad;
  readonly found: Explanation;
} {
  const btf = runningBtf();
  const result = compiled(m.source, { btf });
  const prog = result.spec.progs[0]!;
  const made = new LoadMaker(result.spec, { vmlinux: btf, madeFor: btf }).make(prog);
  const found = explain(made.load, { lines: prog.lines });
  if (found === null) throw new Error(`${m.name}: accepted`);
  return { result, load: made.load, found };
}

for (const m of probes) {
  test(m.name, () => {
    const { found, load } = made(m);
    const lineOf = (n: number | undefined): string => m.source.split("\n")[(n ?? 0) - 1] ?? "";
    const [first, ...others] = found.diagnostic.labels.map((l) => lineOf(l.span.line));
    assert.is(found.diagnostic.code, m.code);
    assert.ok(first?.includes(m.line), `points at ${JSON.stringify(first)}`);
    for (const part of m.because)
      assert.ok(
        others.some((text) => text.includes(part)),
        `${part} is a cause: ${others.join(" | ")}`,
      );
    assert.is(found.fix?.complete ?? false, m.fixed);
    // The load's own line_info gives the same lines, without exact columns.
    const plain = explain(load, { fixes: false });
    assert.is(plain?.diagnostic.labels[0]?.span.line, found.diagnostic.labels[0]?.span.line);
  });
}

test("the kernel refuses the same programs with the same words", () => {
  requires({ root: true, kernel: "6.18" });
  for (const m of probes) {
    const { result, found } = made(m);
    try {
      load(result.spec).close();
      throw new Error(`${m.name}: the kernel takes it`);
    } catch (error) {
      if (!(error instanceof VerifierError)) throw error;
      const text = error.log.replace(/(?<=.)processed \d+ insns/, "\n$&");
      const last = text
        .split("\n")
        .filter((l) => l !== "" && !/^(processed|verification time|stack depth)/.test(l))
        .at(-1);
      assert.is(last, found.verdict.message, m.name);
      assert.is(error.errno, found.verdict.errno, m.name);
    }
  }
});
