/** Errors of tests: their message is the whole diagnostic, as a test runner prints nothing else of an error. */
import type { Diagnostic } from "../core/diagnostic.ts";
import { BpfkitError, type DiagnosticError } from "../core/errors.ts";
import { renderDiagnostics } from "../core/render.ts";
import type { Verdict } from "../verifier/verify.ts";
import type { VmFault } from "../vm/fault.ts";

type Sources = ReadonlyMap<string, string>;

const rendered = (head: string, diagnostics: readonly Diagnostic[], sources: Sources): string =>
  `${head}\n${renderDiagnostics(diagnostics, { sources }).trimEnd()}`;

/** The module has mistakes: `code` is "COMPILE" or "CORE". */
export class CompileError extends BpfkitError {
  override readonly name = "CompileError";

  constructor(cause: DiagnosticError, head: string, sources: Sources) {
    super(cause.code, rendered(head, cause.diagnostics, sources), { cause, diagnostics: cause.diagnostics });
  }
}

/** The chosen kernel's verifier rejects a program; `code` is "REJECTED". */
export class RejectedError extends BpfkitError {
  override readonly name = "RejectedError";
  readonly program: string;
  /** The kernel whose rules it breaks. */
  readonly kernel: string;
  /** What the kernel would say: `message`, `log`, `errno`. */
  readonly verdict: Verdict;

  constructor(program: string, kernel: string, verdict: Verdict, diagnostics: readonly Diagnostic[], sources: Sources) {
    super("REJECTED", rendered(`Linux ${kernel} rejects ${program}`, diagnostics, sources), { diagnostics });
    this.program = program;
    this.kernel = kernel;
    this.verdict = verdict;
  }
}

/** A program misbehaved while it ran; `code` is that of the fault (`FAULT` of bpfkit/vm). */
export class FaultError extends BpfkitError {
  override readonly name = "FaultError";
  readonly program: string;
  /** Slot of the instruction. */
  readonly insn: number;

  constructor(fault: VmFault, sources: Sources) {
    super(fault.code, rendered(`${fault.prog} misbehaves`, fault.diagnostics, sources), {
      cause: fault,
      diagnostics: fault.diagnostics,
    });
    this.program = fault.prog;
    this.insn = fault.insn;
  }
}
