/** The entry: one program, everything BPF_PROG_LOAD would be given, and the kernel's verdict. */
import { BPF_JCOND, BPF_JMP, BPF_PSEUDO_FUNC, LD_IMM64 } from "../asm/opcode.ts";
import { checkBtfInfo, checkBtfInfoEarly } from "./btf-info.ts";
import { parseMapRecord } from "./btf/index.ts";
import * as calls from "./calls/index.ts";
import type { ProgLoad } from "./capture.ts";
import { btfCtxAccess, checkPtrToBtfAccess, checkPtrToMapAccess } from "./ctx/index.ts";
import { checkCfg, computePostorder, markFastcallPatterns, removeFastcallSpills } from "./cfg.ts";
import { Env, verifierBug } from "./env.ts";
import { E2BIG, EINVAL } from "./constants.ts";
import { VerifierReject } from "./errors.ts";
import { doCheck } from "./explore.ts";
import { initFuncState } from "./frames.ts";
import { setupEntryRegs } from "./global-funcs.ts";
import { computeLiveRegisters, computeScc } from "./live-regs.ts";
import { type KernelProfile, LATEST_KERNEL, kernelProfile } from "./kernel-profile.ts";
import { MarkedStack } from "./live-marks.ts";
import { LiveStack } from "./live-stack.ts";
import { Log } from "./log.ts";
import type { Profile } from "./profile.ts";
import { resolvePseudoLdImm64 } from "./resolve.ts";
import { requirementText, requirementsOf } from "./requirements.ts";
import { useScalarRules } from "./scalar/rules.ts";
import type { Seams } from "./seams.ts";
import { checkMaxStackDepth } from "./stack-depth.ts";
import { VerifierState } from "./state.ts";
import {
  addSubprogsAndKfuncs,
  checkSubprogs,
  findSubprog,
  isGlobalSubprog,
  isHelperCall,
  subprogEnd,
} from "./subprog.ts";

export interface VerifyOptions {
  /** BPF_LOG_LEVEL1 (1) | LEVEL2 (2) | STATS (4); default 4. */
  readonly logLevel?: number;
  /** Gives up after so many processed instructions with VerifierAborted; default the kernel's own limit. */
  readonly budget?: number;
  readonly signal?: AbortSignal;
  /** Longest log kept, in characters; the beginning is dropped first. Default and most: 2 ** 28. */
  readonly logLimit?: number;
  /** Counts processed instructions and states as it goes. */
  readonly profile?: Profile;
  /** The kernel whose rules apply: "6.12" (its newest stable release), "6.1.90", or a profile. Default: 6.18. */
  readonly kernel?: string | KernelProfile;
  /** Load without CAP_BPF and CAP_PERFMON. */
  readonly unprivileged?: boolean;
}

export interface Verdict {
  readonly verdict: "accept" | "reject";
  /** Positive errno of a rejection, 0 when accepted. */
  readonly errno: number;
  /** The last line of a rejection's text, without the final newline. Where the kernel says nothing: why, in our words, or "". */
  readonly message: string;
  readonly log: string;
  readonly insnsProcessed: number;
  readonly totalStates: number;
  readonly peakStates: number;
  readonly maxStatesPerInsn: number;
  /** Bytes of stack of each subprogram, as the statistics print them: "8+16". */
  readonly stackDepth: string;
}

const SEAMS: Seams = { ...calls, btfCtxAccess, checkPtrToBtfAccess, checkPtrToMapAccess, parseMapRecord };

const BPF_F_STRICT_ALIGNMENT = 1;
const BPF_F_ANY_ALIGNMENT = 2;
const BPF_F_TEST_STATE_FREQ = 8;
const BPF_F_SLEEPABLE = 16;
const BPF_F_TEST_REG_INVARIANTS = 128;
const BPF_FUNC_LOOP = 181;
const MAX_INSNS = 1_000_000;
const MAX_UNPRIV_INSNS = 4096;

function doCheckCommon(env: Env, subprog: number): void {
  const start = env.subprogs[subprog]!.start;
  env.prevLinfo = null;
  env.passCnt++;
  const st = new VerifierState();
  st.branches = 1;
  st.inSleepable = env.sleepable;
  env.state = st;
  st.frames.push(initFuncState(env, -1, 0, subprog));
  st.firstInsnIdx = start;
  st.lastInsnIdx = -1;
  setupEntryRegs(env, subprog);
  env.insnIdx = start;
  doCheck(env);
  if (!env.log.level2) env.log.reset(0);
  env.head = [];
  env.explored = [];
  env.sccInfo = [];
}

/** do_check_subprogs: global functions that were called, until no new one turns up. */
function doCheckSubprogs(env: Env): void {
  if (env.funcInfo.length === 0) return;
  if (env.exceptionCallbackSubprog !== 0) env.subprogs[env.exceptionCallbackSubprog]!.called = true;
  let again = true;
  while (again) {
    again = false;
    for (let i = 1; i < env.subprogs.length; i++) {
      const sub = env.subprogs[i]!;
      const wanted = sub.called || !env.has.lazyGlobalFuncs;
      if (!isGlobalSubprog(env, i) || !wanted || sub.verified) continue;
      doCheckCommon(env, i);
      const name = env.has.lazyGlobalFuncs ? ` ('${sub.name}')` : "";
      if (env.log.level1 || env.log.level2)
        env.log.write(`Func#${i}${name} is safe for any args that match its prototype\n`);
      sub.verified = true;
      again = true;
    }
  }
}

/** Stack that later rewrites of bpf_loop and may_goto add to a subprogram. */
function addRewriteStack(env: Env): void {
  for (let n = 0; n < env.subprogs.length; n++) {
    const sub = env.subprogs[n]!;
    const end = subprogEnd(env, n);
    let loops = false;
    let mayGoto = false;
    for (let i = sub.start; i < end; i++) {
      // What no path reaches is gone by then.
      if (env.aux[i]!.seen === 0) continue;
      if (isHelperCall(env, i) && env.imm[i] === BPF_FUNC_LOOP && env.aux[i]!.loopInline?.fitForInline === true)
        loops = true;
      if (env.code[i] === (BPF_JMP | BPF_JCOND) && env.src[i] === 0 && env.off[i] !== 0) mayGoto = true;
    }
    if (loops) sub.stackDepth = Math.ceil(sub.stackDepth / 8) * 8 + 24;
    if (mayGoto) sub.stackDepth += env.has.timedMayGoto ? 16 : 8;
  }
}

/**
 * jit_subprogs: a callback that is named but never reached is removed as dead code with all that is dead around it, and
 * its address then is of whatever moved there. Where that is no function the kernel calls it its own bug, and refuses.
 */
function checkNamedCallbacks(env: Env): void {
  if (!env.bpfCapable || env.subprogs.filter((_, n) => hasReachedInsn(env, n)).length < 2) return;
  const dead = (i: number): boolean =>
    i >= 0 && i < env.len && env.aux[i]!.seen === 0 && !(env.code[i] === 0 && env.aux[i - 1]?.seen !== 0);
  for (let i = 0; i < env.len; i++) {
    if (env.code[i] !== LD_IMM64 || env.src[i] !== BPF_PSEUDO_FUNC || env.aux[i]!.seen === 0) continue;
    const target = i + env.imm[i]! + 1;
    if (!dead(target)) continue;
    let from = target;
    let to = target;
    while (dead(from - 1)) from--;
    while (dead(to)) to++;
    const landing = i < target ? to + target - from : target - (to - from);
    if (findSubprog(env, landing) < 0) verifierBug(env, `No program to jit at insn ${i} (subprog < 0)`);
  }
}

function hasReachedInsn(env: Env, subprog: number): boolean {
  for (let i = env.subprogs[subprog]!.start; i < subprogEnd(env, subprog); i++) if (env.aux[i]!.seen !== 0) return true;
  return false;
}

function run(env: Env): void {
  if (env.len === 0 || env.len > (env.bpfCapable ? MAX_INSNS : MAX_UNPRIV_INSNS)) throw new VerifierReject(E2BIG);
  checkBtfInfoEarly(env);
  addSubprogsAndKfuncs(env);
  checkSubprogs(env);
  checkBtfInfo(env);
  resolvePseudoLdImm64(env);
  checkCfg(env);
  computePostorder(env);
  env.liveStack = env.has.staticStackLiveness ? new LiveStack(env) : new MarkedStack(env);
  calls.checkAttachBtfId(env);
  computeScc(env);
  computeLiveRegisters(env);
  markFastcallPatterns(env);
  doCheckCommon(env, 0);
  doCheckSubprogs(env);
  removeFastcallSpills(env);
  checkMaxStackDepth(env);
  env.deadCodeRemoved = env.bpfCapable;
  calls.checkFixups(env);
  addRewriteStack(env);
  checkNamedCallbacks(env);
}

function setPrivileges(env: Env, options: VerifyOptions): void {
  const flags = env.load.progFlags;
  if (options.unprivileged === true) {
    env.bpfCapable = false;
    env.allowPtrLeaks = false;
    env.allowUninitStack = false;
    env.bypassSpecV1 = false;
    env.bypassSpecV4 = false;
  }
  if (!env.has.uninitStackReads) env.allowUninitStack = false;
  env.strictAlignment = (flags & BPF_F_STRICT_ALIGNMENT) !== 0 && (flags & BPF_F_ANY_ALIGNMENT) === 0;
  env.testStateFreq = env.bpfCapable && (flags & BPF_F_TEST_STATE_FREQ) !== 0;
  env.testRegInvariants = (flags & BPF_F_TEST_REG_INVARIANTS) !== 0;
  env.sleepable = (flags & BPF_F_SLEEPABLE) !== 0;
  env.signal = options.signal ?? null;
  env.profile = options.profile ?? null;
  if (options.budget !== undefined && options.budget < env.insnLimit) {
    env.budget = options.budget;
    env.insnLimit = options.budget;
  }
}

/**
 * Says what Linux 6.18 would say to this BPF_PROG_LOAD.
 * @throws VerifierAborted when the budget or the signal ends it; DecodeError for malformed BTF.
 *
 * @example
 * const { verdict, message } = verify(load, { logLevel: 2 });
 */
export function verify(load: ProgLoad, options: VerifyOptions = {}): Verdict {
  return runVerifier(load, options).verdict;
}

/** @internal the same, with everything the run knew at its end: what explanations are made of. */
export function runVerifier(
  load: ProgLoad,
  options: VerifyOptions = {},
): { readonly verdict: Verdict; readonly env: Env } {
  const log = new Log(options.logLevel ?? 4, options.logLimit ?? 0);
  const kernel = options.kernel ?? LATEST_KERNEL;
  const env = new Env(load, log, SEAMS, typeof kernel === "string" ? kernelProfile(kernel) : kernel);
  setPrivileges(env, options);
  useScalarRules(env.has);
  env.btf = load.btf;
  env.vmlinuxBtf = load.vmlinuxBtf;
  let errno = 0;
  let message = "";
  try {
    const missing = requirementsOf(load).find((r) => r.silent && !env.kernel.atLeast(r.since));
    if (missing !== undefined) {
      message = requirementText(missing);
      throw new VerifierReject(EINVAL);
    }
    run(env);
  } catch (e) {
    if (!(e instanceof VerifierReject)) throw e;
    errno = e.errno;
    if (message === "") message = lastLine(log.text());
  }
  const depth = depthText(env, errno === 0);
  if ((log.level & 4) !== 0) log.write(`verification time 0 usec\nstack depth ${depth}\n`);
  log.write(
    `processed ${env.insnProcessed} insns (limit 1000000) max_states_per_insn ${env.maxStatesPerInsn} total_states ${env.totalStates} peak_states ${env.peakStates} mark_read ${env.longestMarkReadWalk}\n`,
  );
  const verdict: Verdict = {
    verdict: errno === 0 ? "accept" : "reject",
    errno,
    message,
    log: log.any ? log.text() : "",
    insnsProcessed: env.insnProcessed,
    totalStates: env.totalStates,
    peakStates: env.peakStates,
    maxStatesPerInsn: env.maxStatesPerInsn,
    stackDepth: depth,
  };
  return { verdict, env };
}

/** Stack of each subprogram; functions without a reachable insn are gone once a program is accepted. */
function depthText(env: Env, accepted: boolean): string {
  const kept = env.subprogs.filter((_, n) => n === 0 || !env.deadCodeRemoved || hasReachedInsn(env, n));
  const depths = kept.map((s) => s.stackDepth);
  // The default exception callback is a hidden function of its own.
  if (accepted && env.seenException && env.exceptionCallbackSubprog === 0) depths.push(0);
  return depths.join("+");
}

function lastLine(text: string): string {
  const lines = text.split("\n").filter((l) => l !== "");
  return lines.at(-1) ?? "";
}
