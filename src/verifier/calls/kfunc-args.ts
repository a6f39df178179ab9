/** What a pointer parameter of a kernel function takes, read from its BTF and the suffix of its name (get_kfunc_ptr_arg_type). */
import type { Btf } from "../../btf/btf.ts";
import type { BtfParam, BtfType } from "../../btf/types.ts";
import {
  hasSuffix,
  isScalar,
  isStruct,
  kindStr,
  resolveFuncPtr,
  sameType,
  skipModifiers,
  structId,
} from "../btf/types.ts";
import * as c from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { isProgCtxType } from "../global-funcs.ts";
import type { RegState } from "../reg-state.ts";
import { KF_ITER_DESTROY, KF_ITER_NEW, KF_ITER_NEXT } from "./kfunc-ids.ts";
import type { KfuncMeta } from "./kfunc-meta.ts";

export const KfArg = {
  CTX: 0,
  ALLOC_BTF_ID: 1,
  REFCOUNTED_KPTR: 2,
  DYNPTR: 3,
  ITER: 4,
  LIST_HEAD: 5,
  LIST_NODE: 6,
  BTF_ID: 7,
  MEM: 8,
  MEM_SIZE: 9,
  CALLBACK: 10,
  RB_ROOT: 11,
  RB_NODE: 12,
  NULL: 13,
  CONST_STR: 14,
  MAP: 15,
  WORKQUEUE: 16,
  IRQ_FLAG: 17,
  RES_SPIN_LOCK: 18,
  TASK_WORK: 19,
} as const;

/** Kernel structs that registers of other types stand for. */
const REG_STRUCTS: Readonly<Record<number, string>> = {
  [c.PTR_TO_SOCK_COMMON]: "sock_common",
  [c.PTR_TO_SOCKET]: "sock",
  [c.PTR_TO_TCP_SOCK]: "tcp_sock",
  [c.CONST_PTR_TO_MAP]: "bpf_map",
};

/** reg2btf_ids */
export const regStruct = (type: number): string | undefined => REG_STRUCTS[c.baseType(type)];

const isSized = (btf: Btf, param: BtfParam | undefined, r: RegState | undefined, suffix: string): boolean =>
  param !== undefined &&
  r?.type === c.SCALAR_VALUE &&
  isScalar(skipModifiers(btf, param.type)) &&
  hasSuffix(param, suffix);

export const isMemSize = (btf: Btf, param: BtfParam | undefined, r: RegState | undefined): boolean =>
  isSized(btf, param, r, "__sz");
export const isConstMemSize = (btf: Btf, param: BtfParam | undefined, r: RegState | undefined): boolean =>
  isSized(btf, param, r, "__szk");

/** Does the parameter point to kernel struct `name`? __is_kfunc_ptr_arg_type */
function pointsTo(env: Env, btf: Btf, param: BtfParam, name: string): boolean {
  const t = skipModifiers(btf, param.type);
  if (t.kind !== "ptr" || env.vmlinuxBtf === null) return false;
  const id = structId(env.vmlinuxBtf, name);
  return id !== 0 && sameType(btf, skipModifiers(btf, t.type).id, env.vmlinuxBtf, id);
}

/** Kernel structs with a meaning of their own as parameters, in the order asked. */
const SPECIAL_BEFORE_STR: readonly (readonly [string, number])[] = [
  ["bpf_list_head", KfArg.LIST_HEAD],
  ["bpf_list_node", KfArg.LIST_NODE],
  ["bpf_rb_root", KfArg.RB_ROOT],
  ["bpf_rb_node", KfArg.RB_NODE],
];

/** __btf_type_is_scalar_struct: nothing but scalars, at most four levels deep. */
export function isScalarStruct(env: Env, btf: Btf, t: BtfType, rec: number): boolean {
  if (!isStruct(t)) return false;
  for (const m of t.members) {
    const mt = skipModifiers(btf, m.type);
    if (isStruct(mt)) {
      if (rec >= 3) {
        env.log.write("max struct nesting depth exceeded\n");
        return false;
      }
      if (!isScalarStruct(env, btf, mt, rec + 1)) return false;
    } else if (mt.kind === "array") {
      if (mt.nelems === 0 || !isScalar(skipModifiers(btf, mt.type))) return false;
    } else if (!isScalar(mt)) return false;
  }
  return true;
}

export const isProgAuxArg = (env: Env, btf: Btf, param: BtfParam): boolean =>
  hasSuffix(param, "__prog") || pointsTo(env, btf, param, "bpf_prog_aux");

/** get_kfunc_ptr_arg_type of parameter `argno` (0 is r1). `refT` is what it points to, `ptrTarget` its id with modifiers. */
export function kfuncPtrArgType(env: Env, meta: KfuncMeta, ptrTarget: number, refT: BtfType, argno: number): number {
  const { btf, proto } = meta.fn;
  const { params } = proto;
  const param = params[argno]!;
  const r = env.regs[argno + 1]!;
  if (meta.name === "bpf_cast_to_kern_ctx") return KfArg.CTX;
  const nextReg = env.regs[argno + 2];
  const next = params[argno + 1];
  const sized = isMemSize(btf, next, nextReg) || isConstMemSize(btf, next, nextReg);
  if (isProgCtxType(env, btf, ptrTarget, env.progType)) return KfArg.CTX;
  if (hasSuffix(param, "__nullable") && r.isNull() && !sized) return KfArg.NULL;
  if (hasSuffix(param, "__alloc")) return KfArg.ALLOC_BTF_ID;
  if (hasSuffix(param, "__refcounted_kptr")) return KfArg.REFCOUNTED_KPTR;
  if (pointsTo(env, btf, param, "bpf_dynptr")) return KfArg.DYNPTR;
  const iterFn = meta.has(KF_ITER_NEW | KF_ITER_NEXT | KF_ITER_DESTROY);
  if (iterFn ? argno === 0 : hasSuffix(param, "__iter")) return KfArg.ITER;
  for (const [struct, type] of SPECIAL_BEFORE_STR) if (pointsTo(env, btf, param, struct)) return type;
  if (hasSuffix(param, "__str")) return KfArg.CONST_STR;
  if (hasSuffix(param, "__map")) return KfArg.MAP;
  if (pointsTo(env, btf, param, "bpf_wq")) return KfArg.WORKQUEUE;
  if (pointsTo(env, btf, param, "bpf_task_work")) return KfArg.TASK_WORK;
  if (hasSuffix(param, "__irq_flag")) return KfArg.IRQ_FLAG;
  if (pointsTo(env, btf, param, "bpf_res_spin_lock")) return KfArg.RES_SPIN_LOCK;
  if (c.baseType(r.type) === c.PTR_TO_BTF_ID || regStruct(r.type) !== undefined) {
    if (!isStruct(refT)) {
      reject(
        env,
        c.EINVAL,
        `kernel function ${meta.fn.name} args#${argno} pointer type ${kindStr(refT)} ${refT.name} is not supported\n`,
      );
    }
    return KfArg.BTF_ID;
  }
  if (resolveFuncPtr(btf, param.type) !== undefined) return KfArg.CALLBACK;
  if (!isScalar(refT) && !isScalarStruct(env, btf, refT, 0) && !(sized && refT.kind === "void")) {
    reject(
      env,
      c.EINVAL,
      `arg#${argno} pointer type ${kindStr(refT)} ${refT.name} must point to ${sized ? "void, " : ""}scalar, or struct with scalar\n`,
    );
  }
  return sized ? KfArg.MEM_SIZE : KfArg.MEM;
}
