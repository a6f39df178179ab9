/**
 * What an assembled program still names by symbol. The map ones are what `InsnRef` of a
 * collection holds; the instruction itself holds 0 in place of the number.
 */
import type { Insn } from "./insn.ts";

/** `insn` and `target` are slot indexes. */
export type AsmRef =
  /** ld_imm64 of a map. */
  | { readonly kind: "map"; readonly insn: number; readonly map: string }
  /** ld_imm64 of the address of a map's entry 0, plus `offset` bytes. */
  | { readonly kind: "map-value"; readonly insn: number; readonly map: string; readonly offset: number }
  /** Call of a kernel function. */
  | { readonly kind: "kfunc"; readonly insn: number; readonly name: string }
  /** ld_imm64 of the address of a kernel variable. */
  | { readonly kind: "ksym"; readonly insn: number; readonly name: string }
  /** Call of a subprogram; `insns[insn].imm` is set. */
  | { readonly kind: "subprog"; readonly insn: number; readonly target: number }
  /** ld_imm64 of the address of a subprogram; `insns[insn].imm` is set. */
  | { readonly kind: "func"; readonly insn: number; readonly target: number };

/** An assembled program: what `Assembler.finish` and `parseProgram` give. */
export interface AsmProgram {
  readonly insns: Insn[];
  readonly refs: AsmRef[];
  /** Slot of each label; one at the end of the program is `insns.length`. */
  readonly labels: ReadonlyMap<string, number>;
}
