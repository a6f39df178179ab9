/** Subprograms: where functions start, that jumps stay inside them, how deep their stacks add up. */
import {
  BPF_ABS,
  BPF_CALL,
  BPF_EXIT,
  BPF_IND,
  BPF_JA,
  BPF_JMP,
  BPF_JMP32,
  BPF_LD,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_KFUNC_CALL,
  LD_IMM64,
  classOf,
  codeOf,
  modeOf,
} from "../asm/opcode.ts";
import { findExceptionCallback } from "./btf-info.ts";
import { BPF_MAX_SUBPROGS, E2BIG, EINVAL, EPERM } from "./constants.ts";
import { type Env, type Subprog, reject } from "./env.ts";
import { jumpOffset } from "./successors.ts";

const BPF_FUNC_TAIL_CALL = 12;
const BTF_FUNC_GLOBAL = 1;

export function newSubprog(start: number): Subprog {
  return {
    start,
    lineInfoIdx: 0,
    stackDepth: 0,
    name: "",
    hasTailCall: false,
    tailCallReachable: false,
    hasLdAbs: false,
    isCb: false,
    isAsyncCb: false,
    isExceptionCb: false,
    argsCached: false,
    args: [],
    keepFastcallStack: false,
    changesPktData: false,
    mightSleep: false,
    fastcallStackOff: 0,
    postorderStart: 0,
    exitIdx: 0,
    privStackMode: 0,
    btfFuncId: 0,
    linkage: 0,
    unreliable: false,
    called: false,
    verified: false,
  };
}

/** Index of the subprogram that insn `off` is in; -1 when there is none. */
export function containingSubprog(env: Env, off: number): number {
  if (off < 0 || off >= env.len) return -1;
  const subs = env.subprogs;
  let l = 0;
  let r = subs.length - 1;
  if (r < 0) return -1;
  while (l < r) {
    const m = l + ((r - l + 1) >> 1);
    if (subs[m]!.start <= off) l = m;
    else r = m - 1;
  }
  return l;
}

/** Index of the subprogram that starts exactly at `off`, or -1. */
export function findSubprog(env: Env, off: number): number {
  const n = containingSubprog(env, off);
  return n >= 0 && env.subprogs[n]!.start === off ? n : -1;
}

/** One past the last insn of subprogram `n`. */
export const subprogEnd = (env: Env, n: number): number => env.subprogs[n + 1]?.start ?? env.len;

/** Has BTF that says it is global: verified on its own, not at each call. */
export const isGlobalSubprog = (env: Env, n: number): boolean =>
  env.subprogs[n]!.linkage === BTF_FUNC_GLOBAL && env.has.globalFuncs;

export const isPseudoCall = (env: Env, i: number): boolean =>
  env.code[i] === (BPF_JMP | BPF_CALL) && env.src[i] === BPF_PSEUDO_CALL;
export const isPseudoFunc = (env: Env, i: number): boolean =>
  env.code[i] === LD_IMM64 && env.src[i] === BPF_PSEUDO_FUNC;
export const isKfuncCall = (env: Env, i: number): boolean =>
  env.code[i] === (BPF_JMP | BPF_CALL) && env.src[i] === BPF_PSEUDO_KFUNC_CALL;
export const isHelperCall = (env: Env, i: number): boolean => env.code[i] === (BPF_JMP | BPF_CALL) && env.src[i] === 0;

function addSubprog(env: Env, off: number): void {
  if (off >= env.len || off < 0) reject(env, EINVAL, "call to invalid destination\n");
  if (env.subprogs.length > 0 && findSubprog(env, off) >= 0) return;
  if (env.subprogs.length >= BPF_MAX_SUBPROGS) reject(env, E2BIG, "too many subprograms\n");
  env.subprogs.push(newSubprog(off));
  env.subprogs.sort((a, b) => a.start - b.start);
}

/** add_subprog_and_kfunc */
export function addSubprogsAndKfuncs(env: Env): void {
  addSubprog(env, 0);
  for (let i = 0; i < env.len; i++) {
    const func = isPseudoFunc(env, i) || isPseudoCall(env, i);
    if (!func && !isKfuncCall(env, i)) continue;
    if (!env.bpfCapable) {
      reject(env, EPERM, "loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN\n");
    }
    if (func) addSubprog(env, i + env.imm[i]! + 1);
    else env.seams.addKfuncCall(env, i);
  }
  const exCb = env.has.exceptions ? findExceptionCallback(env) : 0;
  if (exCb !== 0) {
    addSubprog(env, exCb);
    const n = findSubprog(env, exCb);
    env.exceptionCallbackSubprog = n;
    const sub = env.subprogs[n]!;
    sub.isCb = true;
    sub.isAsyncCb = true;
    sub.isExceptionCb = true;
  }
  if (env.log.level2) env.subprogs.forEach((s, i) => env.log.write(`func#${i} @${s.start}\n`));
}

/** check_subprogs */
export function checkSubprogs(env: Env): void {
  let cur = 0;
  let start = 0;
  let end = subprogEnd(env, 0);
  for (let i = 0; i < env.len; i++) {
    const code = env.code[i]!;
    const sub = env.subprogs[cur]!;
    if (isHelperCall(env, i) && env.imm[i] === BPF_FUNC_TAIL_CALL) {
      if (env.subprogs.length > 1 && !env.has.tailCallsWithCalls)
        reject(env, EINVAL, "tail_calls are not allowed in programs with bpf-to-bpf calls\n");
      sub.hasTailCall = true;
      sub.tailCallReachable = true;
    }
    const cls = classOf(code);
    if (cls === BPF_LD && (modeOf(code) === BPF_ABS || modeOf(code) === BPF_IND)) sub.hasLdAbs = true;
    if ((cls === BPF_JMP || cls === BPF_JMP32) && codeOf(code) !== BPF_EXIT && codeOf(code) !== BPF_CALL) {
      const off = (i + jumpOffset(env, i) + 1) | 0;
      if (off < start || off >= end) reject(env, EINVAL, `jump out of range from insn ${i} to ${off}\n`);
    } else if (cls === BPF_JMP && codeOf(code) === BPF_EXIT) sub.exitIdx = i;
    if (i !== end - 1) continue;
    if (code !== (BPF_JMP | BPF_EXIT) && code !== (BPF_JMP32 | BPF_JA) && code !== (BPF_JMP | BPF_JA)) {
      reject(env, EINVAL, "last insn is not an exit or jmp\n");
    }
    start = end;
    cur++;
    if (cur < env.subprogs.length) end = subprogEnd(env, cur);
  }
}
