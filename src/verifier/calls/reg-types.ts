/** Which registers an argument type takes (check_reg_type) and how far off a pointer may be (check_func_arg_reg_off). */
import type { Btf } from "../../btf/btf.ts";
import { btfTypeName, structId } from "../btf/types.ts";
import { structIdsMatch } from "../btf/walk.ts";
import * as c from "../constants.ts";
import { type Env, reject, verifierBug } from "../env.ts";
import { regTypeStr } from "../log-state.ts";
import { checkPtrOffReg } from "../mem.ts";
import type { RegState } from "../reg-state.ts";
import * as a from "./arg-types.ts";
import { mapKptrMatchType } from "./kptr.ts";
import type { CallMeta } from "./meta.ts";
import { funcIdName } from "./protos.ts";

const BTF = c.PTR_TO_BTF_ID;
const MEM_TYPES = [
  c.PTR_TO_STACK,
  c.PTR_TO_PACKET,
  c.PTR_TO_PACKET_META,
  c.PTR_TO_MAP_KEY,
  c.PTR_TO_MAP_VALUE,
  c.PTR_TO_MEM,
  c.PTR_TO_MEM | c.MEM_RINGBUF,
  c.PTR_TO_BUF,
  BTF | c.PTR_TRUSTED,
];
const SOCK_TYPES = [c.PTR_TO_SOCK_COMMON, c.PTR_TO_SOCKET, c.PTR_TO_TCP_SOCK, c.PTR_TO_XDP_SOCK];
const SCALAR = [c.SCALAR_VALUE];

const COMPATIBLE: readonly (readonly number[] | undefined)[] = (() => {
  const t: number[][] = [];
  t[a.ARG_PTR_TO_MAP_KEY] = MEM_TYPES;
  t[a.ARG_PTR_TO_MAP_VALUE] = MEM_TYPES;
  t[a.ARG_CONST_SIZE] = SCALAR;
  t[a.ARG_CONST_SIZE_OR_ZERO] = SCALAR;
  t[a.ARG_CONST_ALLOC_SIZE_OR_ZERO] = SCALAR;
  t[a.ARG_CONST_MAP_PTR] = [c.CONST_PTR_TO_MAP];
  t[a.ARG_PTR_TO_CTX] = [c.PTR_TO_CTX];
  t[a.ARG_PTR_TO_SOCK_COMMON] = SOCK_TYPES;
  t[a.ARG_PTR_TO_BTF_ID_SOCK_COMMON] = [...SOCK_TYPES, BTF, BTF | c.PTR_TRUSTED];
  t[a.ARG_PTR_TO_SOCKET] = [c.PTR_TO_SOCKET];
  t[a.ARG_PTR_TO_BTF_ID] = [BTF, BTF | c.PTR_TRUSTED, BTF | c.MEM_RCU];
  t[a.ARG_PTR_TO_SPIN_LOCK] = [c.PTR_TO_MAP_VALUE, BTF | c.MEM_ALLOC];
  t[a.ARG_PTR_TO_MEM] = MEM_TYPES;
  t[a.ARG_PTR_TO_RINGBUF_MEM] = [c.PTR_TO_MEM | c.MEM_RINGBUF];
  t[a.ARG_PTR_TO_PERCPU_BTF_ID] = [
    BTF | c.MEM_PERCPU,
    BTF | c.MEM_PERCPU | c.MEM_RCU,
    BTF | c.MEM_PERCPU | c.PTR_TRUSTED,
  ];
  t[a.ARG_PTR_TO_FUNC] = [c.PTR_TO_FUNC];
  t[a.ARG_PTR_TO_STACK] = [c.PTR_TO_STACK];
  t[a.ARG_PTR_TO_CONST_STR] = [c.PTR_TO_MAP_VALUE];
  t[a.ARG_PTR_TO_TIMER] = [c.PTR_TO_MAP_VALUE];
  t[a.ARG_KPTR_XCHG_DEST] = [c.PTR_TO_MAP_VALUE, BTF | c.MEM_ALLOC];
  t[a.ARG_PTR_TO_DYNPTR] = [c.PTR_TO_STACK, c.CONST_PTR_TO_DYNPTR];
  return t;
})();

/** What took which types before 6.2: no trust, no RCU, maps' keys and values not from memory of other kinds. */
const BEFORE_TRUST: ReadonlyMap<number, readonly number[]> = new Map([
  [a.ARG_PTR_TO_MAP_KEY, MEM_TYPES.slice(0, 5)],
  [a.ARG_PTR_TO_MAP_VALUE, MEM_TYPES.slice(0, 5)],
  [a.ARG_PTR_TO_MEM, MEM_TYPES.slice(0, 8)],
  [a.ARG_PTR_TO_BTF_ID_SOCK_COMMON, [...SOCK_TYPES, BTF]],
  [a.ARG_PTR_TO_BTF_ID, [BTF]],
  [a.ARG_PTR_TO_SPIN_LOCK, [c.PTR_TO_MAP_VALUE]],
  [a.ARG_PTR_TO_PERCPU_BTF_ID, [BTF | c.MEM_PERCPU]],
  [a.ARG_KPTR_XCHG_DEST, [c.PTR_TO_MAP_VALUE]],
]);

const FUNC_SK_RELEASE = 86;
const FUNC_SPIN_LOCK = 93;
const FUNC_SPIN_UNLOCK = 94;
const FUNC_KPTR_XCHG = 194;

/** An ARG_PTR_TO_BTF_ID's target in vmlinux; null when the helper works it out elsewhere (kptr_xchg, spin locks). */
export interface ArgBtf {
  readonly btf: Btf;
  readonly id: number;
}

/** check_reg_type; `struct` is the type an ARG_PTR_TO_BTF_ID asks for. */
export function checkRegType(env: Env, regno: number, argType: number, wanted: ArgBtf | null, meta: CallMeta): void {
  const r = env.regs[regno]!;
  const base = c.baseType(argType);
  const compatible = (env.has.trustedPointers ? undefined : BEFORE_TRUST.get(base)) ?? COMPATIBLE[base];
  if (compatible === undefined) return verifierBug(env, `unsupported arg type ${argType}`);
  let type = r.type;
  if (argType & c.MEM_RDONLY) type &= ~c.MEM_RDONLY;
  if (argType & c.PTR_MAYBE_NULL) type &= ~c.PTR_MAYBE_NULL;
  if (base === a.ARG_PTR_TO_MEM) type &= ~c.DYNPTR_TYPE_FLAG_MASK;
  if (meta.funcId === FUNC_KPTR_XCHG && (type & c.MEM_ALLOC) !== 0 && regno === 2)
    type &= ~(c.MEM_ALLOC | c.MEM_PERCPU);
  if (!compatible.includes(type)) {
    reject(env, c.EACCES, `R${regno} type=${regTypeStr(r.type)} expected=${compatible.map(regTypeStr).join(", ")}\n`);
  }
  if (c.baseType(r.type) !== BTF) return;
  if (compatible === MEM_TYPES) {
    if ((argType & c.MEM_RDONLY) === 0) {
      reject(
        env,
        c.EACCES,
        `${funcIdName(meta.funcId)}() may write into memory pointed by R${regno} type=${regTypeStr(r.type)}\n`,
      );
    }
    return;
  }
  checkBtfReg(env, r, regno, argType, wanted, meta);
}

function checkBtfReg(
  env: Env,
  r: RegState,
  regno: number,
  argType: number,
  wantedIn: ArgBtf | null,
  meta: CallMeta,
): void {
  switch (r.type) {
    case BTF:
    case BTF | c.PTR_TRUSTED:
    case BTF | c.PTR_TRUSTED | c.PTR_MAYBE_NULL:
    case BTF | c.MEM_RCU:
    case BTF | c.PTR_MAYBE_NULL:
    case BTF | c.PTR_MAYBE_NULL | c.MEM_RCU: {
      const release = (argType & c.OBJ_RELEASE) !== 0;
      if (c.typeMayBeNull(r.type) && (!c.typeMayBeNull(argType) || release)) {
        reject(env, c.EACCES, `Possibly NULL pointer passed to helper arg${regno}\n`);
      }
      if (meta.funcId === FUNC_KPTR_XCHG) {
        mapKptrMatchType(env, meta.kptrField!, r, regno);
        return;
      }
      let wanted = wantedIn;
      if (wanted === null && c.baseType(argType) === a.ARG_PTR_TO_BTF_ID_SOCK_COMMON && env.vmlinuxBtf !== null) {
        wanted = { btf: env.vmlinuxBtf, id: structId(env.vmlinuxBtf, "sock_common") };
      }
      if (wanted === null) return verifierBug(env, "missing arg compatible BTF ID");
      const strict = release && meta.funcId !== FUNC_SK_RELEASE;
      if (r.btf === null || !structIdsMatch(env, r.btf, r.btfId, r.off, wanted.btf, wanted.id, strict)) {
        const name = r.btf === null ? "" : btfTypeName(r.btf, r.btfId);
        reject(env, c.EACCES, `R${regno} is of type ${name} but ${btfTypeName(wanted.btf, wanted.id)} is expected\n`);
      }
      return;
    }
    case BTF | c.MEM_ALLOC:
    case BTF | c.MEM_PERCPU | c.MEM_ALLOC:
      if (meta.funcId !== FUNC_SPIN_LOCK && meta.funcId !== FUNC_SPIN_UNLOCK && meta.funcId !== FUNC_KPTR_XCHG) {
        verifierBug(env, "unimplemented handling of MEM_ALLOC");
      }
      if (meta.funcId === FUNC_KPTR_XCHG && regno === 2) mapKptrMatchType(env, meta.kptrField!, r, regno);
      return;
    case BTF | c.MEM_PERCPU:
    case BTF | c.MEM_PERCPU | c.MEM_RCU:
    case BTF | c.MEM_PERCPU | c.PTR_TRUSTED:
      return;
    default:
      verifierBug(env, "invalid PTR_TO_BTF_ID register for type match");
  }
}

/** check_func_arg_reg_off: fixed and variable offsets that a pointer of this type may have as an argument. */
export function checkFuncArgRegOff(env: Env, r: RegState, regno: number, argType: number): void {
  const type = r.type;
  if (argType & c.OBJ_RELEASE) {
    if (c.baseType(argType) === a.ARG_PTR_TO_DYNPTR && type === c.PTR_TO_STACK) return;
    if (r.off !== 0)
      reject(env, c.EINVAL, `R${regno} must have zero offset when passed to release func or trusted arg to kfunc\n`);
    checkPtrOffReg(env, r, regno, false);
    return;
  }
  switch (type) {
    case c.PTR_TO_STACK:
    case c.PTR_TO_PACKET:
    case c.PTR_TO_PACKET_META:
    case c.PTR_TO_MAP_KEY:
    case c.PTR_TO_MAP_VALUE:
    case c.PTR_TO_MEM:
    case c.PTR_TO_MEM | c.MEM_RDONLY:
    case c.PTR_TO_MEM | c.MEM_RINGBUF:
    case c.PTR_TO_BUF:
    case c.PTR_TO_BUF | c.MEM_RDONLY:
    case c.PTR_TO_ARENA:
    case c.SCALAR_VALUE:
      return;
    case BTF:
    case BTF | c.MEM_ALLOC:
    case BTF | c.PTR_TRUSTED:
    case BTF | c.MEM_RCU:
    case BTF | c.MEM_ALLOC | c.NON_OWN_REF:
    case BTF | c.MEM_ALLOC | c.NON_OWN_REF | c.MEM_RCU:
      checkPtrOffReg(env, r, regno, true);
      return;
    default:
      checkPtrOffReg(env, r, regno, false);
  }
}
