/**
 * Programs with labels. Distances are worked out at `finish`: a jump that 16 bits do not
 * reach becomes gotol, a branch a short one over a gotol, where the target takes v4.
 */
import * as build from "./build.ts";
import type { JmpOp } from "./build.ts";
import { ArgumentError } from "../core/errors.ts";
import type { Insn } from "./insn.ts";
import * as op from "./opcode.ts";
import type { AsmProgram, AsmRef } from "./refs.ts";

export interface AssemblerOptions {
  /** Newest instruction set the program may use; gotol needs 4, the default. */
  readonly isa?: 1 | 2 | 3 | 4;
}

export interface AssembledProgram extends AsmProgram {
  /** First slot of each item, in the order they were added (`Assembler.items` when it was). */
  readonly slots: Uint32Array;
}

type Unplaced = AsmRef extends infer R ? (R extends { insn: number } ? Omit<R, "insn"> : never) : never;

type Item =
  | { readonly kind: "insns"; readonly insns: readonly Insn[]; readonly ref: Unplaced | undefined }
  /** goto, branch or may_goto, its `off` still 0. */
  | { readonly kind: "jump"; readonly insn: Insn; readonly label: string }
  | { readonly kind: "call"; readonly insns: readonly Insn[]; readonly label: string };

const INVERSE: Readonly<Record<number, JmpOp>> = {
  [op.BPF_JEQ]: "jne",
  [op.BPF_JNE]: "jeq",
  [op.BPF_JGT]: "jle",
  [op.BPF_JLE]: "jgt",
  [op.BPF_JGE]: "jlt",
  [op.BPF_JLT]: "jge",
  [op.BPF_JSGT]: "jsle",
  [op.BPF_JSLE]: "jsgt",
  [op.BPF_JSGE]: "jslt",
  [op.BPF_JSLT]: "jsge",
};

/**
 * Builds a program item by item.
 *
 * @example
 * const asm = new Assembler();
 * asm.emit(mov64Imm(0, 3)).label("loop").emit(add64Imm(0, -1)).jmpImm("jne", 0, 0, "loop").emit(exit());
 * const { insns } = asm.finish();
 */
export class Assembler {
  readonly #isa: number;
  readonly #items: Item[] = [];
  /** Label → index of the item behind it. */
  readonly #labels = new Map<string, number>();

  constructor(options: AssemblerOptions = {}) {
    this.#isa = options.isa ?? 4;
  }

  /** Items so far: what `AssembledProgram.slots` will be indexed by. */
  get items(): number {
    return this.#items.length;
  }

  /** Adds instructions as they are, as one item. Offsets in them are not adjusted. */
  emit(...insns: readonly Insn[]): this {
    return this.#add({ kind: "insns", insns, ref: undefined });
  }

  /**
   * Names the place of the next item.
   * @throws ArgumentError when the label is defined already.
   */
  label(name: string): this {
    if (this.#labels.has(name)) throw new ArgumentError("name", `label ${JSON.stringify(name)} is defined twice`);
    this.#labels.set(name, this.#items.length);
    return this;
  }

  goto(label: string): this {
    return this.#add({ kind: "jump", insn: build.ja(0), label });
  }
  mayGoto(label: string): this {
    return this.#add({ kind: "jump", insn: build.mayGoto(0), label });
  }
  jmpImm(name: JmpOp, dst: number, imm: number, label: string): this {
    return this.#add({ kind: "jump", insn: build.jmpImm(name, dst, imm, 0), label });
  }
  jmpReg(name: JmpOp, dst: number, src: number, label: string): this {
    return this.#add({ kind: "jump", insn: build.jmpReg(name, dst, src, 0), label });
  }
  jmp32Imm(name: JmpOp, dst: number, imm: number, label: string): this {
    return this.#add({ kind: "jump", insn: build.jmp32Imm(name, dst, imm, 0), label });
  }
  jmp32Reg(name: JmpOp, dst: number, src: number, label: string): this {
    return this.#add({ kind: "jump", insn: build.jmp32Reg(name, dst, src, 0), label });
  }

  /** Calls the subprogram at `label`. */
  call(label: string): this {
    return this.#add({ kind: "call", insns: [build.callSubprog(0)], label });
  }
  /** `dst =` the address of the subprogram at `label`. */
  loadFunc(dst: number, label: string): this {
    return this.#add({ kind: "call", insns: build.ldFunc(dst, 0), label });
  }
  /** `dst =` the map of this name. */
  loadMap(dst: number, map: string): this {
    return this.#add({ kind: "insns", insns: build.ldMapFd(dst, 0), ref: { kind: "map", map } });
  }
  /** `dst =` the address of entry 0 of the map of this name, plus `offset` bytes. */
  loadMapValue(dst: number, map: string, offset: number): this {
    return this.#add({
      kind: "insns",
      insns: build.ldMapValue(dst, 0, offset),
      ref: { kind: "map-value", map, offset },
    });
  }
  /** Calls a kernel function by name. */
  callKfunc(name: string): this {
    return this.#add({ kind: "insns", insns: [build.callKfunc(0)], ref: { kind: "kfunc", name } });
  }
  /** `dst =` the address of a kernel variable. */
  loadKsym(dst: number, name: string): this {
    return this.#add({ kind: "insns", insns: build.ldBtfId(dst, 0), ref: { kind: "ksym", name } });
  }

  #add(item: Item): this {
    this.#items.push(item);
    return this;
  }

  /**
   * Resolves the labels. May be called again after adding more.
   * @throws ArgumentError when a label is missing, or out of reach without gotol.
   */
  finish(): AssembledProgram {
    const items = this.#items;
    const targets = this.#targets();
    const slots = this.#layout(targets);
    const insns: Insn[] = [];
    const refs: AsmRef[] = [];
    for (let i = 0; i < items.length; i++) {
      const item = items[i]!;
      const at = slots[i]!;
      if (item.kind === "insns") {
        if (item.ref !== undefined) refs.push({ ...item.ref, insn: at });
        for (const insn of item.insns) insns.push(insn);
        continue;
      }
      const target = slots[targets[i]!]!;
      if (item.kind === "call") {
        const [first, ...rest] = item.insns;
        insns.push({ ...first!, imm: target - at - 1 }, ...rest);
        refs.push({ kind: rest.length === 0 ? "subprog" : "func", insn: at, target });
        continue;
      }
      const size = slots[i + 1]! - at;
      insns.push(...jump(item.insn, size, target - at - size, target - at - 1));
    }
    const labels = new Map<string, number>();
    for (const [name, item] of this.#labels) labels.set(name, slots[item]!);
    return { insns, refs, labels, slots: slots.slice(0, items.length) };
  }

  /** Item that each jump or call goes to. */
  #targets(): Int32Array {
    const targets = new Int32Array(this.#items.length);
    this.#items.forEach((item, i) => {
      if (item.kind === "insns") return;
      const target = this.#labels.get(item.label);
      if (target === undefined)
        throw new ArgumentError("label", `label ${JSON.stringify(item.label)} is used but not defined`);
      targets[i] = target;
    });
    return targets;
  }

  /**
   * First slot of each item, and the end. Jumps start short and only ever grow, so this
   * settles; each round is one pass.
   */
  #layout(targets: Int32Array): Uint32Array {
    const items = this.#items;
    const long = new Uint8Array(items.length);
    const slots = new Uint32Array(items.length + 1);
    for (let grew = true; grew;) {
      grew = false;
      let at = 0;
      for (let i = 0; i < items.length; i++) {
        slots[i] = at;
        at += itemSize(items[i]!, long[i] === 1);
      }
      slots[items.length] = at;
      for (let i = 0; i < items.length; i++) {
        const item = items[i]!;
        if (item.kind !== "jump" || long[i] === 1) continue;
        const off = slots[targets[i]!]! - slots[i]! - 1;
        if (off >= -0x8000 && off <= 0x7fff) continue;
        if (this.#isa < 4) {
          throw new ArgumentError(
            "label",
            `${JSON.stringify(item.label)} is ${off} slots away, a jump reaches -32768 to 32767: split the program, or allow isa 4 (gotol, kernel 6.6)`,
          );
        }
        long[i] = 1;
        grew = true;
      }
    }
    return slots;
  }
}

function itemSize(item: Item, long: boolean): number {
  if (item.kind !== "jump") return item.insns.length;
  if (!long) return 1;
  if (item.insn.opcode === (op.BPF_JMP | op.BPF_JA)) return 1;
  return INVERSE[op.codeOf(item.insn.opcode)] === undefined ? 3 : 2;
}

/** `far` is the offset from the last of `size` slots, `near` from the first. */
function jump(insn: Insn, size: number, far: number, near: number): Insn[] {
  const isGoto = insn.opcode === (op.BPF_JMP | op.BPF_JA);
  if (size === 1) return isGoto && (near << 16) >> 16 !== near ? [build.gotol(near)] : [{ ...insn, off: near }];
  if (size === 3) return [{ ...insn, off: 1 }, build.ja(1), build.gotol(far)];
  const inverse = build.JMP_BITS[INVERSE[op.codeOf(insn.opcode)]!];
  return [{ ...insn, opcode: (insn.opcode & 0x0f) | inverse, off: 1 }, build.gotol(far)];
}
