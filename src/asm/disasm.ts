/** Whole programs as text. */
import { FORM, FORM_OF, insnSlots } from "./check.ts";
import type { Insn } from "./insn.ts";
import * as op from "./opcode.ts";
import { printInsn } from "./print.ts";
import type { PrintOptions } from "./print.ts";

export interface DisassembleOptions extends PrintOptions {
  /** Slot number and opcode in front, as bpftool and the verifier print them: `   3: (b7) r0 = 0`. Default true. */
  readonly slots?: boolean;
  /** Jumps and calls go to labels (`goto L7`, with `L7:` in front of slot 7) instead of `pc+N`. Default false. */
  readonly labels?: boolean;
  /** Name of the label at a slot, when `labels`: "L7" by default. Names must differ. */
  readonly labelName?: (slot: number) => string | undefined;
  /** Lines in front of a slot, without newlines: source lines, function headers. Start them with "; " to keep the text parseable. */
  readonly before?: (slot: number) => readonly string[] | undefined;
  /** Put behind the instruction as ` ; comment`. */
  readonly comment?: (slot: number) => string | undefined;
}

/**
 * The text of a program, a line for each instruction. Total: slots that are no instruction
 * come out as `.insn`, and `parseAsm` gives the same slots back.
 *
 * @example
 * disassemble([mov64Imm(0, 1), exit()]); // "   0: (b7) r0 = 1\n   1: (95) exit\n"
 */
export function disassemble(insns: readonly Insn[], options: DisassembleOptions = {}): string {
  const labels = options.labels === true ? findLabels(insns, options) : undefined;
  const print: PrintOptions = labels === undefined ? options : { ...options, target: (slot) => labels.get(slot) };
  const slots = options.slots ?? true;
  let text = "";
  for (let i = 0; i < insns.length;) {
    for (const line of options.before?.(i) ?? []) text += `${line}\n`;
    const label = labels?.get(i);
    if (label !== undefined) text += `${label}:\n`;
    const insn = insns[i]!;
    const body = printInsn(insns, i, print);
    if (slots) text += `${String(i).padStart(4)}: (${insn.opcode.toString(16).padStart(2, "0")}) `;
    else if (labels !== undefined) text += "    ";
    const comment = options.comment?.(i);
    text += comment === undefined ? `${body}\n` : `${body} ; ${comment}\n`;
    i += body.startsWith(".insn") ? 1 : insnSlots(insn);
  }
  const end = labels?.get(insns.length);
  return end === undefined ? text : `${text}${end}:\n`;
}

/**
 * Slot that the instruction at `index` jumps to, calls or takes the address of, apart from the next one:
 * undefined when it does none of that. It may lie outside the program. `xlated`: the slots come out of the
 * kernel, where a call has its distance in `off`.
 */
export function jumpTarget(insns: readonly Insn[], index: number, xlated = false): number | undefined {
  const { opcode, src, off, imm } = insns[index]!;
  switch (FORM_OF[opcode]) {
    case FORM.JA:
    case FORM.MAY_GOTO:
    case FORM.BRANCH_K:
    case FORM.BRANCH_X:
      return index + off + 1;
    case FORM.GOTOL:
      return index + imm + 1;
    case FORM.CALL:
      return src === op.BPF_PSEUDO_CALL ? index + (xlated ? off : imm) + 1 : undefined;
    case FORM.LD_IMM64:
      return src === op.BPF_PSEUDO_FUNC ? index + imm + 1 : undefined;
    default:
      return undefined;
  }
}

function findLabels(insns: readonly Insn[], options: DisassembleOptions): Map<number, string> {
  const starts = new Uint8Array(insns.length + 1);
  starts[insns.length] = 1;
  for (let i = 0; i < insns.length; i += insnSlots(insns[i]!)) starts[i] = 1;
  const labels = new Map<number, string>();
  for (let i = 0; i < insns.length; i++) {
    const target = starts[i] === 1 ? jumpTarget(insns, i, options.xlated) : undefined;
    // A target outside, or amid an ld_imm64, has no line to put a label on.
    if (target === undefined || starts[target] !== 1) continue;
    labels.set(target, options.labelName?.(target) ?? `L${target}`);
  }
  return labels;
}
