/**
 * Programs written twice, as a user of bpfkit and as a user of libbpf would (`bench/codegen/NAME.ts`, `NAME.c`):
 * clang-19 -O2 -mcpu=v3 against our compiler.
 *
 * - `insns`: instructions (8-byte slots) of all programs of the pair
 * - `processed`: instructions that the running kernel's verifier looked at to accept them
 * - `compile-warm`: a probe of 100 lines, compiled again in this process, against a run of clang with vmlinux.h
 * - `compile-cold`: a fresh process until it has compiled, beyond `node -e 0`; V8's code cache allowed
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { PAIRS, clang, compileC, figures, headers, loadTs } from "./codegen/pairs.lib.ts";
import { median, type Row, row, withGeomean } from "./row.ts";

const CLANG = "clang-19";
const PROBE = "lifecycle";
const ROUNDS = 9;
const WARM_ROUNDS = 100;
const bundle = join(import.meta.dirname, "../dist/bpfkit.cjs");

export async function run(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const name of PAIRS) {
    const ours = figures((await loadTs(name))().spec);
    const theirs = figures(compileC(name));
    rows.push(row("codegen", name, "insns", "insns", ours.insns, theirs.insns, CLANG));
    rows.push(row("codegen", name, "processed", "insns", ours.processed, theirs.processed, CLANG));
  }
  return [...withGeomean(rows), ...(await compileTimes())];
}

async function compileTimes(): Promise<Row[]> {
  const again = await loadTs(PROBE);
  const [clangFile, clangArgs] = clang(PROBE, join(headers(), "timed.o"));
  const warm: number[] = [];
  for (let i = 0; i < WARM_ROUNDS; i++) warm.push(time(() => void again()));
  const rival: number[] = [];
  const cold: number[] = [];
  const probe = join(import.meta.dirname, `codegen/${PROBE}.ts`);
  const ours = [bundle, "compile", probe, "-o", join(headers(), "cold.o")];
  const haveBundle = existsSync(bundle);
  if (haveBundle) node(ours); // fills V8's code cache
  for (let i = 0; i < ROUNDS; i++) {
    rival.push(time(() => execFileSync(clangFile, clangArgs, { stdio: "ignore" })));
    if (!haveBundle) continue;
    const start = time(() => node(["-e", "0"]));
    cold.push(time(() => node(ours)) - start);
  }
  const theirs = median(rival);
  const rows = [row("codegen", PROBE, "compile-warm", "ms", median(warm.slice(WARM_ROUNDS / 2)), theirs, CLANG)];
  if (haveBundle) rows.push(row("codegen", PROBE, "compile-cold", "ms", median(cold), theirs, CLANG));
  return rows;
}

function node(args: readonly string[]): void {
  execFileSync(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
}

function time(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}
