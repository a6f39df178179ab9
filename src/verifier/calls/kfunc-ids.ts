/** Kernel functions: which one a call names, whether this program may call it, and the groups the verifier treats specially. */
import { BPF_PSEUDO_KFUNC_CALL } from "../../asm/opcode.ts";
import type { Btf } from "../../btf/btf.ts";
import type { BtfFuncProto } from "../../btf/types.ts";
import { type KfuncFlag, kfuncByName } from "../../uapi/kfuncs.ts";
import { protoOf, typeById } from "../btf/types.ts";
import { E2BIG, EINVAL, EPROTO } from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { factsOf } from "./facts.ts";

const BPF_F_XDP_DEV_BOUND_ONLY = 1 << 6;
/** Functions that each network driver has its own of. */
const METADATA = new Set(["bpf_xdp_metadata_rx_timestamp", "bpf_xdp_metadata_rx_hash", "bpf_xdp_metadata_rx_vlan_tag"]);
const MAX_KFUNC_DESCS = 256;
const BPF_CALL_CODE = 0x85;

export const KF_ACQUIRE = 1 << 0;
export const KF_RELEASE = 1 << 1;
export const KF_RET_NULL = 1 << 2;
export const KF_TRUSTED_ARGS = 1 << 4;
export const KF_SLEEPABLE = 1 << 5;
export const KF_DESTRUCTIVE = 1 << 6;
export const KF_RCU = 1 << 7;
export const KF_ITER_NEW = 1 << 8;
export const KF_ITER_NEXT = 1 << 9;
export const KF_ITER_DESTROY = 1 << 10;
export const KF_RCU_PROTECTED = 1 << 11;
export const KF_FASTCALL = 1 << 12;
export const KF_ARENA_RET = 1 << 13;
export const KF_ARENA_ARG2 = 1 << 15;

const FLAGS: Readonly<Record<KfuncFlag, number>> = {
  KF_ACQUIRE,
  KF_RELEASE,
  KF_RET_NULL,
  KF_TRUSTED_ARGS,
  KF_SLEEPABLE,
  KF_DESTRUCTIVE,
  KF_RCU,
  KF_ITER_NEW,
  KF_ITER_NEXT,
  KF_ITER_DESTROY,
  KF_RCU_PROTECTED,
  KF_FASTCALL,
  KF_ARENA_RET,
  KF_ARENA_ARG2,
};

/** One called kernel function. */
export interface Kfunc {
  readonly id: number;
  readonly name: string;
  readonly btf: Btf;
  readonly proto: BtfFuncProto;
  /** KF_* bits; 0 when not allowed. */
  readonly flags: number;
  /** This program may call it. */
  readonly allowed: boolean;
  /** In vmlinux, not in a module. */
  readonly inVmlinux: boolean;
}

const btfOfCall = (env: Env, offset: number): Btf | null =>
  offset === 0 ? env.vmlinuxBtf : (env.load.moduleBtfs.get(offset) ?? null);

/** add_kfunc_call: checks that the call at `insnIdx` names a function. */
export function addKfuncCall(env: Env, insnIdx: number): void {
  const id = env.imm[insnIdx]!;
  const offset = env.off[insnIdx]!;
  if (env.kfuncs.length === 0 && !factsOf(env).gpl)
    reject(env, EINVAL, "cannot call kernel function from non-GPL compatible program\n");
  if (id === 0 && offset === 0) return;
  if (offset < 0) {
    env.log.write("negative offset disallowed for kernel module function call\n");
    reject(env, EINVAL, "failed to find BTF for kernel function\n");
  }
  if (offset > 0 && env.load.moduleBtfs.size === 0) {
    env.log.write("kfunc offset > 0 without fd_array is invalid\n");
    reject(env, EPROTO, "failed to find BTF for kernel function\n");
  }
  const btf = btfOfCall(env, offset);
  if (btf === null) return reject(env, EINVAL, "failed to find BTF for kernel function\n");
  if (env.kfuncs.some((k) => k.funcId === id && k.offset === offset)) return;
  if (env.kfuncs.length === MAX_KFUNC_DESCS) reject(env, E2BIG, "too many different kernel function calls\n");
  const func = typeById(btf, id);
  if (func?.kind !== "func") return reject(env, EINVAL, `kernel btf_id ${id >>> 0} is not a function\n`);
  const proto = typeById(btf, func.type);
  if (proto?.kind !== "func_proto")
    return reject(env, EINVAL, `kernel function btf_id ${id >>> 0} does not have a valid func_proto\n`);
  if (offset === 0 && METADATA.has(func.name) && (env.load.progFlags & BPF_F_XDP_DEV_BOUND_ONLY) === 0) {
    reject(env, EINVAL, "metadata kfuncs require device-bound program\n");
  }
  env.kfuncs.push({ funcId: id, offset, name: func.name, btf, protoId: func.type, flags: 0 });
}

function lookup(env: Env, insnIdx: number): Kfunc | null {
  if (env.code[insnIdx] !== BPF_CALL_CODE || env.src[insnIdx] !== BPF_PSEUDO_KFUNC_CALL) return null;
  const id = env.imm[insnIdx]!;
  const btf = btfOfCall(env, env.off[insnIdx]!);
  if (btf === null) return null;
  const func = typeById(btf, id);
  const proto = protoOf(btf, id);
  if (func === undefined || proto === undefined) return null;
  const row = kfuncByName(func.name);
  const { progTypeName, attachTypeName } = factsOf(env);
  const allowed =
    row !== undefined &&
    row.progs.includes(progTypeName) &&
    (row.attachTypes === undefined || (attachTypeName !== undefined && row.attachTypes.includes(attachTypeName)));
  let flags = (row?.flags ?? []).reduce((bits, f) => bits | FLAGS[f], 0);
  if ((flags & KF_RELEASE) !== 0) flags |= KF_TRUSTED_ARGS;
  return { id, name: func.name, btf, proto, flags, allowed, inVmlinux: btf === env.vmlinuxBtf };
}

/** The kernel function that the insn calls; null when it calls none that exists. */
export function kfuncAt(env: Env, insnIdx: number): Kfunc | null {
  const { kfuncs } = factsOf(env);
  let k = kfuncs[insnIdx];
  if (k === undefined) {
    k = lookup(env, insnIdx);
    kfuncs[insnIdx] = k;
  }
  return k;
}

/** Name of the called vmlinux function when its call has no module offset, else "". */
export function vmlinuxKfunc(env: Env, insnIdx: number): string {
  const k = kfuncAt(env, insnIdx);
  return k !== null && k.inVmlinux ? k.name : "";
}

export const LIST_API = new Set([
  "bpf_list_push_front_impl",
  "bpf_list_push_back_impl",
  "bpf_list_pop_front",
  "bpf_list_pop_back",
  "bpf_list_front",
  "bpf_list_back",
]);
export const RBTREE_API = new Set([
  "bpf_rbtree_add_impl",
  "bpf_rbtree_remove",
  "bpf_rbtree_first",
  "bpf_rbtree_root",
  "bpf_rbtree_left",
  "bpf_rbtree_right",
]);
export const RES_LOCK_API = new Set([
  "bpf_res_spin_lock",
  "bpf_res_spin_unlock",
  "bpf_res_spin_lock_irqsave",
  "bpf_res_spin_unlock_irqrestore",
]);
export const LIST_PUSH = new Set(["bpf_list_push_front_impl", "bpf_list_push_back_impl"]);
export const TASK_WORK_API = new Set([
  "bpf_task_work_schedule_signal_impl",
  "bpf_task_work_schedule_resume_impl",
  "bpf_task_work_schedule_signal",
  "bpf_task_work_schedule_resume",
]);
export const WQ_SET_CALLBACK = new Set(["bpf_wq_set_callback_impl", "bpf_wq_set_callback"]);
const SPIN_ALLOWED = new Set([
  ...LIST_API,
  ...RBTREE_API,
  ...RES_LOCK_API,
  "bpf_refcount_acquire_impl",
  "bpf_iter_num_new",
  "bpf_iter_num_next",
  "bpf_iter_num_destroy",
  "bpf_arena_alloc_pages",
  "bpf_arena_free_pages",
  "bpf_arena_reserve_pages",
  "bpf_stream_vprintk",
  "bpf_stream_vprintk_impl",
]);

/** kfunc_spin_allowed */
export const kfuncSpinAllowed = (env: Env, insnIdx: number): boolean => SPIN_ALLOWED.has(vmlinuxKfunc(env, insnIdx));

/** in_rbtree_lock_required_cb: inside the comparison callback of an rbtree function. */
export function inRbtreeLockRequiredCb(env: Env): boolean {
  const st = env.state;
  if (st.curframe === 0) return false;
  const callee = st.frames[st.curframe]!;
  return callee.inCallbackFn && RBTREE_API.has(vmlinuxKfunc(env, callee.callsite));
}
