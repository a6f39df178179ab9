/** Collecting diagnostics: all errors of a module, each once. */
import { editDistance } from "../../core/edit-distance.ts";
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
  let best = "";
  let bestDistance = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const n of names) {
    if (Math.abs(n.length - name.length) >= bestDistance) continue;
    const d = n.toLowerCase() === name.toLowerCase() ? 0 : editDistance(name, n, bestDistance);
    if (d < bestDistance) {
      best = n;
      bestDistance = d;
    }
  }
  return best === "" ? "" : `; did you mean '${best}'?`;
}
