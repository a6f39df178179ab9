/** ld_imm64 and the packet loads of classic BPF (check_ld_imm, check_ld_abs). */
import {
  BPF_ABS,
  BPF_DW,
  BPF_IND,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_MAP_VALUE,
  modeOf,
  sizeOf,
} from "../asm/opcode.ts";
import {
  CONST_PTR_TO_MAP,
  DST_OP,
  EFAULT,
  EINVAL,
  PTR_TO_BTF_ID,
  PTR_TO_CTX,
  PTR_TO_FUNC,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  SCALAR_VALUE,
  SRC_OP,
  baseType,
} from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { pushStack } from "./explore-state.ts";
import { clearCallerSavedRegs, prepareFuncExit } from "./frames.ts";
import { checkPtrOffReg } from "./mem.ts";
import { checkResourceLeak } from "./refs.ts";
import { checkRegArg } from "./reg-arg.ts";
import { markRegKnown, markRegKnownZero, markRegUnknown } from "./reg-state.ts";
import { findSubprog } from "./subprog.ts";

const BPF_MAP_TYPE_ARENA = 33;
const BTF_FUNC_STATIC = 0;
// BPF_PROG_TYPE_*
const SOCKET_FILTER = 1;
const SCHED_CLS = 3;
const SCHED_ACT = 4;

/** check_ld_imm */
export function checkLdImm(env: Env, i: number): void {
  if (sizeOf(env.code[i]!) !== BPF_DW) reject(env, EINVAL, "invalid BPF_LD_IMM insn\n");
  if (env.off[i] !== 0) reject(env, EINVAL, "BPF_LD_IMM64 uses reserved fields\n");
  const regno = env.dst[i]!;
  checkRegArg(env, regno, DST_OP);
  const r = env.regs[regno]!;
  const aux = env.aux[i]!;
  switch (env.src[i]!) {
    case 0:
      r.type = SCALAR_VALUE;
      markRegKnown(r, env.imm[i]!, env.imm[i + 1]!);
      return;
    case BPF_PSEUDO_BTF_ID: {
      markRegKnownZero(r);
      const v = aux.btfVar;
      r.type = v?.type ?? 0;
      if (v !== null && baseType(v.type) === PTR_TO_MEM) r.memSize = v.memSize;
      else if (v !== null && baseType(v.type) === PTR_TO_BTF_ID) {
        r.btf = v.btf;
        r.btfId = v.btfId;
      } else reject(env, EFAULT, "bpf verifier is misconfigured\n");
      return;
    }
    case BPF_PSEUDO_FUNC: {
      markRegKnownZero(r);
      const subprog = findSubprog(env, i + env.imm[i]! + 1);
      if (env.funcInfo.length === 0) reject(env, EINVAL, "missing btf func_info\n");
      if (env.subprogs[subprog]?.linkage !== BTF_FUNC_STATIC) reject(env, EINVAL, "callback function not static\n");
      if (subprog === 0) reject(env, EINVAL, "callback function cannot be the main program\n");
      r.type = PTR_TO_FUNC;
      r.subprogno = subprog;
      return;
    }
    case BPF_PSEUDO_MAP_VALUE:
    case BPF_PSEUDO_MAP_IDX_VALUE:
      markRegKnownZero(r);
      if (aux.map?.type === BPF_MAP_TYPE_ARENA) {
        markRegUnknown(r, env.bpfCapable);
        return;
      }
      r.map = aux.map;
      r.type = PTR_TO_MAP_VALUE;
      r.off = aux.mapOff;
      return;
    case BPF_PSEUDO_MAP_FD:
    case BPF_PSEUDO_MAP_IDX:
      markRegKnownZero(r);
      r.map = aux.map;
      r.type = CONST_PTR_TO_MAP;
      return;
    default:
      reject(env, EINVAL, "bpf verifier is misconfigured\n");
  }
}

/** check_ld_abs: r0 = packet data through the skb in r6; clobbers r0-r5 */
export function checkLdAbs(env: Env, i: number): void {
  const t = env.progType;
  if (t !== SOCKET_FILTER && t !== SCHED_CLS && t !== SCHED_ACT) {
    reject(env, EINVAL, "BPF_LD_[ABS|IND] instructions not allowed for this program type\n");
  }
  const code = env.code[i]!;
  const mode = modeOf(code);
  if (env.dst[i] !== 0 || env.off[i] !== 0 || sizeOf(code) === BPF_DW || (mode === BPF_ABS && env.src[i] !== 0)) {
    reject(env, EINVAL, "BPF_LD_[ABS|IND] uses reserved fields\n");
  }
  const st = env.state;
  for (let k = st.curframe; k > 0; k--) {
    if (st.frames[k]!.inCallbackFn) reject(env, EINVAL, "cannot use BPF_LD_[ABS|IND] within callback\n");
  }
  checkRegArg(env, 6, SRC_OP);
  checkResourceLeak(env, false, true, "BPF_LD_[ABS|IND]");
  const ctx = env.regs[6]!;
  if (ctx.type !== PTR_TO_CTX) reject(env, EINVAL, "at the time of BPF_LD_ABS|IND R6 != pointer to skb\n");
  if (mode === BPF_IND) checkRegArg(env, env.src[i]!, SRC_OP);
  checkPtrOffReg(env, ctx, 6, false);
  clearCallerSavedRegs(env, env.frame);
  markRegUnknown(env.regs[0]!, env.bpfCapable);
  if (st.curframe === 0 || !env.has.packetLoadForks) return;
  // A load outside the packet leaves the function with r0 = 0: in a subprogram that is a path of its own.
  env.scratchReg(0);
  pushStack(env, i + 1, i, false);
  markRegKnownZero(env.regs[0]!);
  prepareFuncExit(env);
  env.insnIdx--;
}
