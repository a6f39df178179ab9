/** Conditional jumps (check_cond_jmp_op): which way they may go and what each way teaches. */
import { frameInsnIdx } from "./state.ts";
import {
  BPF_JA,
  BPF_JCOND,
  BPF_JEQ,
  BPF_JGE,
  BPF_JGT,
  BPF_JLE,
  BPF_JLT,
  BPF_JMP,
  BPF_JMP32,
  BPF_JNE,
  BPF_K,
  BPF_X,
  classOf,
  codeOf,
  sourceOf,
} from "../asm/opcode.ts";
import {
  BPF_ADD_CONST,
  CONST_PTR_TO_MAP,
  EACCES,
  EINVAL,
  MAX_PACKET_OFF,
  MEM_ALLOC,
  MEM_RCU,
  NON_OWN_REF,
  PTR_MAYBE_NULL,
  PTR_TO_BTF_ID,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_END,
  PTR_TO_PACKET_META,
  PTR_TO_SOCKET,
  PTR_TO_SOCK_COMMON,
  PTR_TO_STACK,
  PTR_TO_TCP_SOCK,
  PTR_TO_XDP_SOCK,
  PTR_TRUSTED,
  PTR_UNTRUSTED,
  SCALAR_VALUE,
  SRC_OP,
  baseType,
  typeFlag,
} from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { pushStack } from "./explore-state.ts";
import { INSN_F_DST_REG_STACK, INSN_F_SRC_REG_STACK, pushJmpHistory } from "./history.ts";
import { printInsnState } from "./log-state.ts";
import { BPF_RES_SPIN_LOCK, BPF_SPIN_LOCK, BPF_TASK_WORK, BPF_TIMER, BPF_WORKQUEUE, recordHas } from "./map.ts";
import { u64 } from "./num.ts";
import { combineEqual, refineByConst } from "./old/refine.ts";
import { markChainPrecision } from "./precision.ts";
import { findPrevEntry, widenImpreciseScalars } from "./prune.ts";
import { sanitizeSpeculativePath } from "./ptr-alu.ts";
import { changeRegs, releaseReferenceNomark } from "./refs.ts";
import { checkRegArg, isPointerValue } from "./reg-arg.ts";
import { type RegState, markRegKnownS32 } from "./reg-state.ts";
import { regSetMinMax } from "./scalar/check.ts";
import { flipOpcode, isBranchTaken, syncLinkedReg } from "./scalar/index.ts";
import { type LinkedReg, type VerifierState, isSpilledSlot } from "./state.ts";

const BPF_MAP_TYPE_SOCKMAP = 15;
const BPF_MAP_TYPE_XSKMAP = 17;
const BPF_MAP_TYPE_SOCKHASH = 18;
const AT_PKT_END = -1;
const BEYOND_PKT_END = -2;
const LINKED_REGS_MAX = 6;

const isPktAny = (t: number): boolean => t === PTR_TO_PACKET || t === PTR_TO_PACKET_META || t === PTR_TO_PACKET_END;

/** is_trusted_reg */
export function isTrustedReg(r: RegState): boolean {
  if (r.refObjId !== 0) return true;
  const unsafe = (typeFlag(r.type) & ~(MEM_ALLOC | PTR_TRUSTED | NON_OWN_REF)) !== 0;
  const base = baseType(r.type);
  if (
    !unsafe &&
    (base === PTR_TO_SOCKET || base === PTR_TO_SOCK_COMMON || base === PTR_TO_TCP_SOCK || base === CONST_PTR_TO_MAP)
  )
    return true;
  return (r.type & (MEM_ALLOC | PTR_TRUSTED | NON_OWN_REF)) !== 0 && !unsafe;
}

/** reg_not_null: this pointer is surely not NULL. */
export function regNotNull(r: RegState): boolean {
  if (r.type & PTR_MAYBE_NULL) return false;
  switch (baseType(r.type)) {
    case PTR_TO_SOCKET:
    case PTR_TO_TCP_SOCK:
    case PTR_TO_XDP_SOCK:
    case PTR_TO_MAP_VALUE:
    case PTR_TO_MAP_KEY:
    case PTR_TO_SOCK_COMMON:
    case CONST_PTR_TO_MAP:
      return true;
    case PTR_TO_BTF_ID:
      return isTrustedReg(r);
    case PTR_TO_MEM:
      return (r.type & PTR_UNTRUSTED) === 0;
    default:
      return false;
  }
}

/** mark_ptr_not_null_reg */
export function markPtrNotNullReg(_env: Env, r: RegState): void {
  if (baseType(r.type) === PTR_TO_MAP_VALUE) {
    const map = r.map!;
    if (map.inner !== null) {
      r.type = CONST_PTR_TO_MAP;
      r.map = map.inner;
      if (recordHas(map.inner.record, BPF_TIMER | BPF_WORKQUEUE | BPF_TASK_WORK)) r.mapUid = r.id;
    } else if (map.type === BPF_MAP_TYPE_XSKMAP) r.type = PTR_TO_XDP_SOCK;
    else if (map.type === BPF_MAP_TYPE_SOCKMAP || map.type === BPF_MAP_TYPE_SOCKHASH) r.type = PTR_TO_SOCKET;
    else r.type = PTR_TO_MAP_VALUE;
    return;
  }
  r.type &= ~PTR_MAYBE_NULL;
}

/** mark_ptr_or_null_regs: every register with the same id is NULL (a scalar 0) or a valid pointer. */
function markPtrOrNullRegs(env: Env, st: VerifierState, regno: number, isNull: boolean): void {
  const r0 = st.frames[st.curframe]!.regs[regno]!;
  const refObjId = r0.refObjId;
  const id = r0.id;
  if (refObjId !== 0 && refObjId === id && isNull) releaseReferenceNomark(env, st, id);
  changeRegs(
    st,
    (r) => {
      if ((r.type & PTR_MAYBE_NULL) === 0 || r.id !== id) return false;
      if ((r.type & MEM_RCU) === 0 && r.id === 0) return false;
      if ((r.sminLo | r.sminHi | r.smaxLo | r.smaxHi | r.maskLo | r.maskHi | r.valLo | r.valHi) !== 0) return false;
      const alloc = (r.type & MEM_ALLOC) !== 0;
      return alloc || r.off === 0;
    },
    (r) => {
      if (isNull) {
        r.type = SCALAR_VALUE;
        r.id = 0;
        r.refObjId = 0;
        return;
      }
      markPtrNotNullReg(env, r);
      if (!recordHas(env.seams.regBtfRecord(env, r), BPF_SPIN_LOCK | BPF_RES_SPIN_LOCK)) r.id = 0;
    },
  );
}

/** is_branch_taken: 1 taken, 0 not, -1 unknown. */
function branchTaken(r1: RegState, r2: RegState, op: number, isJmp32: boolean): number {
  if (isPktAny(r1.type) && isPktAny(r2.type) && !isJmp32) return pktBranchTaken(r1, r2, op);
  if (r1.type !== SCALAR_VALUE || r2.type !== SCALAR_VALUE) {
    if (isJmp32) return -1;
    let ptr = r1;
    let val = r2;
    const isConst = (r: RegState): boolean => r.type === SCALAR_VALUE && (r.maskLo | r.maskHi) === 0;
    if (!isConst(val)) {
      ptr = r2;
      val = r1;
    }
    if (!isConst(val) || !regNotNull(ptr) || (val.valLo | val.valHi) !== 0) return -1;
    return op === BPF_JEQ ? 0 : op === BPF_JNE ? 1 : -1;
  }
  return isBranchTaken(r1, r2, op, isJmp32);
}

function pktBranchTaken(dst: RegState, src: RegState, opIn: number): number {
  let pkt: RegState;
  let op = opIn;
  if (src.type === PTR_TO_PACKET_END) pkt = dst;
  else if (dst.type === PTR_TO_PACKET_END) {
    pkt = src;
    op = flipOpcode(op);
  } else return -1;
  if (pkt.range >= 0) return -1;
  if (op === BPF_JLE || op === BPF_JGT) {
    if (pkt.range === BEYOND_PKT_END) return op === BPF_JGT ? 1 : 0;
  } else if (op === BPF_JLT || op === BPF_JGE) return op === BPF_JGE ? 1 : 0;
  return -1;
}

/** find_good_pkt_pointers: registers of the same packet position gain range. */
function findGoodPktPointers(st: VerifierState, dst: RegState, type: number, rangeRightOpen: boolean): void {
  if (dst.off < 0 || (dst.off === 0 && rangeRightOpen)) return;
  const umax = u64(dst.umaxLo, dst.umaxHi);
  if (umax > MAX_PACKET_OFF || umax + dst.off > MAX_PACKET_OFF) return;
  const range = dst.off + (rangeRightOpen ? 1 : 0);
  const id = dst.id;
  changeRegs(
    st,
    (r) => r.type === type && r.id === id && r.range < range,
    (r) => {
      r.range = range;
    },
  );
}

function markPktEnd(st: VerifierState, regno: number, beyond: boolean): void {
  const r = st.frames[st.curframe]!.regs[regno]!;
  if (r.type === PTR_TO_PACKET) r.range = beyond ? BEYOND_PKT_END : AT_PKT_END;
}

const isInitPkt = (r: RegState): boolean =>
  r.type === PTR_TO_PACKET && r.id === 0 && r.off === 0 && (r.valLo | r.valHi | r.maskLo | r.maskHi) === 0;

/** try_match_pkt_pointers: a comparison of a packet pointer with the packet's end. */
function tryMatchPktPointers(
  env: Env,
  i: number,
  dst: RegState,
  src: RegState,
  self: VerifierState,
  other: VerifierState,
): boolean {
  const code = env.code[i]!;
  if (sourceOf(code) !== BPF_X || classOf(code) === BPF_JMP32) return false;
  const dstFirst =
    (dst.type === PTR_TO_PACKET && src.type === PTR_TO_PACKET_END) ||
    (dst.type === PTR_TO_PACKET_META && isInitPkt(src));
  const srcFirst =
    (dst.type === PTR_TO_PACKET_END && src.type === PTR_TO_PACKET) ||
    (isInitPkt(dst) && src.type === PTR_TO_PACKET_META);
  if (!dstFirst && !srcFirst) return false;
  const d = env.dst[i]!;
  const s = env.src[i]!;
  switch (codeOf(code)) {
    case BPF_JGT:
      if (dstFirst) {
        findGoodPktPointers(self, dst, dst.type, false);
        markPktEnd(other, d, true);
      } else {
        findGoodPktPointers(other, src, src.type, true);
        markPktEnd(self, s, false);
      }
      return true;
    case BPF_JLT:
      if (dstFirst) {
        findGoodPktPointers(other, dst, dst.type, true);
        markPktEnd(self, d, false);
      } else {
        findGoodPktPointers(self, src, src.type, false);
        markPktEnd(other, s, true);
      }
      return true;
    case BPF_JGE:
      if (dstFirst) {
        findGoodPktPointers(self, dst, dst.type, true);
        markPktEnd(other, d, false);
      } else {
        findGoodPktPointers(other, src, src.type, false);
        markPktEnd(self, s, true);
      }
      return true;
    case BPF_JLE:
      if (dstFirst) {
        findGoodPktPointers(other, dst, dst.type, false);
        markPktEnd(self, d, true);
      } else {
        findGoodPktPointers(self, src, src.type, true);
        markPktEnd(other, s, false);
      }
      return true;
    default:
      return false;
  }
}

/** collect_linked_regs: appends to `set` the live scalars linked to `id`; those beyond six lose their id. */
function collectLinkedRegs(env: Env, st: VerifierState, idIn: number, set: LinkedReg[]): void {
  const id = idIn & ~BPF_ADD_CONST;
  for (let i = st.curframe; i >= 0; i--) {
    const f = st.frames[i]!;
    const live = env.has.widerLinks ? env.aux[frameInsnIdx(st, i)]!.liveRegsBefore : -1;
    for (let j = 0; j < 10; j++) {
      if (((live >>> j) & 1) === 0) continue;
      const r = f.regs[j]!;
      if (r.type !== SCALAR_VALUE || (r.id & ~BPF_ADD_CONST) !== id) continue;
      if (set.length < LINKED_REGS_MAX) set.push({ frameno: i, regno: j, isReg: true });
      else {
        r.id = 0;
        r.off = 0;
      }
    }
    for (let j = 0; j < f.stack.length; j++) {
      const s = f.stack[j]!;
      if (!isSpilledSlot(s) || s.reg.type !== SCALAR_VALUE || (s.reg.id & ~BPF_ADD_CONST) !== id) continue;
      if (set.length < LINKED_REGS_MAX) set.push({ frameno: i, regno: j, isReg: false });
      else {
        const w = f.slotForWrite(j).reg;
        w.id = 0;
        w.off = 0;
      }
    }
  }
}

/** sync_linked_regs: what is now known of `known` holds for the registers linked to it. */
function syncLinkedRegs(st: VerifierState, known: RegState, set: readonly LinkedReg[]): void {
  for (const e of set) {
    const f = st.frames[e.frameno]!;
    const cur = e.isReg ? f.regs[e.regno]! : f.stack[e.regno]!.reg;
    if (cur.type !== SCALAR_VALUE || cur === known) continue;
    if ((cur.id & ~BPF_ADD_CONST) !== (known.id & ~BPF_ADD_CONST)) continue;
    syncLinkedReg(e.isReg ? cur : f.slotForWrite(e.regno).reg, known);
  }
}

function mayGoto(env: Env, i: number): void {
  const off = env.off[i]!;
  if (env.code[i] !== (BPF_JMP | BPF_JCOND) || env.src[i] !== 0 || env.dst[i] !== 0 || env.imm[i] !== 0) {
    reject(env, EINVAL, `invalid may_goto imm ${env.imm[i]!}\n`);
  }
  const prev = findPrevEntry(env, env.state.parent, i);
  const queued = pushStack(env, i + 1, i, false);
  queued.mayGotoDepth++;
  if (prev !== null) widenImpreciseScalars(env, prev, queued);
  env.insnIdx += off;
}

/** Pointers compared for equality: one that is not NULL makes the other so. */
function liftNull(
  env: Env,
  i: number,
  op: number,
  dst: RegState,
  src: RegState,
  regs: RegState[],
  otherRegs: RegState[],
): void {
  const eq = op === BPF_JEQ ? otherRegs : op === BPF_JNE ? regs : null;
  if (eq === null) return;
  if (regNotNull(dst) && (src.type & PTR_MAYBE_NULL) !== 0) markPtrNotNullReg(env, eq[env.src[i]!]!);
  if (regNotNull(src) && (dst.type & PTR_MAYBE_NULL) !== 0) markPtrNotNullReg(env, eq[env.dst[i]!]!);
}

/** check_cond_jmp_op for the insn at env.insnIdx; leaves env.insnIdx one before where to go on. */
export function checkCondJmpOp(env: Env, i: number): void {
  const code = env.code[i]!;
  const op = codeOf(code);
  if (op === BPF_JA || op > BPF_JCOND) reject(env, EINVAL, `invalid BPF_JMP/JMP32 opcode ${op.toString(16)}\n`);
  if (op === BPF_JCOND && !env.has.mayGoto) reject(env, EINVAL, `invalid BPF_JMP/JMP32 opcode ${op.toString(16)}\n`);
  if (op === BPF_JCOND) {
    mayGoto(env, i);
    return;
  }
  const self = env.state;
  const regs = env.regs;
  const dstRegno = env.dst[i]!;
  const srcRegno = env.src[i]!;
  checkRegArg(env, dstRegno, SRC_OP);
  const dst = regs[dstRegno]!;
  const isX = sourceOf(code) !== BPF_K;
  let src: RegState;
  let flags = 0;
  if (isX) {
    if (env.imm[i] !== 0) reject(env, EINVAL, "BPF_JMP/JMP32 uses reserved fields\n");
    checkRegArg(env, srcRegno, SRC_OP);
    src = regs[srcRegno]!;
    if (!(isPktAny(dst.type) && isPktAny(src.type)) && isPointerValue(env, src)) {
      reject(env, EACCES, `R${srcRegno} pointer comparison prohibited\n`);
    }
    if (src.type === PTR_TO_STACK) flags |= INSN_F_SRC_REG_STACK;
  } else {
    if (srcRegno !== 0) reject(env, EINVAL, "BPF_JMP/JMP32 uses reserved fields\n");
    src = env.fakeReg[0];
    markRegKnownS32(src, env.imm[i]!);
    src.type = SCALAR_VALUE;
    src.precise = false;
  }
  if (dst.type === PTR_TO_STACK) flags |= INSN_F_DST_REG_STACK;
  if (flags !== 0 && env.has.stackHistory) pushJmpHistory(env, self, flags, null);

  const isJmp32 = classOf(code) === BPF_JMP32;
  const pred = env.has.rangesCompared
    ? branchTaken(dst, src, op, isJmp32)
    : branchTakenByConst(dst, src, op, isJmp32, isX);
  if (pred >= 0) {
    if (dst.type === SCALAR_VALUE) markChainPrecision(env, dstRegno);
    if (isX && src.type === SCALAR_VALUE) markChainPrecision(env, srcRegno);
    const off = env.off[i]!;
    if (!env.bypassSpecV1) sanitizeSpeculativePath(env, i, pred === 1 ? i + 1 : i + off + 1, true);
    if (env.log.any) logState(env);
    if (pred === 1) env.insnIdx += off;
    return;
  }

  if (!env.has.rangesCompared) {
    branchByConst(env, i, dst, src, op, isJmp32, isX);
    return;
  }
  const linked: LinkedReg[] = [];
  if (isX && src.type === SCALAR_VALUE && src.id !== 0) collectLinkedRegs(env, self, src.id, linked);
  if (dst.type === SCALAR_VALUE && dst.id !== 0) collectLinkedRegs(env, self, dst.id, linked);
  if (linked.length > 1 && env.has.linkHistory) pushJmpHistory(env, self, 0, linked);

  const other = pushStack(env, i + env.off[i]! + 1, i, false);
  const otherRegs = other.frames[other.curframe]!.regs;
  if (isX) regSetMinMax(env, otherRegs[dstRegno]!, otherRegs[srcRegno]!, dst, src, op, isJmp32);
  else {
    env.fakeReg[1].copyFrom(src);
    regSetMinMax(env, otherRegs[dstRegno]!, env.fakeReg[0], dst, env.fakeReg[1], op, isJmp32);
  }
  if (isX && src.type === SCALAR_VALUE && src.id !== 0) {
    syncLinkedRegs(self, src, linked);
    syncLinkedRegs(other, otherRegs[srcRegno]!, linked);
  }
  if (dst.type === SCALAR_VALUE && dst.id !== 0) {
    syncLinkedRegs(self, dst, linked);
    syncLinkedRegs(other, otherRegs[dstRegno]!, linked);
  }
  if (
    !isJmp32 &&
    isX &&
    src.type !== SCALAR_VALUE &&
    dst.type !== SCALAR_VALUE &&
    baseType(src.type) !== PTR_TO_BTF_ID &&
    baseType(dst.type) !== PTR_TO_BTF_ID
  ) {
    liftNull(env, i, op, dst, src, regs, otherRegs);
  }
  if (!isJmp32 && !isX && env.imm[i] === 0 && (op === BPF_JEQ || op === BPF_JNE) && (dst.type & PTR_MAYBE_NULL) !== 0) {
    markPtrOrNullRegs(env, self, dstRegno, op === BPF_JNE);
    markPtrOrNullRegs(env, other, dstRegno, op === BPF_JEQ);
  } else if (!tryMatchPktPointers(env, i, dst, regs[srcRegno]!, self, other) && isPointerValue(env, regs[dstRegno]!)) {
    reject(env, EACCES, `R${dstRegno} pointer comparison prohibited\n`);
  }
  if (env.log.any) logState(env);
}

const isConstOf = (r: RegState, is32: boolean): boolean =>
  r.type === SCALAR_VALUE && (r.maskLo | (is32 ? 0 : r.maskHi)) === 0;

/** is_branch_taken before 6.8: the right side is a constant, or both are packet pointers. */
function branchTakenByConst(dst: RegState, src: RegState, op: number, is32: boolean, isX: boolean): number {
  if (isX && !isConstOf(src, is32)) {
    return isPktAny(dst.type) && isPktAny(src.type) && !is32 ? pktBranchTaken(dst, src, op) : -1;
  }
  if (dst.type !== SCALAR_VALUE) {
    const zero = (src.valLo | (is32 ? 0 : src.valHi)) === 0;
    if (!NEVER_NULL.has(dst.type) || !zero) return -1;
    return op === BPF_JEQ ? 0 : op === BPF_JNE ? 1 : -1;
  }
  return isBranchTaken(dst, src, op, is32);
}

/** reg_type_not_null */
const NEVER_NULL: ReadonlySet<number> = new Set([
  PTR_TO_SOCKET,
  PTR_TO_TCP_SOCK,
  PTR_TO_MAP_VALUE,
  PTR_TO_MAP_KEY,
  PTR_TO_SOCK_COMMON,
]);

/** find_equal_scalars: registers with the id of `known` are the same number. */
function findEqualScalars(st: VerifierState, known: RegState): void {
  changeRegs(
    st,
    (r) => r !== known && r.type === SCALAR_VALUE && r.id === known.id,
    (r) => {
      const { subregDef } = r;
      r.copyFrom(known);
      r.subregDef = subregDef;
    },
  );
}

/** Both ways of a conditional jump that may go either, before 6.8. */
function branchByConst(
  env: Env,
  i: number,
  dst: RegState,
  src: RegState,
  op: number,
  is32: boolean,
  isX: boolean,
): void {
  const self = env.state;
  const regs = env.regs;
  const dstRegno = env.dst[i]!;
  const srcRegno = env.src[i]!;
  const other = pushStack(env, i + env.off[i]! + 1, i, false);
  const otherRegs = other.frames[other.curframe]!.regs;
  if (isX) {
    if (dst.type === SCALAR_VALUE && src.type === SCALAR_VALUE) {
      if (isConstOf(src, is32)) refineByConst(otherRegs[dstRegno]!, dst, src, op, is32);
      else if (isConstOf(dst, is32)) {
        refineByConst(otherRegs[srcRegno]!, src, dst, flipOpcode(op), is32);
      } else if (!is32 && op === BPF_JEQ) combineEqual(otherRegs[srcRegno]!, otherRegs[dstRegno]!);
      else if (!is32 && op === BPF_JNE) combineEqual(src, dst);
      if (src.id !== 0) {
        findEqualScalars(self, src);
        findEqualScalars(other, otherRegs[srcRegno]!);
      }
    }
  } else if (dst.type === SCALAR_VALUE) refineByConst(otherRegs[dstRegno]!, dst, src, op, is32);
  if (dst.type === SCALAR_VALUE && dst.id !== 0) {
    findEqualScalars(self, dst);
    findEqualScalars(other, otherRegs[dstRegno]!);
  }
  if (!is32 && !isX && env.imm[i] === 0 && (op === BPF_JEQ || op === BPF_JNE) && (dst.type & PTR_MAYBE_NULL) !== 0) {
    markPtrOrNullRegs(env, self, dstRegno, op === BPF_JNE);
    markPtrOrNullRegs(env, other, dstRegno, op === BPF_JEQ);
  } else if (!tryMatchPktPointers(env, i, dst, regs[srcRegno]!, self, other) && isPointerValue(env, regs[dstRegno]!)) {
    reject(env, EACCES, `R${dstRegno} pointer comparison prohibited\n`);
  }
  if (env.log.any) logState(env);
}

function logState(env: Env): void {
  if (env.log.level1 || env.log.level2) printInsnState(env, env.state, env.state.curframe);
}
