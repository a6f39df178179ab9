/** What a program did wrong while it ran: a `Diagnostic` at the source line of the instruction. */
import { printInsn } from "../asm/index.ts";
import type { Diagnostic, Span } from "../core/diagnostic.ts";
import { DiagnosticError } from "../core/errors.ts";
import type { LineInfo, ProgSpec } from "../elf/spec.ts";

/** Codes of faults, by what went wrong. */
export const FAULT = {
  /** An access outside every region, or beyond the object the pointer came from. */
  OUT_OF_BOUNDS: "BPF8001",
  UNINIT_REG: "BPF8002",
  UNINIT_STACK: "BPF8003",
  /** An access to something that was given back. */
  RELEASED: "BPF8004",
  /** Something acquired was not given back when the program ended. */
  LEAK: "BPF8005",
  /** More instructions than the budget allows. */
  BUDGET: "BPF8006",
  CALL_DEPTH: "BPF8007",
  /** A helper, kfunc or map operation that is not modelled. */
  NOT_MODELLED: "BPF8008",
  /** An argument that the verifier would not have let through. */
  BAD_ARGUMENT: "BPF8009",
  /** No instruction, or none of this program. */
  ILLEGAL: "BPF8010",
  READ_ONLY: "BPF8011",
} as const;
export type FaultCode = (typeof FAULT)[keyof typeof FAULT];

/**
 * A program misbehaved. `code` is one of `FAULT`; `insn` the slot index; the diagnostic has
 * the source line when the program carries line info.
 */
export class VmFault extends DiagnosticError {
  readonly prog: string;
  readonly insn: number;

  constructor(prog: string, insn: number, diagnostic: Diagnostic) {
    super(diagnostic.code, [diagnostic]);
    this.prog = prog;
    this.insn = insn;
  }
}

/** The line_info that covers slot `insn`. */
export function lineOf(lines: readonly LineInfo[], insn: number): LineInfo | undefined {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lines[middle]!.insn <= insn) low = middle + 1;
    else high = middle;
  }
  return lines[low - 1];
}

/** The source range of slot `insn`; undefined without line info. */
export function spanOf(lines: readonly LineInfo[], insn: number): Span | undefined {
  const line = lineOf(lines, insn);
  if (line === undefined) return undefined;
  return (
    line.span ?? {
      file: line.file,
      line: line.line,
      col: Math.max(1, line.col),
      endLine: line.line,
      endCol: Math.max(line.text.length, line.col) + 1,
    }
  );
}

/** The fault at slot `insn` of `prog`. */
export function faultAt(
  prog: ProgSpec,
  insn: number,
  code: FaultCode,
  message: string,
  more: { readonly notes?: readonly string[]; readonly help?: string } = {},
): VmFault {
  const span = spanOf(prog.lines, insn);
  const text = prog.insns[insn] === undefined ? "" : `: ${printInsn(prog.insns, insn)}`;
  return new VmFault(prog.name, insn, {
    code,
    severity: "error",
    message,
    labels: span === undefined ? [] : [{ span }],
    notes: [`in program ${prog.name} at instruction ${insn}${text}`, ...(more.notes ?? [])],
    ...(more.help === undefined ? {} : { help: more.help }),
  });
}
