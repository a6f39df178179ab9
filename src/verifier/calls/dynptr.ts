/** Dynptrs: made in two stack slots or handed to a callback, read, destroyed. */
import * as c from "../constants.ts";
import { type Env, reject, verifierBug } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import { dynptrTypeStr } from "../log-state.ts";
import { checkMemAccess } from "../mem.ts";
import { acquireReference, changeRegs, markRegInvalid, releaseReference } from "../refs.ts";
import { type RegState, markRegKnownZero, markRegNotInit } from "../reg-state.ts";
import { type FuncState, slotByte, slotFill } from "../state.ts";
import * as a from "./arg-types.ts";
import { frameOf, spiOf, stackObjSpi } from "./stack-obj.ts";

const BPF_DW = 0x18;
const DYNPTR_SLOTS = slotFill(c.STACK_DYNPTR);

/** arg_to_dynptr_type */
export function argToDynptrType(argType: number): number {
  switch (argType & c.DYNPTR_TYPE_FLAG_MASK) {
    case c.DYNPTR_TYPE_LOCAL:
      return c.BPF_DYNPTR_TYPE_LOCAL;
    case c.DYNPTR_TYPE_RINGBUF:
      return c.BPF_DYNPTR_TYPE_RINGBUF;
    case c.DYNPTR_TYPE_SKB:
      return c.BPF_DYNPTR_TYPE_SKB;
    case c.DYNPTR_TYPE_XDP:
      return c.BPF_DYNPTR_TYPE_XDP;
    case c.DYNPTR_TYPE_SKB_META:
      return c.BPF_DYNPTR_TYPE_SKB_META;
    default:
      return c.BPF_DYNPTR_TYPE_INVALID;
  }
}

/** get_dynptr_type_flag */
export function dynptrTypeFlag(type: number): number {
  switch (type) {
    case c.BPF_DYNPTR_TYPE_LOCAL:
      return c.DYNPTR_TYPE_LOCAL;
    case c.BPF_DYNPTR_TYPE_RINGBUF:
      return c.DYNPTR_TYPE_RINGBUF;
    case c.BPF_DYNPTR_TYPE_SKB:
      return c.DYNPTR_TYPE_SKB;
    case c.BPF_DYNPTR_TYPE_XDP:
      return c.DYNPTR_TYPE_XDP;
    case c.BPF_DYNPTR_TYPE_SKB_META:
      return c.DYNPTR_TYPE_SKB_META;
    default:
      return 0;
  }
}

export const dynptrTypeRefcounted = (type: number): boolean => type === c.BPF_DYNPTR_TYPE_RINGBUF;

const dynptrSpi = (env: Env, r: RegState): number => stackObjSpi(env, r, "dynptr", c.BPF_DYNPTR_NR_SLOTS);

/** __mark_dynptr_reg */
export function markDynptrReg(r: RegState, type: number, firstSlot: boolean, id: number): void {
  markRegKnownZero(r);
  r.type = c.CONST_PTR_TO_DYNPTR;
  r.id = id;
  r.dynptrType = type;
  r.dynptrFirstSlot = firstSlot;
  // The two share memory in the kernel, and its log shows the first slot's flag as an id.
  r.dynptrId = firstSlot ? 1 : 0;
}

/** mark_dynptr_cb_reg: a callback's dynptr argument. */
export function markDynptrCbReg(env: Env, r: RegState, type: number): void {
  markDynptrReg(r, type, true, env.newId());
}

function wipe(env: Env, f: FuncState, spi: number): void {
  for (const i of [spi, spi - 1]) {
    const s = f.slotForWrite(i);
    s.types = 0;
    markRegNotInit(s.reg, env.bpfCapable);
    env.liveStack.markWrite(f.frameno, i);
  }
}

/** destroy_if_dynptr_stack_slot: a write to slot `spi` destroys the dynptr there, with its slices. */
export function destroyIfDynptrStackSlot(env: Env, f: FuncState, spiIn: number): void {
  let spi = spiIn;
  if (slotByte(f.stack[spi]!.types, 0) !== c.STACK_DYNPTR) return;
  if (!f.stack[spi]!.reg.dynptrFirstSlot) spi++;
  const dyn = f.stack[spi]!.reg;
  if (dynptrTypeRefcounted(dyn.dynptrType)) reject(env, c.EINVAL, "cannot overwrite referenced dynptr\n");
  env.scratchSlot(spi);
  env.scratchSlot(spi - 1);
  const id = dyn.id;
  f.slotForWrite(spi).types = 0;
  f.slotForWrite(spi - 1).types = 0;
  changeRegs(
    env.state,
    (r) => (r.type === (c.PTR_TO_MEM | c.PTR_MAYBE_NULL) || r.type === c.PTR_TO_MEM) && r.dynptrId === id,
    (r) => markRegInvalid(env, r),
  );
  wipe(env, f, spi);
}

function markStackSlotsDynptr(env: Env, r: RegState, argType: number, insnIdx: number, cloneRefObjId: number): void {
  const f = frameOf(env, r);
  const spi = dynptrSpi(env, r);
  if (spi < 0) throw new VerifierReject(-spi);
  if (env.has.dynptrSlots) {
    destroyIfDynptrStackSlot(env, f, spi);
    destroyIfDynptrStackSlot(env, f, spi - 1);
  }
  const type = argToDynptrType(argType);
  const s1 = f.slotForWrite(spi);
  const s2 = f.slotForWrite(spi - 1);
  s1.types = DYNPTR_SLOTS;
  s2.types = DYNPTR_SLOTS;
  if (type === c.BPF_DYNPTR_TYPE_INVALID) throw new VerifierReject(c.EINVAL);
  const id = env.newId();
  markDynptrReg(s1.reg, type, true, id);
  markDynptrReg(s2.reg, type, false, id);
  if (dynptrTypeRefcounted(type)) {
    const ref = cloneRefObjId !== 0 ? cloneRefObjId : acquireReference(env, insnIdx);
    s1.reg.refObjId = ref;
    s2.reg.refObjId = ref;
  }
  env.liveStack.markWrite(f.frameno, spi);
  env.liveStack.markWrite(f.frameno, spi - 1);
}

/** unmark_stack_slots_dynptr: the dynptr is released; so are its clones and slices. */
export function unmarkStackSlotsDynptr(env: Env, r: RegState): void {
  const f = frameOf(env, r);
  const spi = dynptrSpi(env, r);
  if (spi < 0) throw new VerifierReject(-spi);
  const dyn = f.stack[spi]!.reg;
  if (!dynptrTypeRefcounted(dyn.dynptrType)) {
    wipe(env, f, spi);
    return;
  }
  const ref = dyn.refObjId;
  releaseReference(env, ref);
  for (let i = 1; i < f.stack.length; i++) {
    const s = f.stack[i]!;
    if (s.reg.refObjId !== ref) continue;
    if (slotByte(s.types, 0) !== c.STACK_DYNPTR) verifierBug(env, "misconfigured ref_obj_id");
    if (s.reg.dynptrFirstSlot) wipe(env, f, i);
  }
}

function validUninit(env: Env, r: RegState): boolean {
  if (r.type === c.CONST_PTR_TO_DYNPTR) return false;
  const spi = dynptrSpi(env, r);
  if (!env.has.dynptrSlots && spi >= 0) {
    const { stack } = frameOf(env, r);
    for (let i = 0; i < 8; i++)
      if (slotByte(stack[spi]!.types, i) === c.STACK_DYNPTR || slotByte(stack[spi - 1]!.types, i) === c.STACK_DYNPTR)
        return false;
  }
  return spi >= 0 || spi === -c.ERANGE;
}

function validInit(env: Env, r: RegState): boolean {
  if (r.type === c.CONST_PTR_TO_DYNPTR) return true;
  const spi = dynptrSpi(env, r);
  if (spi < 0) return false;
  const f = frameOf(env, r);
  const s = f.stack[spi]!;
  return s.reg.dynptrFirstSlot && s.types === DYNPTR_SLOTS && f.stack[spi - 1]!.types === DYNPTR_SLOTS;
}

function typeExpected(env: Env, r: RegState, argType: number): boolean {
  if (argType === a.ARG_PTR_TO_DYNPTR) return true;
  const wanted = argToDynptrType(argType);
  if (r.type === c.CONST_PTR_TO_DYNPTR) return r.dynptrType === wanted;
  const spi = dynptrSpi(env, r);
  return spi >= 0 && frameOf(env, r).stack[spi]!.reg.dynptrType === wanted;
}

/** process_dynptr_func: checks a dynptr argument; MEM_UNINIT ones are made here. */
export function processDynptrFunc(
  env: Env,
  regno: number,
  insnIdx: number,
  argType: number,
  cloneRefObjId: number,
): void {
  const r = env.regs[regno]!;
  if (r.type !== c.PTR_TO_STACK && r.type !== c.CONST_PTR_TO_DYNPTR) {
    reject(env, c.EINVAL, `arg#${regno - 1} expected pointer to stack or const struct bpf_dynptr\n`);
  }
  if ((argType & (c.MEM_UNINIT | c.MEM_RDONLY)) === (c.MEM_UNINIT | c.MEM_RDONLY))
    verifierBug(env, "misconfigured dynptr helper type flags");
  if (argType & c.MEM_UNINIT) {
    if (!validUninit(env, r)) reject(env, c.EINVAL, "Dynptr has to be an uninitialized dynptr\n");
    for (let i = 0; i < 16; i += 8) checkMemAccess(env, insnIdx, regno, i, BPF_DW, c.BPF_WRITE, -1, false, false);
    markStackSlotsDynptr(env, r, argType, insnIdx, cloneRefObjId);
    return;
  }
  if (r.type === c.CONST_PTR_TO_DYNPTR && (argType & c.MEM_RDONLY) === 0) {
    reject(env, c.EINVAL, "cannot pass pointer to const bpf_dynptr, the helper mutates it\n");
  }
  if (!validInit(env, r)) reject(env, c.EINVAL, `Expected an initialized dynptr as arg #${regno - 1}\n`);
  if (!typeExpected(env, r, argType & ~c.MEM_RDONLY)) {
    reject(
      env,
      c.EINVAL,
      `Expected a dynptr of type ${dynptrTypeStr(argToDynptrType(argType))} as arg #${regno - 1}\n`,
    );
  }
  if (r.type === c.CONST_PTR_TO_DYNPTR) return;
  const spi = dynptrSpi(env, r);
  if (spi < 0) throw new VerifierReject(-spi);
  env.liveStack.markRead(r.frameno, env.insnIdx, spi);
  env.liveStack.markRead(r.frameno, env.insnIdx, spi - 1);
  if (!env.has.staticStackLiveness) return;
  env.scratchSlot(spi);
  env.scratchSlot(spi - 1);
}

/** The register that knows an initialised dynptr: the argument itself or its first stack slot. */
export function dynptrState(env: Env, r: RegState): RegState {
  if (r.type === c.CONST_PTR_TO_DYNPTR) return r;
  const spi = dynptrSpi(env, r);
  if (spi < 0) throw new VerifierReject(-spi);
  return frameOf(env, r).stack[spi]!.reg;
}

/** May the dynptr argument be released? Only one in the stack that holds a reference. */
export function checkDynptrRelease(env: Env, r: RegState, regno: number): void {
  if (r.type !== c.PTR_TO_STACK) reject(env, c.EINVAL, "cannot release unowned const bpf_dynptr\n");
  const spi = dynptrSpi(env, r);
  if (spi < 0 || frameOf(env, r).stack[spi]!.reg.refObjId === 0)
    reject(env, c.EINVAL, `arg ${regno} is an unacquired reference\n`);
}

/** dynptr_get_type: by the fixed offset alone. */
export function dynptrGetType(env: Env, r: RegState): number {
  if (r.type === c.CONST_PTR_TO_DYNPTR) return r.dynptrType;
  return frameOf(env, r).stack[spiOf(r.off)]?.reg.dynptrType ?? c.BPF_DYNPTR_TYPE_INVALID;
}
