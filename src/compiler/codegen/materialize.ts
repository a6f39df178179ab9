/** Emitting into the current block, and making the values that have no position. */
import { BPF_ALU } from "../../asm/opcode.ts";
import type { Span } from "../../core/diagnostic.ts";
import type { Inst } from "../ir/ir.ts";
import { slotOffset } from "./leaves.ts";
import type { LBlock } from "./lir.ts";
import { ADD64_IMM, FIRST_VREG, FP, LD_IMM64, LInst, MOV64, MOV64_IMM } from "./lir.ts";

export const MIN_S32 = -0x8000_0000n;
const MAX_S32 = 0x7fff_ffffn;
/** Whether `v` can be an instruction's sign-extended immediate. */
export function fitsImm(v: bigint): boolean {
  return v >= MIN_S32 && v <= MAX_S32;
}

export class Materializer {
  cur!: LBlock;
  span: Span | undefined;
  nextReg = FIRST_VREG;
  /** Whether there are w-registers. */
  readonly #alu32: boolean;

  constructor(alu32: boolean) {
    this.#alu32 = alu32;
  }

  emit(opcode: number, dst: number, src: number, off = 0, imm = 0): LInst {
    const i = new LInst(opcode, dst, src, off, imm, this.span);
    this.cur.insts.push(i);
    return i;
  }
  temp(): number {
    return this.nextReg++;
  }
  leaf(v: Inst, dst: number): void {
    switch (v.op) {
      case "const":
        this.constant(dst, v.value);
        break;
      case "undef":
        this.emit(MOV64_IMM, dst, 0);
        break;
      case "slot":
        this.slotAddress(dst, v.slot!.id, 0);
        break;
      case "add":
        this.slotAddress(dst, v.args[0]!.slot!.id, slotOffset(v)!);
        break;
      case "core": {
        // Enum values can have 64 bits; offsets, sizes and flags cannot.
        const i =
          v.core!.kind === 11 || !fitsImm(v.value)
            ? this.wideConst(dst, v.value)
            : this.emit(MOV64_IMM, dst, 0, 0, Number(v.value));
        i.core = v.core;
        break;
      }
      case "map":
        this.emit(LD_IMM64, dst, 0).ref = { kind: "map", map: v.sym };
        break;
      case "mapval":
        this.emit(LD_IMM64, dst, 0).ref = { kind: "map-value", map: v.sym, offset: v.off };
        break;
      case "ksym":
        this.emit(LD_IMM64, dst, 0).ref = { kind: "ksym", name: v.sym, weak: v.weak, typed: v.typed };
        break;
      default:
        this.emit(LD_IMM64, dst, 0).ref = { kind: "func", name: v.sym };
    }
  }
  constant(dst: number, value: bigint): void {
    const v = BigInt.asIntN(64, value);
    if (fitsImm(v)) this.emit(MOV64_IMM, dst, 0, 0, Number(v));
    // w-register moves clear the high half, so all unsigned 32-bit constants take one slot.
    else if (v >= 0n && v <= 0xffff_ffffn && this.#alu32)
      this.emit(BPF_ALU | (MOV64_IMM & 0xf0), dst, 0, 0, Number(BigInt.asIntN(32, v)));
    else this.wideConst(dst, v);
  }
  wideConst(dst: number, v: bigint): LInst {
    const i = this.emit(LD_IMM64, dst, 0, 0, Number(BigInt.asIntN(32, v)));
    i.hi = Number(BigInt.asIntN(32, v >> 32n));
    return i;
  }
  slotAddress(dst: number, slot: number, off: number): void {
    this.emit(MOV64, dst, FP);
    this.emit(ADD64_IMM, dst, 0, 0, off).slot = slot;
  }
}
