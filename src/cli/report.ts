/** Every error of the command ends here: the right text, the right exit code, never a stack trace for a user's mistake. */
import { readFileSync } from "node:fs";
import type { Diagnostic } from "../core/diagnostic.ts";
import { ArgumentError, BpfkitError, NotSupportedError } from "../core/errors.ts";
import { renderDiagnostics } from "../core/render.ts";
import { helpText, UsageError } from "./args.ts";
import { EXIT } from "./exit-codes.ts";
import { toJson, useColor } from "./output.ts";
import { missingCapabilities } from "./privilege.ts";

export interface ReportOptions {
  readonly json: boolean;
  readonly sources?: ReadonlyMap<string, string>;
}

/** Writes `error` to standard error and returns the exit code for it. */
export function reportError(error: unknown, options: ReportOptions): number {
  const code = exitCode(error);
  if (options.json && error instanceof BpfkitError) {
    process.stderr.write(`${toJson({ error: error.code, message: error.message, diagnostics: error.diagnostics })}\n`);
    return code;
  }
  if (error instanceof UsageError) {
    process.stderr.write(`bpfkit: ${error.message}\n`);
    const { command } = error;
    if (command !== undefined)
      process.stderr.write(
        `${helpText(command).split("\n").slice(2, 3).join("")}\ntry: bpfkit ${command.name} --help\n`,
      );
    return code;
  }
  if (error instanceof BpfkitError) {
    const text =
      error.diagnostics.length > 0
        ? renderDiagnostics(error.diagnostics, {
            sources: withFiles(error.diagnostics, options.sources),
            color: useColor(),
          })
        : `error: ${error instanceof ArgumentError ? usersPart(error).replace(/^\w+: /, "") : error.message}\n`;
    process.stderr.write(text);
    return code;
  }
  if (isSystemError(error)) {
    process.stderr.write(`error: ${error.message}\n`);
    return code;
  }
  process.stderr.write(
    code === EXIT.INTERNAL
      ? `bpfkit: internal error, please report it\n${stackOf(error)}\n`
      : `error: ${usersPart(error)}\n`,
  );
  return code;
}

function exitCode(error: unknown): number {
  if (error instanceof UsageError) return EXIT.USAGE;
  if (error instanceof NotSupportedError) return EXIT.NOT_SUPPORTED;
  if (error instanceof BpfkitError) {
    if (error.code === "NOT_PERMITTED") return EXIT.NOT_PERMITTED;
    // With every capability it is not a capability that lacks.
    if ((error as { errnoName?: string }).errnoName === "EPERM")
      return missingCapabilities().length === 0 ? EXIT.NOT_SUPPORTED : EXIT.NOT_PERMITTED;
    return EXIT.FAILED;
  }
  return isSystemError(error) || !isOurs(error) ? EXIT.FAILED : EXIT.INTERNAL;
}

const stackOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));
const isFrame = (line: string): boolean => /^ {4}at /.test(line);
const isNode = (line: string): boolean => /[( ]node:|<anonymous>/.test(line);
const isBpfkit = (line: string): boolean => line.includes(import.meta.dirname);

/** Was it thrown by this command's own code, not by the user's module? */
function isOurs(error: unknown): boolean {
  const first = stackOf(error)
    .split("\n")
    .find((line) => isFrame(line) && !isNode(line));
  return first !== undefined && isBpfkit(first);
}

/** What a user's own module threw: the message, and the lines of the stack that are the user's. */
function usersPart(error: unknown): string {
  return stackOf(error)
    .split("\n")
    .filter((line) => !isFrame(line) || !(isNode(line) || isBpfkit(line)))
    .join("\n");
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === "string";
}

/** Warnings of a compilation, to standard error. */
export function warn(diagnostics: readonly Diagnostic[], sources: ReadonlyMap<string, string>): void {
  if (diagnostics.length > 0) process.stderr.write(renderDiagnostics(diagnostics, { sources, color: useColor() }));
}

/** The sources given, and the files on disk that the labels name. */
export function withFiles(
  diagnostics: readonly Diagnostic[],
  given: ReadonlyMap<string, string> = new Map(),
): ReadonlyMap<string, string> {
  const sources = new Map(given);
  for (const { span } of diagnostics.flatMap((d) => d.labels)) {
    if (sources.has(span.file)) continue;
    try {
      sources.set(span.file, readFileSync(span.file, "utf8"));
    } catch {
      // Only the place is named then.
    }
  }
  return sources;
}
