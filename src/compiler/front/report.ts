/** Collecting diagnostics: all errors of a module, each once. */
import { closest } from "../../core/edit-distance.ts";
import type { Diagnostic, Label, Span } from "../../core/diagnostic.ts";
import type { Message, MessageCode } from "./messages.ts";
import { MESSAGES, fill } from "./messages.ts";

export type MessageArgs = Readonly<Record<string, string | number | bigint>>;

export class Reporter {
  readonly diagnostics: Diagnostic[] = [];
  readonly #seen = new Set<string>();

  /** Adds a diagnostic unless the same one is there already (an inlined function is compiled at each call). */
  add(
    code: MessageCode,
    span: Span,
    args: MessageArgs = {},
    extra: { labels?: readonly Label[]; notes?: readonly string[] } = {},
  ): void {
    const row: Message = MESSAGES[code];
    const message = fill(row.text, args);
    const key = `${code} ${span.file}:${span.line}:${span.col} ${message}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    const help = row.help === undefined ? undefined : fill(row.help, args);
    this.diagnostics.push({
      code,
      severity: row.severity ?? "error",
      message,
      labels: [{ span }, ...(extra.labels ?? [])],
      notes: extra.notes ?? [],
      ...(help === undefined || help === "" || /\{\w+\}/.test(help) ? {} : { help }),
    });
  }

  get failed(): boolean {
    return this.diagnostics.some((d) => d.severity === "error");
  }
}

/** `; did you mean 'x'?` for the nearest of `names`, "" when none is near. */
export function hint(name: string, names: Iterable<string>): string {
  const best = closest(name, names);
  return best === undefined ? "" : `; did you mean '${best}'?`;
}
