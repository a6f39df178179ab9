/** Calls of helpers (check_helper_call): arguments, effects, what r0 becomes. */
import { BPF_ATTACH_TYPE } from "../../uapi/attach-types.ts";
import { BPF_FUNC } from "../../uapi/helpers.ts";
import { BPF_MAP_TYPE } from "../../uapi/map-types.ts";
import { BPF_PROG_TYPE } from "../../uapi/prog-types.ts";
import { isKernelBtf, isStruct, protoOf, resolveSize, skipModifiers, structId, typeById } from "../btf/types.ts";
import * as c from "../constants.ts";
import { type Env, reject, verifierBug } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import { pushStack } from "../explore-state.ts";
import { clearCallerSavedRegs, enterPendingCallback, prepareFuncExit, pushCallbackCall } from "../frames.ts";
import { regTypeStr } from "../log-state.ts";
import { BPF_RES_SPIN_LOCK, BPF_SPIN_LOCK, BPF_KPTR_PERCPU, type VMap, recordHas } from "../map.ts";
import { checkMemAccess } from "../mem.ts";
import { u64 } from "../num.ts";
import { markChainPrecision } from "../precision.ts";
import {
  acquireReference,
  changeRegs,
  checkResourceLeak,
  clearAllPktPointers,
  markRegInvalid,
  releaseReference,
  releaseReferenceNomark,
} from "../refs.ts";
import { type RegState, markRegKnownZero, markRegUnknown } from "../reg-state.ts";
import { regBoundsSanity } from "../scalar/check.ts";
import { regBoundsSync } from "../scalar/index.ts";
import * as a from "./arg-types.ts";
import * as cb from "./callbacks.ts";
import { checkSnprintfCall } from "./const-str.ts";
import { dynptrGetType, dynptrState, unmarkStackSlotsDynptr } from "./dynptr.ts";
import { factsOf } from "./facts.ts";
import { canElideNullness, checkFuncArg } from "./helper-args.ts";
import { helperAllowedHere, helperExistsHere } from "./helper-allowed.ts";
import { checkMapFuncCompatibility } from "./map-compat.ts";
import { CallMeta, inRcuCs, inSleepable, inSleepableContext } from "./meta.ts";
import { type HelperFn, funcIdName, helperFn } from "./protos.ts";

const F = BPF_FUNC;
const BPF_B = 0x10;
const MAX_ERRNO = 4095;
const BPF_F_RDONLY_PROG = 1 << 7;
/** nr_cpu_ids - 1 when nothing says how many processors there are: what the log of bpf_get_smp_processor_id shows. */
const DEFAULT_MAX_CPU = 8191;

const PTR_CAST: ReadonlySet<number> = new Set([
  F.tcp_sock,
  F.sk_fullsock,
  F.skc_to_tcp_sock,
  F.skc_to_tcp6_sock,
  F.skc_to_udp6_sock,
  F.skc_to_mptcp_sock,
  F.skc_to_tcp_timewait_sock,
  F.skc_to_tcp_request_sock,
]);
const ACQUIRE: ReadonlySet<number> = new Set([
  F.sk_lookup_tcp,
  F.sk_lookup_udp,
  F.skc_lookup_tcp,
  F.ringbuf_reserve,
  F.kptr_xchg,
]);
const RECORDS_MAP: ReadonlySet<number> = new Set([
  F.tail_call,
  F.map_lookup_elem,
  F.map_update_elem,
  F.map_delete_elem,
  F.map_push_elem,
  F.map_pop_elem,
  F.map_peek_elem,
  F.for_each_map_elem,
  F.redirect_map,
  F.map_lookup_percpu_elem,
]);
const WRITES_MAP: ReadonlySet<number> = new Set([
  F.map_delete_elem,
  F.map_update_elem,
  F.map_push_elem,
  F.map_pop_elem,
]);
const BOUNDED_BY_SIZE: ReadonlySet<number> = new Set([
  F.get_stack,
  F.get_task_stack,
  F.probe_read_str,
  F.probe_read_kernel_str,
  F.probe_read_user_str,
]);

const nameAndId = (id: number): string => `${funcIdName(id)}#${id}`;

function isAcquire(id: number, map: VMap | null): boolean {
  if (ACQUIRE.has(id)) return true;
  return id === F.map_lookup_elem && (map?.type === BPF_MAP_TYPE.SOCKMAP || map?.type === BPF_MAP_TYPE.SOCKHASH);
}

function findProto(env: Env, id: number): HelperFn {
  const fn = helperFn(env, id);
  if (fn === undefined) return reject(env, c.EINVAL, `invalid func unknown#${id}\n`);
  if (fn === null || !helperExistsHere(env, fn))
    return reject(
      env,
      c.EINVAL,
      `${env.has.helperTexts ? "program of this type cannot use helper" : "unknown func"} ${nameAndId(id)}\n`,
    );
  if (!factsOf(env).gpl && fn.gpl)
    reject(env, c.EINVAL, "cannot call GPL-restricted function from non-GPL compatible program\n");
  if (!helperAllowedHere(env, fn)) reject(env, c.EINVAL, "helper call is not allowed in probe\n");
  if (!inSleepable(env) && fn.mightSleep) reject(env, c.EINVAL, "helper call might sleep in a non-sleepable prog\n");
  return fn;
}

function checkMaySleep(env: Env, id: number, fn: HelperFn): void {
  if (!fn.mightSleep) return;
  const st = env.state;
  const where = st.activeRcuLock
    ? "rcu_read_lock region"
    : st.activePreemptLocks !== 0
      ? "non-preemptible region"
      : st.activeIrqId !== 0
        ? "IRQ-disabled region"
        : "";
  if (where !== "") reject(env, c.EINVAL, `sleepable helper ${nameAndId(id)} in ${where}\n`);
}

/** record_func_map: which map the call works on, for inlining; it may differ between paths. */
function recordFuncMap(env: Env, meta: CallMeta, insnIdx: number): void {
  if (!RECORDS_MAP.has(meta.funcId)) return;
  const { map } = meta;
  if (map === null) return verifierBug(env, "expected map for helper call");
  if ((map.flags & BPF_F_RDONLY_PROG) !== 0 && WRITES_MAP.has(meta.funcId))
    reject(env, c.EACCES, "write into map forbidden\n");
  const aux = env.aux[insnIdx]!;
  if (aux.mapPtrState === null) aux.mapPtrState = { map, poison: false, unpriv: false };
  else if (aux.mapPtrState.map !== map) aux.mapPtrState = { map, poison: true, unpriv: false };
}

/** record_func_key: a tail call's index, when it is a known one. */
function recordFuncKey(env: Env, meta: CallMeta): void {
  if (meta.funcId !== F.tail_call) return;
  const { map } = meta;
  if (map === null || map.type !== BPF_MAP_TYPE.PROG_ARRAY)
    return reject(env, c.EINVAL, "expected prog array map for tail call");
  const key = env.regs[3]!;
  if (key.type !== c.SCALAR_VALUE || !key.isConst() || u64(key.valLo, key.valHi) >= map.maxEntries) return;
  markChainPrecision(env, 3);
}

function release(env: Env, meta: CallMeta, fn: HelperFn): void {
  const r = env.regs[meta.releaseRegno]!;
  try {
    if (c.baseType(fn.args[meta.releaseRegno - 1]!) === a.ARG_PTR_TO_DYNPTR) unmarkStackSlotsDynptr(env, r);
    else if (meta.funcId === F.kptr_xchg && meta.refObjId !== 0) releaseXchg(env, meta.refObjId);
    else if (meta.refObjId !== 0) releaseReference(env, meta.refObjId);
    else if (!r.isNull()) throw new VerifierReject(c.EINVAL);
  } catch (e) {
    if (!(e instanceof VerifierReject)) throw e;
    reject(env, e.errno, `func ${nameAndId(meta.funcId)} reference has not been acquired before\n`);
  }
}

function releaseXchg(env: Env, refObjId: number): void {
  const rcu = inRcuCs(env);
  if (!releaseReferenceNomark(env, env.state, refObjId)) throw new VerifierReject(c.EINVAL);
  changeRegs(
    env.state,
    (r) => r.refObjId === refObjId,
    (r) => {
      if (rcu && (r.type & c.MEM_ALLOC) !== 0 && (r.type & c.MEM_PERCPU) !== 0) {
        r.refObjId = 0;
        r.type = (r.type & ~c.MEM_ALLOC) | c.MEM_RCU;
      } else markRegInvalid(env, r);
    },
  );
}

/** update_loop_inline_state */
function updateLoopInline(env: Env, subprogno: number): void {
  const aux = env.aux[env.insnIdx]!;
  const flagIsZero = (): boolean => {
    const zero = env.regs[4]!.isNull();
    if (zero) markChainPrecision(env, 4);
    return zero;
  };
  const state = aux.loopInline;
  if (state === null || !state.initialized) {
    aux.loopInline = { initialized: true, fitForInline: flagIsZero(), callbackSubprogno: subprogno };
    return;
  }
  if (!state.fitForInline) return;
  state.fitForInline = flagIsZero() && state.callbackSubprogno === subprogno;
}

function loop(env: Env, insnIdx: number, meta: CallMeta): void {
  updateLoopInline(env, meta.subprogno);
  if (!env.has.callbackLoops) {
    pushCallbackCall(env, insnIdx, meta.subprogno, cb.setLoopCallback);
    return;
  }
  markChainPrecision(env, 1);
  const { frame } = env;
  const r1 = env.regs[1]!;
  if (frame.callbackDepth < u64(r1.umaxLo, r1.umaxHi)) {
    pushCallbackCall(env, insnIdx, meta.subprogno, cb.setLoopCallback);
    return;
  }
  frame.callbackDepth = 0;
  if (env.log.level2) env.log.write(`frame${env.state.curframe} bpf_loop iteration limit reached\n`);
}

const dynptrArg = (fn: HelperFn): number => fn.args.findIndex((t) => c.baseType(t) === a.ARG_PTR_TO_DYNPTR) + 1;

/** What only this helper does. Returns whether packet pointers become stale, beyond what the row says. */
function special(env: Env, insnIdx: number, meta: CallMeta, fn: HelperFn): boolean {
  const { regs } = env;
  switch (meta.funcId) {
    case F.tail_call:
      checkResourceLeak(env, false, true, "tail_call");
      break;
    case F.get_local_storage:
      if (!regs[2]!.isNull()) reject(env, c.EINVAL, "get_local_storage() doesn't support non-zero flags\n");
      if (env.has.nullArgsPrecise) markChainPrecision(env, 2);
      break;
    case F.for_each_map_elem:
      pushCallbackCall(env, insnIdx, meta.subprogno, cb.setMapElemCallback);
      break;
    case F.timer_set_callback:
      pushCallbackCall(env, insnIdx, meta.subprogno, cb.setTimerCallback);
      break;
    case F.find_vma:
      pushCallbackCall(env, insnIdx, meta.subprogno, cb.setFindVmaCallback);
      break;
    case F.user_ringbuf_drain:
      pushCallbackCall(env, insnIdx, meta.subprogno, cb.setUserRingbufCallback);
      break;
    case F.snprintf:
      checkSnprintfCall(env);
      break;
    case F.loop:
      loop(env, insnIdx, meta);
      break;
    case F.dynptr_from_mem:
      if (regs[1]!.type !== c.PTR_TO_MAP_VALUE) {
        reject(env, c.EACCES, `Unsupported reg type ${regTypeStr(regs[1]!.type)} for bpf_dynptr_from_mem data\n`);
      }
      break;
    case F.set_retval:
      if (
        env.progType === BPF_PROG_TYPE.LSM &&
        env.expectedAttachType === BPF_ATTACH_TYPE.LSM_CGROUP &&
        hookReturnsVoid(env)
      ) {
        reject(env, c.EINVAL, "BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!\n");
      }
      break;
    case F.dynptr_data: {
      const dyn = dynptrState(env, regs[dynptrArg(fn)]!);
      meta.dynptrId = dyn.id;
      meta.refObjId = dyn.refObjId;
      break;
    }
    case F.dynptr_write: {
      const type = dynptrGetType(env, regs[dynptrArg(fn)]!);
      if (type === c.BPF_DYNPTR_TYPE_INVALID) throw new VerifierReject(c.EFAULT);
      return type === c.BPF_DYNPTR_TYPE_SKB || type === c.BPF_DYNPTR_TYPE_SKB_META;
    }
    case F.per_cpu_ptr:
    case F.this_cpu_ptr: {
      const r = regs[1]!;
      if ((r.type & c.MEM_RCU) === 0) break;
      const t = r.btf === null ? undefined : typeById(r.btf, r.btfId);
      if (t === undefined || !isStruct(t)) reject(env, c.EFAULT, "Helper has invalid btf/btf_id in R1\n");
      env.aux[insnIdx]!.callWithPercpuAllocPtr = true;
      break;
    }
    default:
  }
  return false;
}

function hookReturnsVoid(env: Env): boolean {
  const target = env.attach;
  if (target === null) return false;
  const proto = typeById(target.btf, target.protoId) ?? protoOf(target.btf, target.btfId);
  return proto?.kind === "func_proto" && proto.type === 0;
}

function setMemOrBtf(env: Env, r0: RegState, meta: CallMeta, retFlag: number, cpuSpecific: boolean): void {
  const btf = meta.retBtf!;
  markRegKnownZero(r0);
  const t = skipModifiers(btf, meta.retBtfId);
  if (!isStruct(t)) {
    const size = resolveSize(btf, t.id)?.size;
    if (size === undefined) return reject(env, c.EINVAL, `unable to resolve the size of type '${t.name}': -22\n`);
    r0.type = c.PTR_TO_MEM | retFlag;
    r0.memSize = size;
    return;
  }
  r0.type = cpuSpecific ? c.PTR_TO_BTF_ID | c.MEM_ALLOC | c.MEM_RCU : c.PTR_TO_BTF_ID | (retFlag & ~c.MEM_RDONLY);
  r0.btf = btf;
  r0.btfId = meta.retBtfId;
}

function setBtf(env: Env, r0: RegState, meta: CallMeta, fn: HelperFn, retFlag: number): void {
  markRegKnownZero(r0);
  r0.type = c.PTR_TO_BTF_ID | retFlag;
  if (meta.funcId === F.kptr_xchg) {
    const field = meta.kptrField!;
    const kptr = field.kptr!;
    if (!isKernelBtf(env, kptr.btf)) {
      r0.type |= c.MEM_ALLOC;
      if (field.type === BPF_KPTR_PERCPU) r0.type |= c.MEM_PERCPU;
    }
    r0.btf = kptr.btf;
    r0.btfId = kptr.btfId;
    return;
  }
  const id = structId(env.vmlinuxBtf, fn.retStruct ?? "");
  if (id === 0) reject(env, c.EINVAL, `invalid return type ${a.RET_PTR_TO_BTF_ID} of func ${nameAndId(meta.funcId)}\n`);
  r0.btf = env.vmlinuxBtf;
  r0.btfId = id;
}

function setReturn(env: Env, insnIdx: number, meta: CallMeta, fn: HelperFn): void {
  const r0 = env.regs[0]!;
  let flag = c.typeFlag(fn.retType);
  const pointer = (type: number): void => {
    markRegKnownZero(r0);
    r0.type = type | flag;
  };
  switch (c.baseType(fn.retType)) {
    case a.RET_INTEGER:
      markRegUnknown(r0, env.bpfCapable);
      break;
    case a.RET_VOID:
      r0.type = c.NOT_INIT;
      break;
    case a.RET_PTR_TO_MAP_VALUE: {
      const { map } = meta;
      if (map === null) return verifierBug(env, "unexpected null map_ptr");
      const found =
        meta.funcId === F.map_lookup_elem &&
        canElideNullness(env, map.type) &&
        meta.constMapKey >= 0 &&
        meta.constMapKey < map.maxEntries;
      if (found) flag &= ~c.PTR_MAYBE_NULL;
      pointer(c.PTR_TO_MAP_VALUE);
      r0.map = map;
      r0.mapUid = meta.mapUid;
      if (!c.typeMayBeNull(flag) && recordHas(map.record, BPF_SPIN_LOCK | BPF_RES_SPIN_LOCK)) r0.id = env.newId();
      break;
    }
    case a.RET_PTR_TO_SOCKET:
      pointer(c.PTR_TO_SOCKET);
      break;
    case a.RET_PTR_TO_SOCK_COMMON:
      pointer(c.PTR_TO_SOCK_COMMON);
      break;
    case a.RET_PTR_TO_TCP_SOCK:
      pointer(c.PTR_TO_TCP_SOCK);
      break;
    case a.RET_PTR_TO_MEM:
      pointer(c.PTR_TO_MEM);
      r0.memSize = meta.memSize;
      break;
    case a.RET_PTR_TO_MEM_OR_BTF_ID:
      setMemOrBtf(env, r0, meta, flag, env.aux[insnIdx]!.callWithPercpuAllocPtr);
      break;
    default:
      setBtf(env, r0, meta, fn, flag);
  }
  if (c.typeMayBeNull(r0.type)) r0.id = env.newId();
  if (meta.funcId === F.dynptr_data) r0.dynptrId = meta.dynptrId;
  if (PTR_CAST.has(meta.funcId) || meta.funcId === F.dynptr_data) r0.refObjId = meta.refObjId;
  else if (isAcquire(meta.funcId, meta.map)) {
    const id = acquireReference(env, insnIdx);
    r0.id = id;
    r0.refObjId = id;
  }
}

/** do_refine_retval_range */
function refineReturn(env: Env, meta: CallMeta, fn: HelperFn): void {
  if (fn.retType !== a.RET_INTEGER) return;
  const r0 = env.regs[0]!;
  if (BOUNDED_BY_SIZE.has(meta.funcId)) {
    r0.smaxLo = meta.msizeMaxLo;
    r0.smaxHi = meta.msizeMaxHi;
    r0.s32Max = meta.msizeMaxLo;
    r0.sminLo = -MAX_ERRNO;
    r0.sminHi = -1;
    r0.s32Min = -MAX_ERRNO;
    regBoundsSync(r0);
  } else if (meta.funcId === F.get_smp_processor_id) {
    const max = env.load.possibleCpus === undefined ? DEFAULT_MAX_CPU : env.load.possibleCpus - 1;
    r0.umaxLo = max;
    r0.umaxHi = 0;
    r0.u32Max = max;
    r0.smaxLo = max;
    r0.smaxHi = 0;
    r0.s32Max = max;
    r0.uminLo = 0;
    r0.uminHi = 0;
    r0.u32Min = 0;
    r0.sminLo = 0;
    r0.sminHi = 0;
    r0.s32Min = 0;
    regBoundsSync(r0);
  }
  regBoundsSanity(env, r0, "retval");
}

/** check_get_func_ip */
function checkGetFuncIp(env: Env): void {
  if (env.progType === BPF_PROG_TYPE.KPROBE) return;
  if (env.progType !== BPF_PROG_TYPE.TRACING) {
    reject(env, c.ENOTSUPP, `func ${nameAndId(F.get_func_ip)} not supported for program type ${env.progType}\n`);
  }
  const at = env.expectedAttachType;
  const A = BPF_ATTACH_TYPE;
  if (at !== A.TRACE_FENTRY && at !== A.TRACE_FEXIT && at !== A.MODIFY_RETURN) {
    reject(env, c.ENOTSUPP, `func ${nameAndId(F.get_func_ip)} supported only for fentry/fexit/fmod_ret programs\n`);
  }
}

/** A tail call in a callee: it may fail and go on, or the callee is done. */
function tailCallInCallee(env: Env): void {
  env.scratchReg(0);
  pushStack(env, env.insnIdx + 1, env.insnIdx, false);
  clearAllPktPointers(env);
  markRegUnknown(env.regs[0]!, env.bpfCapable);
  prepareFuncExit(env);
  env.insnIdx--;
}

/** check_helper_call */
export function checkHelperCall(env: Env, insnIdx: number): void {
  const id = env.imm[insnIdx]!;
  const fn = findProto(env, id);
  let changesData = fn.row.changesPacket === true;
  if (changesData && fn.args[0] !== a.ARG_PTR_TO_CTX) verifierBug(env, `func ${nameAndId(id)}: r1 != ctx`);
  const meta = new CallMeta(id);
  meta.pktAccess = fn.pktAccess;
  checkMaySleep(env, id, fn);
  if (!inSleepableContext(env)) env.aux[insnIdx]!.nonSleepable = true;
  for (let i = 0; i < 5; i++) checkFuncArg(env, i, meta, fn, insnIdx);
  recordFuncMap(env, meta, insnIdx);
  recordFuncKey(env, meta);
  for (let i = 0; i < meta.accessSize; i++)
    checkMemAccess(env, insnIdx, meta.regno, i, BPF_B, c.BPF_WRITE, -1, false, false);
  if (meta.releaseRegno !== 0) release(env, meta, fn);
  if (special(env, insnIdx, meta, fn)) changesData = true;
  clearCallerSavedRegs(env, env.frame);
  setReturn(env, insnIdx, meta, fn);
  refineReturn(env, meta, fn);
  checkMapFuncCompatibility(env, meta.map, id);
  if (id === F.get_func_ip) checkGetFuncIp(env);
  if (id === F.tail_call) {
    if (!env.has.tailCallForks) changesData = env.has.packetDataOfCalls && fn.row.changesPacket === true;
    else if (env.state.curframe !== 0) tailCallInCallee(env);
    else changesData = false;
  }
  if (changesData) clearAllPktPointers(env);
  enterPendingCallback(env);
}
