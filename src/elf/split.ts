/** The reverse of linking: the functions that a collection's programs are made of, each once. */
import type { Insn } from "../asm/insn.ts";
import { BPF_CALL, BPF_DW, BPF_IMM, BPF_JMP, BPF_LD, BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC } from "../asm/opcode.ts";
import { ArgumentError } from "../core/errors.ts";
import type { CoreRelo, FuncInfo, InsnRef, LineInfo, ProgSpec } from "./spec.ts";

const CALL = BPF_JMP | BPF_CALL;
const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;

/** A reference of a function, slots relative to its start. `callee` is set for calls and addresses of functions. */
export interface SplitRef {
  readonly slot: number;
  readonly ref: InsnRef;
  readonly callee: SplitFunction | undefined;
}

export interface SplitFunction {
  readonly name: string;
  /** The program of which this is the entry. */
  readonly entryOf: ProgSpec | undefined;
  readonly insns: readonly Insn[];
  readonly refs: readonly SplitRef[];
  /** Slots in these are relative to the function's start. */
  readonly func: FuncInfo | undefined;
  readonly lines: readonly LineInfo[];
  readonly coreRelos: readonly CoreRelo[];
}

/** A function and where the writer of an object put it. */
export interface PlacedFunction {
  readonly function: SplitFunction;
  readonly section: number;
  readonly sectionName: string;
  /** Slot index of its first instruction in the section. */
  readonly slot: number;
  readonly symbol: number;
  readonly global: boolean;
}

/** Mutable until its references are resolved. */
interface Draft extends SplitFunction {
  refs: { slot: number; ref: InsnRef; callee: Draft | undefined }[];
}

/**
 * Entry functions in the order of the programs, and the subprograms; one that several programs have in
 * common appears once.
 *
 * @throws ArgumentError when a reference is outside its program
 */
export function splitPrograms(progs: readonly ProgSpec[]): { entries: SplitFunction[]; subprograms: SplitFunction[] } {
  const drafts = progs.map(splitProgram);
  const subprograms = merge(drafts.flatMap((d) => d.slice(1)));
  for (const d of drafts.flat())
    for (const r of d.refs) if (r.callee !== undefined) r.callee = subprograms.of.get(r.callee) ?? r.callee;
  return { entries: drafts.map((d) => d[0] as Draft), subprograms: subprograms.kept };
}

function splitProgram(prog: ProgSpec): Draft[] {
  const where = `progs.${prog.name}`;
  const { insns } = prog;
  const refs = [...prog.refs];
  const known = new Set(refs.map((r) => r.insn));
  const starts = new Set([0, ...prog.funcs.map((f) => f.insn)]);
  for (let i = 0; i < insns.length; i++) {
    const insn = insns[i] as Insn;
    const call = insn.opcode === CALL && insn.src === BPF_PSEUDO_CALL;
    if ((call || (insn.opcode === LD_IMM64 && insn.src === BPF_PSEUDO_FUNC)) && !known.has(i)) {
      refs.push({ kind: call ? "subprog" : "func", insn: i, target: i + 1 + insn.imm });
    }
    if (insn.opcode === LD_IMM64) i++;
  }
  for (const r of refs) if (r.kind === "subprog" || r.kind === "func") starts.add(r.target);
  const sorted = [...starts].sort((a, b) => a - b);
  if (insns.length === 0) throw new ArgumentError(where, "a program needs at least one instruction");
  for (const at of [...sorted, ...refs.map((r) => r.insn)]) {
    if (!(Number.isInteger(at) && at >= 0 && at < insns.length))
      throw new ArgumentError(where, `slot ${at} is outside the ${insns.length} instructions`);
  }
  const funcs = new Map(prog.funcs.map((f) => [f.insn, f]));
  const drafts = sorted.map((start, i): Draft => {
    const end = sorted[i + 1] ?? insns.length;
    const inside = (r: { insn: number }): boolean => r.insn >= start && r.insn < end;
    const shift = <T extends { readonly insn: number }>(list: readonly T[]): T[] =>
      list.filter(inside).map((r) => ({ ...r, insn: r.insn - start }));
    const func = funcs.get(start);
    return {
      name: start === 0 ? prog.name : (func?.name ?? `${prog.name}_${start}`),
      entryOf: start === 0 ? prog : undefined,
      insns: insns.slice(start, end),
      refs: [],
      func,
      lines: shift(prog.lines),
      coreRelos: shift(prog.coreRelos),
    };
  });
  const byStart = new Map(sorted.map((start, i) => [start, drafts[i] as Draft]));
  let k = 0;
  for (const ref of refs.sort((a, b) => a.insn - b.insn)) {
    while (k + 1 < sorted.length && (sorted[k + 1] as number) <= ref.insn) k++;
    const callee = ref.kind === "subprog" || ref.kind === "func" ? byStart.get(ref.target) : undefined;
    (drafts[k] as Draft).refs.push({ slot: ref.insn - (sorted[k] as number), ref, callee });
  }
  return drafts;
}

/** Finds equal functions: same name, same code, same references, and callees that are equal in turn. */
function merge(all: readonly Draft[]): { kept: Draft[]; of: Map<Draft, Draft> } {
  let group = new Map(all.map((f) => [f, shape(f)]));
  let count = new Set(group.values()).size;
  for (;;) {
    // Functions that look alike differ when what they call does: refine until nothing splits any more.
    const ids = new Map<string, string>();
    const next = new Map(
      all.map((f) => {
        const key = `${group.get(f) as string}|${f.refs.map((r) => (r.callee === undefined ? "" : (group.get(r.callee) ?? r.callee.name))).join("|")}`;
        let id = ids.get(key);
        if (id === undefined) ids.set(key, (id = String(ids.size)));
        return [f, id] as const;
      }),
    );
    group = next;
    if (ids.size === count) break;
    count = ids.size;
  }
  const first = new Map<string, Draft>();
  const of = new Map<Draft, Draft>();
  for (const f of all) {
    const id = group.get(f) as string;
    const kept = first.get(id);
    if (kept === undefined) first.set(id, f);
    of.set(f, kept ?? f);
  }
  return { kept: [...first.values()], of };
}

function shape(f: Draft): string {
  const relative = new Set(f.refs.filter((r) => r.callee !== undefined).map((r) => r.slot));
  return JSON.stringify([
    f.name,
    f.func?.typeId,
    f.insns.map((i, slot) => [i.opcode, i.dst, i.src, i.off, relative.has(slot) ? 0 : i.imm]),
    f.refs.map((r) => [r.slot, r.callee === undefined ? { ...r.ref, insn: 0 } : r.ref.kind]),
    f.lines.map((l) => [l.insn, l.file, l.line, l.col]),
    f.coreRelos,
  ]);
}
