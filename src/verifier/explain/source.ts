/** Source lines and function names of a load: from the compiler's own records where there are any, else from its BTF. */
import type { Span } from "../../core/diagnostic.ts";
import { lineAt } from "../../elf/lines.ts";
import type { LineInfo as SpecLine } from "../../elf/spec.ts";
import type { ProgLoad } from "../capture.ts";

export type SourceLine = SpecLine;

const RECORD = 16;
const FUNC_RECORD = 8;

function linesOfLoad(load: ProgLoad): SourceLine[] {
  const { btf, lineInfo, lineInfoRecSize } = load;
  if (btf === null || lineInfoRecSize < RECORD) return [];
  const view = new DataView(lineInfo.buffer, lineInfo.byteOffset, lineInfo.byteLength);
  const out: SourceLine[] = [];
  for (let at = 0; at + RECORD <= lineInfo.length; at += lineInfoRecSize) {
    const lineCol = view.getUint32(at + 12, true);
    out.push({
      insn: view.getUint32(at, true),
      file: btf.stringAt(view.getUint32(at + 4, true)),
      text: btf.stringAt(view.getUint32(at + 8, true)),
      line: lineCol >>> 10,
      col: lineCol & 0x3ff,
    });
  }
  return out;
}

/** Source lines of `load` by instruction, oldest instruction first. `given`: the compiler's, with exact spans. */
export function sourceLines(load: ProgLoad, given?: readonly SourceLine[]): readonly SourceLine[] {
  return given ?? linesOfLoad(load);
}

/** The span of a line: exact where the compiler knows it, else from its column to the end of the line. */
export function spanOf(line: SourceLine): Span {
  if (line.span !== undefined) return line.span;
  const col = Math.max(1, line.col);
  return { file: line.file, line: line.line, col, endLine: line.line, endCol: Math.max(col + 1, line.text.length + 1) };
}

export const sameLine = (a: SourceLine, b: SourceLine): boolean => a.file === b.file && a.line === b.line;

/** Functions of `load`: first instruction and name, in order. Without func_info there is one, called by the program's name. */
export function functionsOf(load: ProgLoad): readonly { readonly insn: number; readonly name: string }[] {
  const { btf, funcInfo, funcInfoRecSize } = load;
  const main = load.name === "" ? "main" : load.name;
  if (btf === null || funcInfoRecSize < FUNC_RECORD || funcInfo.length < FUNC_RECORD) return [{ insn: 0, name: main }];
  const view = new DataView(funcInfo.buffer, funcInfo.byteOffset, funcInfo.byteLength);
  const out: { insn: number; name: string }[] = [];
  for (let at = 0; at + FUNC_RECORD <= funcInfo.length; at += funcInfoRecSize) {
    const id = view.getUint32(at + 4, true);
    out.push({ insn: view.getUint32(at, true), name: id < btf.typeCount ? btf.nameOf(id) : main });
  }
  return out;
}

export { lineAt };
