/**
 * Beginners' mistakes: where each explanation points, what it says (golden file; `UPDATE_GOLDEN=1` writes it anew), and
 * that the kernel refuses the same programs with the same words and takes the ones that a fix was tried on.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeInsns } from "../../../src/asm/index.ts";
import { renderDiagnostics } from "../../../src/core/render.ts";
import { progLoad, realKernel } from "../../../src/syscall/index.ts";
import { type ProgLoad, explain } from "../../../src/verifier/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { closeFd, createMap } from "../kernel-load.ts";
import { type Mistake, loadOf, mistakes } from "./mistakes.ts";

const test = suite("verifier explain");
const GOLDEN = join(import.meta.dirname, "mistakes.golden.txt");

function explained(m: Mistake): NonNullable<ReturnType<typeof explain>> {
  const found = explain(loadOf(m));
  if (found === null) throw new Error(`${m.name}: accepted`);
  return found;
}

for (const m of mistakes) {
  test(m.name, () => {
    const found = explained(m);
    assert.is(found.diagnostic.code, m.code);
    assert.is(found.insn, m.insn);
    const path = found.path.map((step) => step.insn);
    for (const insn of m.path)
      assert.ok(path.includes(insn), `instruction ${insn} is part of the causal path ${path.join(", ")}`);
    assert.is(found.fix?.complete ?? false, m.fixed);
  });
}

test("what is said of each", () => {
  const text = mistakes.map((m) => `# ${m.name}\n${renderDiagnostics([explained(m).diagnostic])}`).join("\n");
  if (process.env["UPDATE_GOLDEN"] === "1" || !existsSync(GOLDEN)) writeFileSync(GOLDEN, text);
  assert.fixture(text, readFileSync(GOLDEN, "utf8"));
});

test("at least half of the mistakes get a fix that was tried", () => {
  assert.ok(mistakes.filter((m) => m.fixed).length * 2 >= mistakes.length);
});

/** Loads `load` into the running kernel: errno and the last line of its log. */
function kernelSays(load: ProgLoad): { readonly errno: number; readonly message: string } {
  const kernel = realKernel();
  const fds = load.maps.map((m) => createMap(m.type, m.keySize, m.valueSize, m.maxEntries));
  try {
    const insns = load.insns.map((i) =>
      i.opcode === 0x18 && (i.src === 1 || i.src === 2) ? { ...i, imm: fds[i.imm] ?? -1 } : i,
    );
    const { result, log } = progLoad(kernel, {
      type: load.progType,
      insns: encodeInsns(insns),
      license: load.license,
      expectedAttachType: load.expectedAttachType,
      logLevel: 1,
    });
    if (result >= 0) kernel.close(result);
    const lines = log.split("\n").filter((l) => l !== "" && !/^(processed|verification time|stack depth)/.test(l));
    return { errno: Math.min(0, result), message: lines.at(-1) ?? "" };
  } finally {
    fds.forEach(closeFd);
  }
}

test("the kernel refuses the same programs with the same words", () => {
  requires({ root: true, kernel: "6.18" });
  for (const m of mistakes) {
    const found = explained(m);
    const kernel = kernelSays(loadOf(m));
    assert.is(kernel.errno, -found.verdict.errno, m.name);
    assert.is(kernel.message, found.verdict.message, m.name);
  }
});

test("the kernel takes what the fixes made of them", () => {
  requires({ root: true, kernel: "6.18" });
  for (const m of mistakes) {
    const { fix } = explained(m);
    if (fix?.complete === true) assert.is(kernelSays(fix.load).errno, 0, `${m.name}: ${kernelSays(fix.load).message}`);
  }
});
