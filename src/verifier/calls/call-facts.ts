/** Facts about calls that the passes before and between the main loop ask for. */
import { BPF_PSEUDO_KFUNC_CALL } from "../../asm/opcode.ts";
import { BPF_FUNC, helperById } from "../../uapi/helpers.ts";
import type { Env } from "../env.ts";
import * as a from "./arg-types.ts";
import {
  KF_FASTCALL,
  KF_ITER_NEXT,
  KF_SLEEPABLE,
  TASK_WORK_API,
  WQ_SET_CALLBACK,
  kfuncAt,
  vmlinuxKfunc,
} from "./kfunc-ids.ts";
import { funcIdName, helperFn } from "./protos.ts";

const F = BPF_FUNC;
const CALL = 0x85;

const SYNC_CALLBACK: ReadonlySet<number> = new Set([F.for_each_map_elem, F.find_vma, F.loop, F.user_ringbuf_drain]);

const isHelper = (env: Env, i: number): boolean => env.code[i] === CALL && env.src[i] === 0;
const isKfunc = (env: Env, i: number): boolean => env.code[i] === CALL && env.src[i] === BPF_PSEUDO_KFUNC_CALL;

/** Helpers that the verifier or the x86-64 JIT replaces by instructions, so that bpf_fastcall may hold. */
const INLINED: ReadonlySet<number> = new Set([F.get_smp_processor_id, F.get_current_task, F.get_current_task_btf]);

/** bpf_get_call_summary */
export function callSummary(env: Env, i: number): { numParams: number; fastcall: boolean; isVoid: boolean } | null {
  if (isHelper(env, i)) {
    const fn = helperFn(env, env.imm[i]!);
    if (fn === null || fn === undefined) return null;
    const fastcall = fn.row.fastcall === true && INLINED.has(fn.row.id);
    return { numParams: fn.numArgs, fastcall, isVoid: fn.retType === a.RET_VOID };
  }
  if (!isKfunc(env, i)) return null;
  const k = kfuncAt(env, i);
  if (k === null || !k.allowed) return null;
  return { numParams: k.proto.params.length, fastcall: (k.flags & KF_FASTCALL) !== 0, isVoid: k.proto.type === 0 };
}

export const isSyncCallbackCallingInsn = (env: Env, i: number): boolean =>
  (isHelper(env, i) && SYNC_CALLBACK.has(env.imm[i]!)) ||
  (isKfunc(env, i) && vmlinuxKfunc(env, i) === "bpf_rbtree_add_impl");

export function isAsyncCallbackCallingInsn(env: Env, i: number): boolean {
  if (isHelper(env, i)) return env.imm[i] === F.timer_set_callback;
  if (!isKfunc(env, i)) return false;
  const name = vmlinuxKfunc(env, i);
  return WQ_SET_CALLBACK.has(name) || TASK_WORK_API.has(name);
}

export function isIterNextInsn(env: Env, i: number): boolean {
  const k = isKfunc(env, i) ? kfuncAt(env, i) : null;
  return k !== null && k.allowed && (k.flags & KF_ITER_NEXT) !== 0;
}

export const isBpfThrowInsn = (env: Env, i: number): boolean =>
  isKfunc(env, i) && env.off[i] === 0 && vmlinuxKfunc(env, i) === "bpf_throw";

export function callChangesPktData(env: Env, i: number): boolean {
  if (isHelper(env, i)) return helperFn(env, env.imm[i]!)?.row.changesPacket === true;
  return isKfunc(env, i) && vmlinuxKfunc(env, i) === "bpf_xdp_pull_data";
}

export function callMightSleep(env: Env, i: number): boolean {
  if (isHelper(env, i)) return helperFn(env, env.imm[i]!)?.mightSleep === true;
  const k = isKfunc(env, i) ? kfuncAt(env, i) : null;
  return k !== null && k.allowed && (k.flags & KF_SLEEPABLE) !== 0;
}

/** The helper's name in the log; null when there is no such helper. */
export function helperName(env: Env, id: number): string | null {
  const row = id > 0 ? helperById(id) : undefined;
  if (row !== undefined && !env.kernel.atLeast(row.since)) return null;
  const name = funcIdName(id);
  return name === "unknown" ? null : name;
}

/** Call 0 is named after type 0, which has no name. */
export const kfuncName = (env: Env, i: number): string | null =>
  kfuncAt(env, i)?.name ?? (env.imm[i] === 0 ? "" : null);
