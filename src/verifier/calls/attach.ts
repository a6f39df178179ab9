/** What a program attaches to (check_attach_btf_id): tracepoints, functions, LSM hooks, iterators, struct_ops. */
import type { Btf } from "../../btf/btf.ts";
import type { BtfFuncProto } from "../../btf/types.ts";
import { BPF_ATTACH_TYPE } from "../../uapi/attach-types.ts";
import { BPF_PROG_TYPE } from "../../uapi/prog-types.ts";
import { hasSuffix, protoOf, resolveFuncPtr, resolveSize, skipModifiers, typeById } from "../btf/types.ts";
import * as c from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import { DENIED, ITER_TARGETS, NORETURN, STRUCT_OPS_MEMBERS, isModifiable, isSleepableFunc } from "./attach-facts.ts";
import { type CtxArgAux, factsOf } from "./facts.ts";
import { checkFuncMatch } from "./func-match.ts";
import { checkFuncModel } from "./func-model.ts";
import { BOOL_LSM_HOOKS, DISABLED_LSM_HOOKS, SLEEPABLE_LSM_HOOKS } from "./lsm-hooks.ts";

const A = BPF_ATTACH_TYPE;
const P = BPF_PROG_TYPE;
const TRACE_PREFIX = "btf_trace_";
const ITER_PREFIX = "bpf_iter_";
const MAX_ERRNO = 4095;

function setTarget(
  env: Env,
  btf: Btf,
  btfId: number,
  proto: BtfFuncProto | null,
  name: string,
  retvalRange: readonly [number, number] | null = null,
): void {
  env.attach = { btf, btfId, protoId: proto?.id ?? 0, name, retvalRange };
}

function canBeSleepable(env: Env): boolean {
  const at = env.expectedAttachType;
  switch (env.load.progType) {
    case P.TRACING:
      return at === A.TRACE_FENTRY || at === A.TRACE_FEXIT || at === A.MODIFY_RETURN || at === A.TRACE_ITER;
    case P.LSM:
      return at !== A.LSM_CGROUP;
    case P.KPROBE:
    case P.STRUCT_OPS:
      return true;
    default:
      return false;
  }
}

/** Arguments that a struct_ops' stub function marks: STRUCT__MEMBER(…__nullable, …__ref). */
function stubArgs(btf: Btf, struct: string, member: string, proto: BtfFuncProto, trusted: boolean): CtxArgAux[] {
  const stub = protoOf(btf, btf.findId(`${struct}__${member}`, "func"));
  if (stub === undefined || stub.params.length !== proto.params.length) return [];
  const args: CtxArgAux[] = [];
  let offset = 0;
  proto.params.forEach((param, i) => {
    const t = skipModifiers(btf, param.type);
    const marked = stub.params[i]!;
    const nullable = hasSuffix(marked, "__nullable");
    const refcounted = hasSuffix(marked, "__ref");
    if (t.kind === "ptr" && (nullable || refcounted)) {
      const btfId = skipModifiers(btf, t.type).id;
      const regType = c.PTR_TO_BTF_ID | (trusted ? c.PTR_TRUSTED : 0) | (nullable ? c.PTR_MAYBE_NULL : 0);
      args.push({ offset, regType, btf, btfId, refcounted, refObjId: 0 });
    }
    offset += Math.ceil((resolveSize(btf, param.type)?.size ?? 8) / 8) * 8;
  });
  return args;
}

/** check_struct_ops_btf_id */
function checkStructOps(env: Env): void {
  const facts = factsOf(env);
  const id = env.load.attachBtfId;
  const btf = env.vmlinuxBtf;
  if (!facts.gpl) reject(env, c.EINVAL, "struct ops programs must have a GPL compatible license\n");
  if (id === 0 || btf === null) throw new VerifierReject(c.ENOTSUPP);
  const t = typeById(btf, id);
  if (t?.kind !== "struct" || btf.findId(`bpf_struct_ops_${t.name}`, "struct") === 0) {
    return reject(env, c.ENOTSUPP, `attach_btf_id ${id} is not a supported struct\n`);
  }
  const idx = env.load.expectedAttachType >>> 0;
  const member = t.members[idx];
  if (member === undefined) return reject(env, c.EINVAL, `attach to invalid member idx ${idx} of struct ${t.name}\n`);
  const proto = resolveFuncPtr(btf, member.type);
  if (proto === undefined)
    return reject(env, c.EINVAL, `attach to invalid member ${member.name}(@idx ${idx}) of struct ${t.name}\n`);
  const supported = STRUCT_OPS_MEMBERS[t.name];
  const unsupported = (errno: number): never =>
    reject(env, errno, `attach to unsupported member ${member.name} of struct ${t.name}\n`);
  if (supported !== undefined && !supported.has(member.name)) unsupported(c.ENOTSUPP);
  if (t.name === "bpf_dummy_ops" && env.sleepable && member.name !== "test_sleepable") unsupported(c.EINVAL);
  facts.structOps = t.name;
  facts.ctxArgs = stubArgs(btf, t.name, member.name, proto, env.has.trustedPointers);
  setTarget(env, btf, id, proto, member.name);
}

function rawTracepoint(env: Env, btf: Btf, id: number): void {
  const t = typeById(btf, id)!;
  if (t.kind !== "typedef") return reject(env, c.EINVAL, `attach_btf_id ${id} is not a typedef\n`);
  if (!t.name.startsWith(TRACE_PREFIX))
    reject(env, c.EINVAL, `attach_btf_id ${id} points to wrong type name ${t.name}\n`);
  const name = t.name.slice(TRACE_PREFIX.length);
  const proto = protoOf(btf, btf.findId(`__bpf_trace_${name}`, "func")) ?? resolveFuncPtr(btf, t.id);
  if (proto === undefined) throw new VerifierReject(c.EINVAL);
  factsOf(env).attachTrace = true;
  setTarget(env, btf, id, proto, name);
}

function iterator(env: Env, btf: Btf, id: number): void {
  const t = typeById(btf, id)!;
  const proto = protoOf(btf, id);
  if (t.kind !== "func" || proto === undefined) return reject(env, c.EINVAL, `attach_btf_id ${id} is not a function\n`);
  checkFuncModel(env, btf, proto, t.name);
  const target = ITER_TARGETS[t.name.slice(ITER_PREFIX.length)];
  if (!t.name.startsWith(ITER_PREFIX) || target === undefined) throw new VerifierReject(c.EINVAL);
  proto.params.forEach((param, i) => {
    const regType = target[param.name];
    const p = skipModifiers(btf, param.type);
    if (regType === undefined || p.kind !== "ptr") return;
    factsOf(env).ctxArgs.push({
      offset: 8 * i,
      regType: env.has.trustedPointers ? regType : regType & ~c.PTR_TRUSTED,
      btf,
      btfId: skipModifiers(btf, p.type).id,
      refcounted: false,
      refObjId: 0,
    });
  });
  setTarget(env, btf, id, proto, t.name);
}

function checkSleepable(env: Env, btf: Btf, name: string): void {
  const ok =
    env.load.progType === P.LSM ? SLEEPABLE_LSM_HOOKS.has(name) : isSleepableFunc(btf, name, env.has.fmodRetSets);
  if (!ok) reject(env, c.EINVAL, `${name} is not sleepable\n`);
}

function lsmHook(env: Env, btf: Btf, id: number, proto: BtfFuncProto, name: string): void {
  if (!factsOf(env).gpl) reject(env, c.EINVAL, "LSM programs must have a GPL compatible license\n");
  if (DISABLED_LSM_HOOKS.has(name)) reject(env, c.EINVAL, `attach_btf_id ${id} points to disabled hook ${name}\n`);
  if (!name.startsWith("bpf_lsm_")) reject(env, c.EINVAL, `attach_btf_id ${id} points to wrong type name ${name}\n`);
  const range: readonly [number, number] | null =
    proto.type === 0 ? null : BOOL_LSM_HOOKS.has(name) ? [0, 1] : [-MAX_ERRNO, 0];
  setTarget(env, btf, id, proto, name, range);
}

function functionTarget(env: Env, btf: Btf, id: number): void {
  const t = typeById(btf, id)!;
  const proto = protoOf(btf, id);
  if (t.kind !== "func" || proto === undefined) return reject(env, c.EINVAL, `attach_btf_id ${id} is not a function\n`);
  const { name } = t;
  const at = env.expectedAttachType;
  const retSize = checkFuncModel(env, btf, proto, name);
  if ((at === A.TRACE_FEXIT || at === A.MODIFY_RETURN) && retSize > 8) {
    reject(
      env,
      c.EOPNOTSUPP,
      `Attach to function ${name} with a >8 byte return value is not supported for this attach type\n`,
    );
  }
  if (env.sleepable) checkSleepable(env, btf, name);
  else if (at === A.MODIFY_RETURN && !isModifiable(btf, name, env.has.fmodRetSets))
    reject(env, c.EINVAL, `${name}() is not modifiable\n`);
  if (env.load.progType === P.LSM) {
    lsmHook(env, btf, id, proto, name);
    return;
  }
  if (DENIED.has(name)) throw new VerifierReject(c.EINVAL);
  if ((at === A.TRACE_FEXIT || at === A.MODIFY_RETURN) && NORETURN.has(name)) {
    reject(env, c.EINVAL, `Attaching fexit/fmod_ret programs to __noreturn function '${name}' is rejected.\n`);
  }
  setTarget(env, btf, id, proto, name);
}

/** Attaching to another BPF program: its own BTF says what the arguments are. */
function programTarget(env: Env): void {
  const target = env.load.attachProg!;
  const id = env.load.attachBtfId;
  const ext = env.load.progType === P.EXT;
  const t = typeById(target.btf, id);
  if (t === undefined) return reject(env, c.EINVAL, `attach_btf_id ${id} is invalid\n`);
  const func = target.funcs.find((f) => f.btfId === id);
  if (func === undefined) return reject(env, c.EINVAL, `Subprog ${t.name} doesn't exist\n`);
  if (ext && func.unreliable) reject(env, c.EINVAL, "Cannot replace static functions\n");
  if (ext && env.changesPktData && func.changesPktData !== true)
    reject(env, c.EINVAL, "Extension program changes packet data, while original does not\n");
  if (ext && env.subprogs[0]!.mightSleep && func.mightSleep !== true)
    reject(env, c.EINVAL, "Extension program may sleep, while original does not\n");
  if (env.load.progType !== P.TRACING && target.progType === env.load.progType)
    reject(env, c.EINVAL, "Cannot recursively attach\n");
  const traces = target.expectedAttachType === A.TRACE_FENTRY || target.expectedAttachType === A.TRACE_FEXIT;
  if (ext && target.progType === P.TRACING && traces) reject(env, c.EINVAL, "Cannot extend fentry/fexit\n");
  const at = env.expectedAttachType;
  if (!ext && at !== A.TRACE_FENTRY && at !== A.TRACE_FEXIT) {
    reject(
      env,
      c.EINVAL,
      at === A.MODIFY_RETURN
        ? "can't modify return codes of BPF programs\n"
        : "Only FENTRY/FEXIT progs are attachable to another BPF prog\n",
    );
  }
  if (ext) checkFuncMatch(env, target.btf, id);
  const proto = protoOf(target.btf, id);
  if (proto !== undefined && !func.unreliable) checkFuncModel(env, target.btf, proto, t.name);
  if (env.sleepable) reject(env, c.EINVAL, `${t.name} is not sleepable\n`);
  if (ext) {
    env.progType = target.progType;
    env.expectedAttachType = target.expectedAttachType;
  }
  // Arguments are trusted only where the target's BTF is; else they read as plain numbers.
  setTarget(env, target.btf, id, ext || func.unreliable ? null : (proto ?? null), t.name);
}

/** check_attach_btf_id: fills env.attach. */
export function checkAttachBtfId(env: Env): void {
  const type = env.load.progType;
  if (type === P.SYSCALL) {
    if (!env.sleepable) reject(env, c.EINVAL, "Syscall programs can only be sleepable\n");
    return;
  }
  if (env.sleepable && !env.has.trustedPointers) {
    if (type !== P.TRACING && type !== P.LSM && type !== P.KPROBE)
      reject(env, c.EINVAL, "Only fentry/fexit/fmod_ret, lsm, and kprobe/uprobe programs can be sleepable\n");
  } else if (env.sleepable && !canBeSleepable(env)) {
    reject(env, c.EINVAL, "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable\n");
  }
  if (type === P.STRUCT_OPS) {
    checkStructOps(env);
    return;
  }
  if (type !== P.TRACING && type !== P.LSM && type !== P.EXT) return;
  const id = env.load.attachBtfId;
  if (id === 0) reject(env, c.EINVAL, "Tracing programs must provide btf_id\n");
  if (env.load.attachProg !== null) {
    programTarget(env);
    return;
  }
  const btf = env.vmlinuxBtf;
  if (btf === null)
    return reject(env, c.EINVAL, "FENTRY/FEXIT program can only be attached to another program annotated with BTF\n");
  const t = typeById(btf, id);
  if (t === undefined) reject(env, c.EINVAL, `attach_btf_id ${id} is invalid\n`);
  if (t!.name === "") reject(env, c.EINVAL, `attach_btf_id ${id} doesn't have a name\n`);
  if (type === P.EXT) reject(env, c.EINVAL, "Cannot replace kernel functions\n");
  switch (env.expectedAttachType) {
    case A.TRACE_RAW_TP:
      rawTracepoint(env, btf, id);
      return;
    case A.TRACE_ITER:
      iterator(env, btf, id);
      return;
    case A.MODIFY_RETURN:
    case A.LSM_MAC:
    case A.LSM_CGROUP:
    case A.TRACE_FENTRY:
    case A.TRACE_FEXIT:
      functionTarget(env, btf, id);
      return;
    default:
      throw new VerifierReject(c.EINVAL);
  }
}
