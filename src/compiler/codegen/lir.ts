/**
 * The back end's own instructions: BPF opcodes whose registers may still be virtual.
 * Registers 0-10 are the machine's; from `FIRST_VREG` on they are virtual and, unlike
 * IR values, may be written more than once (two-address arithmetic, block parameters).
 */
import type { Span } from "../../core/diagnostic.ts";
import * as bpf from "../../asm/opcode.ts";
import type { CoreAccess, Space } from "../ir/ir.ts";

export const FP = 10;
export const FIRST_VREG = 11;

/** What the linker or loader still has to fill in. */
export type LRef =
  | { readonly kind: "map"; readonly map: string }
  | { readonly kind: "map-value"; readonly map: string; readonly offset: number }
  | { readonly kind: "kfunc"; readonly name: string; readonly weak: boolean }
  | { readonly kind: "ksym"; readonly name: string; readonly weak: boolean; readonly typed: boolean }
  | { readonly kind: "func"; readonly name: string }
  | { readonly kind: "subprog"; readonly name: string };

export const MOV64 = bpf.BPF_ALU64 | bpf.BPF_MOV | bpf.BPF_X;
export const MOV64_IMM = bpf.BPF_ALU64 | bpf.BPF_MOV | bpf.BPF_K;
export const MOV32 = bpf.BPF_ALU | bpf.BPF_MOV | bpf.BPF_X;
export const ADD64_IMM = bpf.BPF_ALU64 | bpf.BPF_ADD | bpf.BPF_K;
export const LD_IMM64 = bpf.LD_IMM64;
export const CALL = bpf.BPF_JMP | bpf.BPF_CALL;
export const EXIT = bpf.BPF_JMP | bpf.BPF_EXIT;
export const JA = bpf.BPF_JMP | bpf.BPF_JA;
export const LDX_DW = bpf.BPF_LDX | bpf.BPF_MEM | bpf.BPF_DW;
export const STX_DW = bpf.BPF_STX | bpf.BPF_MEM | bpf.BPF_DW;

/** Not an instruction: the contents of `slot` are dead here. */
export const START = 0xff;

/** Effects of an opcode on the registers of its two fields. */
export const DEF_DST = 1;
export const USE_DST = 2;
export const USE_SRC = 4;
export const IS_CALL = 8;
export const IS_EXIT = 16;
export const IS_ATOMIC = 32;

/** By opcode byte. An atomic's further effects depend on its `imm`. */
export const EFFECTS: Uint8Array = (() => {
  const t = new Uint8Array(256);
  for (let op = 0; op < 256; op++) {
    const source = bpf.sourceOf(op) === bpf.BPF_X ? USE_SRC : 0;
    switch (bpf.classOf(op)) {
      case bpf.BPF_ALU:
      case bpf.BPF_ALU64: {
        const code = bpf.codeOf(op);
        if (code === bpf.BPF_MOV) t[op] = DEF_DST | source;
        else if (code === bpf.BPF_NEG || code === bpf.BPF_END) t[op] = DEF_DST | USE_DST;
        else t[op] = DEF_DST | USE_DST | source;
        break;
      }
      case bpf.BPF_LD:
        t[op] = DEF_DST;
        break;
      case bpf.BPF_LDX:
        t[op] = DEF_DST | USE_SRC;
        break;
      case bpf.BPF_ST:
        t[op] = USE_DST;
        break;
      case bpf.BPF_STX:
        t[op] = USE_DST | USE_SRC | (bpf.modeOf(op) === bpf.BPF_ATOMIC ? IS_ATOMIC : 0);
        break;
      default:
        t[op] = op === CALL ? IS_CALL : op === EXIT ? IS_EXIT : bpf.codeOf(op) === bpf.BPF_JA ? 0 : USE_DST | source;
    }
  }
  t[START] = 0;
  return t;
})();

/** Whether an atomic with this `imm` writes the old value to its source register. */
export function fetchesToSrc(imm: number): boolean {
  return (imm & bpf.BPF_FETCH) !== 0 && imm !== bpf.BPF_CMPXCHG;
}

export class LInst {
  opcode: number;
  dst: number;
  src: number;
  off: number;
  imm: number;
  /** ld_imm64: the high half. */
  hi = 0;
  /** A stack object: `dst` or `src` (whichever is the base) is FP, or, for `add FP`, `imm` is its offset. -1: none. */
  slot = -1;
  /** call: registers r1..r`nargs` are read. exit: 1 if r0 is. */
  nargs = 0;
  /** Memory access: what its base points to. The verifier refuses one instruction for pointers of different kinds. */
  space: Space = "unknown";
  ref: LRef | undefined = undefined;
  core: CoreAccess | undefined = undefined;
  span: Span | undefined;

  constructor(opcode: number, dst: number, src: number, off: number, imm: number, span: Span | undefined) {
    this.opcode = opcode;
    this.dst = dst;
    this.src = src;
    this.off = off;
    this.imm = imm;
    this.span = span;
  }

  /** A full register copy, the kind that coalescing removes. */
  get isMove(): boolean {
    return this.opcode === MOV64 && this.off === 0;
  }
}

export class LBlock {
  readonly id: number;
  insts: LInst[] = [];
  /** A conditional jump (to `succs[0]`, else on to `succs[1]`), EXIT, or undefined: on to `succs[0]`. */
  term: LInst | undefined = undefined;
  succs: LBlock[] = [];
  /** Nesting of loops around the block. */
  depth = 0;
  cold = false;

  constructor(id: number) {
    this.id = id;
  }
}

/** A stack object of a function, user-declared or for spills. */
export interface LSlot {
  readonly size: number;
  readonly align: number;
}

export interface LFunc {
  readonly name: string;
  /** In a reverse post-order; the first is the entry. */
  blocks: LBlock[];
  readonly slots: LSlot[];
  /** Registers are below this. */
  regCount: number;
  /** For instructions whose source place is unknown. */
  readonly span: Span | undefined;
}
