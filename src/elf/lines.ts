/** Finding the source line of an instruction. */
import type { LineInfo } from "./spec.ts";

/** The line_info that covers instruction `insn`: the last record at or before it. */
export function lineAt(lines: readonly LineInfo[], insn: number): LineInfo | undefined {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((lines[middle] as LineInfo).insn <= insn) low = middle + 1;
    else high = middle;
  }
  return lines[low - 1];
}
