/** Source maps, version 3: from a position in the text that runs to one in the text that was written. */

export interface OriginalPosition {
  readonly source: string;
  /** From 0. */
  readonly line: number;
  /** From 0, in UTF-16 units. */
  readonly col: number;
  /** True when a mapping begins exactly at the position asked for. */
  readonly exact: boolean;
}

interface RawMap {
  readonly version?: unknown;
  readonly sources?: unknown;
  readonly sourcesContent?: unknown;
  readonly sourceRoot?: unknown;
  readonly mappings?: unknown;
  readonly sections?: unknown;
}

/** The mappings of one generated line: col, source, line, col, … flat, four numbers each; source -1 = unmapped. */
type Line = number[];

export class SourceMapV3 {
  readonly sources: string[] = [];
  readonly contents: (string | undefined)[] = [];
  readonly #lines: Line[] = [];

  private constructor() {}

  /**
   * Decodes a map given as its JSON text or the parsed object. Undefined when it is not a version 3 map
   * (a wrong map must never stop a program from being compiled from the text that runs).
   */
  static decode(map: unknown): SourceMapV3 | undefined {
    let raw = map;
    if (typeof map === "string") {
      try {
        raw = JSON.parse(map.replace(/^\)\]\}'?[^\n]*\n/, ""));
      } catch {
        return undefined;
      }
    }
    const decoded = new SourceMapV3();
    return decoded.#add(raw, 0, 0) ? decoded : undefined;
  }

  #add(value: unknown, lineOffset: number, colOffset: number): boolean {
    if (typeof value !== "object" || value === null) return false;
    const raw = value as RawMap;
    if (Array.isArray(raw.sections)) {
      return raw.sections.every((section: { offset?: { line?: unknown; column?: unknown }; map?: unknown } | null) => {
        const { line, column } = section?.offset ?? {};
        return (
          Number.isInteger(line) &&
          Number.isInteger(column) &&
          this.#add(section?.map, lineOffset + (line as number), colOffset + (column as number))
        );
      });
    }
    if (raw.version !== 3 || !Array.isArray(raw.sources) || typeof raw.mappings !== "string") return false;
    const root =
      typeof raw.sourceRoot === "string" && raw.sourceRoot !== "" ? `${raw.sourceRoot.replace(/\/$/, "")}/` : "";
    const base = this.sources.length;
    const contents: readonly unknown[] = Array.isArray(raw.sourcesContent) ? raw.sourcesContent : [];
    raw.sources.forEach((source: unknown, i) => {
      this.sources.push(typeof source === "string" ? root + source : "");
      this.contents.push(typeof contents[i] === "string" ? contents[i] : undefined);
    });
    return this.#mappings(raw.mappings, base, lineOffset, colOffset);
  }

  #mappings(text: string, base: number, lineOffset: number, colOffset: number): boolean {
    let line = lineOffset;
    let col = colOffset;
    const state = [base, 0, 0];
    let at = 0;
    const fields: number[] = [];
    while (at < text.length) {
      const c = text.charCodeAt(at);
      if (c === 59 /* ; */) {
        line++;
        col = 0;
        at++;
        continue;
      }
      if (c === 44 /* , */) {
        at++;
        continue;
      }
      fields.length = 0;
      while (at < text.length && text.charCodeAt(at) !== 44 && text.charCodeAt(at) !== 59) {
        let value = 0;
        let shift = 0;
        for (;;) {
          const digit = BASE64[text.charCodeAt(at++)] ?? -1;
          if (digit < 0 || shift > 30) return false;
          value += (digit & 31) * 2 ** shift;
          shift += 5;
          if ((digit & 32) === 0) break;
        }
        fields.push(value % 2 === 1 ? -((value - 1) / 2) : value / 2);
      }
      col += fields[0] ?? 0;
      const mappings = (this.#lines[line] ??= []);
      if (fields.length >= 4) {
        for (let i = 0; i < 3; i++) state[i] = (state[i] as number) + (fields[i + 1] as number);
        const source = state[0] as number;
        if (source < 0 || source >= this.sources.length) return false;
        mappings.push(col, source, state[1] as number, state[2] as number);
      } else {
        mappings.push(col, -1, 0, 0);
      }
    }
    return true;
  }

  /** The original position of a generated one (both from 0): of the mapping that begins there, or last before it on the line. */
  original(line: number, col: number): OriginalPosition | undefined {
    const mappings = this.#lines[line];
    if (mappings === undefined) return undefined;
    let low = 0;
    let high = mappings.length / 4 - 1;
    let found = -1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if ((mappings[middle * 4] as number) <= col) {
        found = middle;
        low = middle + 1;
      } else {
        high = middle - 1;
      }
    }
    if (found < 0) return undefined;
    const [at, source, originalLine, originalCol] = mappings.slice(found * 4, found * 4 + 4) as [
      number,
      number,
      number,
      number,
    ];
    if (source < 0) return undefined;
    return { source: this.sources[source] ?? "", line: originalLine, col: originalCol, exact: at === col };
  }

  /** The text of a source that the map itself carries. */
  content(source: string): string | undefined {
    return this.contents[this.sources.indexOf(source)];
  }
}

const BASE64: readonly number[] = (() => {
  const table: number[] = [];
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (let i = 0; i < digits.length; i++) table[digits.charCodeAt(i)] = i;
  return table;
})();

/** The URL in the last `//# sourceMappingURL=` comment of a script. */
export function sourceMappingUrl(text: string): string | undefined {
  const comments = [...text.slice(-2_000_000).matchAll(/^[^\S\n]*\/\/[#@] sourceMappingURL=(\S+)[^\S\n]*$/gm)];
  return comments.at(-1)?.[1];
}

/** The text of a `data:` URL; undefined for other URLs and broken ones. */
export function dataUrlText(url: string): string | undefined {
  const match = /^data:[^,]*?(;base64)?,(.*)$/s.exec(url);
  if (match === null) return undefined;
  try {
    if (match[1] === undefined) return decodeURIComponent(match[2] ?? "");
    return new TextDecoder().decode(Uint8Array.from(atob(match[2] ?? ""), (c) => c.charCodeAt(0)));
  } catch {
    return undefined;
  }
}
