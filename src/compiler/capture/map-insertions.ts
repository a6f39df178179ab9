/** The source map of a text into which pieces were inserted. */

/** A source map, version 3, as JSON. */
export interface RawSourceMap {
  readonly version: 3;
  readonly sources: string[];
  readonly sourcesContent: string[];
  readonly names: string[];
  readonly mappings: string;
}

/** @param insertions in order of their offsets; none of them has a line break */
export function encodeInsertions(
  text: string,
  insertions: readonly { readonly at: number; readonly text: string }[],
  source: string,
): RawSourceMap {
  const lines: string[] = [];
  const last = { line: 0, col: 0 };
  let next = 0;
  let from = 0;
  for (let line = 0; from <= text.length; line++) {
    const newline = text.indexOf("\n", from);
    const end = newline < 0 ? text.length : newline;
    const segments: string[] = [];
    let generated = 0;
    const segment = (at: number, col: number): void => {
      segments.push(vlq(at - generated) + vlq(0) + vlq(line - last.line) + vlq(col - last.col));
      generated = at;
      Object.assign(last, { line, col });
    };
    // One a token: who composes maps takes the original place of the segment before, not what lies behind it.
    let shift = 0;
    for (const { index } of text.slice(from, end).matchAll(/[\p{ID_Continue}$]+|\S|$/gu)) {
      for (; next < insertions.length && (insertions[next]?.at ?? 0) <= from + index; next++)
        shift += insertions[next]?.text.length ?? 0;
      segment(index + shift, index);
    }
    lines.push(segments.join(","));
    from = end + 1;
  }
  return { version: 3, sources: [source], sourcesContent: [text], names: [], mappings: lines.join(";") };
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Base 64 of five bits a digit, least first; the lowest bit is the sign. */
function vlq(value: number): string {
  let left = value < 0 ? -value * 2 + 1 : value * 2;
  let out = "";
  do {
    const digit = left & 31;
    left >>>= 5;
    out += DIGITS.charAt(left > 0 ? digit | 32 : digit);
  } while (left > 0);
  return out;
}
