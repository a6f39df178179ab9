/**
 * The abstract value of a register (bpf_reg_state). Every 64-bit quantity is two
 * signed 32-bit words (lo, hi), every 32-bit one a signed 32-bit word, unsigned ones
 * included: `x >>> 0` reads it unsigned. So all numbers stay small integers in V8.
 */
import type { Btf } from "../btf/btf.ts";
import { NOT_INIT, PTR_TO_STACK, SCALAR_VALUE } from "./constants.ts";
import type { VMap } from "./map.ts";

export class RegState {
  /** base type | flags (constants.ts) */
  type = NOT_INIT;
  /** Fixed part of a pointer's offset; for a linked scalar (BPF_ADD_CONST) the constant. s32 */
  off = 0;
  /** PTR_TO_PACKET*: bytes known to be accessible. AT_PKT_END: -1, BEYOND_PKT_END: -2 (then s32). */
  range = 0;
  /** CONST_PTR_TO_MAP, PTR_TO_MAP_VALUE, PTR_TO_MAP_KEY */
  map: VMap | null = null;
  /** Distinguishes inner maps got by different lookups. */
  mapUid = 0;
  /** PTR_TO_BTF_ID, iterators: where the type is. */
  btf: Btf | null = null;
  btfId = 0;
  /** PTR_TO_MEM, PTR_TO_BUF: bytes. u32 */
  memSize = 0;
  /** PTR_TO_MEM: id of the dynptr it is a slice of; 0 if none. */
  dynptrId = 0;
  /** BPF_DYNPTR_TYPE_*, of CONST_PTR_TO_DYNPTR and stack dynptrs. */
  dynptrType = 0;
  dynptrFirstSlot = false;
  /** BPF_ITER_STATE_*, of stack iterators (whose type is btf/btfId). */
  iterState = 0;
  iterDepth = 0;
  /** IRQ_*_KFUNC, of stack irq flags. */
  irqKfuncClass = 0;
  /** PTR_TO_FUNC */
  subprogno = 0;

  /** tnum: known bits, then unknown bits (var_off) */
  valLo = 0;
  valHi = 0;
  maskLo = 0;
  maskHi = 0;
  sminLo = 0;
  sminHi = 0;
  smaxLo = 0;
  smaxHi = 0;
  uminLo = 0;
  uminHi = 0;
  umaxLo = 0;
  umaxHi = 0;
  s32Min = 0;
  s32Max = 0;
  u32Min = 0;
  u32Max = 0;

  id = 0;
  refObjId = 0;
  /** PTR_TO_STACK: whose stack. */
  frameno = 0;
  /** Insn that defined the low 32 bits plus 1, or 0 (DEF_NOT_SUBREG). */
  subregDef = 0;
  precise = false;

  /** Copies every field of `s` into this register. */
  copyFrom(s: RegState): void {
    this.type = s.type;
    this.off = s.off;
    this.range = s.range;
    this.map = s.map;
    this.mapUid = s.mapUid;
    this.btf = s.btf;
    this.btfId = s.btfId;
    this.memSize = s.memSize;
    this.dynptrId = s.dynptrId;
    this.dynptrType = s.dynptrType;
    this.dynptrFirstSlot = s.dynptrFirstSlot;
    this.iterState = s.iterState;
    this.iterDepth = s.iterDepth;
    this.irqKfuncClass = s.irqKfuncClass;
    this.subprogno = s.subprogno;
    this.valLo = s.valLo;
    this.valHi = s.valHi;
    this.maskLo = s.maskLo;
    this.maskHi = s.maskHi;
    this.sminLo = s.sminLo;
    this.sminHi = s.sminHi;
    this.smaxLo = s.smaxLo;
    this.smaxHi = s.smaxHi;
    this.uminLo = s.uminLo;
    this.uminHi = s.uminHi;
    this.umaxLo = s.umaxLo;
    this.umaxHi = s.umaxHi;
    this.s32Min = s.s32Min;
    this.s32Max = s.s32Max;
    this.u32Min = s.u32Min;
    this.u32Max = s.u32Max;
    this.id = s.id;
    this.refObjId = s.refObjId;
    this.frameno = s.frameno;
    this.subregDef = s.subregDef;
    this.precise = s.precise;
  }

  clone(): RegState {
    const r = new RegState();
    r.copyFrom(this);
    return r;
  }

  /** The union of type-specific fields (map, btf, mem size, …) as a fresh kernel `raw` would be: all zero. */
  clearSpecific(): void {
    this.off = 0;
    this.range = 0;
    this.map = null;
    this.mapUid = 0;
    this.btf = null;
    this.btfId = 0;
    this.memSize = 0;
    this.dynptrId = 0;
    this.dynptrType = 0;
    this.dynptrFirstSlot = false;
    this.iterState = 0;
    this.iterDepth = 0;
    this.irqKfuncClass = 0;
    this.subprogno = 0;
  }

  /** tnum_is_const(var_off) */
  isConst(): boolean {
    return (this.maskLo | this.maskHi) === 0;
  }

  /** Value is the constant 0 (register_is_null). */
  isNull(): boolean {
    return this.type === SCALAR_VALUE && (this.maskLo | this.maskHi | this.valLo | this.valHi) === 0;
  }
}

/** No knowledge of the number: all bits unknown, all ranges full (__mark_reg_unbounded plus tnum_unknown). */
export function setUnknownNumber(r: RegState): void {
  r.valLo = 0;
  r.valHi = 0;
  r.maskLo = -1;
  r.maskHi = -1;
  setUnbounded(r);
}

/** All ranges full; var_off is left alone (__mark_reg_unbounded). */
export function setUnbounded(r: RegState): void {
  r.sminLo = 0;
  r.sminHi = -0x8000_0000;
  r.smaxLo = -1;
  r.smaxHi = 0x7fff_ffff;
  r.uminLo = 0;
  r.uminHi = 0;
  r.umaxLo = -1;
  r.umaxHi = -1;
  r.s32Min = -0x8000_0000;
  r.s32Max = 0x7fff_ffff;
  r.u32Min = 0;
  r.u32Max = -1;
}

/** The number is (hi, lo): tnum and every range; type and the rest stay (___mark_reg_known). */
export function setKnownNumber(r: RegState, lo: number, hi: number): void {
  r.valLo = lo;
  r.valHi = hi;
  r.maskLo = 0;
  r.maskHi = 0;
  r.sminLo = lo;
  r.sminHi = hi;
  r.smaxLo = lo;
  r.smaxHi = hi;
  r.uminLo = lo;
  r.uminHi = hi;
  r.umaxLo = lo;
  r.umaxHi = hi;
  r.s32Min = lo;
  r.s32Max = lo;
  r.u32Min = lo;
  r.u32Max = lo;
}

/** __mark_reg_known: clears off, the specific fields, id and ref_obj_id, and sets the number. Type stays. */
export function markRegKnown(r: RegState, lo: number, hi: number): void {
  r.clearSpecific();
  r.id = 0;
  r.refObjId = 0;
  setKnownNumber(r, lo, hi);
}

/** __mark_reg_known with a sign-extended 32-bit constant. */
export function markRegKnownS32(r: RegState, imm: number): void {
  markRegKnown(r, imm | 0, imm >> 31);
}

/** __mark_reg_known_zero: offset 0; the type stays for the caller to set. */
export function markRegKnownZero(r: RegState): void {
  markRegKnown(r, 0, 0);
}

/** A scalar 0 (__mark_reg_const_zero); `precise` as in privileged mode: false unless asked. */
export function markRegConstZero(r: RegState, precise: boolean): void {
  markRegKnown(r, 0, 0);
  r.type = SCALAR_VALUE;
  r.precise = precise;
}

/** An unknown scalar (__mark_reg_unknown_imprecise): everything else cleared except subregDef. */
export function markRegUnknownImprecise(r: RegState): void {
  r.clearSpecific();
  r.id = 0;
  r.refObjId = 0;
  r.type = SCALAR_VALUE;
  r.frameno = 0;
  r.precise = false;
  setUnknownNumber(r);
}

/** An unknown scalar; precise when the program is unprivileged (`!env.bpfCapable`). */
export function markRegUnknown(r: RegState, bpfCapable: boolean): void {
  markRegUnknownImprecise(r);
  r.precise = !bpfCapable;
}

/** __mark_reg_not_init */
export function markRegNotInit(r: RegState, bpfCapable: boolean): void {
  markRegUnknown(r, bpfCapable);
  r.type = NOT_INIT;
}

/** A pointer to the stack of frame `frameno` at offset 0. */
export function markRegFramePointer(r: RegState, frameno: number): void {
  markRegKnownZero(r);
  r.type = PTR_TO_STACK;
  r.frameno = frameno;
}
