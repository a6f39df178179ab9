/**
 * Linking: each entry program followed by the subprograms that it reaches, in the order in which a
 * depth-first walk over the calls meets them. libbpf orders them the same way, so instruction indexes
 * (in verifier logs, in `dump xlated`) are the same as when libbpf loads the object.
 */
import type { Insn } from "../asm/insn.ts";
import {
  BPF_CALL,
  BPF_DW,
  BPF_IMM,
  BPF_JMP,
  BPF_LD,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE,
} from "../asm/opcode.ts";
import type { Btf } from "../btf/btf.ts";
import { resolveId } from "../btf/layout.ts";
import { addendsHoldValues } from "./addends.ts";
import { SHN, STB, STT } from "./constants.ts";
import { type FunctionIndex, isSubprogram, type ObjectFunction } from "./functions-of-object.ts";
import { isExtern, type ObjectFile } from "./object-file.ts";
import type { ElfRelocation } from "./reader.ts";
import type { CoreRelo, FuncInfo, InsnRef, LineInfo, MapSpec, VariableSpec } from "./spec.ts";

const CALL = BPF_JMP | BPF_CALL;
const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;

/** The kernel takes programs of at most a million instructions and 256 functions. */
const MAX_PROGRAM_INSNS = 1 << 20;
const MAX_FUNCTIONS = 4096;
/** Of all programs together: keeps a hostile object, whose many programs all link one big function, in bounds. */
const MAX_TOTAL_INSNS = 1 << 23;

/** What relocations against data and maps resolve to. */
export interface LinkTargets {
  /** Map at byte `offset` of section `.maps`. */
  readonly mapAt: ReadonlyMap<number, MapSpec>;
  readonly mapsSection: number | undefined;
  /** Maps of data sections (and the arena) by section index. */
  readonly dataMaps: ReadonlyMap<number, MapSpec>;
  readonly kconfig: MapSpec | undefined;
  /** Types of `.ksyms` externs by name: the FUNC or VAR. */
  readonly ksyms: ReadonlyMap<string, number>;
}

export interface LinkedCode {
  readonly insns: readonly Insn[];
  readonly refs: readonly InsnRef[];
  readonly funcs: readonly FuncInfo[];
  readonly lines: readonly LineInfo[];
  readonly coreRelos: readonly CoreRelo[];
}

/** Links the programs of one object. */
export class Linker {
  readonly #file: ObjectFile;
  readonly #functions: FunctionIndex;
  readonly #targets: LinkTargets;
  readonly #kconfig: ReadonlyMap<string, VariableSpec>;
  readonly #valuesInAddends: boolean;
  #total = 0;

  constructor(file: ObjectFile, functions: FunctionIndex, targets: LinkTargets) {
    this.#file = file;
    this.#functions = functions;
    this.#targets = targets;
    this.#valuesInAddends = addendsHoldValues(file, targets.dataMaps);
    this.#kconfig = new Map(targets.kconfig?.variables.map((v) => [v.name, v]));
  }

  /**
   * `entry` with all that it reaches, and `extra` (an exception callback, which nothing calls) behind.
   *
   * @throws DecodeError when a relocation is off
   */
  link(entry: ObjectFunction, extra: ObjectFunction | undefined): LinkedCode {
    const insns: Insn[] = [];
    const refs: InsnRef[] = [];
    const placed = new Map<ObjectFunction, number>();
    const order: ObjectFunction[] = [];
    const append = (f: ObjectFunction): void => {
      placed.set(f, insns.length);
      order.push(f);
      this.#total += f.insns.length;
      if (
        insns.length + f.insns.length > MAX_PROGRAM_INSNS ||
        placed.size > MAX_FUNCTIONS ||
        this.#total > MAX_TOTAL_INSNS
      ) {
        throw this.#file.error(
          entry.section,
          entry.start * 8,
          `program ${entry.name} with its subprograms is larger than any kernel takes`,
        );
      }
      for (const insn of f.insns) insns.push(insn);
    };
    // A stack of half-done functions, not recursion: hostile call chains are longer than the engine's stack.
    const walk = (first: ObjectFunction): void => {
      append(first);
      const stack = [new Cursor(first)];
      for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
        const callee = this.#advance(top, placed, insns, refs, append);
        if (callee === undefined) stack.pop();
        else stack.push(new Cursor(callee));
      }
    };
    walk(entry);
    if (extra !== undefined && !placed.has(extra)) walk(extra);
    refs.sort((a, b) => a.insn - b.insn);
    return { insns, refs, ...this.#info(order, placed) };
  }

  /** Goes on in `cursor`'s function up to a call of a function not placed yet, which it places and returns. */
  #advance(
    cursor: Cursor,
    placed: ReadonlyMap<ObjectFunction, number>,
    insns: Insn[],
    refs: InsnRef[],
    append: (f: ObjectFunction) => void,
  ): ObjectFunction | undefined {
    const f = cursor.function;
    for (; cursor.slot < f.insns.length; cursor.slot++) {
      const insn = f.insns[cursor.slot] as Insn;
      const at = (f.start + cursor.slot) * 8;
      const relocation = cursor.relocationAt(at);
      if (relocation === undefined) {
        if (insn.opcode === CALL && insn.src === BPF_PSEUDO_CALL) {
          // A call inside the section: the assembler has resolved it, relative to the section.
          const found = this.#call(
            f,
            cursor,
            f.section.index,
            f.start + cursor.slot + insn.imm + 1,
            placed,
            insns,
            refs,
            append,
          );
          if (found !== undefined) return found;
        }
      } else {
        const found = this.#relocate(f, cursor, relocation, placed, insns, refs, append);
        if (found !== undefined) return found;
      }
      if (insn.opcode === LD_IMM64) {
        if (cursor.slot + 1 >= f.insns.length)
          throw this.#bad(f, at, `ld_imm64 at the end of ${f.name} lacks its second half`);
        cursor.slot++;
      }
    }
    const unused = cursor.unused();
    if (unused !== undefined) {
      throw this.#bad(
        f,
        unused.offset,
        `${f.name}: relocation inside an instruction, or a second one of the same instruction`,
      );
    }
    return undefined;
  }

  #bad(f: ObjectFunction, offset: number, message: string): Error {
    return this.#file.error(f.section, offset, message);
  }

  /** A call or address of the function at `slot` of `section`. Returns the callee when it has just been placed. */
  #call(
    f: ObjectFunction,
    cursor: Cursor,
    section: number,
    slot: number,
    placed: ReadonlyMap<ObjectFunction, number>,
    insns: Insn[],
    refs: InsnRef[],
    append: (f: ObjectFunction) => void,
  ): ObjectFunction | undefined {
    const index = (placed.get(f) as number) + cursor.slot;
    const insn = f.insns[cursor.slot] as Insn;
    const callee = this.#functions.at(section, slot);
    if (callee === undefined || callee.start !== slot) {
      throw this.#bad(
        f,
        (f.start + cursor.slot) * 8,
        `${f.name} refers to a function at slot ${slot} of section ${section}, where none starts`,
      );
    }
    let target = placed.get(callee);
    const fresh = target === undefined;
    if (fresh) {
      if (!isSubprogram(callee) && callee.section !== f.section) {
        throw this.#bad(
          f,
          (f.start + cursor.slot) * 8,
          `${f.name} calls ${callee.name}, a program of its own: only functions in .text can be called`,
        );
      }
      append(callee);
      target = placed.get(callee);
    }
    const pseudo = insn.opcode === CALL ? BPF_PSEUDO_CALL : BPF_PSEUDO_FUNC;
    insns[index] = { ...insn, src: pseudo, imm: (target as number) - index - 1 };
    refs.push({ kind: insn.opcode === CALL ? "subprog" : "func", insn: index, target: target as number });
    if (!fresh) return undefined;
    // The walk goes into the callee first and comes back behind this instruction.
    cursor.slot += insn.opcode === LD_IMM64 ? 2 : 1;
    return callee;
  }

  #relocate(
    f: ObjectFunction,
    cursor: Cursor,
    relocation: ElfRelocation,
    placed: ReadonlyMap<ObjectFunction, number>,
    insns: Insn[],
    refs: InsnRef[],
    append: (f: ObjectFunction) => void,
  ): ObjectFunction | undefined {
    const insn = f.insns[cursor.slot] as Insn;
    const index = (placed.get(f) as number) + cursor.slot;
    const symbol = this.#file.symbol(f.section, relocation);
    const at = relocation.offset;
    const call = insn.opcode === CALL;
    if (!call && insn.opcode !== LD_IMM64) {
      throw this.#bad(
        f,
        at,
        `${f.name}: relocation against ${symbol.name || "a section"} of an instruction that is neither a call nor ld_imm64`,
      );
    }
    if (isExtern(symbol)) {
      this.#extern(f, insn, index, symbol.name, symbol.bind === STB.WEAK, at, insns, refs);
      return undefined;
    }
    if (symbol.section === SHN.UNDEF || symbol.section >= SHN.LORESERVE) {
      throw this.#bad(
        f,
        at,
        `${f.name}: relocation against ${symbol.name}, which no section has: is a global variable without initial value common?`,
      );
    }
    const value = Number(BigInt.asUintN(32, symbol.value));
    const target = this.#file.elf.sections[symbol.section];
    if (target === undefined)
      throw this.#bad(f, at, `${f.name}: symbol ${symbol.name} is in section ${symbol.section}, which does not exist`);
    if (call) {
      if (insn.src !== BPF_PSEUDO_CALL) throw this.#bad(f, at, `${f.name}: relocation of a helper call`);
      return this.#call(f, cursor, symbol.section, value / 8 + insn.imm + 1, placed, insns, refs, append);
    }
    const high = f.insns[cursor.slot + 1];
    if (high === undefined) throw this.#bad(f, at, `ld_imm64 at the end of ${f.name} lacks its second half`);
    if (
      (symbol.type === STT.SECTION || symbol.type === STT.FUNC) &&
      this.#functions.at(symbol.section, (value + insn.imm) >> 3) !== undefined
    ) {
      return this.#call(f, cursor, symbol.section, (value + insn.imm) / 8, placed, insns, refs, append);
    }
    const data = this.#targets.dataMaps.get(symbol.section);
    if (data !== undefined) {
      const offset = symbol.type !== STT.SECTION && this.#valuesInAddends ? insn.imm : value + insn.imm;
      insns[index] = { ...insn, src: BPF_PSEUDO_MAP_VALUE, imm: 0 };
      insns[index + 1] = { ...high, imm: offset | 0 };
      refs.push({ kind: "map-value", insn: index, map: data.name, offset });
      return undefined;
    }
    const map = symbol.section === this.#targets.mapsSection ? this.#targets.mapAt.get(value) : undefined;
    if (map === undefined) {
      throw this.#bad(
        f,
        at,
        `${f.name}: relocation against ${symbol.name || "offset"} ${value} of section ${target.name}, where there is no map`,
      );
    }
    insns[index] = { ...insn, src: BPF_PSEUDO_MAP_FD, imm: 0 };
    insns[index + 1] = { ...high, imm: 0 };
    refs.push({ kind: "map", insn: index, map: map.name });
    return undefined;
  }

  #extern(
    f: ObjectFunction,
    insn: Insn,
    index: number,
    name: string,
    weak: boolean,
    at: number,
    insns: Insn[],
    refs: InsnRef[],
  ): void {
    const { kconfig, ksyms } = this.#targets;
    const btfTypeId = ksyms.get(name);
    if (insn.opcode === CALL) {
      if (btfTypeId === undefined)
        throw this.#bad(
          f,
          at,
          `${f.name} calls ${name}, which is no kfunc in .ksyms: declare it extern … __ksym, or link the object that defines it (bpftool gen object)`,
        );
      insns[index] = { ...insn, src: BPF_PSEUDO_KFUNC_CALL, imm: 0 };
      refs.push({ kind: "kfunc", insn: index, name, weak, btfTypeId });
      return;
    }
    const high = insns[index + 1];
    if (high === undefined) throw this.#bad(f, at, `ld_imm64 at the end of ${f.name} lacks its second half`);
    const variable = this.#kconfig.get(name);
    if (kconfig !== undefined && variable !== undefined) {
      insns[index] = { ...insn, src: BPF_PSEUDO_MAP_VALUE, imm: 0 };
      insns[index + 1] = { ...high, imm: variable.offset };
      refs.push({ kind: "map-value", insn: index, map: kconfig.name, offset: variable.offset });
      return;
    }
    if (btfTypeId === undefined)
      throw this.#bad(
        f,
        at,
        `${f.name} refers to ${name}, which is in neither .ksyms nor .kconfig: declare it __ksym or __kconfig, or link the object that defines it (bpftool gen object)`,
      );
    const typed = isTyped(this.#file.btf as Btf, btfTypeId);
    insns[index] = { ...insn, src: typed ? BPF_PSEUDO_BTF_ID : 0, imm: 0 };
    insns[index + 1] = { ...high, imm: 0 };
    refs.push({ kind: "ksym", insn: index, name, weak, typed, btfTypeId });
  }

  #info(
    order: readonly ObjectFunction[],
    placed: ReadonlyMap<ObjectFunction, number>,
  ): Omit<LinkedCode, "insns" | "refs"> {
    const { btf } = this.#file;
    const funcs: FuncInfo[] = [];
    const lines: LineInfo[] = [];
    const coreRelos: CoreRelo[] = [];
    if (btf === undefined) return { funcs, lines, coreRelos };
    for (const f of order) {
      const shift = (placed.get(f) as number) - f.start;
      for (const r of f.funcs)
        funcs.push({ insn: r.insnOff / 8 + shift, typeId: r.typeId, name: btf.nameOf(r.typeId) });
      for (const r of f.lines)
        lines.push({ insn: r.insnOff / 8 + shift, file: r.file, text: r.text, line: r.line, col: r.col });
      for (const r of f.coreRelos)
        coreRelos.push({ insn: r.insnOff / 8 + shift, typeId: r.typeId, access: r.access, kind: r.kind });
      const odd = [...f.funcs, ...f.lines, ...f.coreRelos].find((r) => r.insnOff % 8 !== 0);
      if (odd !== undefined)
        throw this.#bad(
          f,
          odd.insnOff,
          `${f.name}: .BTF.ext record at byte ${odd.insnOff}, which is inside an instruction`,
        );
    }
    return { funcs, lines, coreRelos };
  }
}

/** Where the walk is in one function. */
class Cursor {
  readonly function: ObjectFunction;
  slot = 0;
  #next = 0;

  constructor(f: ObjectFunction) {
    this.function = f;
  }
  /** The relocation of the instruction at byte `offset` of the section, offsets ascending from call to call. */
  relocationAt(offset: number): ElfRelocation | undefined {
    const r = this.function.relocations[this.#next];
    if (r === undefined || r.offset !== offset) return undefined;
    this.#next++;
    return r;
  }
  unused(): ElfRelocation | undefined {
    return this.function.relocations[this.#next];
  }
}

/** A variable with a type of its own, or a function. `extern const void x` has none: an address from kallsyms. */
function isTyped(btf: Btf, id: number): boolean {
  const type = btf.typeById(id);
  return type.kind === "func" || (type.kind === "var" && resolveId(btf, type.type) !== 0);
}
