/** Arguments of functions verified on their own (btf_prepare_func_args), and the registers a first frame starts with. */
import type { Btf } from "../btf/btf.ts";
import type { BtfType } from "../btf/types.ts";
import { BPF_ATTACH_TYPE } from "../uapi/attach-types.ts";
import { BPF_PROG_TYPE, PROG_TYPES } from "../uapi/prog-types.ts";
import {
  ARG_ANYTHING,
  ARG_PTR_TO_ARENA,
  ARG_PTR_TO_BTF_ID,
  ARG_PTR_TO_CTX,
  ARG_PTR_TO_DYNPTR,
  ARG_PTR_TO_MEM,
} from "./calls/arg-types.ts";
import {
  BPF_DYNPTR_TYPE_LOCAL,
  CONST_PTR_TO_DYNPTR,
  EFAULT,
  EINVAL,
  ENOENT,
  EOPNOTSUPP,
  MEM_RDONLY,
  PTR_MAYBE_NULL,
  PTR_TO_BTF_ID,
  PTR_TO_CTX,
  PTR_TO_MEM,
  PTR_TRUSTED,
  PTR_UNTRUSTED,
  baseType,
} from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { VerifierReject } from "./errors.ts";
import { markRegKnownZero, markRegUnknown } from "./reg-state.ts";
import { isGlobalSubprog } from "./subprog.ts";
import type { SubprogArg } from "./types.ts";

const P = BPF_PROG_TYPE;
const A = BPF_ATTACH_TYPE;
const ESRCH = 3;
const MAX_REG_ARGS = 5;

const TAG_CTX = 1;
const TAG_NONNULL = 2;
const TAG_TRUSTED = 4;
const TAG_UNTRUSTED = 8;
const TAG_NULLABLE = 16;
const TAG_ARENA = 32;
const TAGS: Readonly<Record<string, number>> = {
  ctx: TAG_CTX,
  trusted: TAG_TRUSTED,
  untrusted: TAG_UNTRUSTED,
  nonnull: TAG_NONNULL,
  nullable: TAG_NULLABLE,
  arena: TAG_ARENA,
};

const isModifier = (t: BtfType): t is BtfType & { type: number } =>
  t.kind === "typedef" || t.kind === "const" || t.kind === "volatile" || t.kind === "restrict" || t.kind === "type_tag";

function skip(btf: Btf, id: number, keepTypedef = false): BtfType {
  let t = btf.typeById(id);
  for (let n = 0; n < 128 && isModifier(t) && !(keepTypedef && t.kind === "typedef"); n++) t = btf.typeById(t.type);
  return t;
}

const isStruct = (t: BtfType): boolean => t.kind === "struct" || t.kind === "union";
/** btf_type_str: the kind as the kernel names it. */
const kindStr = (t: BtfType): string => (t.kind === "void" ? "UNKNOWN" : t.kind.toUpperCase());
const isU64 = (t: BtfType): boolean => t.kind === "int" && t.size === 8;

/** btf_resolve_size: bytes, or -1 for what has no size. */
function sizeOf(btf: Btf, t: BtfType): number {
  let count = 1;
  let cur = t;
  for (let n = 0; n < 128; n++) {
    switch (cur.kind) {
      case "int":
      case "struct":
      case "union":
      case "enum":
      case "enum64":
      case "float":
        return cur.size * count;
      case "ptr":
        return 8 * count;
      case "array":
        count *= cur.nelems;
        cur = btf.typeById(cur.type);
        break;
      default:
        if (!isModifier(cur)) return -1;
        cur = btf.typeById(cur.type);
    }
  }
  return -1;
}

/** The type a program type's context has in the kernel's BTF (struct bpf_ctx_convert), modifiers kept. */
function canonicalCtxType(env: Env, progType: number): BtfType | null {
  const { vmlinuxBtf } = env;
  const name = PROG_TYPES.find((p) => p.id === progType)?.name;
  const convert = vmlinuxBtf?.findByName("bpf_ctx_convert", "struct");
  if (vmlinuxBtf === null || name === undefined || convert === undefined || convert.kind !== "struct") return null;
  const member = convert.members.find((m) => m.name === `BPF_PROG_TYPE_${name}_prog`);
  return member === undefined ? null : vmlinuxBtf.typeById(member.type);
}

/** btf_is_prog_ctx_type: does pointer `ptr` point to the program type's context, by name? */
export function isProgCtxType(env: Env, btf: Btf, ptr: number, progType: number): boolean {
  if (progType === P.KPROBE) {
    const t = skip(btf, ptr, true);
    if (t.kind === "typedef" && t.name === "bpf_user_pt_regs_t") return true;
  }
  const t = skip(btf, ptr);
  if (t.kind !== "struct") return false;
  let ctx = canonicalCtxType(env, progType);
  if (ctx === null) {
    env.log.write("btf_vmlinux is malformed\n");
    return false;
  }
  for (;;) {
    const name = ctx.name;
    if (name === "") return false;
    if (name === t.name) return true;
    if ((name === "__sk_buff" && t.name === "sk_buff") || (name === "xdp_md" && t.name === "xdp_buff")) return true;
    if (!isModifier(ctx)) return false;
    ctx = skip(env.vmlinuxBtf!, ctx.type);
  }
}

/** btf_validate_prog_ctx_type: an argument tagged as context has a type that the program type's context may have. */
function validateCtxType(env: Env, btf: Btf, ptr: number, arg: number, progType: number): void {
  const attach = env.expectedAttachType;
  if (progType === P.KPROBE || progType === P.PERF_EVENT) {
    const t = skip(btf, ptr, true);
    if (t.kind === "typedef" && t.name === "bpf_user_pt_regs_t") return;
  }
  const t = skip(btf, ptr);
  if (t.kind === "void") return;
  if (t.name === "") reject(env, EINVAL, `arg#${arg} type doesn't have a name\n`);
  switch (progType) {
    case P.KPROBE:
    case P.PERF_EVENT:
      if (isStruct(t) && t.name === "pt_regs") return;
      break;
    case P.RAW_TRACEPOINT:
    case P.RAW_TRACEPOINT_WRITABLE:
    case P.LSM:
    case P.STRUCT_OPS:
      if (isU64(t)) return;
      break;
    case P.TRACING:
      if (attach === A.TRACE_RAW_TP && ((isStruct(t) && t.name === "bpf_raw_tracepoint_args") || isU64(t))) return;
      if (attach === A.TRACE_ITER && isStruct(t) && t.name.startsWith("bpf_iter__")) return;
      if ((attach === A.TRACE_FENTRY || attach === A.TRACE_FEXIT || attach === A.MODIFY_RETURN) && isU64(t)) return;
      break;
    case P.TRACEPOINT:
    case P.SYSCALL:
    case P.EXT:
      return;
    default:
  }
  const canonical = canonicalCtxType(env, progType);
  if (canonical === null) return reject(env, EINVAL, "btf_vmlinux is malformed\n");
  const ctx = isModifier(canonical) ? skip(env.vmlinuxBtf!, canonical.type) : canonical;
  if (!isStruct(ctx)) reject(env, EINVAL, `arg#${arg} should be void pointer\n`);
  if (!isStruct(t) || t.name !== ctx.name) reject(env, EINVAL, `arg#${arg} should be \`struct ${ctx.name} *\`\n`);
}

const essentialName = (name: string): string => {
  const at = name.indexOf("___");
  return at > 0 ? name.slice(0, at) : name;
};

/** btf_get_ptr_to_btf_id: the kernel's type of that name. */
function kernelTypeOf(env: Env, btf: Btf, ptr: number, arg: number): number {
  const t = skip(btf, ptr);
  const { vmlinuxBtf } = env;
  const kind = t.kind;
  const ids = vmlinuxBtf === null || kind === "void" ? [] : vmlinuxBtf.findIds(essentialName(t.name), kind);
  if (ids.length === 1) return ids[0]!;
  return reject(
    env,
    ids.length === 0 ? ENOENT : ESRCH,
    `arg#${arg} reference type('${kindStr(t)} ${t.name}') ${ids.length === 0 ? "has no matches" : "is ambiguous"}\n`,
  );
}

function argTags(env: Env, btf: Btf, funcId: number, arg: number, isGlobal: boolean): number {
  if (!env.has.funcArgTags) return 0;
  let tags = 0;
  for (let id = 1; id < btf.typeCount; id++) {
    const t = btf.typeById(id);
    if (t.kind !== "decl_tag" || t.type !== funcId || t.componentIdx !== arg || !t.name.startsWith("arg:")) continue;
    if (!isGlobal) reject(env, EOPNOTSUPP, `arg#${arg} type tag is not supported in static functions\n`);
    const tag = TAGS[t.name.slice(4)];
    if (tag === undefined) return reject(env, EOPNOTSUPP, `arg#${arg} has unsupported set of tags\n`);
    tags |= tag;
  }
  return tags;
}

const plain = (argType: number): SubprogArg => ({ argType, memSize: 0, btfId: 0, btf: null });

/** One pointer argument. Null: it is not a pointer that any rule covers (static functions). */
function pointerArg(
  env: Env,
  btf: Btf,
  ptr: number,
  i: number,
  tags: number,
  progType: number,
  isGlobal: boolean,
): SubprogArg | null {
  const badTags = (): never => reject(env, EINVAL, `arg#${i} has invalid combination of tags\n`);
  if ((tags & TAG_CTX) !== 0 || isProgCtxType(env, btf, ptr, progType)) {
    if ((tags & ~TAG_CTX) !== 0) badTags();
    if ((tags & TAG_CTX) !== 0) validateCtxType(env, btf, ptr, i, progType);
    return plain(ARG_PTR_TO_CTX);
  }
  const target = skip(btf, ptr);
  if (env.has.funcArgTags && target.kind === "struct" && target.name === "bpf_dynptr") {
    if (tags !== 0) badTags();
    return plain(ARG_PTR_TO_DYNPTR | MEM_RDONLY);
  }
  if ((tags & TAG_TRUSTED) !== 0) {
    if ((tags & TAG_NONNULL) !== 0) badTags();
    const btfId = kernelTypeOf(env, btf, ptr, i);
    return {
      argType: ARG_PTR_TO_BTF_ID | PTR_TRUSTED | (tags & TAG_NULLABLE ? PTR_MAYBE_NULL : 0),
      memSize: 0,
      btfId,
      btf: env.vmlinuxBtf,
    };
  }
  if ((tags & TAG_UNTRUSTED) !== 0) {
    if ((tags & ~TAG_UNTRUSTED) !== 0)
      reject(env, EINVAL, `arg#${i} untrusted cannot be combined with any other tags\n`);
    if (target.kind === "void" || target.kind === "int" || target.kind === "enum" || target.kind === "enum64") {
      return plain(ARG_PTR_TO_MEM | MEM_RDONLY | PTR_UNTRUSTED);
    }
    const btfId = kernelTypeOf(env, btf, ptr, i);
    const kt = env.vmlinuxBtf!.typeById(btfId);
    if (!isStruct(kt)) {
      reject(
        env,
        EINVAL,
        `arg#${i} has type ${kindStr(kt)} '${kt.name}', but only struct or primitive types are allowed\n`,
      );
    }
    return { argType: ARG_PTR_TO_BTF_ID | PTR_UNTRUSTED, memSize: 0, btfId, btf: env.vmlinuxBtf };
  }
  if ((tags & TAG_ARENA) !== 0) {
    if ((tags & ~TAG_ARENA) !== 0) reject(env, EINVAL, `arg#${i} arena cannot be combined with any other tags\n`);
    return plain(ARG_PTR_TO_ARENA);
  }
  if (!isGlobal) return null;
  if ((tags & TAG_NULLABLE) !== 0) badTags();
  const size = sizeOf(btf, target);
  if (size < 0) {
    reject(
      env,
      EINVAL,
      `arg#${i} reference type('${kindStr(target)} ${target.name}') size cannot be determined: -22\n`,
    );
  }
  return { argType: ARG_PTR_TO_MEM | (tags & TAG_NONNULL ? 0 : PTR_MAYBE_NULL), memSize: size, btfId: 0, btf: null };
}

/** btf_prepare_func_args: env.subprogs[subprog].args from the function's BTF and decl tags. */
export function btfPrepareFuncArgs(env: Env, subprog: number): void {
  const sub = env.subprogs[subprog]!;
  const { btf } = env.load;
  if (sub.argsCached) return;
  if (env.funcInfo.length === 0 || btf === null || sub.btfFuncId === 0) throw new VerifierReject(EFAULT);
  const isGlobal = isGlobalSubprog(env, subprog);
  const func = btf.typeById(sub.btfFuncId);
  if (func.kind !== "func") throw new VerifierReject(EFAULT);
  if (sub.unreliable) reject(env, EFAULT, `Verifier bug in function ${func.name}()\n`);
  const proto = btf.typeById(func.type);
  if (proto.kind !== "func_proto") return reject(env, EFAULT, `Invalid type of function ${func.name}()\n`);
  const nargs = proto.params.length;
  if (nargs > MAX_REG_ARGS) {
    if (!isGlobal) throw new VerifierReject(EINVAL);
    reject(env, EINVAL, `Global function ${func.name}() with ${nargs} > ${MAX_REG_ARGS} args. Buggy compiler.\n`);
  }
  const ret = skip(btf, proto.type);
  if (ret.kind !== "int" && ret.kind !== "enum" && ret.kind !== "enum64") {
    if (!isGlobal) throw new VerifierReject(EINVAL);
    reject(env, EINVAL, `Global function ${func.name}() doesn't return scalar. Only those are supported.\n`);
  }
  const args: SubprogArg[] = [];
  proto.params.forEach((param, i) => {
    const tags = argTags(env, btf, sub.btfFuncId, i, isGlobal);
    const t = skip(btf, param.type);
    if (t.kind === "ptr") {
      const arg = pointerArg(env, btf, t.type, i, tags, env.progType, isGlobal);
      if (arg === null) throw new VerifierReject(EINVAL);
      args.push(arg);
      return;
    }
    if (tags !== 0) reject(env, EINVAL, `arg#${i} has pointer tag, but is not a pointer type\n`);
    if (t.kind === "int" || t.kind === "enum" || t.kind === "enum64") {
      args.push(plain(ARG_ANYTHING));
      return;
    }
    if (!isGlobal) throw new VerifierReject(EINVAL);
    reject(env, EINVAL, `Arg#${i} type ${kindStr(t)} in ${func.name}() is not supported yet.\n`);
  });
  sub.args = args;
  sub.argsCached = true;
}

function setArg(env: Env, regno: number, arg: SubprogArg): void {
  const r = env.regs[regno]!;
  switch (baseType(arg.argType)) {
    case ARG_PTR_TO_CTX:
      markRegKnownZero(r);
      r.type = PTR_TO_CTX;
      return;
    case ARG_ANYTHING:
    case ARG_PTR_TO_ARENA:
      markRegUnknown(r, env.bpfCapable);
      return;
    case ARG_PTR_TO_DYNPTR:
      markRegKnownZero(r);
      r.type = CONST_PTR_TO_DYNPTR;
      r.id = env.newId();
      r.dynptrType = BPF_DYNPTR_TYPE_LOCAL;
      r.dynptrFirstSlot = true;
      return;
    case ARG_PTR_TO_MEM:
      markRegKnownZero(r);
      r.type = PTR_TO_MEM | (arg.argType & (PTR_MAYBE_NULL | MEM_RDONLY | PTR_UNTRUSTED));
      r.memSize = arg.memSize;
      if ((arg.argType & PTR_MAYBE_NULL) !== 0 || !env.has.fewerMemIds) r.id = env.newId();
      return;
    default:
      markRegKnownZero(r);
      r.type = PTR_TO_BTF_ID | (arg.argType & (PTR_MAYBE_NULL | PTR_UNTRUSTED | PTR_TRUSTED));
      r.btf = arg.btf;
      r.btfId = arg.btfId;
      r.id = env.newId();
  }
}

/** The registers that do_check_common starts `subprog` with, and its "Validating" line. */
export function setupEntryRegs(env: Env, subprog: number): void {
  const sub = env.subprogs[subprog]!;
  if (subprog === 0 && env.load.progType !== P.EXT) {
    if (env.funcInfo.length > 0) {
      try {
        btfPrepareFuncArgs(env, 0);
        if (sub.args.length !== 1 || sub.args[0]!.argType !== ARG_PTR_TO_CTX) sub.unreliable = true;
      } catch (e) {
        if (!(e instanceof VerifierReject)) throw e;
        sub.unreliable = true;
      }
    }
    const r1 = env.regs[1]!;
    markRegKnownZero(r1);
    r1.type = PTR_TO_CTX;
    return;
  }
  env.log.write(`Validating ${sub.name}() func#${subprog}...\n`);
  btfPrepareFuncArgs(env, subprog);
  if (sub.isExceptionCb) {
    env.frame.inExceptionCallbackFn = true;
    if (sub.args.length !== 1 || sub.args[0]!.argType !== ARG_ANYTHING) {
      reject(env, EINVAL, "exception cb only supports single integer argument\n");
    }
  }
  sub.args.forEach((arg, i) => setArg(env, i + 1, arg));
}
