/** The main loop (do_check): one instruction after another along every path, until all paths end. */
import {
  BPF_ABS,
  BPF_ALU,
  BPF_ALU64,
  BPF_ATOMIC,
  BPF_CALL,
  BPF_EXIT,
  BPF_IMM,
  BPF_IND,
  BPF_JA,
  BPF_JMP,
  BPF_JMP32,
  BPF_K,
  BPF_LD,
  BPF_LDX,
  BPF_MEM,
  BPF_MEMSX,
  BPF_PSEUDO_CALL,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_ST,
  BPF_STX,
  classOf,
  codeOf,
  modeOf,
  sourceOf,
} from "../asm/opcode.ts";
import { checkAluOp } from "./alu.ts";
import { checkCondJmpOp } from "./branch.ts";
import { E2BIG, EACCES, EFAULT, EINVAL, EPERM } from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { VerifierAborted, VerifierReject } from "./errors.ts";
import { popStack, updateBranchCounts } from "./explore-state.ts";
import { checkFuncCall, prepareFuncExit } from "./frames.ts";
import { pushJmpHistory } from "./history.ts";
import { checkLdAbs, checkLdImm } from "./load-imm.ts";
import { checkAtomic, checkLoad, checkStoreImm, checkStoreReg } from "./load-store.ts";
import { insnText } from "./log-insn.ts";
import { printInsnState, printLineInfo, stateText } from "./log-state.ts";
import { isStateVisited } from "./prune.ts";
import { checkResourceLeak } from "./refs.ts";
import { checkReturnCode } from "./return-code.ts";

const BPF_FUNC_SPIN_UNLOCK = 94;

// What an insn does to the path.
const GO_ON = 0;
const PATH_ENDS = 1;

/** The next state is to be printed whole, with where it comes from. */
interface Cursor {
  printState: boolean;
}

function checkCall(env: Env, i: number, cursor: Cursor): number {
  const code = env.code[i]!;
  const src = env.src[i]!;
  if (
    sourceOf(code) !== BPF_K ||
    (src !== BPF_PSEUDO_KFUNC_CALL && env.off[i] !== 0) ||
    (src !== 0 && src !== BPF_PSEUDO_CALL && (src !== BPF_PSEUDO_KFUNC_CALL || !env.has.kernelFuncs)) ||
    env.dst[i] !== 0 ||
    classOf(code) === BPF_JMP32
  ) {
    reject(env, EINVAL, "BPF_CALL uses reserved fields\n");
  }
  if (env.state.activeLocks !== 0) {
    const helper = src === 0 && env.imm[i] !== BPF_FUNC_SPIN_UNLOCK;
    const kfunc = src === BPF_PSEUDO_KFUNC_CALL && (env.off[i] !== 0 || !env.seams.kfuncSpinAllowed(env, i));
    if (helper || kfunc || (src === BPF_PSEUDO_CALL && !env.has.staticCallsUnderLock))
      reject(env, EINVAL, "function calls are not allowed while holding a lock\n");
  }
  if (src === BPF_PSEUDO_CALL) checkFuncCall(env, i);
  else if (src === BPF_PSEUDO_KFUNC_CALL) {
    env.seams.checkKfuncCall(env, i);
    if (env.seams.isBpfThrowInsn(env, i)) return exitPath(env, cursor, true);
  } else env.seams.checkHelperCall(env, i);
  env.scratchReg(0);
  env.insnIdx++;
  return GO_ON;
}

/** process_bpf_exit_full */
function exitPath(env: Env, cursor: Cursor, exception: boolean): number {
  checkResourceLeak(
    env,
    exception,
    exception || env.state.curframe === 0,
    exception ? "bpf_throw" : "BPF_EXIT instruction in main prog",
  );
  if (exception) return PATH_ENDS;
  if (env.state.curframe > 0) {
    prepareFuncExit(env);
    cursor.printState = true;
    return GO_ON;
  }
  checkReturnCode(env, 0, "R0");
  return PATH_ENDS;
}

function checkJump(env: Env, i: number, cursor: Cursor): number {
  const code = env.code[i]!;
  const cls = classOf(code);
  env.jmpsProcessed++;
  switch (codeOf(code)) {
    case BPF_CALL:
      return checkCall(env, i, cursor);
    case BPF_JA:
      if (
        sourceOf(code) !== BPF_K ||
        env.src[i] !== 0 ||
        env.dst[i] !== 0 ||
        (cls === BPF_JMP && env.imm[i] !== 0) ||
        (cls === BPF_JMP32 && env.off[i] !== 0)
      ) {
        reject(env, EINVAL, "BPF_JA uses reserved fields\n");
      }
      env.insnIdx += (cls === BPF_JMP ? env.off[i]! : env.imm[i]!) + 1;
      return GO_ON;
    case BPF_EXIT:
      if (sourceOf(code) !== BPF_K || env.imm[i] !== 0 || env.src[i] !== 0 || env.dst[i] !== 0 || cls === BPF_JMP32) {
        reject(env, EINVAL, "BPF_EXIT uses reserved fields\n");
      }
      return exitPath(env, cursor, false);
    default:
      checkCondJmpOp(env, i);
      env.insnIdx++;
      return GO_ON;
  }
}

/** do_check_insn */
function checkInsn(env: Env, i: number, cursor: Cursor): number {
  const code = env.code[i]!;
  switch (classOf(code)) {
    case BPF_ALU:
    case BPF_ALU64:
      checkAluOp(env, i);
      break;
    case BPF_LDX:
      checkLoad(env, i, false, modeOf(code) === BPF_MEMSX, true, "ldx");
      break;
    case BPF_STX:
      if (modeOf(code) === BPF_ATOMIC) {
        checkAtomic(env, i);
        break;
      }
      if (modeOf(code) !== BPF_MEM || env.imm[i] !== 0) reject(env, EINVAL, "BPF_STX uses reserved fields\n");
      checkStoreReg(env, i, false);
      break;
    case BPF_ST:
      if (modeOf(code) !== BPF_MEM || env.src[i] !== 0) reject(env, EINVAL, "BPF_ST uses reserved fields\n");
      checkStoreImm(env, i);
      break;
    case BPF_JMP:
    case BPF_JMP32:
      return checkJump(env, i, cursor);
    case BPF_LD: {
      const mode = modeOf(code);
      if (mode === BPF_ABS || mode === BPF_IND) checkLdAbs(env, i);
      else if (mode === BPF_IMM) {
        checkLdImm(env, i);
        env.insnIdx++;
      } else reject(env, EINVAL, "invalid BPF_LD mode\n");
      break;
    }
    default:
      reject(env, EINVAL, `unknown insn class ${classOf(code)}\n`);
  }
  env.insnIdx++;
  return GO_ON;
}

const recoverable = (errno: number): boolean => errno === EPERM || errno === EACCES || errno === EINVAL;

/** Runs `checkInsn` with its bookkeeping of stack writes and of speculative paths. */
function step(env: Env, i: number, cursor: Cursor): number {
  env.liveStack.beginInsn(i);
  if (!env.state.speculative) {
    const what = checkInsn(env, i, cursor);
    env.liveStack.commitInsn();
    return what;
  }
  const aux = env.aux[i]!;
  try {
    const what = checkInsn(env, i, cursor);
    env.liveStack.commitInsn();
    if (what === GO_ON && aux.nospecResult) return PATH_ENDS;
    return what;
  } catch (e) {
    if (!(e instanceof VerifierReject) || !recoverable(e.errno)) throw e;
    env.liveStack.commitInsn();
    // A fence will keep the processor from speculating this far.
    aux.nospec = true;
    aux.aluState = 0;
    return PATH_ENDS;
  }
}

function printBefore(env: Env, i: number, cursor: Cursor): void {
  const { log, state } = env;
  if (log.level2 && cursor.printState) {
    log.write(
      `\nfrom ${env.prevInsnIdx} to ${i}${state.speculative ? " (speculative execution)" : ""}:${stateText(env, state, state.curframe, true)}`,
    );
    cursor.printState = false;
  }
  if ((env.scratchedRegs | env.scratchedLo | env.scratchedHi) !== 0) printInsnState(env, state, state.curframe);
  printLineInfo(env, i, "; ");
  env.prevLogPos = log.pos;
  log.write(`${i}: ${insnText(env, i)}`);
  env.prevInsnPrintPos = log.pos - env.prevLogPos;
  env.prevLogPos = log.pos;
}

/** do_check: explores from env.state at env.insnIdx. Rejections leave as VerifierReject. */
export function doCheck(env: Env): void {
  const { log } = env;
  const verbose = log.level1 || log.level2;
  const popLog = !log.level2;
  const cursor: Cursor = { printState: false };
  const { signal, profile } = env;
  let prev = -1;
  for (;;) {
    env.curHist = null;
    env.prevInsnIdx = prev;
    const i = env.insnIdx;
    if (i < 0 || i >= env.len) reject(env, EFAULT, `invalid insn idx ${i} insn_cnt ${env.len}\n`);
    if (++env.insnProcessed > env.insnLimit) tooLarge(env);
    if (profile !== null) profile.insn(env, i);
    if ((env.insnProcessed & 0xfff) === 0 && signal?.aborted === true)
      throw new VerifierAborted("the verification was aborted");
    const { state } = env;
    const aux = env.aux[i]!;
    state.lastInsnIdx = prev;
    state.insnIdx = i;
    let ends = false;
    if (aux.prunePoint && isStateVisited(env, i)) {
      if (verbose) {
        log.write(
          cursor.printState
            ? `\nfrom ${prev} to ${i}${state.speculative ? " (speculative execution)" : ""}: safe\n`
            : `${i}: safe\n`,
        );
      }
      ends = true;
    } else {
      if (aux.jmpPoint) pushJmpHistory(env, state, 0, null);
      if (verbose) printBefore(env, i, cursor);
      if (!state.speculative) aux.seen = env.passCnt;
      prev = i;
      ends = (state.speculative && aux.nospec) || step(env, i, cursor) === PATH_ENDS;
    }
    if (!ends) continue;
    env.scratchAll();
    updateBranchCounts(env, env.state);
    env.liveStack.update();
    if (!popStack(env, popLog)) return;
    prev = env.prevInsnIdx;
    cursor.printState = true;
  }
}

function tooLarge(env: Env): never {
  if (env.budget > 0 && env.insnProcessed > env.budget)
    throw new VerifierAborted(`the budget of ${env.budget} instructions is used up`);
  return reject(env, E2BIG, `BPF program is too large. Processed ${env.insnProcessed} insn\n`);
}
