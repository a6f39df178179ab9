/** The checked interpreter: exact results, and every access, register and stack byte checked. */
import { FORM, FORM_OF } from "../asm/index.ts";
import {
  BPF_ADD as ADD,
  BPF_ADDR_SPACE_CAST as ADDR_SPACE_CAST,
  BPF_ALU as ALU,
  BPF_ALU64 as ALU64,
  BPF_CMPXCHG as CMPXCHG,
  BPF_FETCH as FETCH,
  BPF_JMP as JMP,
  BPF_LOAD_ACQ as LOAD_ACQ,
  BPF_MOD as MOD,
  BPF_PSEUDO_CALL as PSEUDO_CALL,
  BPF_STORE_REL as STORE_REL,
  BPF_STX as STX,
  BPF_SUB as SUB,
  BPF_TO_BE as TO_BE,
  BPF_X as X,
} from "../asm/opcode.ts";
import { SIZE_SHIFT, alu32, alu64, loadPlain, storePlain, test64 } from "./alu.ts";
import { divMod32, divMod64, sdivMod64, swapBytes } from "./arith.ts";
import { atomicPair } from "./atomic.ts";
import { type Control, type Frame, MAX_LOOPS, type Status, copyFrame } from "./control.ts";
import { FAULT } from "./fault.ts";
import { loadPacketWord } from "./helpers/packet.ts";
import { CALLER_SAVED, type Image } from "./image.ts";
import { FRAMES, FRAME_SIZE, FRAME_STRIDE, LIVE, MAX_CALL_FRAMES, READ, WRITE } from "./memory.ts";
import { type Argument, type Callback, Run } from "./run.ts";
import { Thrown } from "./thrown.ts";
import type { Vm } from "./vm.ts";

/**
 * A program being interpreted. `run()` goes to the end; `step()` and `exec()` stop in between.
 *
 * @example
 * const m = vm.interpret("count", { data: new Uint8Array(64) });
 * while (m.step() !== "exited") console.log(m.insn, m.reg(0));
 */
export class Interp extends Run {
  override readonly checked = true;
  /** Instructions executed so far. */
  executed = 0;
  readonly breakpoints = new Set<number>();
  #pc = 0;
  /** Registers that hold a value, one bit for each. */
  #known = (1 << 1) | (1 << 10);
  #depth = 0;
  /** Depth at which the current program began: a tail call starts counting anew. */
  #base = 0;
  #loops = MAX_LOOPS;
  #exited = false;
  /** Reads outside every object give zero, as BTF pointers do in tracing programs. */
  readonly #nullReads: boolean;
  readonly #frames: Frame[] = [];
  readonly #first: Image;
  constructor(vm: Vm, image: Image, options: { readonly nullReads: boolean }) {
    super(vm, image);
    this.#first = image;
    this.#nullReads = options.nullReads;
    this.memory.clearFrame(0);
    this.setReg(10, this.memory.stackBase + FRAME_SIZE, 1);
  }

  override restart(): void {
    super.restart();
    this.image = this.#first;
    this.executed = 0;
    this.#pc = 0;
    this.#known = (1 << 1) | (1 << 10);
    this.#depth = 0;
    this.#base = 0;
    this.#loops = MAX_LOOPS;
    this.#exited = false;
    this.memory.clearFrame(0);
    this.setReg(10, this.memory.stackBase + FRAME_SIZE, 1);
  }

  override get insn(): number {
    return this.#pc;
  }
  /** How many calls deep; 0 in the program itself. */
  get depth(): number {
    return this.#depth;
  }
  /** Value of r<n>, unsigned. */
  reg(n: number): bigint {
    return this.memory.regs64[n]!;
  }
  /** Was r<n> written? Reading it otherwise is a fault. */
  isKnown(n: number): boolean {
    return (this.#known & (1 << n)) !== 0;
  }
  get exited(): boolean {
    return this.#exited;
  }

  /** Where it is: for a history, which puts it back. */
  get control(): Control {
    return {
      image: this.image,
      pc: this.#pc,
      known: this.#known,
      depth: this.#depth,
      base: this.#base,
      loops: this.#loops,
      exited: this.#exited,
      frames: this.#frames.slice(0, this.#depth + 1).map((f) => f && copyFrame(f)),
    };
  }
  set control(c: Control) {
    this.image = c.image;
    this.#pc = c.pc;
    this.#known = c.known;
    this.#depth = c.depth;
    this.#base = c.base;
    this.#loops = c.loops;
    this.#exited = c.exited;
    c.frames.forEach((f, i) => {
      if (f !== undefined) this.#frames[i] = copyFrame(f);
    });
  }
  /** The next instruction and the registers that have values: what an instruction that is no call changes. */
  get known(): number {
    return this.#known;
  }
  /** Puts it before `slot` with these registers. */
  moveTo(slot: number, known: number): void {
    this.#pc = slot;
    this.#known = known;
  }

  /** Stops at every instruction that comes from this line. False when none does. */
  breakAt(file: string, line: number): boolean {
    const before = this.breakpoints.size;
    for (const l of this.image.spec.lines) if (l.line === line && l.file === file) this.breakpoints.add(l.insn);
    return this.breakpoints.size > before;
  }

  step(): Status {
    return this.exec(1, false);
  }

  /** Runs to the end. @throws VmFault */
  run(budget: number): void {
    if (this.exec(budget, false) !== "exited") {
      throw this.fault(FAULT.BUDGET, `more than ${budget} instructions were executed`, {
        help: "end the loop, or raise the budget",
      });
    }
    this.checkLeaks();
  }

  /** Executes up to `limit` instructions; stops before a breakpoint (but not at the first instruction). */
  exec(limit: number, breaks = this.breakpoints.size > 0): Status {
    if (this.#exited) return "exited";
    const rg = this.regions;
    const forms = FORM_OF;
    let { image } = this;
    let { opcode, dst, src, off, imm } = image.columns;
    let { reads, writes, target } = image;
    let r = this.memory.regs;
    let dv = this.memory.view;
    let pc = this.#pc;
    let known = this.#known;
    let count = 0;
    for (; count < limit; count++) {
      if (breaks && count > 0 && this.breakpoints.has(pc)) {
        this.#pc = pc;
        this.#known = known;
        this.executed += count;
        return "breakpoint";
      }
      this.#pc = pc;
      if ((reads[pc]! & ~known) !== 0) throw this.uninitReg(reads[pc]! & ~known);
      const code = opcode[pc]!;
      const dn = dst[pc]!;
      const sn = src[pc]!;
      const d = dn << 1;
      const s = sn << 1;
      // V8 makes jump tables of literals only: these are FORM's, which a test compares.
      switch (forms[code]!) {
        case 1 /* ALU_K */:
        case 5 /* MOV_K */: {
          const b0 = imm[pc]!;
          if ((code & 7) === ALU64) {
            alu64(r, d, code, b0, b0 >> 31);
            const which = code & 0xf0;
            if (which !== ADD && which !== SUB) rg[dn] = 0;
          } else {
            alu32(r, d, code, b0);
            rg[dn] = 0;
          }
          pc++;
          break;
        }
        case 2 /* ALU_X */: {
          if ((code & 7) === ALU64) {
            alu64(r, d, code, r[s]!, r[s + 1]!);
            const which = code & 0xf0;
            if (which === ADD) {
              if (rg[dn] === 0) rg[dn] = rg[sn]!;
            } else if (which !== SUB || rg[sn] !== 0) rg[dn] = 0;
          } else {
            alu32(r, d, code, r[s]!);
            rg[dn] = 0;
          }
          pc++;
          break;
        }
        case 6 /* MOV_X */: {
          const bits = off[pc]!;
          const lo = r[s]!;
          if ((code & 7) === ALU64) {
            if (bits === 0) {
              r[d] = lo;
              r[d + 1] = r[s + 1]!;
              rg[dn] = rg[sn]!;
            } else if (bits === ADDR_SPACE_CAST) {
              // Arenas lie at the same addresses in both spaces.
              r[d] = lo;
              r[d + 1] = 0;
              rg[dn] = 0;
            } else {
              const v = bits === 32 ? lo : bits === 16 ? (lo << 16) >> 16 : (lo << 24) >> 24;
              r[d] = v;
              r[d + 1] = v >> 31;
              rg[dn] = 0;
            }
          } else {
            r[d] = bits === 0 ? lo : bits === 16 ? (lo << 16) >> 16 : (lo << 24) >> 24;
            r[d + 1] = 0;
            rg[dn] = 0;
          }
          pc++;
          break;
        }
        case 3 /* DIV_K */:
        case 4 /* DIV_X */: {
          const x = (code & X) !== 0;
          const b0 = x ? r[s]! : imm[pc]!;
          const mod = (code & 0xf0) === MOD;
          const signed = off[pc] === 1;
          if ((code & 7) === ALU) divMod32(r, d, b0, mod, signed);
          else if (signed) sdivMod64(r, d, b0, x ? r[s + 1]! : b0 >> 31, mod);
          else divMod64(r, d, b0, x ? r[s + 1]! : b0 >> 31, mod);
          rg[dn] = 0;
          pc++;
          break;
        }
        case 7 /* NEG */: {
          const lo = -r[d]! | 0;
          r[d + 1] = (code & 7) === ALU64 ? (~r[d + 1]! + (lo === 0 ? 1 : 0)) | 0 : 0;
          r[d] = lo;
          rg[dn] = 0;
          pc++;
          break;
        }
        case 8 /* END */: {
          const width = imm[pc]!;
          if ((code & TO_BE) !== 0) swapBytes(r, d, width);
          else if (width !== 64) {
            if (width === 16) r[d]! &= 0xffff;
            r[d + 1] = 0;
          }
          rg[dn] = 0;
          pc++;
          break;
        }
        case 9 /* BSWAP */:
          swapBytes(r, d, imm[pc]!);
          rg[dn] = 0;
          pc++;
          break;
        case 10 /* LDX */: {
          const size = 1 << SIZE_SHIFT[(code >> 3) & 3]!;
          const a = this.#at((r[s]! + off[pc]!) >>> 0, r[s + 1]!, rg[sn]!, size, READ);
          rg[dn] = size === 8 && a < this.memory.stackEnd && (a & 7) === 0 ? this.#spilled(a) : 0;
          loadPlain(dv, r, d, a, size);
          pc++;
          break;
        }
        case 11 /* LDSX */: {
          const size = 1 << SIZE_SHIFT[(code >> 3) & 3]!;
          const a = this.#at((r[s]! + off[pc]!) >>> 0, r[s + 1]!, rg[sn]!, size, READ);
          const v = a < 0 ? 0 : size === 4 ? dv.getInt32(a, true) : size === 2 ? dv.getInt16(a, true) : dv.getInt8(a);
          r[d] = v;
          r[d + 1] = v >> 31;
          rg[dn] = 0;
          pc++;
          break;
        }
        case 13 /* STX */:
        case 12 /* ST */: {
          const x = (code & 7) === STX;
          const v = x ? r[s]! : imm[pc]!;
          const size = 1 << SIZE_SHIFT[(code >> 3) & 3]!;
          const a = this.#at((r[d]! + off[pc]!) >>> 0, r[d + 1]!, rg[dn]!, size, WRITE);
          if (size === 8) {
            dv.setInt32(a, v, true);
            dv.setInt32(a + 4, x ? r[s + 1]! : v >> 31, true);
            if (x && a < this.memory.stackEnd && (a & 7) === 0) this.#spill(a, rg[sn]!);
          } else if (size === 4) dv.setInt32(a, v, true);
          else if (size === 2) dv.setInt16(a, v, true);
          else dv.setInt8(a, v);
          pc++;
          break;
        }
        case 14 /* ATOMIC */: {
          const size = 1 << SIZE_SHIFT[(code >> 3) & 3]!;
          const kind = imm[pc]!;
          if (kind === LOAD_ACQ) {
            const a = this.#at((r[s]! + off[pc]!) >>> 0, r[s + 1]!, rg[sn]!, size, READ);
            loadPlain(dv, r, d, a, size);
            rg[dn] = size === 8 && a < this.memory.stackEnd && (a & 7) === 0 ? this.#spilled(a) : 0;
          } else if (kind === STORE_REL) {
            const a = this.#at((r[d]! + off[pc]!) >>> 0, r[d + 1]!, rg[dn]!, size, WRITE);
            storePlain(dv, r, s, a, size);
            if (size === 8 && a < this.memory.stackEnd && (a & 7) === 0) this.#spill(a, rg[sn]!);
          } else {
            const a = this.#at((r[d]! + off[pc]!) >>> 0, r[d + 1]!, rg[dn]!, size, READ);
            this.#at(a >>> 0, 0, rg[dn]!, size, WRITE);
            atomicPair(dv, r, kind, a, s, size);
            if (kind === CMPXCHG) rg[0] = 0;
            else if ((kind & FETCH) !== 0) rg[sn] = 0;
          }
          pc++;
          break;
        }
        case 15 /* LD_IMM64 */:
          r[d] = image.wideLo[pc]!;
          r[d + 1] = image.wideHi[pc]!;
          rg[dn] = image.wideRegion[pc]!;
          known |= 1 << dn;
          pc += 2;
          continue;
        case 18 /* JA */:
        case 19 /* GOTOL */:
          pc = target[pc]!;
          break;
        case 20 /* MAY_GOTO */:
          if (this.#loops === 0) pc = target[pc]!;
          else {
            this.#loops--;
            pc++;
          }
          break;
        case 21 /* BRANCH_K */: {
          const b0 = imm[pc]!;
          const taken =
            (code & 7) === JMP
              ? test64(code, r[d]!, r[d + 1]!, b0, b0 >> 31)
              : test64(code, r[d]!, r[d]! >> 31, b0, b0 >> 31);
          pc = taken ? target[pc]! : pc + 1;
          break;
        }
        case 22 /* BRANCH_X */: {
          const taken =
            (code & 7) === JMP
              ? test64(code, r[d]!, r[d + 1]!, r[s]!, r[s + 1]!)
              : test64(code, r[d]!, r[d]! >> 31, r[s]!, r[s]! >> 31);
          pc = taken ? target[pc]! : pc + 1;
          break;
        }
        case 16 /* LD_ABS */:
        case 17 /* LD_IND */: {
          const index = FORM_OF[code] === FORM.LD_IND ? (r[s]! + imm[pc]!) | 0 : imm[pc]!;
          if (loadPacketWord(this, index, 1 << SIZE_SHIFT[(code >> 3) & 3]!)) {
            known = (known & ~CALLER_SAVED) | 1;
            rg[0] = 0;
            pc++;
            continue;
          }
          // Beyond the packet the program ends with 0.
          r[0] = r[1] = 0;
          if (this.#leave(known | 1)) {
            this.executed += count + 1;
            return "exited";
          }
          ({ image } = this);
          ({ opcode, dst, src, off, imm } = image.columns);
          ({ reads, writes, target } = image);
          pc = this.#pc;
          known = this.#known;
          continue;
        }
        case 23 /* CALL */: {
          if (sn === PSEUDO_CALL) {
            this.#enter(target[pc]!, pc + 1, known, undefined);
            known = (known & CALLER_SAVED) | (1 << 10);
            pc = this.#pc;
            continue;
          }
          this.#known = known;
          rg[0] = 0;
          if (sn === 0) this.helper(imm[pc]!);
          else if (this.#kfunc(image.kfuncs.get(pc))) {
            this.executed += count + 1;
            return "exited";
          }
          // A helper may have grown the memory, called back or tail-called.
          r = this.memory.regs;
          dv = this.memory.view;
          if (this.tailTarget !== undefined) {
            this.#tailCall(this.tailTarget);
            ({ image } = this);
            ({ opcode, dst, src, off, imm } = image.columns);
            ({ reads, writes, target } = image);
            pc = 0;
            known = this.#known;
            continue;
          }
          if (this.#pc !== pc) {
            pc = this.#pc;
            known = this.#known;
            continue;
          }
          known = (known & ~(CALLER_SAVED | 1)) | writes[pc]!;
          pc++;
          continue;
        }
        case 24 /* EXIT */:
          if (this.#leave(known)) {
            this.executed += count + 1;
            return "exited";
          }
          if (this.image !== image) {
            ({ image } = this);
            ({ opcode, dst, src, off, imm } = image.columns);
            ({ reads, writes, target } = image);
          }
          r = this.memory.regs;
          dv = this.memory.view;
          pc = this.#pc;
          known = this.#known;
          continue;
        default:
          throw this.fault(
            FAULT.ILLEGAL,
            image.illegal.get(pc) ?? `the program runs past its end to instruction ${pc}`,
          );
      }
      known |= writes[this.#pc]!;
    }
    this.#pc = pc;
    this.#known = known;
    this.executed += count;
    return "paused";
  }

  /** True when the program threw and nothing catches it: it is over. */
  #kfunc(name: string | undefined): boolean {
    try {
      this.vm.kfunc(this, name);
      return false;
    } catch (error) {
      if (!(error instanceof Thrown)) throw error;
      this.acquired.clear();
      this.#depth = this.#base;
      const slot = this.vm.exceptionCallback(this.image);
      this.#exited = slot === undefined;
      if (slot === undefined) this.ret64(error.cookie);
      else {
        this.#startFrame(slot);
        this.memory.regs64[1] = error.cookie;
        this.regions[1] = 0;
        this.#known = (1 << 1) | (1 << 10);
      }
      return this.#exited;
    }
  }

  override invoke(slot: number, args: readonly Argument[], budget: number): void {
    this.restart();
    args.forEach(({ value, region }, i) => this.setReg(i + 1, value, region));
    this.#pc = slot;
    this.#known = ((1 << args.length) - 1) * 2 + (1 << 10);
    this.run(budget);
  }

  /** The address when the access is allowed; -1 when it reads as zero. Keeps what is known of stack bytes. */
  #at(address: number, hi: number, given: number, size: number, access: number): number {
    const { memory } = this;
    let region = given;
    if (region === 0 && hi === 0) region = memory.regionAt(address);
    if (
      hi !== 0 ||
      region === 0 ||
      address < memory.regBase[region]! ||
      address + size > memory.regEnd[region]! ||
      (memory.regFlags[region]! & (access | LIVE)) !== (access | LIVE)
    ) {
      if (this.#nullReads && given === 0 && access === READ && (hi !== 0 || region === 0)) return -1;
      throw this.badAccess(address, hi, size, access, given);
    }
    if (region <= FRAMES) this.#stackAccess(address, size, access);
    return address;
  }

  #stackAccess(address: number, size: number, access: number): void {
    const { memory } = this;
    const at = address - memory.stackBase;
    const mask = ((1 << size) - 1) << (at & 7);
    if (access === READ) {
      const ok = mask <= 0xff ? (memory.stackInit[at >> 3]! & mask) === mask : memory.isWritten(address, size);
      if (ok || this.uninit === "allow") return;
      const offset = address - this.lo(10);
      throw this.fault(FAULT.UNINIT_STACK, `read of ${size} bytes at r10${offset}, which were never written`);
    }
    if (mask <= 0xff) {
      memory.stackInit[at >> 3]! |= mask;
      memory.stackRegion[at >> 3] = 0;
    } else memory.markWritten(address, size);
  }

  #spill(address: number, region: number): void {
    this.memory.stackRegion[(address - this.memory.stackBase) >> 3] = region;
  }
  #spilled(address: number): number {
    return address < this.memory.stackBase ? 0 : this.memory.stackRegion[(address - this.memory.stackBase) >> 3]!;
  }

  #enter(slot: number, back: number, known: number, callback: Callback | undefined): void {
    const depth = this.#depth + 1;
    if (depth - this.#base >= MAX_CALL_FRAMES || depth >= FRAMES) {
      throw this.tooDeep();
    }
    const r = this.memory.regs;
    const frame = (this.#frames[depth] ??= {
      image: this.image,
      pc: 0,
      saved: new Int32Array(8),
      regions: new Int32Array(4),
      known: 0,
      loops: 0,
      base: 0,
      callback: undefined,
    });
    frame.image = this.image;
    frame.pc = back;
    for (let i = 0; i < 8; i++) frame.saved[i] = r[12 + i]!;
    for (let i = 0; i < 4; i++) frame.regions[i] = this.regions[6 + i]!;
    frame.known = known;
    frame.loops = this.#loops;
    frame.base = this.#base;
    frame.callback = callback;
    this.#depth = depth;
    this.#startFrame(slot);
  }

  #startFrame(slot: number): void {
    this.memory.clearFrame(this.#depth);
    this.setReg(10, this.memory.stackBase + this.#depth * FRAME_STRIDE + FRAME_SIZE, this.#depth + 1);
    this.#loops = MAX_LOOPS;
    this.#pc = slot;
  }

  /** Ends the current function; true when that was the program. */
  #leave(known: number): boolean {
    if ((known & 1) === 0 && this.#depth === 0) {
      throw this.fault(FAULT.UNINIT_REG, "the program ends, but r0, its result, has no value");
    }
    if (this.#depth === 0) return (this.#exited = true);
    const frame = this.#frames[this.#depth]!;
    const r = this.memory.regs;
    this.#depth--;
    for (let i = 0; i < 8; i++) r[12 + i] = frame.saved[i]!;
    for (let i = 0; i < 4; i++) this.regions[6 + i] = frame.regions[i]!;
    this.setReg(10, this.memory.stackBase + this.#depth * FRAME_STRIDE + FRAME_SIZE, this.#depth + 1);
    this.image = frame.image;
    this.#loops = frame.loops;
    this.#base = frame.base;
    this.#pc = frame.pc;
    this.#known = (frame.known & ~(CALLER_SAVED | 1)) | (known & 1);
    const { callback } = frame;
    if (callback === undefined) return false;
    if (callback.next(r[0]!)) {
      this.#depth++;
      this.#known = CALLER_SAVED | (1 << 10);
      this.#startFrame(callback.slot);
    } else this.#known |= 1;
    return false;
  }

  override call(callback: Callback): void {
    if (!callback.next(undefined)) return;
    this.#enter(callback.slot, this.#pc + 1, this.#known, callback);
    this.#known = CALLER_SAVED | (1 << 10);
  }

  #tailCall(to: Image): void {
    this.tailTarget = undefined;
    this.#base = this.#depth;
    this.image = to;
    this.memory.clearFrame(this.#depth);
    this.setReg(1, this.ctx, this.ctxRegion);
    this.#known = (1 << 1) | (1 << 10);
    this.#loops = MAX_LOOPS;
    this.#pc = 0;
  }
}
