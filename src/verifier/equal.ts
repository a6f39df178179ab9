/** When one state covers another (states_equal), and what to do with unneeded parts of saved states. */
import { frameInsnIdx } from "./state.ts";
import {
  BPF_ADD_CONST,
  MAX_BPF_REG,
  NOT_INIT,
  PTR_TO_ARENA,
  PTR_TO_BUF,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_STACK,
  PTR_TO_TP_BUFFER,
  REF_TYPE_LOCK_MASK,
  SCALAR_VALUE,
  STACK_DYNPTR,
  STACK_INVALID,
  STACK_IRQ_FLAG,
  STACK_ITER,
  STACK_MISC,
  STACK_SPILL,
  STACK_ZERO,
  baseType,
} from "./constants.ts";
import type { Env } from "./env.ts";
import { sameHead, sameNumber } from "./equal-reg.ts";
import type { IdMap } from "./id-map.ts";
import { markDone, regIsRead, slotIsRead } from "./live-marks.ts";
import { statesEqualLoosely } from "./old/equal.ts";
import { propagatePrecisionOneByOne } from "./old/precision.ts";
import { markChain } from "./precision.ts";
import { RegState, markRegNotInit, markRegUnknownImprecise } from "./reg-state.ts";
import { rangeWithin, tnumIn } from "./scalar/index.ts";

import { isSpilledScalar64 } from "./stack.ts";
import { type FuncState, type StackSlot, type VerifierState, isSpilledSlot, slotByte } from "./state.ts";

export const NOT_EXACT = 0;
export const EXACT = 1;
export const RANGE_WITHIN = 2;

function checkIds(oldId: number, curId: number, m: IdMap): boolean {
  if ((oldId === 0) !== (curId === 0)) return false;
  if (oldId === 0) return true;
  for (let i = 0; i < m.cnt; i++) {
    if (m.old[i] === oldId) return m.cur[i] === curId;
    if (m.cur[i] === curId) return false;
  }
  m.old[m.cnt] = oldId;
  m.cur[m.cnt] = curId;
  m.cnt++;
  return true;
}

/** Ids of scalars: an old scalar without one is linked to nothing; a current one without one stands for a fresh id. */
function checkScalarIds(oldId: number, curId: number, m: IdMap): boolean {
  if (oldId === 0) return true;
  const c = curId !== 0 ? curId : ++m.tmpGen;
  if (!checkIds(oldId, c, m)) return false;
  return (oldId & BPF_ADD_CONST) === 0 || checkIds(oldId & ~BPF_ADD_CONST, c & ~BPF_ADD_CONST, m);
}

/** regs_exact */
export function regsExact(a: RegState, b: RegState, m: IdMap): boolean {
  return sameHead(a, b) && sameNumber(a, b) && checkIds(a.id, b.id, m) && checkIds(a.refObjId, b.refObjId, m);
}

/** regsafe: whatever is safe with `o` is safe with `c`. */
function regSafe(env: Env, o: RegState, c: RegState, m: IdMap, exact: number): boolean {
  if (exact === EXACT) return regsExact(o, c, m);
  if (o.type === NOT_INIT && (exact === NOT_EXACT || c.type === NOT_INIT)) return true;
  if (o.type !== c.type) return false;
  switch (baseType(o.type)) {
    case SCALAR_VALUE:
      if (env.exploreAluLimits) return sameHead(o, c) && sameNumber(o, c) && checkScalarIds(o.id, c.id, m);
      if (!o.precise && exact === NOT_EXACT) return true;
      if (o.id !== 0 && ((o.id ^ c.id) & BPF_ADD_CONST) !== 0) return false;
      if ((o.id & BPF_ADD_CONST) !== 0 && o.off !== c.off) return false;
      return (!env.has.scalarIdsCompared || checkScalarIds(o.id, c.id, m)) && rangeWithin(o, c) && tnumIn(o, c);
    case PTR_TO_MAP_KEY:
    case PTR_TO_MAP_VALUE:
    case PTR_TO_MEM:
    case PTR_TO_BUF:
    case PTR_TO_TP_BUFFER:
      return (
        sameHead(o, c) &&
        rangeWithin(o, c) &&
        tnumIn(o, c) &&
        checkIds(o.id, c.id, m) &&
        checkIds(o.refObjId, c.refObjId, m)
      );
    case PTR_TO_PACKET_META:
    case PTR_TO_PACKET:
      // AT_PKT_END and BEYOND_PKT_END are below zero, and alike only among themselves.
      if ((o.range < 0 || c.range < 0 ? o.range !== c.range : o.range > c.range) || o.off !== c.off) return false;
      return checkIds(o.id, c.id, m) && rangeWithin(o, c) && tnumIn(o, c);
    case PTR_TO_STACK:
      return regsExact(o, c, m) && o.frameno === c.frameno;
    case PTR_TO_ARENA:
      return true;
    default:
      return regsExact(o, c, m);
  }
}

const unboundReg = new RegState();
markRegUnknownImprecise(unboundReg);

/** The scalar that a load of the whole slot gives, if it is one. */
function scalarOfSlot(env: Env, s: StackSlot): RegState | null {
  if (isSpilledScalar64(s)) return s.reg;
  for (let i = 0; i < 8; i++) {
    const t = slotByte(s.types, i);
    if (t !== STACK_MISC && !(t === STACK_INVALID && env.allowUninitStack)) return null;
  }
  return unboundReg;
}

function stackSafe(env: Env, old: FuncState, cur: FuncState, m: IdMap, exact: number): boolean {
  const n = old.stack.length;
  for (let spi = 0; spi < n; spi++) {
    const o = old.stack[spi]!;
    const c = spi < cur.stack.length ? cur.stack[spi]! : null;
    if (exact !== NOT_EXACT && (c === null || o.types !== c.types)) {
      // Bytes are compared one by one, each only after the ones before it passed the checks below.
      return false;
    }
    if (o.types === 0 || (exact === NOT_EXACT && old.marks !== null && !slotIsRead(old, spi))) continue;
    if (!slotSafe(env, o, c, m, exact)) return false;
  }
  return true;
}

function slotSafe(env: Env, o: StackSlot, c: StackSlot | null, m: IdMap, exact: number): boolean {
  for (let i = 0; i < 8; i++) {
    const ot = slotByte(o.types, i);
    if (ot === STACK_INVALID) continue;
    if (env.allowUninitStack && ot === STACK_MISC) continue;
    if (c === null) return false;
    const oldReg = scalarOfSlot(env, o);
    if (oldReg !== null) {
      const curReg = scalarOfSlot(env, c);
      if (curReg !== null) return regSafe(env, oldReg, curReg, m, exact);
    }
    const ct = slotByte(c.types, i);
    if (ot === STACK_MISC && ct === STACK_ZERO) continue;
    if (ot !== ct) return false;
    if (i !== 7) continue;
    switch (ot) {
      case STACK_SPILL:
        if (!regSafe(env, o.reg, c.reg, m, exact)) return false;
        break;
      case STACK_DYNPTR:
        if (
          o.reg.dynptrType !== c.reg.dynptrType ||
          o.reg.dynptrFirstSlot !== c.reg.dynptrFirstSlot ||
          !checkIds(o.reg.refObjId, c.reg.refObjId, m)
        )
          return false;
        break;
      case STACK_ITER:
        if (
          o.reg.btf !== c.reg.btf ||
          o.reg.btfId !== c.reg.btfId ||
          o.reg.iterState !== c.reg.iterState ||
          !checkIds(o.reg.refObjId, c.reg.refObjId, m)
        )
          return false;
        break;
      case STACK_IRQ_FLAG:
        if (!checkIds(o.reg.refObjId, c.reg.refObjId, m) || o.reg.irqKfuncClass !== c.reg.irqKfuncClass) return false;
        break;
      case STACK_MISC:
      case STACK_ZERO:
        break;
      default:
        return false;
    }
  }
  return true;
}

function refSafe(old: VerifierState, cur: VerifierState, m: IdMap): boolean {
  if (
    old.refs.length !== cur.refs.length ||
    old.activeLocks !== cur.activeLocks ||
    old.activePreemptLocks !== cur.activePreemptLocks ||
    old.activeRcuLock !== cur.activeRcuLock ||
    !checkIds(old.activeIrqId, cur.activeIrqId, m) ||
    !checkIds(old.activeLockId, cur.activeLockId, m) ||
    old.activeLockPtr !== cur.activeLockPtr
  ) {
    return false;
  }
  for (let i = 0; i < old.refs.length; i++) {
    const o = old.refs[i]!;
    const c = cur.refs[i]!;
    if (!checkIds(o.id, c.id, m) || o.type !== c.type) return false;
    if ((o.type & REF_TYPE_LOCK_MASK) !== 0 && o.ptr !== c.ptr) return false;
  }
  return true;
}

/** Registers of frame `i` of an explored state that another state has to match, as bits. */
function comparedRegs(env: Env, old: VerifierState, i: number, exact: number): number {
  if (env.has.staticRegLiveness) return env.aux[frameInsnIdx(old, i)]!.liveRegsBefore;
  let regs = 0;
  for (let r = 0; r < MAX_BPF_REG; r++) if (exact !== NOT_EXACT || regIsRead(old.frames[i]!, r)) regs |= 1 << r;
  return regs;
}

/** states_equal: `cur` needs no exploration because `old` was explored. */
export function statesEqual(env: Env, old: VerifierState, cur: VerifierState, exact: number): boolean {
  if (!env.has.typedStates) return statesEqualLoosely(env, old, cur);
  if (old.curframe !== cur.curframe) return false;
  const m = env.idMap;
  m.reset(env.idGen);
  if (old.speculative && !cur.speculative) return false;
  if (old.inSleepable !== cur.inSleepable) return false;
  if (!refSafe(old, cur, m)) return false;
  for (let i = 0; i <= old.curframe; i++) {
    const fo = old.frames[i]!;
    const fc = cur.frames[i]!;
    if (fo.callsite !== fc.callsite || fo.callbackDepth > fc.callbackDepth) return false;
    const live = comparedRegs(env, old, i, exact);
    for (let r = 0; r < MAX_BPF_REG; r++) {
      if (((live >>> r) & 1) !== 0 && !regSafe(env, fo.regs[r]!, fc.regs[r]!, m, exact)) return false;
    }
    if (!stackSafe(env, fo, fc, m, exact)) return false;
  }
  return true;
}

/** states_maybe_looping: the registers of the current frame have not changed at all. */
export function statesMaybeLooping(old: VerifierState, cur: VerifierState): boolean {
  const fr = cur.curframe;
  if (old.curframe !== fr) return false;
  const fo = old.frames[fr]!;
  const fc = cur.frames[fr]!;
  for (let i = 0; i < MAX_BPF_REG; i++) {
    const a = fo.regs[i]!;
    const b = fc.regs[i]!;
    if (a.id !== b.id || a.refObjId !== b.refObjId || !sameNumber(a, b) || !sameHead(a, b)) return false;
  }
  return true;
}

/** clean_verifier_state: registers and slots that nobody reads any more are forgotten. */
export function cleanState(env: Env, st: VerifierState): void {
  env.liveStack.queryInit(st);
  st.cleaned = true;
  const marked = !env.has.staticStackLiveness;
  for (let i = 0; i <= st.curframe; i++) {
    const f = st.frames[i]!;
    const live = comparedRegs(env, st, i, NOT_EXACT);
    if (marked) markDone(f);
    for (let r = 0; r < 10; r++) {
      if (((live >>> r) & 1) === 0 && f.regs[r]!.type !== NOT_INIT) markRegNotInit(f.regs[r]!, env.bpfCapable);
    }
    for (let spi = 0; spi < f.stack.length; spi++) {
      if (f.stack[spi]!.types === 0 || env.liveStack.slotAlive(f.frameno, spi)) continue;
      f.clearSlot(spi);
    }
  }
}

/** propagate_precision: what is precise in `old` is so on the way to `cur`. Returns whether marks were added. */
export function propagatePrecision(env: Env, old: VerifierState, cur: VerifierState): boolean {
  if (!env.has.callPrecision) {
    propagatePrecisionOneByOne(env, old);
    return false;
  }
  const level2 = env.log.level2;
  for (let fr = old.curframe; fr >= 0; fr--) {
    const f = old.frames[fr]!;
    let first = true;
    const note = (what: string): void => {
      if (level2) env.log.write(first ? `frame ${fr}: propagating ${what}` : `,${what}`);
      first = false;
    };
    for (let i = 0; i < 10; i++) {
      const r = f.regs[i]!;
      if (r.type !== SCALAR_VALUE || !r.precise || (f.marks !== null && !regIsRead(f, i))) continue;
      note(`r${i}`);
      env.bt.setReg(fr, i);
    }
    for (let i = 0; i < f.stack.length; i++) {
      const s = f.stack[i]!;
      if (!isSpilledSlot(s) || s.reg.type !== SCALAR_VALUE || !s.reg.precise) continue;
      if (f.marks !== null && !slotIsRead(f, i)) continue;
      note(`fp${-(i + 1) * 8}`);
      env.bt.setSlot(fr, i);
    }
    if (!first && level2) env.log.write("\n");
  }
  return markChain(env, cur, -1);
}
