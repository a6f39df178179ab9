/** Changing a copy of a load: what a suggested fix does is verified before it is suggested. */
import type { Insn } from "../../asm/insn.ts";
import * as op from "../../asm/opcode.ts";
import type { ProgLoad } from "../capture.ts";

const S16 = 0x8000;

/** Where a jump, call or function address goes to; undefined for other instructions. */
function targetOf(insn: Insn, at: number): number | undefined {
  const cls = op.classOf(insn.opcode);
  if (insn.opcode === op.LD_IMM64) return insn.src === op.BPF_PSEUDO_FUNC ? at + insn.imm + 1 : undefined;
  if (cls !== op.BPF_JMP && cls !== op.BPF_JMP32) return undefined;
  const code = op.codeOf(insn.opcode);
  if (code === op.BPF_EXIT) return undefined;
  if (code === op.BPF_CALL) return insn.src === op.BPF_PSEUDO_CALL ? at + insn.imm + 1 : undefined;
  if (code === op.BPF_JA && cls === op.BPF_JMP32) return at + insn.imm + 1;
  return at + insn.off + 1;
}

/** `insn` at `at` going to `target`; undefined when that is too far. */
function withTarget(insn: Insn, at: number, target: number): Insn | undefined {
  const distance = target - at - 1;
  const cls = op.classOf(insn.opcode);
  const code = op.codeOf(insn.opcode);
  if (insn.opcode === op.LD_IMM64 || code === op.BPF_CALL || (code === op.BPF_JA && cls === op.BPF_JMP32))
    return { ...insn, imm: distance };
  return distance >= -S16 && distance < S16 ? { ...insn, off: distance } : undefined;
}

function shiftRecords(bytes: Uint8Array, size: number, from: number, by: number): Uint8Array {
  if (size < 4) return bytes;
  const out = bytes.slice();
  const view = new DataView(out.buffer);
  for (let i = 0; i + size <= out.length; i += size) {
    const insn = view.getUint32(i, true);
    if (insn > from) view.setUint32(i, insn + by, true);
  }
  return out;
}

/**
 * A copy with `added` before instruction `at`. Jumps to `at` reach what was added; jumps in `added` are relative to it, so one
 * over its end continues with the old code. Null when a jump would become too long.
 *
 * @param around jumps to `at` go around what was added: it is reached by falling through only
 */
export function insertBefore(load: ProgLoad, at: number, added: readonly Insn[], around = false): ProgLoad | null {
  const n = added.length;
  const place = (i: number): number => (i < at ? i : i + n);
  const target = (i: number): number => (i < at || (i === at && !around) ? i : i + n);
  const insns: Insn[] = [];
  for (let i = 0; i < load.insns.length; i++) {
    if (i === at) insns.push(...added);
    const insn = load.insns[i]!;
    const to = targetOf(insn, i);
    const moved = to === undefined ? insn : withTarget(insn, place(i), target(to));
    if (moved === undefined) return null;
    insns.push(moved);
    if (insn.opcode === op.LD_IMM64 && i + 1 < load.insns.length) insns.push(load.insns[++i]!);
  }
  if (at === load.insns.length) insns.push(...added);
  return {
    ...load,
    insns,
    badMapFds: new Map([...load.badMapFds].map(([i, fd]) => [place(i), fd])),
    ksyms: load.ksyms.map((k) => ({ ...k, insn: place(k.insn) })),
    ...(load.kfuncs === undefined ? {} : { kfuncs: load.kfuncs.map((k) => ({ ...k, insn: place(k.insn) })) }),
    funcInfo: shiftRecords(load.funcInfo, load.funcInfoRecSize, at, n),
    lineInfo: shiftRecords(load.lineInfo, load.lineInfoRecSize, at, n),
  };
}

/** A copy with another instruction at `at`. */
export function replaceInsn(load: ProgLoad, at: number, insn: Partial<Insn>): ProgLoad {
  const insns = [...load.insns];
  insns[at] = { ...load.insns[at]!, ...insn };
  return { ...load, insns };
}
