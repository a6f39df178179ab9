/** Arguments of a call to one of the program's functions, against its BTF (btf_check_func_arg_match). */
import {
  ARG_ANYTHING,
  ARG_DONTCARE,
  ARG_PTR_TO_ARENA,
  ARG_PTR_TO_BTF_ID,
  ARG_PTR_TO_CTX,
  ARG_PTR_TO_DYNPTR,
  ARG_PTR_TO_MEM,
} from "./calls/arg-types.ts";
import { processDynptrFunc } from "./calls/dynptr.ts";
import { checkMemReg } from "./calls/mem-size.ts";
import { CallMeta } from "./calls/meta.ts";
import { checkFuncArgRegOff, checkRegType } from "./calls/reg-types.ts";
import {
  EINVAL,
  PTR_MAYBE_NULL,
  PTR_TO_ARENA,
  PTR_TO_CTX,
  PTR_UNTRUSTED,
  SCALAR_VALUE,
  baseType,
} from "./constants.ts";
import { type Env, reject, verifierBug } from "./env.ts";
import { VerifierReject } from "./errors.ts";
import { btfPrepareFuncArgs } from "./global-funcs.ts";
import type { RegState } from "./reg-state.ts";
import type { SubprogArg } from "./types.ts";

function checkArg(env: Env, arg: SubprogArg, i: number, r: RegState): void {
  const regno = i + 1;
  const base = baseType(arg.argType);
  if (arg.argType === ARG_ANYTHING) {
    if (r.type !== SCALAR_VALUE) reject(env, EINVAL, `R${regno} is not a scalar\n`);
  } else if ((arg.argType & PTR_UNTRUSTED) !== 0) {
    // Read-only and probed: anything will do.
  } else if (arg.argType === ARG_PTR_TO_CTX) {
    checkFuncArgRegOff(env, r, regno, ARG_DONTCARE);
    if (r.type !== PTR_TO_CTX) reject(env, EINVAL, `arg#${i} expects pointer to ctx\n`);
  } else if (base === ARG_PTR_TO_MEM) {
    checkFuncArgRegOff(env, r, regno, ARG_DONTCARE);
    try {
      checkMemReg(env, r, regno, arg.memSize);
    } catch (e) {
      if (e instanceof VerifierReject) throw new VerifierReject(EINVAL);
      throw e;
    }
    if ((arg.argType & PTR_MAYBE_NULL) === 0 && (r.type & PTR_MAYBE_NULL) !== 0) {
      reject(env, EINVAL, `arg#${i} is expected to be non-NULL\n`);
    }
  } else if (base === ARG_PTR_TO_ARENA) {
    if (r.type !== PTR_TO_ARENA && r.type !== SCALAR_VALUE)
      reject(env, EINVAL, `R${regno} is not a pointer to arena or scalar.\n`);
  } else if (base === ARG_PTR_TO_DYNPTR) {
    checkFuncArgRegOff(env, r, regno, ARG_PTR_TO_DYNPTR);
    processDynptrFunc(env, regno, -1, arg.argType, 0);
  } else if (base === ARG_PTR_TO_BTF_ID) {
    if (r.isNull() && (arg.argType & PTR_MAYBE_NULL) !== 0) return;
    checkRegType(env, regno, arg.argType, arg.btf === null ? null : { btf: arg.btf, id: arg.btfId }, new CallMeta(0));
    checkFuncArgRegOff(env, r, regno, arg.argType);
  } else verifierBug(env, `unrecognized arg#${i} type ${arg.argType}`);
}

/** Rejects when `regs[1..5]` are not what the function's BTF says. */
export function btfCheckSubprogCall(env: Env, subprog: number, regs: RegState[]): void {
  btfPrepareFuncArgs(env, subprog);
  env.subprogs[subprog]!.args.forEach((arg, i) => checkArg(env, arg, i, regs[i + 1]!));
}
