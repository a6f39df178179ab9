/**
 * Error classes. Every error that leaves bpfkit is a `BpfkitError`: a stable
 * `code` to switch on, a sentence that says what was expected, what came, where,
 * and what to do, and (where the user's source is involved) `diagnostics`.
 */
import type { Diagnostic } from "./diagnostic.ts";

/** Base of every error thrown by bpfkit. `code` is stable across releases. */
export class BpfkitError extends Error {
  override readonly name: string = "BpfkitError";
  readonly code: string;
  readonly diagnostics: readonly Diagnostic[];

  constructor(code: string, message: string, options: { cause?: unknown; diagnostics?: readonly Diagnostic[] } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.diagnostics = options.diagnostics ?? [];
  }
}

/**
 * Malformed binary input (ELF, BTF, instructions, ring-buffer records).
 * `offset` is in bytes from the start of `what`; `path` is the field path, such as
 * `["types", "[12]", "name_off"]`.
 */
export class DecodeError extends BpfkitError {
  override readonly name = "DecodeError";
  readonly what: string;
  readonly offset: number;
  readonly path: readonly string[];

  constructor(
    what: string,
    message: string,
    at: { offset?: number; path?: readonly string[]; code?: string; cause?: unknown } = {},
  ) {
    const offset = at.offset ?? 0;
    const path = at.path ?? [];
    const where = `${what}+0x${offset.toString(16)}${path.length === 0 ? "" : ` (${path.join(".")})`}`;
    super(at.code ?? "DECODE", `${where}: ${message}`, { cause: at.cause });
    this.what = what;
    this.offset = offset;
    this.path = path;
  }
}

/** An argument of the public API has the wrong shape or range. Names the argument. */
export class ArgumentError extends BpfkitError {
  override readonly name = "ArgumentError";
  readonly argument: string;

  constructor(argument: string, message: string) {
    super("ARGUMENT", `${argument}: ${message}`);
    this.argument = argument;
  }
}

/** This kernel, platform or process lacks something. `minKernel` is like "5.8". */
export class NotSupportedError extends BpfkitError {
  override readonly name = "NotSupportedError";
  readonly feature: string;
  readonly minKernel: string | undefined;

  constructor(feature: string, message: string, options: { minKernel?: string; cause?: unknown } = {}) {
    super("NOT_SUPPORTED", message, { cause: options.cause });
    this.feature = feature;
    this.minKernel = options.minKernel;
  }
}

/** Diagnostics about the user's own source or program; the first error is the message. */
export class DiagnosticError extends BpfkitError {
  override readonly name = "DiagnosticError";

  constructor(code: string, diagnostics: readonly Diagnostic[], cause?: unknown) {
    const first = diagnostics.find((d) => d.severity === "error") ?? diagnostics[0];
    super(code, first === undefined ? code : `${first.code}: ${first.message}`, { cause, diagnostics });
  }
}
