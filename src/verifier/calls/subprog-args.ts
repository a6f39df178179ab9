/** Arguments of a call of the program's own function against the function's BTF (btf_check_func_arg_match). */
import * as c from "../constants.ts";
import { type Env, reject, verifierBug } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import { btfPrepareFuncArgs } from "../global-funcs.ts";
import type { RegState } from "../reg-state.ts";
import type { SubprogArg } from "../types.ts";
import * as a from "./arg-types.ts";
import { processDynptrFunc } from "./dynptr.ts";
import { checkMemReg } from "./mem-size.ts";
import { CallMeta } from "./meta.ts";
import { checkFuncArgRegOff, checkRegType } from "./reg-types.ts";

function checkArg(env: Env, arg: SubprogArg, r: RegState, i: number): void {
  const regno = i + 1;
  if (arg.argType === a.ARG_ANYTHING) {
    if (r.type !== c.SCALAR_VALUE) reject(env, c.EINVAL, `R${regno} is not a scalar\n`);
    return;
  }
  // Untrusted arguments are only read, by probing loads: anything may come.
  if (arg.argType & c.PTR_UNTRUSTED) return;
  switch (c.baseType(arg.argType)) {
    case a.ARG_PTR_TO_CTX:
      checkFuncArgRegOff(env, r, regno, a.ARG_DONTCARE);
      if (r.type !== c.PTR_TO_CTX) reject(env, c.EINVAL, `arg#${i} expects pointer to ctx\n`);
      return;
    case a.ARG_PTR_TO_MEM:
      checkFuncArgRegOff(env, r, regno, a.ARG_DONTCARE);
      try {
        checkMemReg(env, r, regno, arg.memSize);
      } catch (e) {
        if (e instanceof VerifierReject) throw new VerifierReject(c.EINVAL, e.message);
        throw e;
      }
      if (!c.typeMayBeNull(arg.argType) && c.typeMayBeNull(r.type))
        reject(env, c.EINVAL, `arg#${i} is expected to be non-NULL\n`);
      return;
    case a.ARG_PTR_TO_ARENA:
      if (r.type !== c.PTR_TO_ARENA && r.type !== c.SCALAR_VALUE)
        reject(env, c.EINVAL, `R${regno} is not a pointer to arena or scalar.\n`);
      return;
    case a.ARG_PTR_TO_DYNPTR:
      checkFuncArgRegOff(env, r, regno, a.ARG_PTR_TO_DYNPTR);
      processDynptrFunc(env, regno, -1, arg.argType, 0);
      return;
    case a.ARG_PTR_TO_BTF_ID:
      if (r.isNull() && c.typeMayBeNull(arg.argType)) return;
      checkRegType(env, regno, arg.argType, arg.btf === null ? null : { btf: arg.btf, id: arg.btfId }, new CallMeta(0));
      checkFuncArgRegOff(env, r, regno, arg.argType);
      return;
    default:
      verifierBug(env, `unrecognized arg#${i} type ${arg.argType}`);
  }
}

/** Rejects (with text) a call whose registers do not fit the arguments of `subprog`. */
export function btfCheckSubprogCall(env: Env, subprog: number, regs: RegState[]): void {
  btfPrepareFuncArgs(env, subprog);
  env.subprogs[subprog]!.args.forEach((arg, i) => checkArg(env, arg, regs[i + 1]!, i));
}
