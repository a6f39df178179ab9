/** Everything one verification run knows (bpf_verifier_env). */
import type { Btf } from "../btf/btf.ts";
import type { FuncInfo, LineInfo, ProgLoad } from "./capture.ts";
import { BPF_COMPLEXITY_LIMIT_INSNS } from "./constants.ts";
import { IdMap } from "./id-map.ts";
import type { KernelFeatures, KernelProfile } from "./kernel-profile.ts";
import { VerifierReject } from "./errors.ts";
import type { Log } from "./log.ts";
import type { VMap } from "./map.ts";
import type { StackLiveness } from "./live-marks.ts";
import { Backtrack } from "./backtrack.ts";
import type { Profile } from "./profile.ts";
import { RegState } from "./reg-state.ts";
import type { SccInfo } from "./scc.ts";
import type { Seams } from "./seams.ts";
import type { FuncState, HistEntry, VerifierState } from "./state.ts";
import type { CalleeStateSetter, KfuncDesc, SubprogArg } from "./types.ts";

/** bpf_subprog_info */
export interface Subprog {
  start: number;
  /** line_info index of its first insn */
  lineInfoIdx: number;
  stackDepth: number;
  name: string;
  hasTailCall: boolean;
  tailCallReachable: boolean;
  hasLdAbs: boolean;
  isCb: boolean;
  isAsyncCb: boolean;
  isExceptionCb: boolean;
  argsCached: boolean;
  args: SubprogArg[];
  keepFastcallStack: boolean;
  changesPktData: boolean;
  mightSleep: boolean;
  fastcallStackOff: number;
  /** Part of env.postorder that is this subprog's: [postorderStart, next subprog's). */
  postorderStart: number;
  exitIdx: number;
  privStackMode: number;
  /** Global functions: BTF id in program BTF of its FUNC; 0 without func_info. */
  btfFuncId: number;
  linkage: number;
  unreliable: boolean;
  called: boolean;
  verified: boolean;
}

/** Per-instruction facts (bpf_insn_aux_data). */
export class InsnAux {
  /** ld_imm64 of a map, a map value, a BTF variable. */
  map: VMap | null = null;
  mapOff = 0;
  btfVar: { type: number; btf: Btf | null; btfId: number; memSize: number } | null = null;
  /** Register type seen by a memory access here; 0 not seen yet (ptr_type). */
  ptrType = 0;
  ctxFieldSize = 0;
  seen = 0;
  prunePoint = false;
  forceCheckpoint = false;
  jmpPoint = false;
  callsCallback = false;
  callsIterNext = false;
  callWithPercpuAllocPtr = false;
  storageGetFuncAtomic = false;
  nonSleepable = false;
  fastcallPattern = 0;
  fastcallSpillsNum = 0;
  liveRegsBefore = 0;
  scc = 0;
  /** This call's map key/ptr state for helpers (map_ptr_state), owned by calls/. */
  mapPtrState: { map: VMap | null; poison: boolean; unpriv: boolean } | null = null;
  mapKeyState = 0;
  kptrStructMeta: unknown = null;
  insertOff = 0;
  loopInline: { initialized: boolean; fitForInline: boolean; callbackSubprogno: number } | null = null;
  needsZext = false;
  /** Spectre v1/v4 bookkeeping of unprivileged mode */
  nospec = false;
  nospecResult = false;
  sanitizeStackSpill = false;
  indirectTarget = false;
  /** Sanitation of pointer arithmetic (unprivileged) */
  aluState = 0;
  aluLimit = 0;
}

/** One pending path (bpf_verifier_stack_elem). */
export interface StackElem {
  readonly state: VerifierState;
  readonly insnIdx: number;
  readonly prevInsnIdx: number;
  readonly logPos: number;
}

/** What a tracing, LSM, struct_ops or iterator program attaches to. */
export interface AttachTarget {
  readonly btf: Btf;
  /** The FUNC (or the struct_ops member's) id; its FUNC_PROTO (0: none). */
  readonly btfId: number;
  readonly protoId: number;
  readonly name: string;
  /** Range of an LSM hook's return value, s32. */
  readonly retvalRange: readonly [number, number] | null;
}

export class Env {
  readonly load: ProgLoad;
  readonly log: Log;
  /** The instructions as arrays; index = insn index. `imm`, `src` of ld_imm64 are as loaded (fds resolved to map indexes). */
  readonly len: number;
  readonly code: Uint8Array;
  readonly dst: Uint8Array;
  readonly src: Uint8Array;
  readonly off: Int16Array;
  readonly imm: Int32Array;
  readonly aux: InsnAux[] = [];

  progType: number;
  expectedAttachType: number;
  maps: VMap[] = [];
  usedMaps: VMap[] = [];
  /** Program BTF, vmlinux BTF, module BTFs by fd_array index. */
  btf: Btf | null = null;
  vmlinuxBtf: Btf | null = null;
  funcInfo: readonly FuncInfo[] = [];
  lineInfo: readonly LineInfo[] = [];
  kfuncs: KfuncDesc[] = [];
  /** The function that the program attaches to, set by calls/attach.ts. */
  attach: AttachTarget | null = null;

  // Privileges (CAP_BPF, CAP_PERFMON) and what follows from them.
  bpfCapable = true;
  allowPtrLeaks = true;
  allowUninitStack = true;
  bypassSpecV1 = true;
  bypassSpecV4 = true;
  strictAlignment = false;
  testStateFreq = false;
  testRegInvariants = false;

  subprogs: Subprog[] = [];
  postorder: Int32Array = new Int32Array(0);
  exceptionCallbackSubprog = 0;
  seenException = false;
  hiddenSubprogCnt = 0;

  /** Functions that no path reaches are gone (opt_remove_dead_code). */
  deadCodeRemoved = false;

  /** The state being executed, and where. */
  state!: VerifierState;
  insnIdx = 0;
  prevInsnIdx = -1;
  /** History entry being built for the current insn, if any. */
  curHist: HistEntry | null = null;
  head: StackElem[] = [];
  explored: (VerifierState[] | null)[] = [];
  sccInfo: (SccInfo | null)[] = [];
  numBackedges = 0;
  exploredSize = 0;
  freeListSize = 0;
  readonly idMap = new IdMap();
  passCnt = 0;
  idGen = 0;

  insnProcessed = 0;
  prevInsnProcessed = 0;
  prevJmpsProcessed = 0;
  jmpsProcessed = 0;
  totalStates = 0;
  peakStates = 0;
  maxStatesPerInsn = 0;
  longestMarkReadWalk = 0;

  seenDirectWrite = false;
  usesArena: VMap | null = null;
  changesPktData = false;
  mightSleep = false;
  /** prog->aux->max_ctx_offset, tail_call_reachable, max_pkt_offset … */
  maxCtxOffset = 0;
  maxPktOffset = 0;
  maxRdonlyAccess = 0;
  maxRdwrAccess = 0;
  maxTpAccess = 0;
  callsMayGoto = 0;
  prologueNeeded = false;
  dstNeedsZext = false;

  exploreAluLimits = false;
  sleepable = false;
  /** The caller's limits. */
  budget = 0;
  signal: AbortSignal | null = null;
  /** A private stack was asked for (struct_ops) or recursion is checked (tracing programs); set by calls/attach.ts. */
  privStackRequested = false;

  insnLimit = BPF_COMPLEXITY_LIMIT_INSNS;
  profile: Profile | null = null;

  // What the next printed state shows: registers and stack slots touched since the last one.
  scratchedRegs = 0;
  scratchedLo = 0;
  scratchedHi = 0;
  prevLogPos = 0;
  prevInsnPrintPos = 0;
  prevLinfo: LineInfo | null = null;
  /** Before 6.7: the frame of a callback that the current call enters when it is done. */
  pendingCallback: FuncState | null = null;
  /** Text of each insn, made when first printed. */
  readonly insnTexts: string[] = [];
  liveStack!: StackLiveness;
  readonly bt = new Backtrack();

  /** Registers made for tests of a value: fake_reg[2] of the kernel. */
  readonly fakeReg: readonly [RegState, RegState] = [new RegState(), new RegState()];

  readonly seams: Seams;
  /** The kernel simulated, and what it does by name of the change. */
  readonly kernel: KernelProfile;
  readonly has: KernelFeatures;

  constructor(load: ProgLoad, log: Log, seams: Seams, kernel: KernelProfile) {
    this.seams = seams;
    this.kernel = kernel;
    this.has = kernel.has;
    this.load = load;
    this.log = log;
    const n = load.insns.length;
    this.len = n;
    this.code = new Uint8Array(n);
    this.dst = new Uint8Array(n);
    this.src = new Uint8Array(n);
    this.off = new Int16Array(n);
    this.imm = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      const insn = load.insns[i]!;
      this.code[i] = insn.opcode;
      this.dst[i] = insn.dst;
      this.src[i] = insn.src;
      this.off[i] = insn.off;
      this.imm[i] = insn.imm;
      this.aux.push(new InsnAux());
    }
    this.progType = load.progType;
    this.expectedAttachType = load.expectedAttachType;
  }

  /** Registers of the current frame. */
  get regs(): RegState[] {
    const st = this.state;
    return st.frames[st.curframe]!.regs;
  }

  /** The current frame. */
  get frame(): FuncState {
    const st = this.state;
    return st.frames[st.curframe]!;
  }

  scratchReg(regno: number): void {
    this.scratchedRegs |= 1 << regno;
  }

  scratchSlot(spi: number): void {
    if (spi < 32) this.scratchedLo |= 1 << spi;
    else this.scratchedHi |= 1 << (spi - 32);
  }

  /** Everything is to be printed with the next state. */
  scratchAll(): void {
    this.scratchedRegs = -1;
    this.scratchedLo = -1;
    this.scratchedHi = -1;
  }

  scratchNone(): void {
    this.scratchedRegs = 0;
    this.scratchedLo = 0;
    this.scratchedHi = 0;
  }

  updatePeakStates(): void {
    const n = this.exploredSize + this.freeListSize + this.numBackedges;
    if (n > this.peakStates) this.peakStates = n;
  }

  newId(): number {
    return ++this.idGen;
  }
}

/** verbose() followed by a return of -errno: logs `message` (give the final "\n" too) and rejects. */
export function reject(env: Env, errno: number, message: string): never {
  env.log.write(message);
  throw new VerifierReject(errno, message.trimEnd());
}

/** "verifier internal error" / verifier_bug(): the kernel's own consistency check failed. */
export function verifierBug(env: Env, message: string): never {
  const text = `${env.has.bugTexts ? "verifier bug" : "verifier internal error"}: ${message}`;
  env.log.write(`${text}\n`);
  throw new VerifierReject(14, text);
}

export type { CalleeStateSetter };
