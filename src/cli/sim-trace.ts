/** A run of a simulated program, instruction by instruction, between its source lines. */
import { printInsn } from "../asm/print.ts";
import type { ProgSpec } from "../elf/spec.ts";
import { lineOf } from "../vm/fault.ts";
import type { Interp } from "../vm/interp.ts";
import { symbolsOf } from "./symbols.ts";

export interface TraceOptions {
  /** Lines ("12", or "file.ts:12") at which registers are shown; all instructions are listed when there are none. */
  readonly breaks: readonly string[];
  /** Instructions after which the listing ends; the run goes on. */
  readonly limit: number;
  readonly write: (line: string) => void;
}

const hex = (value: bigint): string => (value < 10n ? String(value) : `0x${value.toString(16)}`);

/** Runs `run` to its end, and shows what happens. @throws VmFault, after the instruction that misbehaves was shown */
export function traceRun(run: Interp, budget: number, options: TraceOptions): void {
  if (options.breaks.length > 0) {
    stopAtLines(run, budget, options);
    return;
  }
  let last = "";
  let shown = 0;
  const symbols = new Map<ProgSpec, ReadonlyMap<number, string>>();
  const print = (spec: ProgSpec, insn: number): string => {
    let known = symbols.get(spec);
    if (known === undefined) symbols.set(spec, (known = symbolsOf(spec)));
    return printInsn(spec.insns, insn, { symbol: (slot) => known.get(slot) });
  };
  for (let executed = 0; ; executed++) {
    const { insn } = run;
    const { spec } = run.image;
    const listed = executed < options.limit;
    const depth = "  ".repeat(run.depth);
    if (listed) {
      const line = sourceLine(spec, insn);
      if (line !== last && line !== "") options.write(line);
      last = line;
    }
    const before = Array.from({ length: 11 }, (_, r) => (run.isKnown(r) ? run.reg(r) : undefined));
    const text = listed
      ? `${depth}${String(insn).padStart(4)}: (${spec.insns[insn]!.opcode.toString(16).padStart(2, "0")}) ${print(spec, insn)}`
      : "";
    let status;
    try {
      status = executed >= budget ? run.exec(budget) : run.step();
    } catch (error) {
      if (listed) options.write(text);
      throw error;
    }
    if (listed) {
      const changed = before.flatMap((value, r) =>
        run.isKnown(r) && run.reg(r) !== value ? [`r${r} = ${hex(run.reg(r))}`] : [],
      );
      options.write(changed.length === 0 ? text : `${text.padEnd(44)} ${changed.join(", ")}`);
      shown++;
    } else if (executed === options.limit) options.write(`… (${shown} instructions shown)`);
    if (status === "exited") return;
  }
}

function stopAtLines(run: Interp, budget: number, { breaks, write }: TraceOptions): void {
  for (const place of breaks) {
    const [, file, line] = /^(?:(.*):)?(\d+)$/.exec(place) ?? [];
    for (const l of run.image.spec.lines) {
      if (l.line === Number(line) && (file === undefined || l.file === file || l.file.endsWith(`/${file}`)))
        run.breakpoints.add(l.insn);
    }
  }
  for (let left = budget; left > 0;) {
    const before = run.executed;
    const status = run.exec(left, true);
    left -= run.executed - before;
    if (status !== "breakpoint") {
      if (status === "exited") return;
      break;
    }
    write(sourceLine(run.image.spec, run.insn));
    const known = Array.from({ length: 11 }, (_, r) => r).filter((r) => run.isKnown(r));
    write(`  at instruction ${run.insn}: ${known.map((r) => `r${r} = ${hex(run.reg(r))}`).join(", ")}`);
  }
  // The interpreter says what is wrong.
  run.run(0);
}

function sourceLine(spec: ProgSpec, insn: number): string {
  const line = lineOf(spec.lines, insn);
  return line === undefined || line.line === 0 ? "" : `; ${line.text.trim()} @ ${line.file}:${line.line}`;
}
