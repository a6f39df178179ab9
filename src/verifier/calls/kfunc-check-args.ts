/** Arguments of a kernel function call against its BTF (check_kfunc_args). */
import { BPF_ATTACH_TYPE } from "../../uapi/attach-types.ts";
import { BPF_PROG_TYPE, PROG_TYPES } from "../../uapi/prog-types.ts";
import type { BtfParam, BtfType } from "../../btf/types.ts";
import {
  hasSuffix,
  isProjectionOf,
  isScalar,
  isStruct,
  kindStr,
  resolveSize,
  skipModifiers,
  structId,
  typeById,
} from "../btf/types.ts";
import { structIdsMatch } from "../btf/walk.ts";
import { isTrustedReg } from "../branch.ts";
import * as c from "../constants.ts";
import { type Env, reject, verifierBug } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import { regTypeStr } from "../log-state.ts";
import { BPF_LIST_HEAD, BPF_LIST_NODE, BPF_RB_NODE, BPF_RB_ROOT, BPF_TASK_WORK, BPF_WORKQUEUE } from "../map.ts";
import { markChainPrecision } from "../precision.ts";
import type { RegState } from "../reg-state.ts";
import * as a from "./arg-types.ts";
import { checkRegConstStr } from "./const-str.ts";
import { dynptrGetType, dynptrState, dynptrTypeFlag, dynptrTypeRefcounted, processDynptrFunc } from "./dynptr.ts";
import { processGraphNode, processGraphRoot } from "./graph.ts";
import { processIrqFlag } from "./irq.ts";
import { processIterArg } from "./iter.ts";
import { KfArg, isConstMemSize, isProgAuxArg, kfuncPtrArgType, regStruct } from "./kfunc-args.ts";
import {
  KF_RCU,
  KF_RELEASE,
  KF_TRUSTED_ARGS,
  LIST_API,
  LIST_PUSH,
  RBTREE_API,
  RES_LOCK_API,
  inRbtreeLockRequiredCb,
} from "./kfunc-ids.ts";
import type { KfuncMeta } from "./kfunc-meta.ts";
import { isNonOwningRef, isPtrAllocObj, regBtfRecord } from "./kptr.ts";
import {
  PROCESS_LOCK_IRQ,
  PROCESS_RES_LOCK,
  PROCESS_SPIN_LOCK,
  checkMapFieldPointer,
  processSpinLock,
} from "./locks.ts";
import { checkKfuncMemSizeReg, checkMemReg } from "./mem-size.ts";
import { inSleepable } from "./meta.ts";
import { checkFuncArgRegOff } from "./reg-types.ts";

const MAX_ARGS = 5;
const TRUSTED = c.MEM_ALLOC | c.PTR_TRUSTED | c.NON_OWN_REF;
const ALLOC_OBJ = c.PTR_TO_BTF_ID | c.MEM_ALLOC;
const NOCAST = "___init";

const isRcuReg = (r: RegState): boolean => (r.type & c.MEM_RCU) !== 0;
const hasUnsafeModifiers = (type: number): boolean => (c.typeFlag(type) & ~TRUSTED) !== 0;

function scalarArg(env: Env, meta: KfuncMeta, param: BtfParam, r: RegState, regno: number): void {
  if (r.type !== c.SCALAR_VALUE) reject(env, c.EINVAL, `R${regno} is not a scalar\n`);
  if (hasSuffix(param, "__k")) {
    if (meta.argConstant !== null) verifierBug(env, "only one constant argument permitted");
    if (!r.isConst()) reject(env, c.EINVAL, `R${regno} must be a known constant\n`);
    markChainPrecision(env, regno);
    meta.argConstant = { lo: r.valLo, hi: r.valHi };
    return;
  }
  const rdonly = param.name === "rdonly_buf_size";
  if (!rdonly && param.name !== "rdwr_buf_size") return;
  if (rdonly) meta.r0Rdonly = true;
  if (meta.r0Size !== 0) reject(env, c.EINVAL, "2 or more rdonly/rdwr_buf_size parameters for kfunc");
  if (!r.isConst()) reject(env, c.EINVAL, `R${regno} is not a const\n`);
  if (r.valHi !== 0) reject(env, c.EINVAL, `R${regno} rdonly/rdwr_buf_size exceeds u32 max\n`);
  meta.r0Size = r.valLo >>> 0;
  markChainPrecision(env, regno);
}

/** btf_type_ids_nocast_alias: one name is the other's with ___init. */
const nocastAlias = (x: string, y: string): boolean => x === y + NOCAST || y === x + NOCAST;

/** process_kf_arg_ptr_to_btf_id */
function btfIdArg(env: Env, meta: KfuncMeta, r: RegState, refT: BtfType, argno: number): void {
  const vmlinux = env.vmlinuxBtf;
  const own = c.baseType(r.type) === c.PTR_TO_BTF_ID;
  const regBtf = own ? r.btf : vmlinux;
  const regId = own ? r.btfId : structId(vmlinux, regStruct(r.type) ?? "");
  if (regBtf === null) throw new VerifierReject(c.EINVAL);
  const regT = skipModifiers(regBtf, regId);
  const strict =
    (meta.has(KF_RELEASE) && r.refObjId !== 0) || nocastAlias(typeById(regBtf, regId)?.name ?? "", refT.name);
  const same = structIdsMatch(env, regBtf, regT.id, r.off, meta.argIsMap ? vmlinux! : meta.fn.btf, refT.id, strict);
  if (same || isProjectionOf(refT.name, regT.name)) return;
  reject(
    env,
    c.EINVAL,
    `kernel function ${meta.fn.name} args#${argno} expected pointer to ${kindStr(refT)} ${refT.name} but R${argno + 1} has a pointer to ${kindStr(regT)} ${regT.name}\n`,
  );
}

/** get_kern_ctx_btf_id: the kernel's own type behind the program type's context. */
function kernCtxId(env: Env): number {
  const name = PROG_TYPES.find((p) => p.id === env.progType)?.name;
  const convert = env.vmlinuxBtf?.findByName("bpf_ctx_convert", "struct");
  const id =
    convert?.kind === "struct" ? (convert.members.find((m) => m.name === `BPF_PROG_TYPE_${name}_kern`)?.type ?? 0) : 0;
  const t = env.vmlinuxBtf === null ? undefined : typeById(env.vmlinuxBtf, id);
  if (t === undefined || !isStruct(t)) return reject(env, c.EINVAL, `kern ctx type id ${id} is not a struct\n`);
  return id;
}

function allocArg(env: Env, meta: KfuncMeta, r: RegState, i: number): void {
  if (r.type === ALLOC_OBJ) {
    if (meta.name !== "bpf_obj_drop_impl") reject(env, c.EINVAL, `arg#${i} expected for bpf_obj_drop_impl()\n`);
  } else if (r.type === (ALLOC_OBJ | c.MEM_PERCPU)) {
    if (meta.name !== "bpf_percpu_obj_drop_impl")
      reject(env, c.EINVAL, `arg#${i} expected for bpf_percpu_obj_drop_impl()\n`);
  } else reject(env, c.EINVAL, `arg#${i} expected pointer to allocated object\n`);
  if (r.refObjId === 0) reject(env, c.EINVAL, "allocated object must be referenced\n");
  if (meta.fn.inVmlinux) {
    meta.argBtf = r.btf;
    meta.argBtfId = r.btfId;
  }
}

function dynptrArg(env: Env, meta: KfuncMeta, param: BtfParam, r: RegState, regno: number, insnIdx: number): void {
  let type = a.ARG_PTR_TO_DYNPTR;
  let cloneRef = 0;
  if (r.type === c.CONST_PTR_TO_DYNPTR) type |= c.MEM_RDONLY;
  if (hasSuffix(param, "__uninit")) type |= c.MEM_UNINIT;
  if (meta.name === "bpf_dynptr_from_skb") type |= c.DYNPTR_TYPE_SKB;
  else if (meta.name === "bpf_dynptr_from_xdp") type |= c.DYNPTR_TYPE_XDP;
  else if (meta.name === "bpf_dynptr_from_skb_meta") type |= c.DYNPTR_TYPE_SKB_META;
  else if (meta.name === "bpf_dynptr_clone" && (type & c.MEM_UNINIT) !== 0) {
    const parent = meta.dynptr;
    if (parent.type === c.BPF_DYNPTR_TYPE_INVALID) verifierBug(env, "no dynptr type for parent of clone");
    type |= dynptrTypeFlag(parent.type);
    cloneRef = parent.refObjId;
    if (dynptrTypeRefcounted(parent.type) && cloneRef === 0) verifierBug(env, "missing ref obj id for parent of clone");
  }
  processDynptrFunc(env, regno, insnIdx, type, cloneRef);
  if ((type & c.MEM_UNINIT) !== 0) return;
  const dyn = dynptrState(env, r);
  meta.dynptr = { id: dyn.id, type: dynptrGetType(env, r), refObjId: dyn.refObjId };
}

/** check_css_task_iter_allowlist */
function cssTaskIterAllowed(env: Env): boolean {
  if (env.progType === BPF_PROG_TYPE.LSM) return true;
  if (env.progType === BPF_PROG_TYPE.TRACING && env.expectedAttachType === BPF_ATTACH_TYPE.TRACE_ITER) return true;
  return inSleepable(env);
}

function rootArg(env: Env, meta: KfuncMeta, r: RegState, regno: number, headType: number): void {
  if (r.type !== c.PTR_TO_MAP_VALUE && r.type !== ALLOC_OBJ)
    reject(env, c.EINVAL, `arg#${regno - 1} expected pointer to map value or allocated object\n`);
  if (r.type === ALLOC_OBJ && r.refObjId === 0) reject(env, c.EINVAL, "allocated object must be referenced\n");
  if (!(headType === BPF_LIST_HEAD ? LIST_API : RBTREE_API).has(meta.name)) throw new VerifierReject(c.EFAULT);
  const field = processGraphRoot(env, r, regno, headType);
  if (headType === BPF_LIST_HEAD) meta.listHead = field;
  else meta.rbRoot = field;
}

function ownedNode(env: Env, r: RegState, i: number): void {
  if (r.type !== ALLOC_OBJ) reject(env, c.EINVAL, `arg#${i} expected pointer to allocated object\n`);
  if (r.refObjId === 0) reject(env, c.EINVAL, "allocated object must be referenced\n");
}

function nodeArg(env: Env, meta: KfuncMeta, r: RegState, i: number, isList: boolean): void {
  if (isList) {
    ownedNode(env, r, i);
    if (!LIST_PUSH.has(meta.name)) throw new VerifierReject(c.EFAULT);
    processGraphNode(env, r, i + 1, meta, BPF_LIST_HEAD, BPF_LIST_NODE, meta.listHead);
    return;
  }
  if (meta.name === "bpf_rbtree_add_impl") ownedNode(env, r, i);
  else if (!env.has.refcountedRbNodes) {
    if (!isNonOwningRef(r.type) || r.refObjId !== 0)
      reject(env, c.EINVAL, "rbtree_remove node input must be non-owning ref\n");
    if (inRbtreeLockRequiredCb(env)) reject(env, c.EINVAL, "rbtree_remove not allowed in rbtree cb\n");
  } else {
    if (!isNonOwningRef(r.type) && r.refObjId === 0) {
      reject(env, c.EINVAL, `${meta.fn.name} can only take non-owning or refcounted bpf_rb_node pointer\n`);
    }
    if (inRbtreeLockRequiredCb(env)) reject(env, c.EINVAL, `${meta.fn.name} not allowed in rbtree cb\n`);
  }
  processGraphNode(env, r, i + 1, meta, BPF_RB_ROOT, BPF_RB_NODE, meta.rbRoot);
}

function mapArg(env: Env, meta: KfuncMeta, r: RegState, regno: number): void {
  const { map } = r;
  // A typed pointer to struct bpf_map does as well: it is what the check of its type sees to.
  if (map === null && r.btf === null) reject(env, c.EINVAL, `pointer in R${regno} isn't map pointer\n`);
  const rec = map?.record ?? null;
  if (
    meta.map !== null &&
    rec !== null &&
    (rec.wqOff >= 0 || rec.taskWorkOff >= 0) &&
    (meta.map !== map || meta.mapUid !== r.mapUid)
  ) {
    const what = rec.taskWorkOff >= 0 ? ["bpf_task_work", "R2", "R3"] : ["workqueue", "R1", "R2"];
    reject(
      env,
      c.EINVAL,
      `${what[0]} pointer in ${what[1]} map_uid=${meta.mapUid} doesn't match map pointer in ${what[2]} map_uid=${r.mapUid}\n`,
    );
  }
  meta.map = map;
  meta.mapUid = r.mapUid;
}

function checkTrust(env: Env, meta: KfuncMeta, r: RegState, regno: number): void {
  if (!meta.has(KF_TRUSTED_ARGS | KF_RCU) || isTrustedReg(r)) return;
  if (!meta.has(KF_RCU)) reject(env, c.EINVAL, `R${regno} must be referenced or trusted\n`);
  if (!isRcuReg(r)) reject(env, c.EINVAL, `R${regno} must be a rcu pointer\n`);
}

function checkBtfIdReg(env: Env, r: RegState, i: number): void {
  const isBtf = c.baseType(r.type) === c.PTR_TO_BTF_ID;
  if ((isBtf && (!hasUnsafeModifiers(r.type) || isRcuReg(r))) || regStruct(r.type) !== undefined) return;
  env.log.write(`arg#${i} is ${regTypeStr(r.type)} `);
  reject(env, c.EINVAL, `expected ${regTypeStr(c.baseType(r.type) | (c.typeFlag(r.type) & TRUSTED))} or socket\n`);
}

/** Memory and its size in the next register. */
function memSizeArg(env: Env, meta: KfuncMeta, r: RegState, i: number): void {
  const { params } = meta.fn.proto;
  const param = params[i]!;
  const size = env.regs[i + 2]!;
  if (!r.isNull() || !(hasSuffix(param, "__opt") || hasSuffix(param, "__nullable"))) {
    try {
      checkKfuncMemSizeReg(env, size, i + 2);
    } catch (e) {
      if (!(e instanceof VerifierReject)) throw e;
      reject(env, e.errno, `arg#${i} arg#${i + 1} memory, len pair leads to invalid memory access\n`);
    }
  }
  if (!isConstMemSize(meta.fn.btf, params[i + 1], size)) return;
  if (meta.argConstant !== null) verifierBug(env, "only one constant argument permitted");
  if (!size.isConst()) reject(env, c.EINVAL, `R${i + 2} must be a known constant\n`);
  meta.argConstant = { lo: size.valLo, hi: size.valHi };
}

function refcountedArg(env: Env, meta: KfuncMeta, r: RegState, i: number): void {
  if (!isPtrAllocObj(r.type)) reject(env, c.EINVAL, `arg#${i} is neither owning or non-owning ref\n`);
  if (!isNonOwningRef(r.type)) meta.argOwningRef = true;
  const rec = regBtfRecord(env, r);
  if (rec === null) return verifierBug(env, "Couldn't find btf_record");
  if (rec.refcountOff < 0) reject(env, c.EINVAL, `arg#${i} doesn't point to a type with bpf_refcount field\n`);
  meta.argBtf = r.btf;
  meta.argBtfId = r.btfId;
}

function resLockArg(env: Env, meta: KfuncMeta, r: RegState, regno: number): void {
  if (r.type !== c.PTR_TO_MAP_VALUE && r.type !== ALLOC_OBJ)
    reject(env, c.EINVAL, `arg#${regno - 1} doesn't point to map value or allocated object\n`);
  if (!RES_LOCK_API.has(meta.name)) throw new VerifierReject(c.EFAULT);
  let flags = PROCESS_RES_LOCK;
  if (meta.name === "bpf_res_spin_lock" || meta.name === "bpf_res_spin_lock_irqsave") flags |= PROCESS_SPIN_LOCK;
  if (meta.name.includes("irq")) flags |= PROCESS_LOCK_IRQ;
  processSpinLock(env, regno, flags);
}

function mapValue(env: Env, r: RegState, i: number, what: string): void {
  if (r.type !== c.PTR_TO_MAP_VALUE) reject(env, c.EINVAL, `arg#${i} doesn't point to ${what}\n`);
}

function pointerArg(env: Env, meta: KfuncMeta, kind: number, refTIn: BtfType, i: number, insnIdx: number): void {
  const regno = i + 1;
  const r = env.regs[regno]!;
  let refT = refTIn;
  switch (kind) {
    case KfArg.CTX:
      if (r.type !== c.PTR_TO_CTX)
        reject(env, c.EINVAL, `arg#${i} expected pointer to ctx, but got ${regTypeStr(r.type)}\n`);
      if (meta.name === "bpf_cast_to_kern_ctx") meta.retBtfId = kernCtxId(env);
      return;
    case KfArg.ALLOC_BTF_ID:
      allocArg(env, meta, r, i);
      return;
    case KfArg.DYNPTR:
      dynptrArg(env, meta, meta.fn.proto.params[i]!, r, regno, insnIdx);
      return;
    case KfArg.ITER:
      if (meta.name === "bpf_iter_css_task_new" && !cssTaskIterAllowed(env)) {
        reject(env, c.EINVAL, "css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs\n");
      }
      processIterArg(env, regno, insnIdx, meta);
      return;
    case KfArg.LIST_HEAD:
      rootArg(env, meta, r, regno, BPF_LIST_HEAD);
      return;
    case KfArg.RB_ROOT:
      rootArg(env, meta, r, regno, BPF_RB_ROOT);
      return;
    case KfArg.LIST_NODE:
      nodeArg(env, meta, r, i, true);
      return;
    case KfArg.RB_NODE:
      nodeArg(env, meta, r, i, false);
      return;
    case KfArg.MAP:
      meta.argIsMap = true;
      refT = typeById(env.vmlinuxBtf!, structId(env.vmlinuxBtf, "bpf_map"))!;
      checkBtfIdReg(env, r, i);
      btfIdArg(env, meta, r, refT, i);
      meta.argIsMap = false;
      return;
    case KfArg.BTF_ID:
      checkBtfIdReg(env, r, i);
      btfIdArg(env, meta, r, refT, i);
      return;
    case KfArg.MEM: {
      const size = resolveSize(meta.fn.btf, refT.id)?.size;
      if (size === undefined)
        return reject(
          env,
          c.EINVAL,
          `arg#${i} reference type('${kindStr(refT)} ${refT.name}') size cannot be determined: -22\n`,
        );
      checkMemReg(env, r, regno, size);
      return;
    }
    case KfArg.MEM_SIZE:
      memSizeArg(env, meta, r, i);
      return;
    case KfArg.CALLBACK:
      if (r.type !== c.PTR_TO_FUNC) reject(env, c.EINVAL, `arg${i} expected pointer to func\n`);
      meta.subprogno = r.subprogno;
      return;
    case KfArg.REFCOUNTED_KPTR:
      refcountedArg(env, meta, r, i);
      return;
    case KfArg.CONST_STR:
      mapValue(env, r, i, "a const string");
      checkRegConstStr(env, r, regno);
      return;
    case KfArg.WORKQUEUE:
      mapValue(env, r, i, "a map value");
      checkMapFieldPointer(env, regno, BPF_WORKQUEUE, meta);
      return;
    case KfArg.TASK_WORK:
      mapValue(env, r, i, "a map value");
      checkMapFieldPointer(env, regno, BPF_TASK_WORK, meta);
      return;
    case KfArg.IRQ_FLAG:
      if (r.type !== c.PTR_TO_STACK) reject(env, c.EINVAL, `arg#${i} doesn't point to an irq flag on stack\n`);
      processIrqFlag(env, regno, meta);
      return;
    default:
      resLockArg(env, meta, r, regno);
  }
}

/** check_kfunc_args */
export function checkKfuncArgs(env: Env, meta: KfuncMeta, insnIdx: number): void {
  const { btf, proto, name } = meta.fn;
  const { params } = proto;
  if (params.length > MAX_ARGS) reject(env, c.EINVAL, `Function ${name} has ${params.length} > ${MAX_ARGS} args\n`);
  for (let i = 0; i < params.length; i++) {
    const param = params[i]!;
    const regno = i + 1;
    const r = env.regs[regno]!;
    if (hasSuffix(param, "__ign")) continue;
    if (isProgAuxArg(env, btf, param)) continue;
    const t = skipModifiers(btf, param.type);
    if (isScalar(t)) {
      scalarArg(env, meta, param, r, regno);
      continue;
    }
    if (t.kind !== "ptr") return reject(env, c.EINVAL, `Unrecognized arg#${i} type ${kindStr(t)}\n`);
    if (
      meta.has(KF_TRUSTED_ARGS | KF_RCU) &&
      (r.isNull() || c.typeMayBeNull(r.type)) &&
      !hasSuffix(param, "__nullable")
    ) {
      reject(env, c.EACCES, `Possibly NULL pointer passed to trusted arg${i}\n`);
    }
    if (r.refObjId !== 0) {
      if (meta.has(KF_RELEASE) && meta.refObjId !== 0) {
        verifierBug(env, `more than one arg with ref_obj_id R${regno} ${r.refObjId} ${meta.refObjId}`);
      }
      meta.refObjId = r.refObjId;
      if (meta.has(KF_RELEASE)) meta.releaseRegno = regno;
    }
    const refT = skipModifiers(btf, t.type);
    const kind = kfuncPtrArgType(env, meta, t.type, refT, i);
    if (kind === KfArg.NULL) continue;
    if (kind === KfArg.MAP) mapArg(env, meta, r, regno);
    if (kind === KfArg.MAP || kind === KfArg.ALLOC_BTF_ID || kind === KfArg.BTF_ID) checkTrust(env, meta, r, regno);
    checkFuncArgRegOff(env, r, regno, meta.has(KF_RELEASE) && r.refObjId !== 0 ? c.OBJ_RELEASE : a.ARG_DONTCARE);
    pointerArg(env, meta, kind, refT, i, insnIdx);
    if (kind === KfArg.MEM_SIZE) i++;
  }
  if (meta.has(KF_RELEASE) && meta.releaseRegno === 0) {
    reject(env, c.EINVAL, `release kernel function ${name} expects refcounted PTR_TO_BTF_ID\n`);
  }
}
