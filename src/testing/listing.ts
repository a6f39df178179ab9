/** A source file with what ran of it, in gcov's manner. */
import type { FileCoverage, ReachedBranch } from "./coverage.ts";

const WIDTH = 9;
const NEVER = "#####";

/** "-" in front of lines without statements; under a line the ways that were never taken, where the place itself was reached. */
export function listing(coverage: FileCoverage): string {
  const { file, text, lines, branches } = coverage;
  const out = [`${"-".padStart(WIDTH)}|${"0".padStart(5)}|${file}`];
  const source = text?.replace(/\n$/, "").split("\n") ?? [];
  const last = Math.max(source.length, ...lines.keys());
  for (let line = 1; line <= last; line++) {
    const count = lines.get(line);
    const shown = count === undefined ? "-" : count === 0 ? NEVER : String(count);
    out.push(`${shown.padStart(WIDTH)}|${String(line).padStart(5)}|${source[line - 1] ?? ""}`);
    for (const branch of branches) if (branch.span.line === line) out.push(...missedWays(branch));
  }
  return `${out.join("\n")}\n`;
}

function missedWays({ kind, span, arms }: ReachedBranch): string[] {
  if (arms.every((a) => a.count === 0)) return [];
  return arms.flatMap((arm, i) =>
    arm.count > 0
      ? []
      : [`${"".padStart(WIDTH)}|${"".padStart(5)}|${"".padStart(span.col - 1)}^ ${WAY[kind](i)} never taken`],
  );
}

const WAY: Readonly<Record<ReachedBranch["kind"], (arm: number) => string>> = {
  if: (arm) => (arm === 0 ? "then" : "else"),
  conditional: (arm) => (arm === 0 ? "first value" : "second value"),
  logical: (arm) => (arm === 0 ? "left side alone" : "right side"),
  switch: (arm) => `case ${arm + 1}`,
};
