/** The verifier's work as folded stacks: program, the calls that led there with their lines, the line; then the count. */
import type { ProgSpec } from "../../elf/spec.ts";
import type { ProgLoad } from "../capture.ts";
import { functionsOf, lineAt, sourceLines } from "../explain/source.ts";
import type { Profile } from "../profile.ts";

/** Names that no viewer of folded stacks takes apart. */
const clean = (text: string): string => text.replace(/[;\s]+/g, " ").trim();

/** One line a stack: `prog;func;file:12;callee;file:30 4711`, as flame graph tools read them. */
export function foldedStacks(
  load: ProgLoad,
  profile: Profile,
  prog?: Pick<ProgSpec, "lines" | "funcs" | "name">,
): string[] {
  const lines = sourceLines(load, prog?.lines);
  const functions = functionsOf(load);
  const functionAt = (insn: number): string => functions.findLast((f) => f.insn <= insn)?.name ?? "main";
  const lineText = (insn: number): string => {
    const at = lineAt(lines, insn);
    return at === undefined ? `insn ${insn}` : `${at.file.slice(at.file.lastIndexOf("/") + 1)}:${at.line}`;
  };
  const counts = new Map<string, number>();
  for (const frame of profile.frames) {
    const callers = frame.calls.flatMap((insn) => [functionAt(insn), lineText(insn)]);
    for (let i = 0; i < frame.insns.length; i++) {
      const n = frame.insns[i]!;
      if (n === 0) continue;
      const stack = [prog?.name ?? load.name, ...callers, functionAt(i), lineText(i)].map(clean).join(";");
      counts.set(stack, (counts.get(stack) ?? 0) + n);
    }
  }
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([stack, n]) => `${stack} ${n}`);
}
