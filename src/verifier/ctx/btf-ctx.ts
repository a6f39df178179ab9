/** Contexts that BTF describes: arguments of tracepoints, functions, LSM hooks, iterators, struct_ops (btf_ctx_access). */
import type { Btf } from "../../btf/btf.ts";
import type { BtfFuncProto, BtfType } from "../../btf/types.ts";
import { BPF_ATTACH_TYPE } from "../../uapi/attach-types.ts";
import { BPF_PROG_TYPE } from "../../uapi/prog-types.ts";
import { UNTRUSTED_LSM_HOOKS } from "../calls/lsm-hooks.ts";
import { factsOf } from "../calls/facts.ts";
import {
  anonName,
  hasSuffix,
  isAnyEnum,
  isModifier,
  isSmallInt,
  isStruct,
  kindStr,
  skipModifiers,
  structId,
  typeById,
} from "../btf/types.ts";
import * as c from "../constants.ts";
import type { Env } from "../env.ts";
import type { CtxAccess } from "../types.ts";
import { RAW_TP_NULL_ARGS } from "./raw-tp-null.ts";
import { structOpsPromote } from "./struct-ops.ts";

const A = BPF_ATTACH_TYPE;
const P = BPF_PROG_TYPE;
const MAX_BPF_FUNC_REG_ARGS = 5;
const MAX_BPF_FUNC_ARGS = 12;

/** The answer in the making. */
interface Access extends CtxAccess {
  readonly off: number;
  readonly size: number;
}

/** Bytes of ctx that a value of type `id` takes. */
function slotBytes(btf: Btf, id: number): number {
  const t = skipModifiers(btf, id);
  if (t.kind === "ptr") return 8;
  return "size" in t ? Math.ceil(t.size / 8) * 8 : 0;
}

/** get_ctx_arg_idx */
function argIndex(btf: Btf, proto: BtfFuncProto, off: number): number {
  let end = 0;
  for (let i = 0; i < proto.params.length; i++) {
    end += slotBytes(btf, proto.params[i]!.type);
    if (off < end) return i;
  }
  end += slotBytes(btf, proto.type);
  return off < end ? proto.params.length : proto.params.length + 1;
}

function argsTrusted(env: Env): boolean {
  switch (env.load.progType) {
    case P.TRACING:
      return env.expectedAttachType === A.TRACE_RAW_TP || env.expectedAttachType === A.TRACE_ITER;
    case P.LSM:
      return !UNTRUSTED_LSM_HOOKS.has(env.attach?.name ?? "");
    case P.STRUCT_OPS:
      return true;
    default:
      return false;
  }
}

/** The type behind a return value access; null: refused, undefined: a plain scalar. */
function returnType(env: Env, btf: Btf, proto: BtfFuncProto, arg: number, a: Access): BtfType | null {
  const { log } = env;
  const name = env.attach?.name ?? "";
  switch (env.expectedAttachType) {
    case A.LSM_MAC:
      a.retvalRange = env.attach?.retvalRange ?? null;
      return typeById(btf, proto.type) ?? null;
    case A.LSM_CGROUP:
    case A.TRACE_FEXIT:
      return typeById(btf, proto.type) ?? null;
    case A.MODIFY_RETURN: {
      const t = skipModifiers(btf, proto.type);
      if (isSmallInt(t)) return t;
      log.write(`ret type ${kindStr(t)} not allowed for fmod_ret\n`);
      return null;
    }
    default:
      log.write(`func '${name}' doesn't have ${arg + 1}-th argument\n`);
      return null;
  }
}

/** No BTF to rely on: five u64 arguments. */
function conservativeAccess(env: Env, a: Access): boolean {
  const arg = a.off / 8;
  const name = env.attach?.name ?? "";
  if (arg < MAX_BPF_FUNC_REG_ARGS) return true;
  if (
    arg === MAX_BPF_FUNC_REG_ARGS &&
    (env.expectedAttachType === A.TRACE_FEXIT ||
      env.expectedAttachType === A.LSM_MAC ||
      env.expectedAttachType === A.LSM_CGROUP)
  )
    return true;
  if (arg === MAX_BPF_FUNC_REG_ARGS && env.expectedAttachType === A.MODIFY_RETURN) return false;
  env.log.write(`func '${name}' doesn't have ${arg + 1}-th argument\n`);
  return false;
}

function trustOfRawTp(env: Env, btf: Btf, arg: number, a: Access): boolean {
  if (env.expectedAttachType !== A.TRACE_RAW_TP) return false;
  const name = (typeById(btf, env.load.attachBtfId)?.name ?? "").slice("btf_trace_".length);
  const mask = RAW_TP_NULL_ARGS.get(name);
  if (mask === undefined) {
    if (btf !== env.vmlinuxBtf) a.regType |= c.PTR_MAYBE_NULL;
    return false;
  }
  const nibble = Math.floor(mask / 16 ** arg) & 0xf;
  if ((nibble & 1) !== 0) a.regType |= c.PTR_MAYBE_NULL;
  return (nibble & 2) !== 0;
}

/** btf_ctx_access: what the argument at a.off is; false (said why in the log) when it may not be read so. */
function argAccess(env: Env, a: Access): boolean {
  const { off, size } = a;
  const { log } = env;
  const target = env.attach;
  const name = target?.name ?? "";
  if (off % 8 !== 0) {
    log.write(`func '${name}' offset ${off} is not multiple of 8\n`);
    return false;
  }
  const proto = target === null ? undefined : typeById(target.btf, target.protoId);
  if (target === null || proto?.kind !== "func_proto") return conservativeAccess(env, a);
  const { btf } = target;
  const facts = factsOf(env);
  const skip = facts.attachTrace ? 1 : 0;
  // Tracepoints' first parameter is not in ctx, but counted all the same: its slot is the first argument's.
  const arg = argIndex(btf, proto, off);
  const nrArgs = proto.params.length - skip;
  if (arg > nrArgs) {
    log.write(`func '${name}' doesn't have ${arg + 1}-th argument\n`);
    return false;
  }
  const param = proto.params[arg + skip];
  let t: BtfType | null;
  if (arg === nrArgs) {
    t = returnType(env, btf, proto, arg, a);
    if (t === null) return false;
  } else t = typeById(btf, param!.type) ?? null;
  t = t === null ? null : skipModifiers(btf, t.id);
  if (t === null || t.kind === "void" || isSmallInt(t) || isAnyEnum(t) || isStruct(t)) {
    // A void return value reads as no type at all.
    if (t === null || t.kind === "void") {
      log.write(
        `func '${name}' arg${arg} '(anon)' has type ${kindStr(t ?? { kind: "void", id: 0, name: "" })}. Only pointer access is allowed\n`,
      );
      return false;
    }
    return true;
  }
  if (t.kind !== "ptr") {
    log.write(
      `func '${name}' arg${arg} '${anonName(t.name)}' has type ${kindStr(t)}. Only pointer access is allowed\n`,
    );
    return false;
  }
  if (size !== 8) {
    log.write(`func '${name}' size ${size} must be 8\n`);
    return false;
  }
  const aux = facts.ctxArgs.find((x) => x.offset === off);
  if (aux !== undefined && c.baseType(aux.regType) === c.PTR_TO_BUF && c.typeMayBeNull(aux.regType)) {
    a.regType = aux.regType;
    return true;
  }
  const pointee = skipModifiers(btf, t.type);
  if (pointee.kind === "void" || pointee.kind === "int") return true;
  if (aux !== undefined) {
    a.regType = aux.regType;
    a.btf = aux.btf;
    a.btfId = aux.btfId;
    a.refObjId = aux.refObjId;
    return true;
  }
  a.regType = c.PTR_TO_BTF_ID;
  if (env.has.trustedPointers && argsTrusted(env)) a.regType |= c.PTR_TRUSTED;
  if (param !== undefined && hasSuffix(param, "__nullable")) a.regType |= c.PTR_MAYBE_NULL;
  const mayBeErr = trustOfRawTp(env, btf, arg, a);
  let id = t.type;
  let s = typeById(btf, id);
  if (s?.kind === "type_tag") {
    if (s.name === "user") a.regType |= c.MEM_USER;
    if (s.name === "percpu") a.regType |= c.MEM_PERCPU;
  }
  while (s !== undefined && isModifier(s)) {
    id = s.type;
    s = typeById(btf, id);
  }
  if (s === undefined || !isStruct(s)) {
    log.write(`func '${name}' arg${arg} type ${kindStr(s ?? { kind: "void", id: 0, name: "" })} is not a struct\n`);
    return false;
  }
  a.btf = btf;
  a.btfId = id;
  log.write(`func '${name}' arg${arg} has btf_id ${id} type ${kindStr(s)} '${anonName(s.name)}'\n`);
  if (mayBeErr) {
    log.write(`marking pointer arg${arg} as scalar as it may encode error`);
    a.regType = c.SCALAR_VALUE;
  }
  return true;
}

function netfilterAccess(env: Env, a: Access): boolean {
  if (a.off >= 16 || a.size !== 8 || env.vmlinuxBtf === null) return false;
  a.btf = env.vmlinuxBtf;
  a.btfId = structId(a.btf, a.off === 0 ? "nf_hook_state" : "sk_buff");
  a.regType = c.PTR_TO_BTF_ID | (env.has.trustedPointers ? c.PTR_TRUSTED : 0);
  return a.btfId !== 0;
}

/**
 * is_valid_access of program types whose context BTF describes: what a load gives, null when it is not allowed.
 * `off` and `size` in bytes.
 */
export function btfCtxAccess(env: Env, off: number, size: number, access: number): CtxAccess | null {
  const a: Access = {
    off,
    size,
    regType: c.SCALAR_VALUE,
    ctxFieldSize: 0,
    btf: null,
    btfId: 0,
    refObjId: 0,
    retvalRange: null,
  };
  // LSM programs alone go without the check of the array of u64.
  const inArray = off >= 0 && off < 8 * MAX_BPF_FUNC_ARGS && access === c.BPF_READ && off % size === 0;
  switch (env.progType) {
    case P.TRACING:
      return inArray && argAccess(env, a) ? a : null;
    case P.LSM:
      return access === c.BPF_READ && off >= 0 && argAccess(env, a) ? a : null;
    case P.STRUCT_OPS:
      if (!inArray || !argAccess(env, a)) return null;
      structOpsPromote(env, a);
      return a;
    case P.NETFILTER:
      return inArray && netfilterAccess(env, a) ? a : null;
    default:
      return null;
  }
}
