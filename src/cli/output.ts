/** Writing to a terminal or a pipe: colours only on a terminal, tables, JSON with bigint. */

/** `NO_COLOR` and `FORCE_COLOR` are honoured; otherwise colours only on a terminal. */
export function useColor(stream: { isTTY?: boolean } = process.stderr): boolean {
  if (process.env["NO_COLOR"] !== undefined && process.env["NO_COLOR"] !== "") return false;
  if (process.env["FORCE_COLOR"] !== undefined && process.env["FORCE_COLOR"] !== "0") return true;
  return stream.isTTY === true && process.env["TERM"] !== "dumb";
}

/**
 * JSON on one line. bigints within 2^53 become numbers, larger ones decimal
 * strings, byte arrays hex strings.
 */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) => {
    if (typeof v === "bigint") return v >= -MAX_SAFE && v <= MAX_SAFE ? Number(v) : v.toString();
    if (v instanceof Uint8Array) return Buffer.from(v).toString("hex");
    if (v instanceof Map) return Object.fromEntries(v);
    return v;
  });
}
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** A value as a table cell. */
export function cell(value: unknown): string {
  switch (typeof value) {
    case "string":
      return printable(value);
    case "bigint":
    case "number":
    case "boolean":
      return String(value);
    default:
      if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
      if (Array.isArray(value))
        return value.every((v) => typeof v === "string")
          ? value.map(printable).join(" ")
          : `[${value.map(cell).join(" ")}]`;
      return value === undefined || value === null ? "-" : toJson(value);
  }
}

/** `text` with control characters escaped: what a traced process chose must not drive the terminal. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** Rows under a header, columns as wide as their widest cell; numbers to the right. */
export function table(header: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = rows.map((r) => r.map(cell));
  const right = header.map(
    (_, i) => rows.length > 0 && rows.every((r) => typeof r[i] === "number" || typeof r[i] === "bigint"),
  );
  const width = header.map((h, i) => Math.max(h.length, ...cells.map((r) => r[i]?.length ?? 0)));
  const line = (r: readonly string[]): string =>
    r
      .map((c, i) => (right[i] === true ? c.padStart(width[i] ?? 0) : c.padEnd(width[i] ?? 0)))
      .join("  ")
      .trimEnd();
  return `${[line(header), ...cells.map(line)].join("\n")}\n`;
}

/**
 * A table whose rows are not known in advance: columns start at `widths` and grow
 * when a cell needs it, so a live stream stays aligned without waiting.
 */
export class StreamTable {
  readonly #header: readonly string[];
  readonly #widths: number[];
  #started = false;

  constructor(header: readonly string[], widths: readonly number[]) {
    this.#header = header;
    this.#widths = header.map((h, i) => Math.max(h.length, widths[i] ?? 0));
  }

  /** The text of one row, with the header before the first. */
  row(values: readonly unknown[]): string {
    const cells = values.map(cell);
    cells.forEach((c, i) => {
      if (i < cells.length - 1) this.#widths[i] = Math.max(this.#widths[i] ?? 0, Math.min(c.length, 40));
    });
    const line = (r: readonly string[], numeric: (i: number) => boolean): string =>
      `${r
        .map((c, i) =>
          i === r.length - 1 ? c : numeric(i) ? c.padStart(this.#widths[i] ?? 0) : c.padEnd(this.#widths[i] ?? 0),
        )
        .join(" ")
        .trimEnd()}\n`;
    const numeric = (i: number): boolean => typeof values[i] === "number" || typeof values[i] === "bigint";
    const head = this.#started ? "" : line(this.#header, numeric);
    this.#started = true;
    return head + line(cells, numeric);
  }
}
