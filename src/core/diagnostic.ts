/**
 * The one diagnostic type. The compiler, the verifier, CO-RE and the ELF reader
 * make them; `render.ts` turns them into text for a terminal, plain text or JSON.
 */

/** A place in a source file: lines and columns from 1, columns in UTF-16 units, the end exclusive. */
export interface Span {
  readonly file: string;
  readonly line: number;
  readonly col: number;
  readonly endLine: number;
  readonly endCol: number;
}

export type Severity = "error" | "warning" | "note";

/** One underlined place. The first label of a diagnostic is the primary one. */
export interface Label {
  readonly span: Span;
  readonly message?: string;
}

export interface Diagnostic {
  /** Stable, such as "BPF1203". */
  readonly code: string;
  readonly severity: Severity;
  /** One sentence without a final full stop: what is wrong. */
  readonly message: string;
  readonly labels: readonly Label[];
  /** Facts that explain the message. */
  readonly notes: readonly string[];
  /** What to do about it. */
  readonly help?: string;
}
