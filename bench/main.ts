/**
 * npm run bench -- NAME [--json]     one benchmark, or `all`
 *
 * Each file of `bench/` but this one exports `run(): Promise<Row[]>`. A row is a
 * ratio measured in one run against a named rival or limit, medians of several
 * runs; the case `geomean` closes a benchmark that has several cases.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Row } from "./row.ts";

const NOT_BENCHES = new Set(["main.ts", "row.ts"]);
const names = readdirSync(import.meta.dirname)
  .filter((f) => f.endsWith(".ts") && !NOT_BENCHES.has(f) && !f.endsWith(".lib.ts"))
  .map((f) => f.slice(0, -3))
  .sort();
const json = process.argv.includes("--json");
const wanted = process.argv.slice(2).filter((a) => !a.startsWith("-"));
if (wanted.length === 0 || wanted.some((w) => w !== "all" && !names.includes(w))) {
  console.error(`usage: npm run bench -- NAME [--json]\nNAME: all, ${names.join(", ")}`);
  process.exit(2);
}

for (const name of wanted.includes("all") ? names : wanted) {
  const bench = (await import(pathToFileURL(join(import.meta.dirname, `${name}.ts`)).href)) as {
    run(): Promise<Row[]>;
  };
  const rows = await bench.run();
  if (json) {
    for (const row of rows) console.log(JSON.stringify(row));
    continue;
  }
  for (const r of rows) {
    const figures = `${format(r.ours)} vs ${format(r.rival)} ${r.unit} (${r.rivalName})`;
    console.log(
      `${r.bench.padEnd(10)} ${r.case.padEnd(24)} ${r.metric.padEnd(16)} ${r.ratio.toFixed(2).padStart(7)}×  ${figures}`,
    );
  }
}

function format(n: number): string {
  return n >= 100 ? n.toFixed(0) : n >= 1 ? n.toFixed(2) : n.toPrecision(3);
}
