/**
 * Diagnostics as text for people (in rustc's manner), as plain sentences (logs, screen readers) and as JSON (editors).
 */
import type { Diagnostic, Label, Severity, Span } from "./diagnostic.ts";

export interface RenderOptions {
  /** Text of the files that labels point into, by `Span.file`; without it only the place is named. */
  readonly sources?: ReadonlyMap<string, string>;
  /** ANSI colours; default false. Only for "text". */
  readonly color?: boolean;
  /** "text" underlines the source, "plain" narrates in sentences, "json" is one JSON array; default "text". */
  readonly format?: "text" | "plain" | "json";
  /** Box-drawing characters instead of ASCII; default false. Only for "text". */
  readonly unicode?: boolean;
  /** Columns to which a longer source line is cut around its labels, at least 40; default 140. Only for "text". */
  readonly width?: number;
}

/**
 * Renders diagnostics in the order given. "" for none; else the text ends with a line end.
 *
 * @example
 * import { renderDiagnostics } from "bpfkit/compiler";
 * const span = { file: "a.ts", line: 1, col: 9, endLine: 1, endCol: 10 };
 * const text = renderDiagnostics(
 *   [{ code: "BPF2007", severity: "error", message: "'n' may be undefined here", labels: [{ span }], notes: [], help: "check it first" }],
 *   { sources: new Map([["a.ts", "return  n + 1"]]) },
 * );
 */
export function renderDiagnostics(diagnostics: readonly Diagnostic[], options: RenderOptions = {}): string {
  switch (options.format ?? "text") {
    case "json":
      return `${JSON.stringify(diagnostics.map(toJson), null, 2)}\n`;
    case "plain":
      return diagnostics.map((d) => narrate(d, options.sources)).join("");
    default: {
      const painter = new Painter(options);
      return diagnostics.map((d) => painter.diagnostic(d)).join("\n");
    }
  }
}

function toJson(d: Diagnostic): object {
  return {
    code: d.code,
    severity: d.severity,
    message: d.message,
    labels: d.labels.map(({ span, message }) => ({ ...span, ...(message === undefined ? {} : { message }) })),
    notes: d.notes,
    ...(d.help === undefined ? {} : { help: d.help }),
  };
}

// ── plain sentences ──

function narrate(d: Diagnostic, sources: RenderOptions["sources"]): string {
  const lines = [`${d.severity} ${d.code}: ${clean(d.message)}`];
  d.labels.forEach(({ span, message }, i) => {
    const end = span.endLine === span.line ? "" : ` to line ${span.endLine}`;
    lines.push(
      `  ${i === 0 ? "at" : "see"} ${clean(span.file)} line ${span.line}, column ${span.col}${end}${message === undefined ? "" : `: ${clean(message)}`}`,
    );
    const text = sourceLine(sources, span.file, span.line);
    if (text !== undefined && text.trim() !== "") lines.push(`    source: ${clean(text.trim())}`);
  });
  for (const note of d.notes) lines.push(`  note: ${clean(note).replace(/\n/g, "\n    ")}`);
  if (d.help !== undefined) lines.push(`  help: ${clean(d.help).replace(/\n/g, "\n    ")}`);
  return `${lines.join("\n")}\n`;
}

/** Control characters (a terminal would obey them) made visible; line ends stay. */
function clean(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

const split = new WeakMap<ReadonlyMap<string, string>, Map<string, string[]>>();

function sourceLine(sources: RenderOptions["sources"], file: string, line: number): string | undefined {
  if (sources === undefined) return undefined;
  let files = split.get(sources);
  if (files === undefined) split.set(sources, (files = new Map()));
  let lines = files.get(file);
  if (lines === undefined) files.set(file, (lines = sources.get(file)?.split(/\r\n|[\n\r\u2028\u2029]/) ?? []));
  return lines[line - 1];
}

// ── columns of a terminal ──

const TAB = 4;

/** Columns that a code point takes: 0 for combining marks, 2 for wide ones. */
function columns(codePoint: number): number {
  if (codePoint < 0x300) return 1;
  const text = String.fromCodePoint(codePoint);
  if (/\p{Mn}|\p{Me}|\p{Cf}/u.test(text)) return 0;
  if (/\p{Emoji_Presentation}/u.test(text)) return 2;
  return WIDE.some(([from, to]) => codePoint >= from && codePoint <= to) ? 2 : 1;
}
/** East Asian wide and full-width blocks (Unicode's EastAsianWidth.txt, W and F, by block). */
const WIDE: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x1b000, 0x1b2ff],
  [0x20000, 0x3fffd],
];

/** A source line as shown, and the display column of every UTF-16 unit in it (one more for its end). */
interface Shown {
  readonly text: string;
  readonly columns: readonly number[];
}

function show(line: string): Shown {
  let text = "";
  let column = 0;
  const at: number[] = [];
  for (const char of line) {
    for (let i = 0; i < char.length; i++) at.push(column);
    if (char === "\t") {
      const width = TAB - (column % TAB);
      text += " ".repeat(width);
      column += width;
    } else {
      const safe = clean(char);
      text += safe;
      column += columns(safe.codePointAt(0) ?? 32);
    }
  }
  at.push(column);
  return { text, columns: at };
}

function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += columns(char.codePointAt(0) ?? 32);
  return width;
}

// ── the underlined source ──

interface Marks {
  readonly arrow: string;
  readonly bar: string;
  readonly primary: string;
  readonly secondary: string;
  readonly other: string;
  readonly note: string;
  readonly open: string;
  readonly turn: string;
  readonly floor: string;
  readonly gap: string;
  readonly cut: string;
}
const ASCII: Marks = {
  arrow: "-->",
  bar: "|",
  primary: "^",
  secondary: "-",
  other: ":::",
  note: "=",
  open: "/",
  turn: "|",
  floor: "_",
  gap: "...",
  cut: "...",
};
const UNICODE: Marks = {
  arrow: "╭─▸",
  bar: "│",
  primary: "━",
  secondary: "─",
  other: "├─▸",
  note: "═",
  open: "╭",
  turn: "╰",
  floor: "─",
  gap: "⋮",
  cut: "…",
};

type Style = Severity | "bold" | "frame" | "secondary" | "help";
const SGR: Readonly<Record<Style, string>> = {
  error: "1;31",
  warning: "1;33",
  note: "1;36",
  bold: "1",
  frame: "1;34",
  secondary: "1;34",
  help: "1;36",
};

interface Mark {
  readonly label: Label;
  readonly primary: boolean;
}

class Painter {
  readonly #options: RenderOptions;
  readonly #marks: Marks;
  #severity: Severity = "error";
  #gutter = 1;

  constructor(options: RenderOptions) {
    this.#options = options;
    this.#marks = options.unicode === true ? UNICODE : ASCII;
  }

  #paint(style: Style, text: string): string {
    return this.#options.color === true && text !== "" ? `\u001b[${SGR[style]}m${text}\u001b[0m` : text;
  }

  diagnostic(d: Diagnostic): string {
    this.#severity = d.severity;
    const marks = d.labels.map((label, i): Mark => ({ label, primary: i === 0 }));
    const last = Math.max(0, ...d.labels.map(({ span }) => Math.max(span.line, span.endLine)));
    this.#gutter = String(last).length;
    const out = [
      `${this.#paint(d.severity, `${d.severity}[${d.code}]`)}${this.#paint("bold", `: ${clean(d.message)}`)}`,
    ];
    for (const [i, [file, group]] of [...byFile(marks)].entries()) out.push(...this.#file(file, group, i === 0));
    const footers = [
      ...d.notes.map((text) => ["note", text] as const),
      ...(d.help === undefined ? [] : [["help", d.help] as const]),
    ];
    if (footers.length > 0 && marks.length > 0) out.push(this.#row("", ""));
    for (const [kind, text] of footers) {
      const [first = "", ...rest] = clean(text).split("\n");
      out.push(
        `${" ".repeat(this.#gutter)} ${this.#paint("frame", this.#marks.note)} ${this.#paint(kind === "help" ? "help" : "bold", kind)}: ${first}`,
      );
      for (const line of rest) out.push(`${" ".repeat(this.#gutter + 3 + kind.length + 2)}${line}`.trimEnd());
    }
    return `${out.join("\n")}\n`;
  }

  /** `12 | text` */
  #row(number: string, text: string): string {
    return `${this.#paint("frame", number.padStart(this.#gutter))} ${this.#paint("frame", this.#marks.bar)}${text === "" ? "" : ` ${text}`}`.trimEnd();
  }

  #file(file: string, marks: readonly Mark[], first: boolean): string[] {
    const { span } = (marks[0] as Mark).label;
    const arrow = this.#paint("frame", first ? this.#marks.arrow : this.#marks.other);
    const out = [`${" ".repeat(this.#gutter)}${first ? "" : " "}${arrow} ${clean(file)}:${span.line}:${span.col}`];
    if (sourceLine(this.#options.sources, file, span.line) === undefined) {
      for (const { label } of marks) {
        if (label.message !== undefined)
          out.push(
            this.#row(
              "",
              `${marks.length === 1 ? "" : `${label.span.line}:${label.span.col}: `}${clean(label.message)}`,
            ),
          );
      }
      return out;
    }
    out.push(this.#row("", ""));
    const many = marks.filter(({ label }) => label.span.endLine > label.span.line);
    let previous: number | undefined;
    for (const line of this.#linesToShow(marks)) {
      if (previous !== undefined && line > previous + 1) {
        const between = line === previous + 2 ? sourceLine(this.#options.sources, file, previous + 1) : undefined;
        if (between === undefined) out.push(this.#paint("frame", this.#marks.gap));
        else
          out.push(
            this.#row(
              String(previous + 1),
              `${this.#margin(many, previous + 1, false)}${show(between).text}`.trimEnd(),
            ),
          );
      }
      out.push(...this.#line(file, line, marks, many));
      previous = line;
    }
    return out;
  }

  /** The lines that labels touch; of a long span its first two and last two. */
  #linesToShow(marks: readonly Mark[]): number[] {
    const lines = new Set<number>();
    for (const {
      label: { span },
    } of marks) {
      lines.add(span.line);
      if (span.endLine <= span.line) continue;
      lines.add(span.endLine);
      if (span.endLine - span.line <= 5) for (let l = span.line; l < span.endLine; l++) lines.add(l);
      else lines.add(span.line + 1).add(span.endLine - 1);
    }
    return [...lines].sort((a, b) => a - b);
  }

  #style(mark: Mark): Style {
    return mark.primary ? this.#severity : "secondary";
  }

  /** One column and a blank per span of several lines: where it opens and what it runs through. */
  #margin(many: readonly Mark[], line: number, below: boolean): string {
    return many
      .map((mark) => {
        const { span } = mark.label;
        const inside = line > span.line && line <= span.endLine;
        const opens = line === span.line;
        const char = opens ? (below ? this.#marks.bar : this.#marks.open) : inside ? this.#marks.bar : " ";
        return `${this.#paint(this.#style(mark), char)} `;
      })
      .join("");
  }

  #line(file: string, line: number, marks: readonly Mark[], many: readonly Mark[]): string[] {
    const source = sourceLine(this.#options.sources, file, line) ?? "";
    const shown = show(source);
    const here = marks
      .filter(({ label: { span } }) => span.line === line && span.endLine <= span.line)
      .map((mark) => ({ mark, ...range(mark.label.span, shown) }))
      .sort((a, b) => a.from - b.from || b.to - a.to);
    const ends = many.filter(({ label: { span } }) => span.endLine === line);
    const focus =
      here[0]?.from ?? (ends[0] === undefined ? 0 : range({ ...ends[0].label.span, line, col: 1 }, shown).to);
    const cut = this.#cut(shown, focus, here.at(-1)?.to ?? focus);
    const out = [this.#row(String(line), `${this.#margin(many, line, false)}${cut.text}`.trimEnd())];
    if (here.length > 0) {
      const moved = here.map((h) => ({
        ...h,
        from: h.from - cut.shift,
        to: Math.max(h.to - cut.shift, h.from - cut.shift + 1),
      }));
      for (const row of this.#underlines(moved))
        out.push(this.#row("", `${this.#margin(many, line, true)}${row}`.trimEnd()));
    }
    for (const mark of ends) {
      const to = Math.max(1, range({ ...mark.label.span, line, col: 1 }, shown).to - cut.shift);
      const style = this.#style(mark);
      const index = many.indexOf(mark);
      const open = many
        .map((m, i) =>
          i < index
            ? `${this.#paint(this.#style(m), m.label.span.endLine > line && m.label.span.line <= line ? this.#marks.bar : " ")} `
            : "",
        )
        .join("");
      const reach = (many.length - index) * 2 - 1 + to - 1;
      const head = mark.primary ? this.#marks.primary : this.#marks.secondary;
      const text = mark.label.message === undefined ? "" : ` ${clean(mark.label.message)}`;
      out.push(
        this.#row(
          "",
          `${open}${this.#paint(style, `${this.#marks.turn}${this.#marks.floor.repeat(reach)}${head}${text}`)}`.trimEnd(),
        ),
      );
    }
    return out;
  }

  /** A long line cut around the columns that matter. */
  #cut(shown: Shown, from: number, to: number): { text: string; shift: number } {
    const width = Math.max(40, this.#options.width ?? 140);
    const total = shown.columns.at(-1) ?? 0;
    if (total <= width) return { text: shown.text, shift: 0 };
    const start = to < width - 3 ? 0 : Math.max(0, Math.min(from - Math.floor(width / 3), total - width));
    let column = 0;
    let text = "";
    let begins: number | undefined;
    for (const char of shown.text) {
      if (column >= start && column < start + width) {
        begins ??= column;
        text += char;
      }
      column += columns(char.codePointAt(0) ?? 32);
    }
    const left = start === 0 ? "" : this.#marks.cut;
    const right = start + width < total ? this.#marks.cut : "";
    return { text: left + text + right, shift: (begins ?? 0) - widthOf(left) };
  }

  /** The row of underlines, and the messages hanging from it. */
  #underlines(here: readonly { readonly mark: Mark; readonly from: number; readonly to: number }[]): string[] {
    const width = Math.max(...here.map((h) => h.to));
    const cells: { char: string; style: Style | undefined }[] = Array.from({ length: width }, () => ({
      char: " ",
      style: undefined,
    }));
    // The primary label is drawn last, so that it is never hidden.
    for (const { mark, from, to } of [...here].sort((a, b) => Number(a.mark.primary) - Number(b.mark.primary))) {
      for (let c = from; c < to; c++)
        cells[c] = { char: mark.primary ? this.#marks.primary : this.#marks.secondary, style: this.#style(mark) };
    }
    const said = here.filter(({ mark }) => mark.label.message !== undefined && mark.label.message !== "");
    const rightmost = said.at(-1);
    const inline =
      rightmost !== undefined &&
      here.every(
        (h) => h === rightmost || h.to <= rightmost.from || (h.from <= rightmost.from && h.to <= rightmost.to),
      ) &&
      said.filter((h) => h.from === rightmost.from).length === 1;
    const rows = [
      this.#cells(cells) + (inline ? this.#paint(this.#style(rightmost.mark), ` ${message(rightmost.mark)}`) : ""),
    ];
    const hanging = inline ? said.slice(0, -1) : said;
    if (hanging.length > 0) rows.push(this.#connectors(hanging));
    for (let i = hanging.length - 1; i >= 0; i--) {
      const { mark, from } = hanging[i] as (typeof hanging)[number];
      const before = hanging.slice(0, i).filter((h) => h.from < from);
      rows.push(`${this.#connectors(before, from)}${this.#paint(this.#style(mark), message(mark))}`);
      if (i > 0 && before.length > 0) rows.push(this.#connectors(before));
    }
    return rows;
  }

  #connectors(hanging: readonly { readonly mark: Mark; readonly from: number }[], width?: number): string {
    const length = width ?? Math.max(0, ...hanging.map((h) => h.from + 1));
    const cells: { char: string; style: Style | undefined }[] = Array.from({ length }, () => ({
      char: " ",
      style: undefined,
    }));
    for (const { mark, from } of hanging) cells[from] = { char: this.#marks.bar, style: this.#style(mark) };
    return this.#cells(cells);
  }

  #cells(cells: readonly { char: string; style: Style | undefined }[]): string {
    let out = "";
    for (let i = 0; i < cells.length;) {
      const { style } = cells[i] as (typeof cells)[number];
      let text = "";
      while (i < cells.length && cells[i]?.style === style) text += cells[i++]?.char;
      out += style === undefined ? text : this.#paint(style, text);
    }
    return out;
  }
}

function message(mark: Mark): string {
  return clean(mark.label.message ?? "").replace(/\s*\n\s*/g, " ");
}

/** Display columns of a span of one line: from (inclusive) to (exclusive), at least one wide. */
function range(span: Span, shown: Shown): { from: number; to: number } {
  const end = shown.columns.length - 1;
  const from = shown.columns[Math.max(0, Math.min(span.col - 1, end))] ?? 0;
  const to = shown.columns[Math.max(0, Math.min(span.endCol - 1, end))] ?? 0;
  return { from, to: Math.max(to, from + 1) };
}

/** Labels by file, the primary one's first. */
function byFile(marks: readonly Mark[]): Map<string, Mark[]> {
  const files = new Map<string, Mark[]>();
  for (const mark of marks) {
    const list = files.get(mark.label.span.file);
    if (list === undefined) files.set(mark.label.span.file, [mark]);
    else list.push(mark);
  }
  return files;
}
