/** Laying the functions of a program behind each other and fixing jumps, calls and stack offsets. */
import type { Insn } from "../../asm/insn.ts";
import {
  BPF_JA,
  BPF_JMP32,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE,
} from "../../asm/opcode.ts";
import type { Span } from "../../core/diagnostic.ts";
import { BpfkitError } from "../../core/errors.ts";
import type { CoreAccess } from "../ir/ir.ts";
import { flipJump, jumpCanFlip } from "./jumps.ts";
import type { LBlock, LFunc, LInst } from "./lir.ts";
import { ADD64_IMM, CALL, EXIT, JA, LD_IMM64, START } from "./lir.ts";
import type { StackLayout } from "./slots.ts";
import type { Target } from "./target.ts";

/** As `InsnRef` in `src/elf/spec.ts`; BTF ids are found by name later. */
export type CodeRef =
  | { readonly kind: "map"; readonly insn: number; readonly map: string }
  | { readonly kind: "map-value"; readonly insn: number; readonly map: string; readonly offset: number }
  | { readonly kind: "kfunc"; readonly insn: number; readonly name: string; readonly weak: boolean }
  | {
      readonly kind: "ksym";
      readonly insn: number;
      readonly name: string;
      readonly weak: boolean;
      readonly typed: boolean;
    }
  | { readonly kind: "func"; readonly insn: number; readonly target: number }
  | { readonly kind: "subprog"; readonly insn: number; readonly target: number };

/** A program's code; all indices are slots of `insns`. */
export interface Code {
  readonly insns: Insn[];
  readonly refs: CodeRef[];
  readonly coreRelos: { readonly insn: number; readonly core: CoreAccess }[];
  /** Ascending; an instruction belongs to the last entry at or before it. */
  readonly lines: { readonly insn: number; readonly span: Span }[];
  /** Entry first. */
  readonly funcs: { readonly insn: number; readonly name: string; readonly stackSize: number }[];
  /** Of the entry, in bytes. */
  readonly stackSize: number;
}

export interface Placed {
  readonly func: LFunc;
  readonly stack: StackLayout;
}

export function emitCode(funcs: readonly Placed[], target: Target): Code {
  const e = new Emitter(target);
  for (const f of funcs) e.func(f);
  return e.finish(funcs[0]!.stack.size);
}

class Emitter {
  readonly #target: Target;
  readonly #insns: Insn[] = [];
  readonly #refs: CodeRef[] = [];
  readonly #cores: { insn: number; core: CoreAccess }[] = [];
  readonly #lines: { insn: number; span: Span }[] = [];
  readonly #funcs: { insn: number; name: string; stackSize: number }[] = [];
  readonly #calls: { insn: number; name: string; kind: "func" | "subprog" }[] = [];
  #span: Span | undefined;
  #offsets!: Int32Array;

  constructor(target: Target) {
    this.#target = target;
  }

  func({ func, stack }: Placed): void {
    this.#funcs.push({ insn: this.#insns.length, name: func.name, stackSize: stack.size });
    this.#offsets = stack.offsets;
    this.#span = undefined;
    const start = new Map<LBlock, number>();
    const jumps: { insn: number; to: LBlock }[] = [];
    const { blocks } = func;
    for (let k = 0; k < blocks.length; k++) {
      const b = blocks[k]!;
      const next = blocks[k + 1];
      start.set(b, this.#insns.length);
      for (const i of b.insts) this.#inst(i, func);
      const t = b.term;
      if (t === undefined) {
        const to = b.succs[0]!;
        if (to === next) continue;
        // Leaving takes as long as jumping to where that is done.
        if (to.insts.length === 0 && to.term?.opcode === EXIT)
          this.#push({ opcode: EXIT, dst: 0, src: 0, off: 0, imm: 0 }, to.term.span, func);
        else this.#jump(JA, 0, 0, 0, to, undefined, jumps, func);
      } else if (t.opcode === EXIT) {
        this.#push({ opcode: EXIT, dst: 0, src: 0, off: 0, imm: 0 }, t.span, func);
      } else {
        let [taken, other] = b.succs as [LBlock, LBlock];
        if (taken === next && other !== next && jumpCanFlip(t, this.#target.isa)) {
          flipJump(t);
          [taken, other] = [other, taken];
        }
        this.#jump(t.opcode, t.dst, t.src, t.imm, taken, t.span, jumps, func);
        if (other !== next) this.#jump(JA, 0, 0, 0, other, t.span, jumps, func);
      }
    }
    for (const j of jumps) {
      const off = start.get(j.to)! - j.insn - 1;
      const i = this.#insns[j.insn]!;
      if ((off << 16) >> 16 === off) this.#insns[j.insn] = { ...i, off };
      else if (i.opcode === JA && this.#target.isa >= 4)
        this.#insns[j.insn] = { opcode: BPF_JMP32 | BPF_JA, dst: 0, src: 0, off: 0, imm: off };
      else {
        throw new BpfkitError(
          "CODE_TOO_LARGE",
          `function ${func.name}: a jump over ${off} instructions does not fit the instruction's 16-bit offset; split the function into subprograms`,
        );
      }
    }
  }

  #push(i: Insn, span: Span | undefined, func: LFunc): void {
    span ??= this.#span ?? func.span;
    if (span !== undefined && span !== this.#span) {
      this.#span = span;
      this.#lines.push({ insn: this.#insns.length, span });
    }
    this.#insns.push(i);
  }
  #jump(
    opcode: number,
    dst: number,
    src: number,
    imm: number,
    to: LBlock,
    span: Span | undefined,
    jumps: { insn: number; to: LBlock }[],
    func: LFunc,
  ): void {
    jumps.push({ insn: this.#insns.length, to });
    this.#push({ opcode, dst, src, off: 0, imm }, span, func);
  }

  #inst(i: LInst, func: LFunc): void {
    if (i.opcode === START) return;
    const insn = this.#insns.length;
    let { src, off, imm, hi } = i;
    if (i.slot >= 0) {
      if (i.opcode === ADD64_IMM) imm += this.#offsets[i.slot]!;
      else off += this.#offsets[i.slot]!;
    }
    if (i.core !== undefined) this.#cores.push({ insn, core: i.core });
    const r = i.ref;
    if (r !== undefined) {
      switch (r.kind) {
        case "map":
          src = BPF_PSEUDO_MAP_FD;
          this.#refs.push({ kind: "map", insn, map: r.map });
          break;
        case "map-value":
          src = BPF_PSEUDO_MAP_VALUE;
          hi = r.offset;
          this.#refs.push({ kind: "map-value", insn, map: r.map, offset: r.offset });
          break;
        case "kfunc":
          src = BPF_PSEUDO_KFUNC_CALL;
          this.#refs.push({ kind: "kfunc", insn, name: r.name, weak: r.weak });
          break;
        case "ksym":
          src = r.typed ? BPF_PSEUDO_BTF_ID : 0;
          this.#refs.push({ kind: "ksym", insn, name: r.name, weak: r.weak, typed: r.typed });
          break;
        case "func":
          src = BPF_PSEUDO_FUNC;
          this.#calls.push({ insn, name: r.name, kind: "func" });
          break;
        default:
          src = BPF_PSEUDO_CALL;
          this.#calls.push({ insn, name: r.name, kind: "subprog" });
      }
    }
    this.#push({ opcode: i.opcode, dst: i.opcode === CALL ? 0 : i.dst, src, off, imm }, i.span, func);
    if (i.opcode === LD_IMM64) this.#insns.push({ opcode: 0, dst: 0, src: 0, off: 0, imm: hi });
  }

  finish(stackSize: number): Code {
    const start = new Map(this.#funcs.map((f) => [f.name, f.insn]));
    for (const c of this.#calls) {
      const target = start.get(c.name);
      if (target === undefined)
        throw new BpfkitError("NO_FUNCTION", `a call needs the function ${c.name}, which the program does not have`);
      this.#insns[c.insn] = { ...this.#insns[c.insn]!, imm: target - c.insn - 1 };
      this.#refs.push({ kind: c.kind, insn: c.insn, target });
    }
    this.#refs.sort((a, b) => a.insn - b.insn);
    return {
      insns: this.#insns,
      refs: this.#refs,
      coreRelos: this.#cores,
      lines: this.#lines,
      funcs: this.#funcs,
      stackSize,
    };
  }
}
