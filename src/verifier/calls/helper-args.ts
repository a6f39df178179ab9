/** One argument of a helper call (check_func_arg). */
import { BPF_FUNC } from "../../uapi/helpers.ts";
import { BPF_MAP_TYPE } from "../../uapi/map-types.ts";
import { structId } from "../btf/types.ts";
import * as c from "../constants.ts";
import { type Env, reject, verifierBug } from "../env.ts";
import { checkPtrAlignment, mayAccessDirectPktData } from "../mem.ts";
import { checkHelperMemAccess } from "../mem-helper.ts";
import { s64 } from "../num.ts";
import { markChain, markChainPrecision } from "../precision.ts";
import { checkRegArg, isPointerValue } from "../reg-arg.ts";
import type { RegState } from "../reg-state.ts";
import { isSpilledSlot, slotByte } from "../state.ts";
import { BPF_TIMER } from "../map.ts";
import * as a from "./arg-types.ts";
import { inRbtreeLockRequiredCb } from "./kfunc-ids.ts";
import { checkRegConstStr } from "./const-str.ts";
import { checkDynptrRelease, processDynptrFunc } from "./dynptr.ts";
import { processKptrFunc } from "./kptr.ts";
import { PROCESS_SPIN_LOCK, checkMapFieldPointer, processSpinLock } from "./locks.ts";
import { checkMemSizeReg } from "./mem-size.ts";
import type { CallMeta } from "./meta.ts";
import type { HelperFn } from "./protos.ts";
import { type ArgBtf, checkFuncArgRegOff, checkRegType } from "./reg-types.ts";

const EOPNOTSUPP_KEY = -1;

const isPkt = (type: number): boolean => type === c.PTR_TO_PACKET || type === c.PTR_TO_PACKET_META;

/** can_elide_value_nullness: a lookup with a known key cannot fail. */
export const canElideNullness = (env: Env, mapType: number): boolean =>
  env.has.elidedLookupNull && (mapType === BPF_MAP_TYPE.ARRAY || mapType === BPF_MAP_TYPE.PERCPU_ARRAY);

/** resolve_map_arg_type */
function resolveMapArgType(env: Env, meta: CallMeta, argType: number): number {
  if (meta.map === null) return verifierBug(env, "invalid map_ptr to access map->type");
  switch (meta.map.type) {
    case BPF_MAP_TYPE.SOCKMAP:
    case BPF_MAP_TYPE.SOCKHASH:
      if (argType !== a.ARG_PTR_TO_MAP_VALUE) reject(env, c.EINVAL, "invalid arg_type for sockmap/sockhash\n");
      return a.ARG_PTR_TO_BTF_ID_SOCK_COMMON;
    case BPF_MAP_TYPE.BLOOM_FILTER:
      return meta.funcId === BPF_FUNC.map_peek_elem ? a.ARG_PTR_TO_MAP_VALUE : argType;
    default:
      return argType;
  }
}

/** get_constant_map_key: the key in the stack when it is known, else -1. */
function constantMapKey(env: Env, key: RegState, keySize: number): number {
  if (!env.bpfCapable || key.type !== c.PTR_TO_STACK || !key.isConst()) return EOPNOTSUPP_KEY;
  const f = env.state.frames[key.frameno]!;
  const slot = -(key.off + key.valLo) - 1;
  const spi = slot >> 3;
  const off = slot & 7;
  const s = f.stack[spi];
  if (s === undefined) return EOPNOTSUPP_KEY;
  let zeros = 0;
  for (let i = off; i >= 0 && slotByte(s.types, i) === c.STACK_ZERO; i--) zeros++;
  if (zeros >= keySize) return 0;
  if (!isSpilledSlot(s) || s.reg.type !== c.SCALAR_VALUE) return EOPNOTSUPP_KEY;
  let spilled = 0;
  for (let i = off; i >= 0 && slotByte(s.types, i) === c.STACK_SPILL; i--) spilled++;
  if (spilled !== keySize || !s.reg.isConst()) return EOPNOTSUPP_KEY;
  env.bt.setSlot(key.frameno, spi);
  markChain(env, env.state, -1);
  return s64(s.reg.valLo, s.reg.valHi);
}

function noteRelease(env: Env, r: RegState, regno: number, argType: number, meta: CallMeta): void {
  if (c.baseType(argType) === a.ARG_PTR_TO_DYNPTR) checkDynptrRelease(env, r, regno);
  else if (r.refObjId === 0 && !r.isNull())
    reject(env, c.EINVAL, `R${regno} must be referenced when passed to release function\n`);
  if (meta.releaseRegno !== 0) verifierBug(env, "more than one release argument");
  meta.releaseRegno = regno;
}

/** check_func_arg: argument `arg` (0 is r1) of the helper. */
export function checkFuncArg(env: Env, arg: number, meta: CallMeta, fn: HelperFn, insnIdx: number): void {
  const regno = arg + 1;
  let argType = fn.args[arg]!;
  if (argType === a.ARG_DONTCARE) return;
  checkRegArg(env, regno, c.SRC_OP);
  const r = env.regs[regno]!;
  if (argType === a.ARG_ANYTHING) {
    if (isPointerValue(env, r)) reject(env, c.EACCES, `R${regno} leaks addr into helper function\n`);
    return;
  }
  if (isPkt(r.type) && !mayAccessDirectPktData(env, meta.pktAccess, c.BPF_READ))
    reject(env, c.EACCES, "helper access to the packet is not allowed\n");
  if (c.baseType(argType) === a.ARG_PTR_TO_MAP_VALUE) argType = resolveMapArgType(env, meta, argType);
  if (r.isNull() && c.typeMayBeNull(argType)) {
    if (env.has.nullArgsPrecise) markChainPrecision(env, regno);
  } else {
    const struct = fn.argStructs[arg];
    let wanted: ArgBtf | null = null;
    if (struct !== undefined && c.baseType(argType) === a.ARG_PTR_TO_BTF_ID && env.vmlinuxBtf !== null) {
      wanted = { btf: env.vmlinuxBtf, id: structId(env.vmlinuxBtf, struct) };
    }
    checkRegType(env, regno, argType, wanted, meta);
    checkFuncArgRegOff(env, r, regno, argType);
  }
  if (argType & c.OBJ_RELEASE) noteRelease(env, r, regno, argType, meta);
  if (r.refObjId !== 0 && c.baseType(argType) !== a.ARG_KPTR_XCHG_DEST) {
    if (meta.refObjId !== 0)
      reject(env, c.EACCES, `more than one arg with ref_obj_id R${regno} ${r.refObjId} ${meta.refObjId}`);
    meta.refObjId = r.refObjId;
  }
  checkByType(env, arg, argType, r, meta, fn, insnIdx);
}

function checkByType(
  env: Env,
  arg: number,
  argType: number,
  r: RegState,
  meta: CallMeta,
  fn: HelperFn,
  insnIdx: number,
): void {
  const regno = arg + 1;
  switch (c.baseType(argType)) {
    case a.ARG_CONST_MAP_PTR:
      if (meta.map !== null && (meta.map !== r.map || meta.mapUid !== r.mapUid)) {
        reject(
          env,
          c.EINVAL,
          `timer pointer in R1 map_uid=${meta.mapUid} doesn't match map pointer in R2 map_uid=${r.mapUid}\n`,
        );
      }
      meta.map = r.map;
      meta.mapUid = r.mapUid;
      return;
    case a.ARG_PTR_TO_MAP_KEY: {
      const { map } = meta;
      if (map === null) return verifierBug(env, "invalid map_ptr to access map->key");
      checkHelperMemAccess(env, regno, map.keySize, c.BPF_READ, false, null);
      if (canElideNullness(env, map.type)) meta.constMapKey = constantMapKey(env, r, map.keySize);
      return;
    }
    case a.ARG_PTR_TO_MAP_VALUE:
      if (c.typeMayBeNull(argType) && r.isNull()) return;
      if (meta.map === null) return verifierBug(env, "invalid map_ptr to access map->value");
      meta.rawMode = (argType & c.MEM_UNINIT) !== 0;
      checkHelperMemAccess(
        env,
        regno,
        meta.map.valueSize,
        argType & c.MEM_WRITE ? c.BPF_WRITE : c.BPF_READ,
        false,
        meta,
      );
      return;
    case a.ARG_PTR_TO_PERCPU_BTF_ID:
      if (r.btfId === 0) reject(env, c.EACCES, `Helper has invalid btf_id in R${regno}\n`);
      meta.retBtf = r.btf;
      meta.retBtfId = r.btfId;
      return;
    case a.ARG_PTR_TO_SPIN_LOCK:
      if (inRbtreeLockRequiredCb(env)) reject(env, c.EACCES, "can't spin_{lock,unlock} in rbtree cb\n");
      processSpinLock(env, regno, meta.funcId === BPF_FUNC.spin_lock ? PROCESS_SPIN_LOCK : 0);
      return;
    case a.ARG_PTR_TO_TIMER:
      checkMapFieldPointer(env, regno, BPF_TIMER, meta);
      return;
    case a.ARG_PTR_TO_FUNC:
      meta.subprogno = r.subprogno;
      return;
    case a.ARG_PTR_TO_MEM:
      meta.rawMode = (argType & c.MEM_UNINIT) !== 0;
      if (argType & c.MEM_FIXED_SIZE) {
        const size = fn.argSizes[arg]!;
        checkHelperMemAccess(env, regno, size, argType & c.MEM_WRITE ? c.BPF_WRITE : c.BPF_READ, false, meta);
        if (argType & c.MEM_ALIGNED) checkPtrAlignment(env, r, 0, size, true);
      }
      return;
    case a.ARG_CONST_SIZE:
    case a.ARG_CONST_SIZE_OR_ZERO:
      checkMemSizeReg(
        env,
        r,
        regno,
        fn.args[arg - 1]! & c.MEM_WRITE ? c.BPF_WRITE : c.BPF_READ,
        c.baseType(argType) === a.ARG_CONST_SIZE_OR_ZERO,
        meta,
      );
      return;
    case a.ARG_PTR_TO_DYNPTR:
      processDynptrFunc(env, regno, insnIdx, argType, 0);
      return;
    case a.ARG_CONST_ALLOC_SIZE_OR_ZERO:
      if (!r.isConst()) reject(env, c.EACCES, `R${regno} is not a known constant'\n`);
      meta.memSize = r.valLo >>> 0;
      markChainPrecision(env, regno);
      return;
    case a.ARG_PTR_TO_CONST_STR:
      checkRegConstStr(env, r, regno);
      return;
    case a.ARG_KPTR_XCHG_DEST:
      processKptrFunc(env, regno, meta);
      return;
    default:
  }
}
