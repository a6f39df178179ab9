/** Function frames, stack slots, references and whole verifier states. Registers are copied by value, stack slots on write. */
import { MAX_BPF_REG, STACK_SPILL } from "./constants.ts";
import type { FrameMarks } from "./live-marks.ts";
import { RegState } from "./reg-state.ts";

/** All eight bytes of a slot of one type (constants STACK_*). */
export const slotFill = (type: number): number => Math.imul(type, 0x1111_1111);
/** Type of byte `i` (0 is the lowest address) of packed slot types. */
export const slotByte = (types: number, i: number): number => (types >>> (i << 2)) & 0xf;
/** `types` with byte `i` set to `type`. */
export const withSlotByte = (types: number, i: number, type: number): number =>
  (types & ~(0xf << (i << 2))) | (type << (i << 2));

/** Eight bytes of stack: a type for each byte (nibbles of `types`), and the value spilled there. */
export class StackSlot {
  /** slot_type[0..7], one nibble each, byte 0 lowest. */
  types = 0;
  /** spilled_ptr. Meaningful for SPILL, DYNPTR, ITER, IRQ_FLAG. */
  reg: RegState = new RegState();
  /** Which FuncState may write this object; see FuncState.stamp. */
  owner = 0;
}

/** The kernel's is_spilled_reg: the topmost byte is a spill. */
export const isSpilledSlot = (s: StackSlot): boolean => s.types >>> 28 === STACK_SPILL;

let stampCounter = 1;

/** Shared by all slots that hold nothing; owned by no frame, so never written. */
const INVALID_SLOT = new StackSlot();

/** One call frame (bpf_func_state). */
export class FuncState {
  readonly regs: RegState[] = [];
  /** stack[i] is bytes [fp-8(i+1), fp-8i). Read freely; write only through `slotForWrite`. */
  stack: StackSlot[] = [];
  /** Insn that called this frame; -1 for the main program (BPF_MAIN_FUNC). */
  callsite = -1;
  frameno = 0;
  subprogno = 0;
  asyncEntryCnt = 0;
  callbackRetMin = 0;
  callbackRetMax = 0;
  inCallbackFn = false;
  inAsyncCallbackFn = false;
  inExceptionCallbackFn = false;
  callbackDepth = 0;
  /** Read and write marks, where the kernel simulated has them. */
  marks: FrameMarks | null = null;
  /** Identity for copy on write: a slot whose `owner` equals it is ours alone. */
  stamp = stampCounter++;

  constructor() {
    for (let i = 0; i < MAX_BPF_REG; i++) this.regs.push(new RegState());
  }

  /** Bytes of stack tracked. */
  get allocatedStack(): number {
    return this.stack.length * 8;
  }

  /** The slot, exclusively ours: use it for every write to a slot or its spilled register. */
  slotForWrite(spi: number): StackSlot {
    const old = this.stack[spi]!;
    if (old.owner === this.stamp) return old;
    const s = new StackSlot();
    s.types = old.types;
    s.reg.copyFrom(old.reg);
    s.owner = this.stamp;
    this.stack[spi] = s;
    return s;
  }

  /** Forgets what slot `spi` holds. */
  clearSlot(spi: number): void {
    this.stack[spi] = INVALID_SLOT;
  }

  /** Grows the stack to hold slot `spi` (grow_stack_state). */
  growStack(spi: number): void {
    while (this.stack.length <= spi) this.stack.push(INVALID_SLOT);
  }

  /** A copy. Slots become shared: both sides clone before the next write. */
  clone(): FuncState {
    const f = new FuncState();
    for (let i = 0; i < MAX_BPF_REG; i++) f.regs[i]!.copyFrom(this.regs[i]!);
    f.stack = this.stack.slice();
    f.callsite = this.callsite;
    f.frameno = this.frameno;
    f.subprogno = this.subprogno;
    f.asyncEntryCnt = this.asyncEntryCnt;
    f.callbackRetMin = this.callbackRetMin;
    f.callbackRetMax = this.callbackRetMax;
    f.inCallbackFn = this.inCallbackFn;
    f.inAsyncCallbackFn = this.inAsyncCallbackFn;
    f.inExceptionCallbackFn = this.inExceptionCallbackFn;
    f.callbackDepth = this.callbackDepth;
    if (this.marks !== null) f.marks = this.marks.clone();
    this.stamp = stampCounter++;
    return f;
  }
}

/** bpf_reference_state: something acquired and not yet released. Immutable. */
export interface RefState {
  /** REF_TYPE_* */
  readonly type: number;
  readonly id: number;
  /** Insn that acquired it. */
  readonly insnIdx: number;
  /** Identity of what a lock lives in (a map, a BTF): compared by ===. */
  readonly ptr: unknown;
  /** Frame of the callback that acquired it; 0: none. */
  readonly callbackFrame: number;
}

/** One jump or otherwise noteworthy insn on the path of a state (bpf_jmp_history_entry). */
export interface HistEntry {
  readonly idx: number;
  readonly prevIdx: number;
  /** INSN_F_*: bits 0-2 frame, 3-8 spi, 9 stack access, 10 dst is stack, 11 src is stack */
  flags: number;
  /** linked registers to mark precise together; see linked-regs.ts. Null: none. */
  linked: readonly LinkedReg[] | null;
}

export interface LinkedReg {
  readonly frameno: number;
  /** Register number, or stack slot when `isReg` is false. */
  readonly regno: number;
  readonly isReg: boolean;
}

export class VerifierState {
  frames: FuncState[] = [];
  curframe = 0;
  parent: VerifierState | null = null;
  /** Paths through this state still to be explored. */
  branches = 0;
  insnIdx = 0;
  speculative = false;
  inSleepable = false;
  cleaned = false;
  refs: RefState[] = [];
  activeLocks = 0;
  activePreemptLocks = 0;
  activeIrqId = 0;
  activeLockId = 0;
  activeLockPtr: unknown = null;
  activeRcuLock = false;
  firstInsnIdx = 0;
  lastInsnIdx = 0;
  /** State that a loop back edge from here is equal to (6.18: equal_state). */
  equalState: VerifierState | null = null;
  jmpHistory: HistEntry[] = [];
  dfsDepth = 0;
  callbackUnrollDepth = 0;
  mayGotoDepth = 0;
  /** hit/miss counters of the explored-states list it sits in. */
  hitCnt = 0;
  missCnt = 0;
  /** Evicted from its list but not yet done with. */
  inFreeList = false;
  /** Before 6.17: the state at the head of the loop this one is in. */
  loopEntry: VerifierState | null = null;
  usedAsLoopEntry = false;

  /** The frame being executed. */
  get cur(): FuncState {
    return this.frames[this.curframe]!;
  }
}

/** frame_insn_idx: where frame `i` of `st` is. */
export const frameInsnIdx = (st: VerifierState, i: number): number =>
  i === st.curframe ? st.insnIdx : st.frames[i + 1]!.callsite;
