/** The lcov tracefile format (geninfo(1)). */
import type { FileCoverage } from "./coverage.ts";

export function lcov(files: readonly FileCoverage[]): string {
  return files.map(record).join("");
}

const clean = (name: string): string => (name === "" ? "(anonymous)" : name.replaceAll(/[\s,]/g, "_"));

function record({ file, functions, branches, lines }: FileCoverage): string {
  const out = ["TN:", `SF:${file}`];
  for (const { name, span } of functions) out.push(`FN:${span.line},${clean(name)}`);
  for (const { name, count } of functions) out.push(`FNDA:${count},${clean(name)}`);
  out.push(`FNF:${functions.length}`, `FNH:${functions.filter((f) => f.count > 0).length}`);
  branches.forEach(({ span, arms }, block) => {
    const reached = arms.some((a) => a.count > 0);
    // "-": the condition itself was never reached.
    arms.forEach(({ count }, arm) => out.push(`BRDA:${span.line},${block},${arm},${reached ? count : "-"}`));
  });
  const arms = branches.flatMap((b) => b.arms);
  out.push(`BRF:${arms.length}`, `BRH:${arms.filter((a) => a.count > 0).length}`);
  for (const [line, count] of lines) out.push(`DA:${line},${count}`);
  out.push(`LF:${lines.size}`, `LH:${[...lines.values()].filter((n) => n > 0).length}`, "end_of_record", "");
  return out.join("\n");
}
