/** Lines and columns of a text, and back. */
import type { Span } from "../../core/diagnostic.ts";

/** Where each line begins. Lines end at LF, CR LF, CR, U+2028 and U+2029, as in JavaScript. */
export class LineTable {
  readonly text: string;
  readonly #starts: readonly number[];

  constructor(text: string) {
    this.text = text;
    const starts = [0];
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (c === 10 || c === 0x2028 || c === 0x2029 || (c === 13 && text.charCodeAt(i + 1) !== 10)) starts.push(i + 1);
    }
    this.#starts = starts;
  }

  get count(): number {
    return this.#starts.length;
  }

  /** Line and column from 1, of an offset (clamped to the text). */
  at(offset: number): { line: number; col: number } {
    const wanted = Math.max(0, Math.min(offset, this.text.length));
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] as number) <= wanted) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, col: wanted - (this.#starts[low] as number) + 1 };
  }

  /** Offset of a line and column from 1 (clamped to the text). */
  offset(line: number, col: number): number {
    const start = this.#starts[Math.max(1, Math.min(line, this.#starts.length)) - 1] as number;
    return Math.min(start + Math.max(col, 1) - 1, this.text.length);
  }

  /** Text of a line from 1, without its end; "" when there is no such line. */
  line(line: number): string {
    const start = this.#starts[line - 1];
    if (start === undefined) return "";
    const end = this.#starts[line] ?? this.text.length;
    return this.text.slice(start, end).replace(/[\r\n\u2028\u2029]+$/, "");
  }

  span(file: string, start: number, end: number): Span {
    const from = this.at(start);
    const to = this.at(end);
    return { file, line: from.line, col: from.col, endLine: to.line, endCol: to.col };
  }
}
