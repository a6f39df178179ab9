/** References, locks and irq sections a state holds, and what happens to registers when they end. */
import {
  DYNPTR_TYPE_SKB,
  DYNPTR_TYPE_SKB_META,
  DYNPTR_TYPE_XDP,
  EACCES,
  EINVAL,
  MEM_ALLOC,
  NON_OWN_REF,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_END,
  PTR_TO_PACKET_META,
  REF_TYPE_IRQ,
  REF_TYPE_LOCK,
  REF_TYPE_LOCK_MASK,
  REF_TYPE_PTR,
  STACK_SPILL,
  baseType,
} from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { VerifierReject } from "./errors.ts";
import { type RegState, markRegNotInit, markRegUnknown } from "./reg-state.ts";
import { has } from "./scalar/rules.ts";
import { type RefState, type VerifierState, isSpilledSlot, slotByte } from "./state.ts";

const BPF_PROG_TYPE_STRUCT_OPS = 27;

/**
 * Calls `test` on every register and spilled register of `st`, and `change` on a writable
 * version of those it says true for (bpf_for_each_reg_in_vstate; before 6.8 without registers spilled in part).
 */
export function changeRegs(st: VerifierState, test: (r: RegState) => boolean, change: (r: RegState) => void): void {
  for (let i = 0; i <= st.curframe; i++) {
    const f = st.frames[i]!;
    for (const r of f.regs) if (test(r)) change(r);
    for (let k = 0; k < f.stack.length; k++) {
      const s = f.stack[k]!;
      const spilled = has.scalarSpills ? isSpilledSlot(s) : slotByte(s.types, 0) === STACK_SPILL;
      if (spilled && test(s.reg)) change(f.slotForWrite(k).reg);
    }
  }
}

/** mark_reg_invalid: unreadable for the unprivileged, an unknown scalar for others. */
export function markRegInvalid(env: Env, r: RegState): void {
  if (env.allowPtrLeaks) markRegUnknown(r, env.bpfCapable);
  else markRegNotInit(r, env.bpfCapable);
}

/** acquire_reference: the id of a new reference held from `insnIdx` on. */
export function acquireReference(env: Env, insnIdx: number): number {
  const id = env.newId();
  const f = env.frame;
  env.state.refs.push({ type: REF_TYPE_PTR, id, insnIdx, ptr: null, callbackFrame: f.inCallbackFn ? f.frameno : 0 });
  return id;
}

/** acquire_lock_state */
export function acquireLock(env: Env, insnIdx: number, type: number, id: number, ptr: unknown): void {
  const st = env.state;
  if (env.has.lockReferences) st.refs.push({ type, id, insnIdx, ptr, callbackFrame: 0 });
  st.activeLocks++;
  st.activeLockId = id;
  st.activeLockPtr = ptr;
}

/** acquire_irq_state: the id of a new irq-disabled section. */
export function acquireIrq(env: Env, insnIdx: number): number {
  const id = env.newId();
  env.state.refs.push({ type: REF_TYPE_IRQ, id, insnIdx, ptr: null, callbackFrame: 0 });
  env.state.activeIrqId = id;
  return id;
}

/** release_lock_state: false when no such lock is held. */
export function releaseLock(st: VerifierState, type: number, id: number, ptr: unknown): boolean {
  let prevId = 0;
  let prevPtr: unknown = null;
  for (let i = 0; i < st.refs.length; i++) {
    const r = st.refs[i]!;
    if (r.type === type && r.id === id && r.ptr === ptr) {
      st.refs.splice(i, 1);
      st.activeLocks--;
      st.activeLockId = prevId;
      st.activeLockPtr = prevPtr;
      return true;
    }
    if ((r.type & REF_TYPE_LOCK_MASK) !== 0) {
      prevId = r.id;
      prevPtr = r.ptr;
    }
  }
  return false;
}

/** release_irq_state: 0, or the errno (EACCES: not the innermost section). */
export function releaseIrq(st: VerifierState, id: number): number {
  if (id !== st.activeIrqId) return EACCES;
  let prevId = 0;
  for (let i = 0; i < st.refs.length; i++) {
    const r = st.refs[i]!;
    if (r.type !== REF_TYPE_IRQ) continue;
    if (r.id === id) {
      st.refs.splice(i, 1);
      st.activeIrqId = prevId;
      return 0;
    }
    prevId = r.id;
  }
  return EINVAL;
}

/** find_lock_state: a held lock of one of the types (bits), by id and ptr. */
export function findLock(st: VerifierState, types: number, id: number, ptr: unknown): RefState | null {
  // Before 6.14 the one lock that may be held is no reference.
  const isActive = st.activeLocks !== 0 && st.activeLockId === id && st.activeLockPtr === ptr;
  const found = st.refs.find((r) => (r.type & types) !== 0 && r.id === id && r.ptr === ptr);
  return (
    found ??
    (isActive && (types & REF_TYPE_LOCK) !== 0 ? { type: REF_TYPE_LOCK, id, insnIdx: 0, ptr, callbackFrame: 0 } : null)
  );
}

/** find_reference_state: is `id` a held reference? */
export function findReference(st: VerifierState, id: number): boolean {
  return st.refs.some((r) => r.type === REF_TYPE_PTR && r.id === id);
}

/** release_reference_nomark: drops the reference; false when it is not held. */
export function releaseReferenceNomark(env: Env, st: VerifierState, id: number): boolean {
  const i = st.refs.findIndex((r) => r.type === REF_TYPE_PTR && r.id === id);
  if (i < 0) return false;
  if (env.has.lockReferences) {
    st.refs.splice(i, 1);
    return true;
  }
  // A callback cannot release what its caller holds; the last reference takes the place of the released one.
  if (st.cur.inCallbackFn && st.refs[i]!.callbackFrame !== st.curframe) return false;
  const last = st.refs.pop()!;
  if (i < st.refs.length) st.refs[i] = last;
  return true;
}

/** release_reference: drops it and invalidates every register that has it. Throws (EINVAL) when it is not held. */
export function releaseReference(env: Env, refObjId: number): void {
  if (!releaseReferenceNomark(env, env.state, refObjId)) throw new VerifierReject(EINVAL);
  changeRegs(
    env.state,
    (r) => r.refObjId === refObjId,
    (r) => markRegInvalid(env, r),
  );
}

/** invalidate_non_owning_refs */
export function invalidateNonOwningRefs(env: Env): void {
  changeRegs(
    env.state,
    (r) => (r.type & (MEM_ALLOC | NON_OWN_REF)) === (MEM_ALLOC | NON_OWN_REF),
    (r) => markRegInvalid(env, r),
  );
}

/** clear_all_pkt_pointers: packet data may have moved. */
export function clearAllPktPointers(env: Env): void {
  changeRegs(
    env.state,
    (r) =>
      r.type === PTR_TO_PACKET ||
      r.type === PTR_TO_PACKET_META ||
      r.type === PTR_TO_PACKET_END ||
      (baseType(r.type) === PTR_TO_MEM && (r.type & (DYNPTR_TYPE_SKB | DYNPTR_TYPE_XDP | DYNPTR_TYPE_SKB_META)) !== 0),
    (r) => markRegInvalid(env, r),
  );
}

/** check_reference_leak: logs each reference still held and returns whether there are any. */
function referencesLeak(env: Env, exceptionExit: boolean): boolean {
  const st = env.state;
  const { frameno, inCallbackFn } = env.frame;
  const ofCallback = inCallbackFn && !env.has.lockReferences && !exceptionExit;
  if (!exceptionExit && frameno !== 0 && !ofCallback) return false;
  let leak = false;
  for (const r of st.refs) {
    if (r.type !== REF_TYPE_PTR || (ofCallback && r.callbackFrame !== frameno)) continue;
    if (env.progType === BPF_PROG_TYPE_STRUCT_OPS && !exceptionExit && env.regs[0]!.refObjId === r.id) continue;
    env.log.write(`Unreleased reference id=${r.id} alloc_insn=${r.insnIdx}\n`);
    leak = true;
  }
  return leak;
}

// Sections in the words of messages about them.
const LOCK = "bpf_spin_lock-ed";
const RCU = "bpf_rcu_read_lock-ed";
const PREEMPT = "bpf_preempt_disable-ed";

/** Nothing is held at an exit: the checks, their order and words before 6.13. */
function checkExitLeak(env: Env, exceptionExit: boolean): void {
  const st = env.state;
  const inside = (region: string, missing: string): never =>
    reject(env, EINVAL, exceptionExit ? `bpf_throw cannot be used inside ${region} region\n` : `${missing} missing\n`);
  if (st.activeLocks !== 0 && !env.has.staticCallsUnderLock) inside(LOCK, "bpf_spin_unlock is");
  if (exceptionExit || st.curframe === 0) {
    if (st.activeLocks !== 0) inside(LOCK, "bpf_spin_unlock is");
    if (st.activeRcuLock) inside(RCU, "bpf_rcu_read_unlock is");
    const n = st.activePreemptLocks;
    if (n !== 0) inside(PREEMPT, `${n} bpf_preempt_enable${n === 1 ? " is" : "(s) are"}`);
  }
  if (referencesLeak(env, exceptionExit)) throw new VerifierReject(EINVAL);
}

/** The same for what may end a program in another way: `what` is a tail call or a packet load. */
function checkEarlyEnd(env: Env, what: string): void {
  const st = env.state;
  const packetLoad = what.startsWith("BPF_LD");
  const lock = (): void => {
    if (st.activeLocks !== 0) reject(env, EINVAL, `${what} cannot be used inside ${LOCK} region\n`);
  };
  if (!packetLoad) lock();
  if (referencesLeak(env, false)) {
    reject(
      env,
      EINVAL,
      `${what} ${packetLoad ? "cannot be mixed with socket references" : "would lead to reference leak"}\n`,
    );
  }
  if (packetLoad) lock();
  if (st.activeRcuLock) reject(env, EINVAL, `${what} cannot be used inside ${RCU} region\n`);
  if (st.activePreemptLocks !== 0) reject(env, EINVAL, `${what} cannot be used inside ${PREEMPT} region\n`);
}

/** check_resource_leak: nothing is held where `what` does not allow it. */
export function checkResourceLeak(env: Env, exceptionExit: boolean, checkLock: boolean, what: string): void {
  const st = env.state;
  if (!env.has.resourceLeakTexts) {
    if (what.startsWith("BPF_EXIT") || exceptionExit) checkExitLeak(env, exceptionExit);
    else checkEarlyEnd(env, what);
    return;
  }
  if (checkLock && st.activeLocks !== 0) reject(env, EINVAL, `${what} cannot be used inside bpf_spin_lock-ed region\n`);
  if (referencesLeak(env, exceptionExit)) reject(env, EINVAL, `${what} would lead to reference leak\n`);
  if (!checkLock) return;
  if (st.activeIrqId !== 0) reject(env, EINVAL, `${what} cannot be used inside bpf_local_irq_save-ed region\n`);
  if (st.activeRcuLock) reject(env, EINVAL, `${what} cannot be used inside bpf_rcu_read_lock-ed region\n`);
  if (st.activePreemptLocks !== 0) reject(env, EINVAL, `${what} cannot be used inside bpf_preempt_disable-ed region\n`);
}
