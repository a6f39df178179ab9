/** Registers compared field by field. */
import type { RegState } from "./reg-state.ts";

/** Type, offset and type-specific fields: what comes before var_off in bpf_reg_state. */
export function sameHead(a: RegState, b: RegState): boolean {
  return (
    a.type === b.type &&
    a.off === b.off &&
    a.range === b.range &&
    a.map === b.map &&
    a.mapUid === b.mapUid &&
    a.btf === b.btf &&
    a.btfId === b.btfId &&
    a.memSize === b.memSize &&
    a.dynptrId === b.dynptrId &&
    a.dynptrType === b.dynptrType &&
    a.dynptrFirstSlot === b.dynptrFirstSlot &&
    a.iterState === b.iterState &&
    a.iterDepth === b.iterDepth &&
    a.irqKfuncClass === b.irqKfuncClass &&
    a.subprogno === b.subprogno
  );
}

export function sameNumber(a: RegState, b: RegState): boolean {
  return (
    a.valLo === b.valLo &&
    a.valHi === b.valHi &&
    a.maskLo === b.maskLo &&
    a.maskHi === b.maskHi &&
    a.sminLo === b.sminLo &&
    a.sminHi === b.sminHi &&
    a.smaxLo === b.smaxLo &&
    a.smaxHi === b.smaxHi &&
    a.uminLo === b.uminLo &&
    a.uminHi === b.uminHi &&
    a.umaxLo === b.umaxLo &&
    a.umaxHi === b.umaxHi &&
    a.s32Min === b.s32Min &&
    a.s32Max === b.s32Max &&
    a.u32Min === b.u32Min &&
    a.u32Max === b.u32Max
  );
}
