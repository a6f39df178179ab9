/** A rejection by the kernel's verifier, mapped back to the source lines of the program. */
import type { Diagnostic, Label, Span } from "../core/diagnostic.ts";
import { BpfkitError } from "../core/errors.ts";
import { lineAt } from "../elf/lines.ts";
import type { LineInfo, ProgSpec } from "../elf/spec.ts";
import { errnoName } from "../uapi/errno.ts";

/**
 * The kernel's verifier refused a program. `log` is everything it wrote;
 * `diagnostics[0]` points at the source line where it gave up.
 */
export class VerifierError extends BpfkitError {
  override readonly name = "VerifierError";
  readonly program: string;
  readonly log: string;
  readonly errno: number;
  /** Instruction at which the verifier gave up; undefined when the log names none. */
  readonly insn: number | undefined;

  /** `poisoned`: instructions whose CO-RE relocation failed; reaching one is that failure's fault. */
  constructor(prog: ProgSpec, errno: number, log: string, poisoned: ReadonlyMap<number, Diagnostic> = new Map()) {
    const summary = readLog(log);
    const core = summary.insn === undefined ? undefined : poisoned.get(summary.insn);
    const message =
      core !== undefined
        ? core.message
        : summary.reason === ""
          ? `the kernel refused the program (${errnoName(errno)}) and said nothing`
          : summary.reason;
    const found = diagnose(prog, summary, message);
    const diagnostic =
      core === undefined ? found : { ...core, labels: found.labels, notes: [...core.notes, ...found.notes] };
    super("VERIFIER", `the kernel refused program ${prog.name}: ${message}${where(diagnostic)}`, {
      diagnostics: [diagnostic],
    });
    this.program = prog.name;
    this.log = log;
    this.errno = errno;
    this.insn = summary.insn;
  }
}

interface LogSummary {
  /** The verifier's own sentence(s). */
  readonly reason: string;
  readonly insn: number | undefined;
  /** Instructions on the way there, oldest first. */
  readonly path: readonly number[];
  readonly tail: readonly string[];
}

const INSN = /^(\d+): \([0-9a-f]{2}\)/;
/** Lines that are states, comments or statistics, not reasons. */
const NOISE =
  /^(;|from \d+ to|\d+: (R|\()|R\d+(_w)?=|func#|processed \d+ insns|verification time|stack depth|mark_precise|last_idx|first_idx|regs=|parent |propagating|caller:|callee:|frame\d+:|safe$|max_states|total_states|peak_states|mark_read|-- BEGIN|-- END|$)/;

/** What the log says went wrong, and where. */
export function readLog(log: string): LogSummary {
  const lines = log.split("\n");
  const path: number[] = [];
  let reason: string[] = [];
  for (const line of lines) {
    const insn = INSN.exec(line);
    if (insn !== null) {
      path.push(Number(insn[1]));
      reason = [];
      continue;
    }
    if (!NOISE.test(line.trimStart())) reason.push(line.trim());
  }
  const tail = lines.filter((l) => l !== "").slice(-20);
  // Before any instruction was looked at (a bad jump, an unknown opcode) the text itself names it.
  const named = /(?:insn|at|from insn) (\d+)\b/.exec(reason.join(" "));
  const insn = path.at(-1) ?? (named === null ? undefined : Number(named[1]));
  return { reason: reason.join("; "), insn, path: path.slice(-200), tail };
}

function diagnose(prog: ProgSpec, summary: LogSummary, message: string): Diagnostic {
  const labels: Label[] = [];
  const here = summary.insn === undefined ? undefined : lineAt(prog.lines, summary.insn);
  if (here !== undefined) {
    labels.push({ span: spanOf(here), message });
    for (const line of linesBefore(prog.lines, summary.path, here).slice(-3)) {
      labels.push({ span: spanOf(line), message: "on the way there" });
    }
  }
  const hint = HINTS.find(([pattern]) => pattern.test(summary.reason));
  return {
    code: "BPF3000",
    severity: "error",
    message: `the kernel's verifier refused ${prog.name}: ${message}`,
    labels,
    notes: summary.tail.length === 0 ? [] : [`the end of its log:\n${summary.tail.join("\n")}`],
    ...(hint === undefined ? {} : { help: hint[1] }),
  };
}

function linesBefore(lines: readonly LineInfo[], path: readonly number[], here: LineInfo): LineInfo[] {
  const before: LineInfo[] = [];
  for (const insn of path) {
    const line = lineAt(lines, insn);
    if (line === undefined || sameLine(line, here)) continue;
    const last = before.at(-1);
    if (last === undefined || !sameLine(last, line)) before.push(line);
  }
  return before;
}

function sameLine(a: LineInfo, b: LineInfo): boolean {
  return a.file === b.file && a.line === b.line;
}

function spanOf(line: LineInfo): Span {
  if (line.span !== undefined) return line.span;
  const col = Math.max(1, line.col);
  return { file: line.file, line: line.line, col, endLine: line.line, endCol: Math.max(col + 1, line.text.length + 1) };
}

function where(diagnostic: Diagnostic): string {
  const span = diagnostic.labels[0]?.span;
  return span === undefined ? "" : ` (${span.file}:${span.line}:${span.col})`;
}

/** What usually helps, by the verifier's words. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /map_value_or_null|mem_or_null|ptr_or_null/,
    "the value may be missing: check it for undefined (null) before using it",
  ],
  [
    /BPF program is too large|too many states|The sequence of \d+ jumps is too complex/,
    "the verifier ran out of patience: shorten loops, or move work into a subprogram or bpf_loop",
  ],
  [/invalid access to packet/, "compare the end of the access with the packet's end first"],
  [
    /unbounded memory access|unbounded min value|R\d+ min value is negative/,
    "give the length or index a bound that the verifier sees: compare it, or mask it with &",
  ],
  [/invalid access to map value/, "the offset may leave the map's value: bound it before the access"],
  [
    /stack depth|combined stack size|invalid (?:indirect )?(?:read|write|access).*stack/,
    "at most 512 bytes of stack: use a per-CPU map for large values, and set every byte before it is read",
  ],
  [/back-edge|infinite loop detected/, "the loop has no bound that the verifier sees"],
  [/cannot call GPL-restricted function/, "the program's licence must be compatible with the GPL for this helper"],
  [/cannot use helper|unknown func|invalid func/, "this kernel does not allow that helper in programs of this type"],
  [/Unreleased reference/, "what was acquired must be released (or submitted) on every path"],
  [/invalid kernel function call/, "the function is not there in this kernel, or not for this program type"],
  [/!read_ok/, "a register is used before it was set, or after a call that clobbers it"],
];
