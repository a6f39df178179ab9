/** The causal path: of all steps only those that made a value what it is. */
import type { Insn } from "../../asm/insn.ts";
import * as op from "../../asm/opcode.ts";
import type { Place, Step } from "./trace.ts";

export interface Cause {
  readonly step: Step;
  /** The place that this step set, passed on or narrowed. */
  readonly place: Place;
  /** What it holds afterwards, in the log's words; "" when the log does not say. */
  readonly value: string;
  readonly how: "set" | "narrowed" | "passed" | "clobbered";
}

const reg = (frame: number, n: number): Place => `${frame}:R${n}`;

/** Places that an instruction takes its value from, when it is `place` that it sets; null when it does not set it. */
function sourcesOf(
  insns: readonly Insn[],
  step: Step,
  place: Place,
  slotOf: (step: Step, base: number, off: number) => Place | undefined,
): readonly Place[] | null {
  const insn = insns[step.insn];
  if (insn === undefined) return null;
  const f = step.frame;
  const dst = reg(f, insn.dst);
  const cls = op.classOf(insn.opcode);
  switch (cls) {
    case op.BPF_ALU:
    case op.BPF_ALU64: {
      if (dst !== place) return null;
      const code = op.codeOf(insn.opcode);
      const fromReg = op.sourceOf(insn.opcode) === op.BPF_X && code !== op.BPF_END;
      return [...(code === op.BPF_MOV ? [] : [dst]), ...(fromReg ? [reg(f, insn.src)] : [])];
    }
    case op.BPF_LDX: {
      if (dst !== place) return null;
      return [slotOf(step, insn.src, insn.off) ?? reg(f, insn.src)];
    }
    case op.BPF_LD:
      if (op.modeOf(insn.opcode) !== op.BPF_IMM) return place === reg(f, 0) ? [] : null;
      return dst === place ? [] : null;
    case op.BPF_ST:
    case op.BPF_STX: {
      if (op.modeOf(insn.opcode) === op.BPF_ATOMIC && (insn.imm & op.BPF_FETCH) !== 0 && reg(f, insn.src) === place)
        return [dst];
      const slot = slotOf(step, insn.dst, insn.off);
      if (slot !== place) return null;
      return cls === op.BPF_STX ? [reg(f, insn.src)] : [];
    }
    default:
      return null;
  }
}

/**
 * Steps that made `wanted` (at the last step, which is not part of it) what they are, oldest first.
 *
 * @param limit most steps returned; the latest are kept
 */
export function causes(insns: readonly Insn[], steps: readonly Step[], wanted: readonly Place[], limit = 16): Cause[] {
  const want = new Set(wanted);
  const out: Cause[] = [];
  /** Stack slot of a memory operand whose base is r10 or a register the log shows to be "fp-N". */
  const slotOf = (step: Step, base: number, off: number): Place | undefined => {
    if (base === 10) return `${step.frame}:fp${alignDown(off)}`;
    const text = step.before.get(reg(step.frame, base)) ?? step.after.get(reg(step.frame, base));
    const fp = text === undefined ? null : /^fp(\[\d+\])?(-?\d+)$/.exec(text);
    return fp === null
      ? undefined
      : `${fp[1] === undefined ? step.frame : Number(fp[1].slice(1, -1))}:fp${alignDown(Number(fp[2]) + off)}`;
  };
  for (let k = steps.length - 2; k >= 0 && want.size > 0 && out.length < limit; k--) {
    const step = steps[k]!;
    const next = steps[k + 1]!;
    const insn = insns[step.insn];
    const call = insn !== undefined && op.codeOf(insn.opcode) === op.BPF_CALL && op.classOf(insn.opcode) === op.BPF_JMP;
    for (const place of [...want]) {
      const [frame = "0", name = ""] = place.split(":");
      const value = step.after.get(place) ?? "";
      if (call && next.frame > step.frame && Number(frame) === next.frame && /^R[1-5]$/.test(name)) {
        want.delete(place);
        want.add(`${step.frame}:${name}`);
        out.push({ step, place: `${step.frame}:${name}`, value, how: "passed" });
      } else if (step.text === "exit" && next.frame < step.frame && place === reg(next.frame, 0)) {
        want.delete(place);
        want.add(reg(step.frame, 0));
      } else if (call && next.frame === step.frame && Number(frame) === step.frame && /^R[0-5]$/.test(name)) {
        want.delete(place);
        out.push({ step, place, value, how: name === "R0" ? "set" : "clobbered" });
      } else {
        const sources = sourcesOf(insns, step, place, slotOf);
        if (sources !== null) {
          want.delete(place);
          for (const s of sources) if (!s.endsWith(":R10")) want.add(s);
          out.push({ step, place, value, how: "set" });
        } else if (value !== "" && step.before.get(place) !== undefined && value !== step.before.get(place)) {
          out.push({ step, place, value, how: name.startsWith("fp") && call ? "set" : "narrowed" });
        }
      }
      if (out.length >= limit) break;
    }
  }
  return out.reverse();
}

/** Bytes of the stack are told apart by slots of eight. */
const alignDown = (off: number): number => Math.floor(off / 8) * 8;
