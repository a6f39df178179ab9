/**
 * IR in, instructions out, as text: every case of `testdata/cases.txt`. `UPDATE_CASES=1` writes
 * what comes out into the file: read the difference before committing it.
 *
 * ```text
 * === title (v3)
 * func @main…
 * ---
 * r0 = 0
 * exit
 * ```
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { disassemble } from "../../../src/asm/index.ts";
import type { Code, Target } from "../../../src/compiler/codegen/index.ts";
import { generate } from "../../../src/compiler/codegen/index.ts";
import { parseModule } from "../../../src/compiler/ir/index.ts";
import { optimize } from "../../../src/compiler/opt/index.ts";
import { assert, suite } from "../../harness.ts";

const test = suite("compiler codegen cases");
const PATH = join(import.meta.dirname, "testdata/cases.txt");

function compile(ir: string, isa: Target["isa"]): Code {
  const target: Target = { isa, endian: "little" };
  const m = parseModule(ir);
  optimize(m, target);
  return generate(m, target);
}

/** Instructions with their relocations as comments. */
function text(code: Code): string {
  const notes = new Map<number, string>();
  for (const r of code.refs) {
    notes.set(
      r.insn,
      r.kind === "map"
        ? `map ${r.map}`
        : r.kind === "map-value"
          ? `map ${r.map}+${r.offset}`
          : r.kind === "kfunc" || r.kind === "ksym"
            ? `${r.kind} ${r.name}${r.weak ? " weak" : ""}`
            : `${r.kind} ${r.target}`,
    );
  }
  for (const { insn, core } of code.coreRelos) notes.set(insn, `core ${core.kind} ${core.type.name} ${core.access}`);
  for (const f of code.funcs.slice(1))
    notes.set(f.insn, `${f.name}:${notes.has(f.insn) ? ` ${notes.get(f.insn)}` : ""}`);
  return disassemble(code.insns, { comment: (slot) => notes.get(slot) }).replace(
    /^ *(\d+): \([0-9a-f]{2}\) /gm,
    (_, n: string) => `${n.padStart(3)}: `,
  );
}

const sections = readFileSync(PATH, "utf8").split(/^=== /m).slice(1);
const results: string[] = [];
for (const s of sections) {
  const [head, ...rest] = s.split("\n");
  const m = /^(.*) \(v([1-4])\)$/.exec(head!);
  const [ir, expected] = rest.join("\n").split(/^---\n/m);
  test(head!, () => {
    assert.ok(m !== null && ir !== undefined, "a case is `=== title (vN)`, IR, `---`, instructions");
    const actual = text(compile(ir!, Number(m![2]) as Target["isa"]));
    results.push(`=== ${head}\n${ir}---\n${actual}\n`);
    if (process.env["UPDATE_CASES"] === undefined) assert.fixture(actual.trimEnd(), (expected ?? "").trimEnd());
  });
}
test.after(() => {
  if (process.env["UPDATE_CASES"] !== undefined && results.length === sections.length)
    writeFileSync(PATH, results.join(""));
});
