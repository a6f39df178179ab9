/** Which source line costs the verifier how much. */
import type { ProgLoad } from "../capture.ts";
import { type SourceLine, lineAt, sourceLines } from "../explain/source.ts";
import type { Profile } from "../profile.ts";

/** One source line; without line information one row for all of the code. */
export interface LineCost {
  readonly file: string;
  /** From 1; 0 without line information. */
  readonly line: number;
  readonly text: string;
  /** Instructions of the program that come from this line. */
  readonly code: number;
  /** Processed instructions. */
  readonly insns: number;
  /** States kept to prune later paths. */
  readonly states: number;
}

/**
 * The lines of `load` by processed instructions, the most expensive first.
 *
 * @param profile filled by `verify(load, { profile })`
 * @param lines the compiler's own records; the load's line_info by default
 * @example
 * import { Profile, lineCosts, verify } from "bpfkit/verifier";
 * // const profile = new Profile(); verify(load, { profile }); console.table(lineCosts(load, profile));
 */
export function lineCosts(load: ProgLoad, profile: Profile, lines?: readonly SourceLine[]): LineCost[] {
  const sources = sourceLines(load, lines);
  const rows = new Map<
    string,
    { file: string; line: number; text: string; code: number; insns: number; states: number }
  >();
  for (let i = 0; i < load.insns.length; i++) {
    const at = lineAt(sources, i);
    const key = at === undefined ? "" : `${at.file}\n${at.line}`;
    let row = rows.get(key);
    if (row === undefined)
      rows.set(
        key,
        (row = {
          file: at?.file ?? "",
          line: at?.line ?? 0,
          text: at?.text.trim() ?? "",
          code: 0,
          insns: 0,
          states: 0,
        }),
      );
    row.code++;
    for (const frame of profile.frames) {
      row.insns += frame.insns[i] ?? 0;
      row.states += frame.states[i] ?? 0;
    }
  }
  return [...rows.values()].filter((r) => r.insns > 0).sort((a, b) => b.insns - a.insns || a.line - b.line);
}
