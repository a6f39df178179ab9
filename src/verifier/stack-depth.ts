/** Combined stack of call chains (check_max_stack_depth). */
import { E2BIG, EACCES, EINVAL, MAX_BPF_STACK, MAX_CALL_FRAMES } from "./constants.ts";
import { type Env, reject, verifierBug } from "./env.ts";
import { findSubprog, isKfuncCall, isPseudoCall, isPseudoFunc, subprogEnd } from "./subprog.ts";

const UNKNOWN = 0;
const NONE = 1;
const ADAPTIVE = 2;
const BPF_PRIV_STACK_MIN_SIZE = 64;
// BPF_PROG_TYPE_*
const KPROBE = 2;
const TRACEPOINT = 5;
const PERF_EVENT = 7;
const RAW_TRACEPOINT = 17;

const roundUp = (env: Env, n: number): number =>
  env.has.stackRounding ? Math.ceil(n / 16) * 16 : Math.ceil(Math.max(n, 1) / 32) * 32;

function walk(env: Env, root: number, privSupported: boolean): void {
  const subs = env.subprogs;
  const retInsn: number[] = [];
  const retProg: number[] = [];
  let idx = root;
  let depth = 0;
  let frame = 0;
  let tailCallReachable = false;
  let i = subs[idx]!.start;
  let enter = true;
  if (!privSupported) subs[idx]!.privStackMode = NONE;
  for (;;) {
    if (enter) {
      enter = false;
      const sub = subs[idx]!;
      if (idx !== 0 && sub.hasTailCall && depth >= 256) {
        reject(
          env,
          EACCES,
          `tail_calls are not allowed when call stack of previous frames is ${depth} bytes. Too large\n`,
        );
      }
      const own = roundUp(env, sub.stackDepth);
      if (privSupported && sub.privStackMode === UNKNOWN && own >= BPF_PRIV_STACK_MIN_SIZE)
        sub.privStackMode = ADAPTIVE;
      if (sub.privStackMode === ADAPTIVE) {
        if (own > MAX_BPF_STACK) reject(env, EACCES, `stack size of subprog ${idx} is ${own}. Too large\n`);
      } else {
        depth += own;
        if (depth > MAX_BPF_STACK)
          reject(env, EACCES, `combined stack size of ${frame + 1} calls is ${depth}. Too large\n`);
      }
    }
    const end = subprogEnd(env, idx);
    for (; i < end; i++) {
      if (isKfuncCall(env, i) && env.off[i] === 0) {
        if (!env.seams.isBpfThrowInsn(env, i)) continue;
        let inCb = subs[idx]!.isCb;
        for (let c = 0; c < frame && !inCb; c++) inCb = subs[retProg[c]!]!.isCb;
        if (inCb) reject(env, EINVAL, `bpf_throw kfunc (insn ${i}) cannot be called from callback subprog ${idx}\n`);
        continue;
      }
      if (!isPseudoCall(env, i) && !isPseudoFunc(env, i)) continue;
      const target = i + env.imm[i]! + 1;
      const callee = findSubprog(env, target);
      if (callee < 0) verifierBug(env, `callee not found at insn ${target}`);
      const sub = subs[callee]!;
      if (sub.isAsyncCb) {
        if (sub.hasTailCall) verifierBug(env, "subprog has tail_call and async cb");
        if (!isPseudoCall(env, i)) continue;
        if (sub.isExceptionCb) reject(env, EINVAL, `insn ${i} cannot call exception cb directly`);
      }
      retInsn[frame] = i + 1;
      retProg[frame] = idx;
      i = target;
      idx = callee;
      if (!privSupported) sub.privStackMode = NONE;
      if (sub.hasTailCall) tailCallReachable = true;
      frame++;
      if (frame >= MAX_CALL_FRAMES) reject(env, E2BIG, `the call stack of ${frame} frames is too deep !\n`);
      enter = true;
      break;
    }
    if (enter) continue;
    if (tailCallReachable) {
      for (let j = 0; j < frame; j++) {
        const sub = subs[retProg[j]!]!;
        if (sub.isExceptionCb) reject(env, EINVAL, "cannot tail call within exception cb\n");
        sub.tailCallReachable = true;
      }
    }
    if (frame === 0) return;
    if (subs[idx]!.privStackMode !== ADAPTIVE) depth -= roundUp(env, subs[idx]!.stackDepth);
    frame--;
    i = retInsn[frame]!;
    idx = retProg[frame]!;
  }
}

/** check_max_stack_depth: at most 512 bytes in a chain of calls (or a function, on a private stack), 8 frames. */
export function checkMaxStackDepth(env: Env): void {
  let priv = env.subprogs.some((s) => s.hasTailCall) ? NONE : UNKNOWN;
  if (!env.has.privateStacks) priv = NONE;
  if (priv === UNKNOWN) {
    const t = env.load.progType;
    priv =
      t === KPROBE || t === TRACEPOINT || t === PERF_EVENT || t === RAW_TRACEPOINT || env.privStackRequested
        ? ADAPTIVE
        : NONE;
  }
  for (let i = env.subprogs.length - 1; i >= 0; i--) {
    if (i === 0 || env.subprogs[i]!.isAsyncCb) walk(env, i, i === 0 && priv === ADAPTIVE);
  }
}
