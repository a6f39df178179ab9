/** Calls and returns of the program's own functions and callbacks. */
import { E2BIG, EACCES, EFAULT, EINVAL, MAX_CALL_FRAMES, PTR_TO_STACK, SCALAR_VALUE } from "./constants.ts";
import { type Env, reject, verifierBug } from "./env.ts";
import { VerifierReject } from "./errors.ts";
import { pushAsyncState, pushStack } from "./explore-state.ts";
import { FrameMarks, copyRegMarks, markRegRead, markRegWritten } from "./live-marks.ts";
import { dec64, hex64 } from "./log-num.ts";
import { stateText } from "./log-state.ts";
import { s64 } from "./num.ts";
import { markChainPrecision } from "./precision.ts";
import { findPrevEntry, widenImpreciseScalars } from "./prune.ts";
import { clearAllPktPointers } from "./refs.ts";
import { RegState, markRegFramePointer, markRegNotInit, markRegUnknown } from "./reg-state.ts";
import { tnumIn, tnumSetRange } from "./scalar/index.ts";
import { FuncState, type VerifierState } from "./state.ts";
import { findSubprog, isGlobalSubprog, isKfuncCall } from "./subprog.ts";
import type { CalleeStateSetter } from "./types.ts";

/** init_func_state: a frame with nothing but its frame pointer. */
export function initFuncState(env: Env, callsite: number, frameno: number, subprogno: number): FuncState {
  const f = new FuncState();
  f.callsite = callsite;
  f.frameno = frameno;
  f.subprogno = subprogno;
  if (!env.has.staticStackLiveness) f.marks = new FrameMarks();
  for (let i = 0; i < 10; i++) markRegNotInit(f.regs[i]!, env.bpfCapable);
  markRegFramePointer(f.regs[10]!, frameno);
  env.scratchAll();
  return f;
}

/** clear_caller_saved_regs: r0-r5 are unreadable after a call. */
export function clearCallerSavedRegs(env: Env, f: FuncState): void {
  for (let i = 0; i < 6; i++) {
    markRegNotInit(f.regs[i]!, env.bpfCapable);
    if (f.marks !== null) markRegWritten(f, i);
  }
  env.scratchedRegs |= 0x3f;
}

function tooDeep(env: Env, st: VerifierState): never {
  return reject(env, E2BIG, `the call stack of ${st.curframe + 2} frames is too deep\n`);
}

/** The call that `env.insnIdx` made is done: goes on in its callback, if it has one to be entered (before 6.7). */
export function enterPendingCallback(env: Env): void {
  const callee = env.pendingCallback;
  if (callee === null) return;
  env.pendingCallback = null;
  const st = env.state;
  // The call's own clobbers were noted in the frame that was current by then.
  if (callee.marks !== null) for (let i = 0; i < 6; i++) markRegWritten(callee, i);
  st.frames[st.curframe + 1] = callee;
  st.curframe++;
  env.insnIdx = env.subprogs[callee.subprogno]!.start - 1;
  env.liveStack.resetCallchain();
  logCall(env, st);
}

function logCall(env: Env, st: VerifierState): void {
  if (!env.log.level1 && !env.log.level2) return;
  env.log.write("caller:\n");
  env.log.write(stateText(env, st, st.curframe - 1, true));
  env.log.write("callee:\n");
  env.log.write(stateText(env, st, st.curframe, true));
}

/** setup_func_entry: a new innermost frame of `st` for `subprog`, filled by `set`. */
export function setupFuncEntry(
  env: Env,
  subprog: number,
  callsite: number,
  set: CalleeStateSetter,
  st: VerifierState,
): void {
  if (st.curframe + 1 >= MAX_CALL_FRAMES) tooDeep(env, st);
  const caller = st.frames[st.curframe]!;
  const callee = initFuncState(env, callsite, st.curframe + 1, subprog);
  set(env, caller, callee, callsite);
  st.frames[st.curframe + 1] = callee;
  st.curframe++;
}

/** The arguments against the function's BTF: 0, or the errno (what is wrong is in the log). */
function checkArgs(env: Env, subprog: number, regs: RegState[]): number {
  const sub = env.subprogs[subprog]!;
  if (env.funcInfo.length === 0 || sub.unreliable) return EINVAL;
  if (sub.btfFuncId === 0) throw new VerifierReject(EFAULT);
  try {
    env.seams.btfCheckSubprogCall(env, subprog, regs);
  } catch (e) {
    if (!(e instanceof VerifierReject)) throw e;
    sub.unreliable = true;
    if (e.errno === EFAULT) throw e;
    return e.errno;
  }
  return 0;
}

/** Register `to` of a new frame is the caller's register `from`. */
export function passReg(callee: FuncState, to: number, caller: FuncState, from: number): void {
  callee.regs[to]!.copyFrom(caller.regs[from]!);
  copyRegMarks(callee, to, caller, from);
}

const passArgs: CalleeStateSetter = (_env, caller, callee) => {
  for (let i = 1; i <= 5; i++) passReg(callee, i, caller, i);
};

/** check_func_call: env.insnIdx moves to just before the callee's first insn, or stays for a global function. */
export function checkFuncCall(env: Env, i: number): void {
  const st = env.state;
  const target = i + env.imm[i]! + 1;
  const subprog = findSubprog(env, target);
  if (subprog < 0) verifierBug(env, `no program starts at insn ${target}`);
  const caller = st.frames[st.curframe]!;
  const errno = checkArgs(env, subprog, caller.regs);
  const sub = env.subprogs[subprog]!;
  if (isGlobalSubprog(env, subprog)) {
    const label = env.has.lazyGlobalFuncs ? ` ('${sub.name}')` : "";
    if (st.activeLocks !== 0) {
      reject(env, EINVAL, "global function calls are not allowed while holding a lock,\nuse static function instead\n");
    }
    if (!env.has.sleepableGlobalFuncs && st.activePreemptLocks !== 0) {
      reject(
        env,
        EINVAL,
        "global function calls are not allowed with preemption disabled,\nuse static function instead\n",
      );
    }
    if (
      env.has.sleepableGlobalFuncs &&
      sub.mightSleep &&
      (st.activeRcuLock || st.activePreemptLocks !== 0 || st.activeIrqId !== 0 || !st.inSleepable)
    ) {
      reject(
        env,
        EINVAL,
        "global functions that may sleep are not allowed in non-sleepable context,\ni.e., in a RCU/IRQ/preempt-disabled section, or in\na non-sleepable BPF program context\n",
      );
    }
    if (errno !== 0) reject(env, errno, `Caller passes invalid args into func#${subprog}${label}\n`);
    const what = env.has.lazyGlobalFuncs ? "assumed valid." : "valid. Skipping.";
    if (env.log.any) env.log.write(`Func#${subprog}${label} is global and ${what}\n`);
    if (sub.changesPktData && env.has.packetDataOfCalls) clearAllPktPointers(env);
    sub.called = true;
    clearCallerSavedRegs(env, caller);
    markRegUnknown(caller.regs[0]!, env.bpfCapable);
    return;
  }
  setupFuncEntry(env, subprog, i, passArgs, st);
  clearCallerSavedRegs(env, caller);
  env.insnIdx = sub.start - 1;
  env.liveStack.resetCallchain();
  logCall(env, st);
}

/** push_callback_call: the callback is explored from the current state later; the call itself goes on. */
export function pushCallbackCall(env: Env, i: number, subprog: number, set: CalleeStateSetter): void {
  const st = env.state;
  const caller = st.frames[st.curframe]!;
  checkArgs(env, subprog, caller.regs);
  const sub = env.subprogs[subprog]!;
  sub.isCb = true;
  if (env.seams.isAsyncCallbackCallingInsn(env, i)) {
    sub.isAsyncCb = true;
    const callee = initFuncState(env, -1, 0, subprog);
    pushAsyncState(env, sub.start, i, callee, isKfuncCall(env, i));
    callee.asyncEntryCnt = caller.asyncEntryCnt + 1;
    set(env, caller, callee, i);
    return;
  }
  if (!env.has.callbackLoops) {
    if (st.curframe + 1 >= MAX_CALL_FRAMES) tooDeep(env, st);
    env.pendingCallback = initFuncState(env, i, st.curframe + 1, subprog);
    set(env, caller, env.pendingCallback, i);
    return;
  }
  const cb = pushStack(env, sub.start, i, false);
  setupFuncEntry(env, subprog, i, set, cb);
  cb.callbackUnrollDepth++;
  cb.frames[cb.curframe - 1]!.callbackDepth++;
  caller.callbackDepth = 0;
}

const wanted = new RegState();

function rangeText(min: number, max: number): string {
  tnumSetRange(wanted, min, min >> 31, max, max >> 31);
  return numberText(wanted);
}

/** tnum_strn as it was: also for a constant. */
const numberText = (r: RegState): string => `(${hex64(r.valLo, r.valHi)}; ${hex64(r.maskLo, r.maskHi)})`;

/** Is what is known of the number's bits within [min, max]? How return values were checked before 6.8. */
export function bitsWithin(r: RegState, min: number, max: number): boolean {
  tnumSetRange(wanted, min, min >> 31, max, max >> 31);
  return tnumIn(wanted, r);
}

/** retval_range_within */
export function retvalWithin(r: RegState, min: number, max: number, is32bit: boolean): boolean {
  if (is32bit) return min <= r.s32Min && r.s32Max <= max;
  return min <= s64(r.sminLo, r.sminHi) && s64(r.smaxLo, r.smaxHi) <= max;
}

/** verbose_invalid_scalar, and the rejection. */
export function rejectScalar(env: Env, r: RegState, min: number, max: number, ctx: string, regName: string): never {
  if (!env.has.returnRangeTexts) {
    const known = (r.maskLo & r.maskHi) === -1 ? "unknown scalar value" : `value ${numberText(r)}`;
    reject(env, EINVAL, `${ctx} the register ${regName} has ${known} should have been in ${rangeText(min, max)}\n`);
  }
  let text = `${ctx} the register ${regName} has`;
  let unknown = true;
  if (r.sminHi !== -0x8000_0000 || r.sminLo !== 0) {
    text += ` smin=${dec64(r.sminLo, r.sminHi)}`;
    unknown = false;
  }
  if (r.smaxHi !== 0x7fff_ffff || r.smaxLo !== -1) {
    text += ` smax=${dec64(r.smaxLo, r.smaxHi)}`;
    unknown = false;
  }
  if (unknown) text += " unknown scalar value";
  return reject(env, EINVAL, `${text} should have been in [${min}, ${max}]\n`);
}

/** prepare_func_exit: back to the caller; env.insnIdx is where to go on. */
export function prepareFuncExit(env: Env): void {
  const st = env.state;
  env.liveStack.update();
  const callee = st.frames[st.curframe]!;
  const r0 = callee.regs[0]!;
  if (r0.type === PTR_TO_STACK) reject(env, EINVAL, "cannot return stack pointer to the caller\n");
  const caller = st.frames[st.curframe - 1]!;
  if (callee.inCallbackFn) {
    if (r0.type !== SCALAR_VALUE) reject(env, EACCES, "R0 not a scalar value\n");
    if (callee.marks !== null) markRegRead(env, st.curframe, 0, true);
    markChainPrecision(env, 0);
    const { callbackRetMin: min, callbackRetMax: max } = callee;
    if (!(env.has.returnRangeTexts ? retvalWithin(r0, min, max, false) : bitsWithin(r0, min, max))) {
      rejectScalar(env, r0, callee.callbackRetMin, callee.callbackRetMax, "At callback return", "R0");
    }
    if (env.has.callbackLoops && !env.aux[callee.callsite]!.callsCallback) {
      verifierBug(env, `in callback at ${env.insnIdx}, callsite ${callee.callsite} !calls_callback`);
    }
    env.insnIdx = callee.callsite + (env.has.callbackLoops ? 0 : 1);
  } else {
    passReg(caller, 0, callee, 0);
    env.insnIdx = callee.callsite + 1;
  }
  if (env.log.level1 || env.log.level2) {
    env.log.write("returning from callee:\n");
    env.log.write(stateText(env, st, callee.frameno, true));
    env.log.write(`to caller at ${env.insnIdx}:\n`);
    env.log.write(stateText(env, st, caller.frameno, true));
  }
  st.frames.length = st.curframe;
  st.curframe--;
  if (!callee.inCallbackFn || !env.has.callbackLoops) return;
  const prev = findPrevEntry(env, st, env.insnIdx);
  if (prev !== null) widenImpreciseScalars(env, prev, st);
}
