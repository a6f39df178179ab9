/** 30 mistakes written in TypeScript: the label is on the user's line, and the kernel's last word is the simulator's. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CompileResult } from "../../../src/compiler/index.ts";
import { LoadMaker } from "../../../src/elf/index.ts";
import { VerifierError, load } from "../../../src/load/index.ts";
import { type Explanation, type ProgLoad, explain } from "../../../src/verifier/index.ts";
import { compiled, runningBtf } from "../../compiler/compile-text.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { moreProbes } from "./probes-more.ts";
import { type ProbeMistake, probes as firstProbes } from "./probes.ts";

const test = suite("verifier explain TypeScript");
const GOLDEN = join(import.meta.dirname, "probes.golden.txt");
const probes: readonly ProbeMistake[] = [...firstProbes, ...moreProbes];

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

/** What is said of it, without states, which depend on the kernel's BTF. */
function said(m: ProbeMistake): string {
  const { diagnostic } = made(m).found;
  const [label] = diagnostic.labels;
  const line = m.source.split("\n")[(label?.span.line ?? 0) - 1] ?? "";
  return `# ${m.name}\n${diagnostic.code}: ${diagnostic.message}\n  at ${line.trim()}\n  ${(diagnostic.help ?? "").replaceAll("\n", "\n  ")}\n`;
}

test("what is said of each", () => {
  const text = probes.map(said).join("\n");
  if (process.env["UPDATE_GOLDEN"] === "1" || !existsSync(GOLDEN)) writeFileSync(GOLDEN, text);
  assert.fixture(text, readFileSync(GOLDEN, "utf8"));
});

test("30 mistakes, of which 20 get a fix that was tried", () => {
  assert.ok(probes.length >= 30);
  assert.ok(probes.filter((m) => m.fixed).length >= 20);
});

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
