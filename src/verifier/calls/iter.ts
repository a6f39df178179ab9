/** Open-coded iterators: made in stack slots, stepped, destroyed. */
import type { Btf } from "../../btf/btf.ts";
import { skipModifiers } from "../btf/types.ts";
import * as c from "../constants.ts";
import { type Env, reject, verifierBug } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import { pushStack } from "../explore-state.ts";
import { markPtrNotNullReg } from "../branch.ts";
import { iterStateStr, iterTypeStr } from "../log-state.ts";
import { checkMemAccess } from "../mem.ts";
import { findPrevEntry, widenImpreciseScalars } from "../prune.ts";
import { acquireReference, releaseReference } from "../refs.ts";
import { type RegState, markRegConstZero, markRegKnownZero, markRegNotInit } from "../reg-state.ts";
import { type VerifierState, slotByte, slotFill } from "../state.ts";
import { KF_ITER_DESTROY, KF_ITER_NEW, KF_RCU_PROTECTED } from "./kfunc-ids.ts";
import type { KfuncMeta } from "./kfunc-meta.ts";
import { inRcuCs } from "./meta.ts";
import { frameOf, stackObjSpi } from "./stack-obj.ts";

const BPF_DW = 0x18;
const ITER_SLOTS = slotFill(c.STACK_ITER);
const EPROTO = 71;

const iterSpi = (env: Env, r: RegState, slots: number): number => stackObjSpi(env, r, "iter", slots);

/** btf_check_iter_arg: id of the `struct bpf_iter_*` that parameter `arg` points to; 0 when it does not. */
function iterArgType(btf: Btf, meta: KfuncMeta, arg: number): { id: number; size: number } | null {
  const param = meta.fn.proto.params[arg];
  const ptr = param === undefined ? undefined : skipModifiers(btf, param.type);
  if (ptr?.kind !== "ptr") return null;
  const t = skipModifiers(btf, ptr.type);
  return t.kind === "struct" && t.name.startsWith("bpf_iter_") ? { id: t.id, size: t.size } : null;
}

function markSlots(env: Env, meta: KfuncMeta, r: RegState, insnIdx: number, btfId: number, slots: number): void {
  const f = frameOf(env, r);
  const spi = iterSpi(env, r, slots);
  if (spi < 0) throw new VerifierReject(-spi);
  const id = acquireReference(env, insnIdx);
  for (let i = 0; i < slots; i++) {
    const s = f.slotForWrite(spi - i);
    markRegKnownZero(s.reg);
    s.reg.type = c.PTR_TO_STACK;
    if (meta.has(KF_RCU_PROTECTED)) s.reg.type |= inRcuCs(env) ? c.MEM_RCU : c.PTR_UNTRUSTED;
    s.reg.refObjId = i === 0 ? id : 0;
    s.reg.btf = meta.fn.btf;
    s.reg.btfId = btfId;
    s.reg.iterState = c.BPF_ITER_STATE_ACTIVE;
    s.reg.iterDepth = 0;
    s.types = ITER_SLOTS;
    env.liveStack.markWrite(f.frameno, spi - i);
    env.scratchSlot(spi - i);
  }
}

function unmarkSlots(env: Env, r: RegState, slots: number): void {
  const f = frameOf(env, r);
  const spi = iterSpi(env, r, slots);
  if (spi < 0) throw new VerifierReject(-spi);
  for (let i = 0; i < slots; i++) {
    if (i === 0) releaseReference(env, f.stack[spi]!.reg.refObjId);
    const s = f.slotForWrite(spi - i);
    markRegNotInit(s.reg, env.bpfCapable);
    s.types = 0;
    env.liveStack.markWrite(f.frameno, spi - i);
    env.scratchSlot(spi - i);
  }
}

function validUninit(env: Env, r: RegState, slots: number): boolean {
  const spi = iterSpi(env, r, slots);
  if (spi === -c.ERANGE) return true;
  if (spi < 0) return false;
  const f = frameOf(env, r);
  for (let i = 0; i < slots; i++) {
    const { types } = f.stack[spi - i]!;
    for (let j = 0; j < 8; j++) if (slotByte(types, j) === c.STACK_ITER) return false;
  }
  return true;
}

/** is_iter_reg_valid_init: 0 or an errno. */
function validInit(env: Env, r: RegState, btf: Btf, btfId: number, slots: number): number {
  const spi = iterSpi(env, r, slots);
  if (spi < 0) return c.EINVAL;
  const f = frameOf(env, r);
  for (let i = 0; i < slots; i++) {
    const s = f.stack[spi - i]!;
    if (s.reg.type & c.PTR_UNTRUSTED) return EPROTO;
    if ((s.reg.refObjId !== 0) !== (i === 0)) return c.EINVAL;
    if (s.reg.btf !== btf || s.reg.btfId !== btfId || s.types !== ITER_SLOTS) return c.EINVAL;
  }
  return 0;
}

/** process_iter_arg */
export function processIterArg(env: Env, regno: number, insnIdx: number, meta: KfuncMeta): void {
  const r = env.regs[regno]!;
  const { btf } = meta.fn;
  if (r.type !== c.PTR_TO_STACK) reject(env, c.EINVAL, `arg#${regno - 1} expected pointer to an iterator on stack\n`);
  const t = iterArgType(btf, meta, regno - 1);
  if (t === null) return reject(env, c.EINVAL, `expected valid iter pointer as arg #${regno - 1}\n`);
  const slots = t.size >>> 3;
  const what = iterTypeStr(btf, t.id);
  if (meta.has(KF_ITER_NEW)) {
    if (!validUninit(env, r, slots))
      reject(env, c.EINVAL, `expected uninitialized iter_${what} as arg #${regno - 1}\n`);
    for (let i = 0; i < slots * 8; i += 8)
      checkMemAccess(env, insnIdx, regno, i, BPF_DW, c.BPF_WRITE, -1, false, false);
    markSlots(env, meta, r, insnIdx, t.id, slots);
    return;
  }
  const err = validInit(env, r, btf, t.id, slots);
  if (err === c.EINVAL) reject(env, err, `expected an initialized iter_${what} as arg #${regno - 1}\n`);
  if (err === EPROTO) reject(env, err, `expected an RCU CS when using ${meta.fn.name}\n`);
  const spi = iterSpi(env, r, slots);
  if (spi < 0) throw new VerifierReject(-spi);
  for (let i = 0; i < slots; i++) {
    env.liveStack.markRead(r.frameno, env.insnIdx, spi - i);
    env.scratchSlot(spi - i);
  }
  meta.iter = { spi, frameno: r.frameno };
  meta.refObjId = frameOf(env, r).stack[spi]!.reg.refObjId;
  if (meta.has(KF_ITER_DESTROY)) unmarkSlots(env, r, slots);
}

/** The register that knows the iterator's state, for writing. */
function iterOf(st: VerifierState, meta: KfuncMeta): RegState {
  return st.frames[meta.iter.frameno]!.slotForWrite(meta.iter.spi).reg;
}

/** Flags of the iterator that `meta` stepped. */
export const iterRegType = (env: Env, meta: KfuncMeta): number =>
  env.state.frames[meta.iter.frameno]!.stack[meta.iter.spi]!.reg.type;

/** process_iter_next_call: one path goes on with the iterator drained and r0 NULL, another with one more element. */
export function processIterNextCall(env: Env, insnIdx: number, meta: KfuncMeta): void {
  const st = env.state;
  const iter = iterOf(st, meta);
  if (iter.iterState !== c.BPF_ITER_STATE_ACTIVE && iter.iterState !== c.BPF_ITER_STATE_DRAINED) {
    verifierBug(env, `unexpected iterator state ${iter.iterState} (${iterStateStr(iter.iterState)})`);
  }
  if (iter.iterState === c.BPF_ITER_STATE_ACTIVE) {
    const { parent } = st;
    if (parent === null || parent.insnIdx !== insnIdx) return verifierBug(env, "bad parent state for iter next call");
    const prev = findPrevEntry(env, parent, insnIdx);
    const queued = pushStack(env, insnIdx + 1, insnIdx, false);
    const next = iterOf(queued, meta);
    next.iterState = c.BPF_ITER_STATE_ACTIVE;
    next.iterDepth++;
    if (prev !== null) widenImpreciseScalars(env, prev, queued);
    markPtrNotNullReg(env, queued.frames[queued.curframe]!.regs[0]!);
  }
  iterOf(st, meta).iterState = c.BPF_ITER_STATE_DRAINED;
  markRegConstZero(st.cur.regs[0]!, !env.bpfCapable);
}
