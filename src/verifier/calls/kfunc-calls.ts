/** Calls of kernel functions (check_kfunc_call): what they do to locks, references and r0. */
import type { BtfType } from "../../btf/types.ts";
import { structRecord } from "../btf/fields.ts";
import { isScalar, isStruct, kindStr, resolveSize, skipModifiers, typeById } from "../btf/types.ts";
import * as c from "../constants.ts";
import { type Env, reject, verifierBug } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import { pushStack } from "../explore-state.ts";
import { clearCallerSavedRegs, pushCallbackCall } from "../frames.ts";
import { BPF_RES_SPIN_LOCK, BPF_SPIN_LOCK, recordHas } from "../map.ts";
import { markRegRead } from "../live-marks.ts";
import { markS32Range, mayAccessDirectPktData } from "../mem.ts";
import { acquireReference, clearAllPktPointers, releaseReference } from "../refs.ts";
import { type RegState, markRegConstZero, markRegKnownZero, markRegNotInit, markRegUnknown } from "../reg-state.ts";
import { checkReturnCode } from "../return-code.ts";
import { isSpilledSlot, slotByte } from "../state.ts";
import type { CalleeStateSetter } from "../types.ts";
import { setTaskWorkCallback, setTimerCallback } from "./callbacks.ts";
import { dynptrTypeFlag, unmarkStackSlotsDynptr } from "./dynptr.ts";
import { markRegGraphNode, refConvertOwningNonOwning, refSetNonOwning, setRbtreeAddCallback } from "./graph.ts";
import { iterRegType, processIterNextCall } from "./iter.ts";
import { isScalarStruct } from "./kfunc-args.ts";
import { checkKfuncArgs } from "./kfunc-check-args.ts";
import * as k from "./kfunc-ids.ts";
import { KfuncMeta } from "./kfunc-meta.ts";
import { regBtfRecord } from "./kptr.ts";
import { inRcuCs, inSleepable, inSleepableContext } from "./meta.ts";

const MAX_ERRNO = 4095;
const BPF_GLOBAL_PERCPU_MA_MAX_SIZE = 512;

const RES_LOCK = new Set(["bpf_res_spin_lock", "bpf_res_spin_lock_irqsave"]);
const OBJ_NEW = new Set(["bpf_obj_new_impl", "bpf_percpu_obj_new_impl"]);

/** A lock that may fail: another path goes on with an error in r0. */
function forkFailedLock(env: Env): void {
  const branch = pushStack(env, env.insnIdx + 1, env.insnIdx, false);
  const { regs } = branch.frames[branch.curframe]!;
  for (let i = 0; i < 6; i++) markRegNotInit(regs[i]!, env.bpfCapable);
  const r0 = regs[0]!;
  markRegUnknown(r0, env.bpfCapable);
  markS32Range(r0, -MAX_ERRNO, -1);
  r0.subregDef = env.insnIdx + 1;
}

function callback(env: Env, insnIdx: number, meta: KfuncMeta, set: CalleeStateSetter): void {
  try {
    pushCallbackCall(env, insnIdx, meta.subprogno, set);
  } catch (e) {
    if (!(e instanceof VerifierReject)) throw e;
    reject(env, e.errno, `kfunc ${meta.fn.name}#${meta.fn.id} failed callback verification\n`);
  }
}

/** Pointers that were valid under rcu_read_lock are not trusted after it. */
function endRcu(env: Env): void {
  const st = env.state;
  const end = (r: RegState): void => {
    r.type = (r.type & ~(c.MEM_RCU | c.PTR_MAYBE_NULL)) | c.PTR_UNTRUSTED;
  };
  for (let i = 0; i <= st.curframe; i++) {
    const f = st.frames[i]!;
    for (const r of f.regs) if (r.type & c.MEM_RCU) end(r);
    for (let n = 0; n < f.stack.length; n++) {
      const s = f.stack[n]!;
      const iter = slotByte(s.types, 7) === c.STACK_ITER;
      if ((iter || isSpilledSlot(s)) && (s.reg.type & c.MEM_RCU) !== 0) end(f.slotForWrite(n).reg);
    }
  }
}

function trackRcu(env: Env, meta: KfuncMeta, sleepable: boolean): void {
  const st = env.state;
  const lock = meta.name === "bpf_rcu_read_lock";
  const unlock = meta.name === "bpf_rcu_read_unlock";
  const { name } = meta.fn;
  if (st.activeRcuLock) {
    if ((lock || unlock) && k.inRbtreeLockRequiredCb(env)) {
      reject(env, c.EACCES, "Calling bpf_rcu_read_{lock,unlock} in unnecessary rbtree callback\n");
    }
    if (lock) reject(env, c.EINVAL, `nested rcu read lock (kernel function ${name})\n`);
    if (unlock) {
      endRcu(env);
      st.activeRcuLock = false;
    } else if (sleepable) reject(env, c.EACCES, `kernel func ${name} is sleepable within rcu_read_lock region\n`);
  } else if (lock) st.activeRcuLock = true;
  else if (unlock) reject(env, c.EINVAL, `unmatched rcu read unlock (kernel function ${name})\n`);
}

function trackPreemption(env: Env, meta: KfuncMeta, sleepable: boolean): void {
  const st = env.state;
  const { name } = meta.fn;
  if (meta.name === "bpf_preempt_disable") st.activePreemptLocks++;
  else if (meta.name === "bpf_preempt_enable") {
    if (st.activePreemptLocks === 0)
      reject(env, c.EINVAL, `unmatched attempt to enable preemption (kernel function ${name})\n`);
    st.activePreemptLocks--;
  } else if (sleepable && st.activePreemptLocks !== 0)
    reject(env, c.EACCES, `kernel func ${name} is sleepable within non-preemptible region\n`);
  if (st.activeIrqId !== 0 && sleepable)
    reject(env, c.EACCES, `kernel func ${name} is sleepable within IRQ-disabled region\n`);
}

function releaseOf(env: Env, meta: KfuncMeta, refObjId: number): void {
  try {
    releaseReference(env, refObjId);
  } catch (e) {
    if (!(e instanceof VerifierReject)) throw e;
    reject(env, e.errno, `kfunc ${meta.fn.name}#${meta.fn.id} reference has not been acquired before\n`);
  }
}

function releaseArgs(env: Env, insnIdx: number, meta: KfuncMeta): void {
  if (meta.releaseRegno !== 0) {
    const r = env.regs[meta.releaseRegno]!;
    if (meta.dynptr.refObjId !== 0) unmarkStackSlotsDynptr(env, r);
    else releaseOf(env, meta, r.refObjId);
  }
  if (!k.LIST_PUSH.has(meta.name) && meta.name !== "bpf_rbtree_add_impl") return;
  const node = env.regs[2]!;
  const refObjId = node.refObjId;
  env.aux[insnIdx]!.insertOff = node.off;
  refConvertOwningNonOwning(env, refObjId);
  releaseOf(env, meta, refObjId);
}

function objNew(env: Env, meta: KfuncMeta, r0: RegState): void {
  const { lo, hi } = meta.argConstant ?? { lo: 0, hi: 0 };
  if (hi !== 0) reject(env, c.EINVAL, "local type ID argument must be in range [0, U32_MAX]\n");
  const { btf } = env;
  if (btf === null) return reject(env, c.EINVAL, "bpf_obj_new/bpf_percpu_obj_new requires prog BTF\n");
  const id = lo >>> 0;
  const t = typeById(btf, id);
  if (t?.kind !== "struct")
    return reject(env, c.EINVAL, "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct\n");
  const percpu = meta.name === "bpf_percpu_obj_new_impl";
  if (percpu) {
    if (t.size > BPF_GLOBAL_PERCPU_MA_MAX_SIZE) {
      reject(
        env,
        c.EINVAL,
        `bpf_percpu_obj_new type size (${t.size}) is greater than ${BPF_GLOBAL_PERCPU_MA_MAX_SIZE}\n`,
      );
    }
    if (!isScalarStruct(env, btf, t, 0))
      reject(env, c.EINVAL, "bpf_percpu_obj_new type ID argument must be of a struct of scalars\n");
    if (structRecord(btf, env.vmlinuxBtf, id) !== null) {
      reject(env, c.EINVAL, "bpf_percpu_obj_new type ID argument must not contain special fields\n");
    }
  }
  markRegKnownZero(r0);
  r0.type = c.PTR_TO_BTF_ID | c.MEM_ALLOC | (percpu ? c.MEM_PERCPU : 0);
  r0.btf = btf;
  r0.btfId = id;
}

function rdonlyCast(env: Env, meta: KfuncMeta, r0: RegState): void {
  const { btf } = meta.fn;
  const { lo, hi } = meta.argConstant ?? { lo: 0, hi: 0 };
  const id = lo >>> 0;
  const t = typeById(btf, id);
  if (t === undefined)
    return reject(env, c.EINVAL, `Unknown type ID ${hi === 0 ? id : lo} passed to kfunc bpf_rdonly_cast\n`);
  markRegKnownZero(r0);
  if (isStruct(t)) {
    r0.type = c.PTR_TO_BTF_ID | c.PTR_UNTRUSTED;
    r0.btf = btf;
    r0.btfId = id;
  } else if (!env.has.untrustedMem) {
    reject(env, c.EINVAL, "kfunc bpf_rdonly_cast type ID argument must be of a struct\n");
  } else if (t.kind === "void") {
    r0.type = c.PTR_TO_MEM | c.MEM_RDONLY | c.PTR_UNTRUSTED;
    r0.memSize = 0;
  } else reject(env, c.EINVAL, "kfunc bpf_rdonly_cast type ID argument must be of a struct or void\n");
}

function dynptrSlice(env: Env, meta: KfuncMeta, r0: RegState): void {
  markRegKnownZero(r0);
  if (meta.argConstant === null) return verifierBug(env, "bpf_dynptr_slice(_rdwr) no constant size");
  r0.memSize = meta.argConstant.lo >>> 0;
  r0.type = c.PTR_TO_MEM | dynptrTypeFlag(meta.dynptr.type);
  if (meta.name === "bpf_dynptr_slice") r0.type |= c.MEM_RDONLY;
  else if (!mayAccessDirectPktData(env, null, c.BPF_WRITE))
    reject(env, c.EINVAL, "the prog does not allow writes to packet data\n");
  if (meta.dynptr.id === 0) verifierBug(env, "no dynptr id");
  r0.dynptrId = meta.dynptr.id;
}

/** check_special_kfunc: true when r0 is set. */
function specialReturn(env: Env, meta: KfuncMeta, r0: RegState, pointee: BtfType): boolean {
  const { name } = meta;
  if (name === "") return false;
  if (OBJ_NEW.has(name)) objNew(env, meta, r0);
  else if (name === "bpf_refcount_acquire_impl") {
    markRegKnownZero(r0);
    r0.type = c.PTR_TO_BTF_ID | c.MEM_ALLOC;
    r0.btf = meta.argBtf;
    r0.btfId = meta.argBtfId;
  } else if (isGraphNode(pointee)) {
    const field = pointee.name === "bpf_list_node" ? meta.listHead : meta.rbRoot;
    if (field === null) return verifierBug(env, "graph node of no root");
    markRegGraphNode(r0, field);
  } else if (name === "bpf_cast_to_kern_ctx") {
    markRegKnownZero(r0);
    r0.type = c.PTR_TO_BTF_ID | c.PTR_TRUSTED;
    r0.btf = meta.fn.btf;
    r0.btfId = meta.retBtfId;
  } else if (name === "bpf_rdonly_cast") rdonlyCast(env, meta, r0);
  else if (name === "bpf_dynptr_slice" || name === "bpf_dynptr_slice_rdwr") dynptrSlice(env, meta, r0);
  else return false;
  return true;
}

const isGraphNode = (t: BtfType): boolean =>
  t.kind === "struct" && (t.name === "bpf_list_node" || t.name === "bpf_rb_node");

function memReturn(env: Env, meta: KfuncMeta, r0: RegState, pointee: BtfType): void {
  if (meta.r0Size === 0) {
    const size = resolveSize(meta.fn.btf, pointee.id)?.size ?? 0;
    if (size === 0) {
      reject(
        env,
        c.EINVAL,
        `kernel function ${meta.fn.name} returns pointer type ${kindStr(pointee)} ${pointee.name} is not supported\n`,
      );
    }
    meta.r0Size = size;
    meta.r0Rdonly = true;
  }
  markRegKnownZero(r0);
  r0.type = c.PTR_TO_MEM | (meta.r0Rdonly ? c.MEM_RDONLY : 0);
  r0.memSize = meta.r0Size;
  if (meta.refObjId !== 0) r0.refObjId = meta.refObjId;
}

function btfReturn(env: Env, meta: KfuncMeta, r0: RegState, pointee: BtfType): void {
  markRegKnownZero(r0);
  r0.btf = meta.fn.btf;
  r0.btfId = pointee.id;
  if (meta.name === "bpf_get_kmem_cache") r0.type = c.PTR_TO_BTF_ID | c.PTR_UNTRUSTED;
  else r0.type = c.PTR_TO_BTF_ID;
  if (meta.has(k.KF_ITER_NEXT)) r0.type |= (iterRegType(env, meta) & c.MEM_RCU) !== 0 ? c.MEM_RCU : c.PTR_TRUSTED;
}

function pointerReturn(env: Env, insnIdx: number, meta: KfuncMeta, target: number): void {
  const r0 = env.regs[0]!;
  const pointee = skipModifiers(meta.fn.btf, target);
  const special = specialReturn(env, meta, r0, pointee);
  if (!special) {
    if (pointee.kind === "void") markRegUnknown(r0, env.bpfCapable);
    else if (pointee.kind !== "struct") memReturn(env, meta, r0, pointee);
    else btfReturn(env, meta, r0, pointee);
  }
  const mayBeNull =
    (special || pointee.kind !== "void") &&
    meta.has(k.KF_RET_NULL) &&
    !(meta.name === "bpf_refcount_acquire_impl" && meta.argOwningRef);
  if (mayBeNull) {
    r0.type |= c.PTR_MAYBE_NULL;
    r0.id = env.newId();
  }
  if (meta.has(k.KF_ACQUIRE)) {
    const id = acquireReference(env, insnIdx);
    if (mayBeNull) r0.id = id;
    r0.refObjId = id;
  } else if (isGraphNode(pointee)) refSetNonOwning(env, r0);
  if (r0.id === 0 && recordHas(regBtfRecord(env, r0), BPF_SPIN_LOCK | BPF_RES_SPIN_LOCK)) r0.id = env.newId();
}

function checkAcquires(env: Env, meta: KfuncMeta, ret: BtfType): void {
  if (!meta.has(k.KF_ACQUIRE)) return;
  const toStruct = ret.kind === "ptr" && isStruct(skipModifiers(meta.fn.btf, ret.type));
  if (toStruct || OBJ_NEW.has(meta.name) || meta.name === "bpf_refcount_acquire_impl") return;
  reject(env, c.EINVAL, "acquire kernel function does not return PTR_TO_BTF_ID\n");
}

function setReturn(env: Env, insnIdx: number, meta: KfuncMeta): void {
  const r0 = env.regs[0]!;
  const ret = skipModifiers(meta.fn.btf, meta.fn.proto.type);
  checkAcquires(env, meta, ret);
  if (isScalar(ret)) {
    markRegUnknown(r0, env.bpfCapable);
    if (RES_LOCK.has(meta.name)) markRegConstZero(r0, !env.bpfCapable);
    r0.subregDef = "size" in ret && ret.size === 8 ? 0 : env.insnIdx + 1;
  } else if (ret.kind === "ptr") pointerReturn(env, insnIdx, meta, ret.type);
}

/** mark_btf_func_reg_size of each argument. */
function markArgsRead(env: Env, meta: KfuncMeta): void {
  meta.fn.proto.params.forEach((param, i) => {
    const t = skipModifiers(meta.fn.btf, param.type);
    markRegRead(env, env.state.curframe, i + 1, t.kind === "ptr" || ("size" in t && t.size === 8));
  });
}

/** check_kfunc_call */
export function checkKfuncCall(env: Env, insnIdx: number): void {
  if (env.imm[insnIdx] === 0) return;
  const fn = k.kfuncAt(env, insnIdx);
  if (fn === null) throw new VerifierReject(c.EINVAL);
  if (!fn.allowed) reject(env, c.EACCES, `calling kernel function ${fn.name} is not allowed\n`);
  const meta = new KfuncMeta(fn);
  env.aux[insnIdx]!.callsIterNext = meta.has(k.KF_ITER_NEXT);
  if (RES_LOCK.has(meta.name)) forkFailedLock(env);
  else if (meta.name === "__bpf_trap")
    reject(env, c.EFAULT, "unexpected __bpf_trap() due to uninitialized variable?\n");
  const sleepable = meta.has(k.KF_SLEEPABLE);
  if (sleepable && !inSleepable(env))
    reject(env, c.EACCES, `program must be sleepable to call sleepable kfunc ${fn.name}\n`);
  if (!inSleepableContext(env)) env.aux[insnIdx]!.nonSleepable = true;
  checkKfuncArgs(env, meta, insnIdx);
  if (meta.name === "bpf_rbtree_add_impl") callback(env, insnIdx, meta, setRbtreeAddCallback);
  if (meta.name === "bpf_session_cookie") meta.r0Size = 8;
  if (k.WQ_SET_CALLBACK.has(meta.name)) callback(env, insnIdx, meta, setTimerCallback);
  if (k.TASK_WORK_API.has(meta.name)) callback(env, insnIdx, meta, setTaskWorkCallback);
  trackRcu(env, meta, sleepable);
  trackPreemption(env, meta, sleepable);
  if (meta.has(k.KF_RCU_PROTECTED) && !inRcuCs(env)) {
    reject(env, c.EACCES, `kernel func ${fn.name} requires RCU critical section protection\n`);
  }
  releaseArgs(env, insnIdx, meta);
  if (meta.name === "bpf_throw") {
    env.seenException = true;
    if (env.exceptionCallbackSubprog === 0) checkReturnCode(env, 1, "R1");
  }
  if (env.frame.marks !== null) markArgsRead(env, meta);
  clearCallerSavedRegs(env, env.frame);
  setReturn(env, insnIdx, meta);
  if (meta.name === "bpf_xdp_pull_data") clearAllPktPointers(env);
  if (meta.has(k.KF_ITER_NEXT)) processIterNextCall(env, insnIdx, meta);
}
