/** The control-flow graph (check_cfg): every insn reachable, where to look for explored states, and the order for data-flow. */
import {
  BPF_CALL,
  BPF_EXIT,
  BPF_JA,
  BPF_JCOND,
  BPF_JMP,
  BPF_JMP32,
  BPF_K,
  BPF_PSEUDO_CALL,
  LD_IMM64,
  classOf,
  codeOf,
  sourceOf,
} from "../asm/opcode.ts";
import { E2BIG, EINVAL } from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { VerifierReject } from "./errors.ts";
import { printLineInfo } from "./log-state.ts";
import { containingSubprog, isPseudoFunc, subprogEnd } from "./subprog.ts";
import { fallthroughOf, jumpOffset, jumpTargetOf } from "./successors.ts";

const DISCOVERED = 0x10;
const EXPLORED = 0x20;
const FALLTHROUGH = 1;
const BRANCH = 2;

class CfgWalk {
  readonly env: Env;
  readonly state: Int32Array;
  readonly stack: number[] = [];

  constructor(env: Env) {
    this.env = env;
    this.state = new Int32Array(env.len);
  }

  /** push_insn: true when `w` was pushed and has to be explored first. */
  push(t: number, w: number, e: number, loopOk: boolean): boolean {
    const { env, state } = this;
    if (e === FALLTHROUGH && state[t]! >= (DISCOVERED | FALLTHROUGH)) return false;
    if (e === BRANCH && state[t]! >= (DISCOVERED | BRANCH)) return false;
    if (w < 0 || w >= env.len) {
      printLineInfo(env, t, `${t}: `);
      reject(env, EINVAL, `jump out of range from insn ${t} to ${w}\n`);
    }
    if (e === BRANCH) {
      env.aux[w]!.prunePoint = true;
      env.aux[w]!.jmpPoint = true;
    }
    if (state[w] === 0) {
      state[t] = DISCOVERED | e;
      state[w] = DISCOVERED;
      if (this.stack.length >= env.len) throw new VerifierReject(E2BIG);
      this.stack.push(w);
      return true;
    }
    if ((state[w]! & 0xf0) === DISCOVERED) {
      if (env.bpfCapable && (loopOk || env.has.loopsOverCalls)) return false;
      printLineInfo(env, t, `${t}: `);
      printLineInfo(env, w, `${w}: `);
      reject(env, EINVAL, `back-edge from insn ${t} to ${w}\n`);
    }
    state[t] = DISCOVERED | e;
    return false;
  }

  visitCall(t: number, visitCallee: boolean): boolean {
    const { env } = this;
    const next = t + (env.code[t] === LD_IMM64 ? 2 : 1);
    if (this.push(t, next, FALLTHROUGH, false)) return true;
    const aux = env.aux[next];
    if (aux !== undefined) {
      aux.prunePoint = true;
      aux.jmpPoint = true;
    }
    if (!visitCallee) return false;
    const w = t + env.imm[t]! + 1;
    env.aux[t]!.prunePoint = true;
    const caller = env.subprogs[containingSubprog(env, t)]!;
    const callee = env.subprogs[containingSubprog(env, w)]!;
    caller.changesPktData ||= callee.changesPktData;
    caller.mightSleep ||= callee.mightSleep;
    return this.push(t, w, BRANCH, isPseudoFunc(env, t));
  }

  /** visit_insn: true when something was pushed. */
  visit(t: number): boolean {
    const { env } = this;
    const code = env.code[t]!;
    if (isPseudoFunc(env, t)) return this.visitCall(t, true);
    const cls = classOf(code);
    if (cls !== BPF_JMP && cls !== BPF_JMP32) return this.push(t, t + (code === LD_IMM64 ? 2 : 1), FALLTHROUGH, false);
    const aux = env.aux[t]!;
    switch (codeOf(code)) {
      case BPF_EXIT:
        return false;
      case BPF_CALL: {
        if (env.seams.isAsyncCallbackCallingInsn(env, t)) aux.prunePoint = true;
        if (env.has.callbackLoops && env.seams.isSyncCallbackCallingInsn(env, t)) {
          aux.callsCallback = true;
          aux.forceCheckpoint = true;
          aux.prunePoint = true;
          aux.jmpPoint = true;
        }
        if (env.src[t] !== BPF_PSEUDO_CALL) {
          if (env.seams.isIterNextInsn(env, t)) {
            aux.prunePoint = true;
            aux.forceCheckpoint = true;
          }
          const sub = env.subprogs[containingSubprog(env, t)]!;
          if (!sub.mightSleep && env.seams.callMightSleep(env, t)) sub.mightSleep = true;
          if (!sub.changesPktData && env.seams.callChangesPktData(env, t)) sub.changesPktData = true;
        }
        return this.visitCall(t, env.src[t] === BPF_PSEUDO_CALL);
      }
      case BPF_JA: {
        if (sourceOf(code) !== BPF_K) throw new VerifierReject(EINVAL);
        const w = t + jumpOffset(env, t) + 1;
        if (this.push(t, w, FALLTHROUGH, true)) return true;
        env.aux[w]!.prunePoint = true;
        env.aux[w]!.jmpPoint = true;
        return false;
      }
      default:
        aux.prunePoint = true;
        if (code === (BPF_JMP | BPF_JCOND) && env.src[t] === 0) aux.forceCheckpoint = true;
        if (this.push(t, t + 1, FALLTHROUGH, true)) return true;
        return this.push(t, t + env.off[t]! + 1, BRANCH, true);
    }
  }

  walk(start: number): void {
    this.state[start] = DISCOVERED;
    this.stack.push(start);
    while (this.stack.length > 0) {
      const t = this.stack.at(-1)!;
      if (this.visit(t)) continue;
      this.state[t] = EXPLORED;
      this.stack.pop();
    }
  }
}

/** check_cfg */
export function checkCfg(env: Env): void {
  const w = new CfgWalk(env);
  w.walk(0);
  if (env.exceptionCallbackSubprog !== 0) {
    const start = env.subprogs[env.exceptionCallbackSubprog]!.start;
    if (w.state[start] === 0) w.walk(start);
  }
  for (let i = 0; i < env.len; i++) {
    if (w.state[i] !== EXPLORED) reject(env, EINVAL, `unreachable insn ${i}\n`);
    if (env.code[i] !== LD_IMM64) continue;
    if (w.state[i + 1] !== 0) reject(env, EINVAL, `jump into the middle of ldimm64 insn ${i}\n`);
    i++;
  }
  env.changesPktData = env.subprogs[0]!.changesPktData;
  env.mightSleep = env.subprogs[0]!.mightSleep;
}

/** compute_postorder: env.postorder, subprogram by subprogram. */
export function computePostorder(env: Env): void {
  const order = new Int32Array(env.len);
  const state = new Uint8Array(env.len);
  let n = 0;
  for (const sub of env.subprogs) {
    sub.postorderStart = n;
    const stack = [sub.start];
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      state[top]! |= DISCOVERED;
      if ((state[top]! & EXPLORED) !== 0) {
        order[n++] = top;
        stack.pop();
        continue;
      }
      for (const s of [fallthroughOf(env, top), jumpTargetOf(env, top)]) {
        if (s < 0 || s >= env.len || state[s] !== 0) continue;
        stack.push(s);
        state[s]! |= DISCOVERED;
      }
      state[top]! |= EXPLORED;
    }
  }
  env.postorder = order.subarray(0, n);
}

const SPILL = 0x7b;
const FILL = 0x79;

/** mark_fastcall_patterns: spills and fills around calls that follow the bpf_fastcall contract. */
export function markFastcallPatterns(env: Env): void {
  for (let s = 0; s < env.subprogs.length; s++) {
    const sub = env.subprogs[s]!;
    const end = subprogEnd(env, s);
    let lowest = 0;
    for (let i = sub.start; i < end; i++) {
      if (env.code[i] === SPILL && env.dst[i] === 10) lowest = Math.min(lowest, env.off[i]!);
    }
    for (let i = sub.start; i < end; i++) {
      if (env.code[i] !== (BPF_JMP | BPF_CALL)) continue;
      const cs = env.seams.callSummary(env, i);
      if (cs === null) continue;
      let expected = ~(((1 << (cs.numParams + 1)) - 1) & ~(cs.isVoid ? 1 : 0)) & 0x3f;
      let off = lowest;
      let k = 1;
      for (; k <= 6; k++, off += 8) {
        const a = i - k;
        const b = i + k;
        if (a < 0 || b >= env.len) break;
        if (env.code[a] !== SPILL || env.code[b] !== FILL || env.dst[a] !== 10 || env.src[b] !== 10) break;
        if (env.src[a] !== env.dst[b] || ((1 << env.src[a]!) & expected) === 0) break;
        if (env.off[a] !== off || env.off[b] !== off) break;
        expected &= ~(1 << env.src[a]!);
        env.aux[a]!.fastcallPattern = 1;
        env.aux[b]!.fastcallPattern = 1;
      }
      if (k === 1) continue;
      if (cs.fastcall) env.aux[i]!.fastcallSpillsNum = k - 1;
      else sub.keepFastcallStack = true;
      sub.fastcallStackOff = Math.min(sub.fastcallStackOff, off);
    }
  }
}

/** remove_fastcall_spills_fills, as far as it shrinks stack depths. */
export function removeFastcallSpills(env: Env): void {
  const modified = new Set<number>();
  for (let i = 0; i < env.len; i++) if (env.aux[i]!.fastcallSpillsNum > 0) modified.add(containingSubprog(env, i));
  for (const n of modified) {
    const sub = env.subprogs[n]!;
    if (!sub.keepFastcallStack) sub.stackDepth = -sub.fastcallStackOff;
  }
}
