/** One run of a program: what helpers see of it, whether the interpreter or the JIT runs it. */
import { FORM, FORM_OF } from "../asm/check.ts";
import { helperById } from "../uapi/index.ts";
import { FAULT, type FaultCode, type VmFault, faultAt } from "./fault.ts";
import type { Image } from "./image.ts";
import { LIVE, MAP_BASE, MAX_CALL_FRAMES, READ, type VmMemory, WRITE } from "./memory.ts";
import type { VmMap } from "./maps/map.ts";
import type { Vm } from "./vm.ts";

/** A function of the program that a helper calls, any number of times. */
export interface Callback {
  /** First slot of the function. */
  readonly slot: number;
  /**
   * Puts the next call's arguments into r1-r5 and gives true; or the helper's result into r0 and gives
   * false. `previous` is the low half of what the call before returned, undefined before the first.
   */
  next(previous: number | undefined): boolean;
}

/** A pointer given to a function. */
export interface Argument {
  readonly value: number;
  readonly region: number;
}

/** The packet of a run. Addresses are in the VM's memory; `limit` is the end of its tail room. */
export interface Packet {
  readonly region: number;
  readonly metaRegion: number;
  readonly start: number;
  meta: number;
  data: number;
  end: number;
  readonly limit: number;
  /** XDP: `ctx` has the addresses; skb: `skb->len` too. */
  readonly kind: "xdp" | "skb";
  /** Where the MAC header starts (skb). */
  mac: number;
  /** Where the network header starts (skb). */
  network: number;
}

/** Something acquired that must be given back before the program ends. */
export interface Acquired {
  readonly what: string;
  readonly insn: number;
}

export type UninitRule = "strict" | "insns" | "allow";

export abstract class Run {
  readonly vm: Vm;
  readonly memory: VmMemory;
  /** The program that runs now: a tail call changes it. */
  image: Image;
  ctx = 0;
  ctxRegion = 0;
  packet: Packet | undefined;
  tailCalls = 0;
  /** What `bpf_get_retval` gives: the system call's result so far. */
  retval = 0;
  /** Set by `bpf_tail_call` for the engine to go on with. */
  tailTarget: Image | undefined;
  readonly acquired = new Map<number, Acquired>();
  /** Provenance of r0-r10: region ids, 0 for none. Only the interpreter keeps it. */
  readonly regions = new Int32Array(11);
  /** Are helpers' memory arguments checked against regions? */
  abstract readonly checked: boolean;
  uninit: UninitRule = "insns";

  constructor(vm: Vm, image: Image) {
    this.vm = vm;
    this.memory = vm.memory;
    this.image = image;
  }

  /** Slot of the instruction that runs now. */
  abstract get insn(): number;
  /** Makes ready to run once more, on the context and packet as they are. */
  restart(): void {
    this.tailCalls = 0;
    this.acquired.clear();
    this.setReg(1, this.ctx, this.ctxRegion);
  }
  /** Runs the function at `slot` of the program to its end, on its own. @throws VmFault */
  abstract invoke(slot: number, args: readonly Argument[], budget: number): void;
  /** Calls `callback` until it has enough, then goes on behind the helper call. */
  abstract call(callback: Callback): void;

  fault(code: FaultCode, message: string, more: { notes?: readonly string[]; help?: string } = {}): VmFault {
    return faultAt(this.image.spec, this.insn, code, message, more);
  }

  // Arguments and results. Registers are pairs of 32-bit halves.

  /** Low half of r<n>, signed. */
  lo(n: number): number {
    return this.memory.regs[n << 1]!;
  }
  hi(n: number): number {
    return this.memory.regs[(n << 1) + 1]!;
  }
  u64(n: number): bigint {
    return this.memory.regs64[n]!;
  }
  /** r0 = a signed 32-bit number, sign-extended. */
  ret(value: number): void {
    const { regs } = this.memory;
    regs[0] = value;
    regs[1] = value >> 31;
  }
  /** r0 = an address or other unsigned 32-bit number. */
  retU32(value: number): void {
    const { regs } = this.memory;
    regs[0] = value;
    regs[1] = 0;
  }
  ret64(value: bigint): void {
    this.memory.regs64[0] = BigInt.asUintN(64, value);
  }
  /** r0 = a pointer with this provenance. */
  retPointer(address: number, region: number): void {
    this.retU32(address);
    this.regions[0] = region;
  }
  setReg(n: number, value: number, region = 0): void {
    const { regs } = this.memory;
    regs[n << 1] = value;
    regs[(n << 1) + 1] = 0;
    this.regions[n] = region;
  }
  copyReg(to: number, lo: number, hi: number, region: number): void {
    const { regs } = this.memory;
    regs[to << 1] = lo;
    regs[(to << 1) + 1] = hi;
    this.regions[to] = region;
  }

  /** Is r<n> NULL? */
  isNull(n: number): boolean {
    return this.lo(n) === 0 && this.hi(n) === 0;
  }

  /** The address in r<n>, `size` bytes of which the helper reads. */
  readable(n: number, size: number, what = "memory"): number {
    const address = this.#access(n, size, READ, what);
    if (this.uninit === "strict" && this.checked && !this.memory.isWritten(address, size)) {
      throw this.fault(
        FAULT.UNINIT_STACK,
        `r${n}: the helper reads ${size} bytes of the stack, not all of which were written`,
        {
          help: "clear the whole buffer first, its padding too",
        },
      );
    }
    return address;
  }
  /** The address in r<n>, `size` bytes of which the helper writes. */
  writable(n: number, size: number, what = "memory"): number {
    const address = this.#access(n, size, WRITE, what);
    if (this.checked) this.memory.markWritten(address, size);
    return address;
  }

  #access(n: number, size: number, access: number, what: string): number {
    const address = this.lo(n) >>> 0;
    if (!this.checked) {
      if (this.hi(n) === 0 && address + size <= this.memory.top) return address;
    } else if (this.hi(n) === 0) {
      const region = this.regions[n] === 0 ? this.memory.regionAt(address) : this.regions[n]!;
      const { regBase, regEnd, regFlags } = this.memory;
      if (size === 0) return address;
      if (
        region !== 0 &&
        address >= regBase[region]! &&
        address + size <= regEnd[region]! &&
        (regFlags[region]! & (access | LIVE)) === (access | LIVE)
      ) {
        return address;
      }
    }
    throw this.badAccess(address, this.hi(n), size, access, this.regions[n]!, `r${n}, the helper's ${what}`);
  }

  /** The fault for a call too many. */
  tooDeep(): VmFault {
    return this.fault(
      FAULT.CALL_DEPTH,
      `the call stack of ${MAX_CALL_FRAMES} frames is too deep: a program may nest ${MAX_CALL_FRAMES - 1} calls`,
    );
  }

  /** The fault for an instruction that reads the lowest of these registers. */
  uninitReg(missing: number): VmFault {
    const reg = 31 - Math.clz32(missing & -missing);
    const call = FORM_OF[this.image.columns.opcode[this.insn]!] === FORM.CALL;
    return this.fault(
      FAULT.UNINIT_REG,
      call ? `r${reg}, an argument of the helper, has no value` : `r${reg} is read but has no value`,
      reg >= 1 && reg <= 5 ? { notes: ["r1-r5 lose their values at every call"] } : {},
    );
  }

  /** The fault for an access that no region allows. */
  badAccess(address: number, hi: number, size: number, access: number, region: number, subject?: string): VmFault {
    const { memory } = this;
    const verb = access === READ ? "read" : "write";
    const head = subject === undefined ? `${verb} of ${size} bytes` : `${subject}: ${verb} of ${size} bytes`;
    if (hi !== 0) {
      const full = (BigInt(hi >>> 0) << 32n) | BigInt(address);
      return this.fault(FAULT.OUT_OF_BOUNDS, `${head} at 0x${full.toString(16)}, which is no pointer`);
    }
    if (address < 4096) {
      return this.fault(FAULT.OUT_OF_BOUNDS, `${head} at address ${address}: the pointer is NULL`, {
        help: "compare it with NULL first",
      });
    }
    let id = region;
    if (id === 0) {
      const block = memory.blockAt(address);
      id = memory.regionAt(address) || (block?.owner === undefined ? (block?.region ?? 0) : 0);
    }
    if (id === 0) return this.fault(FAULT.OUT_OF_BOUNDS, `${head} at 0x${address.toString(16)}, which is in no object`);
    const name = memory.regionName(id);
    const flags = memory.regFlags[id]!;
    const base = memory.regBase[id]!;
    const length = memory.regEnd[id]! - base;
    if ((flags & LIVE) === 0) {
      return this.fault(FAULT.RELEASED, `${head} of ${name}, which was given back`);
    }
    const offset = address - base;
    if (offset < 0 || offset + size > length) {
      return this.fault(
        FAULT.OUT_OF_BOUNDS,
        `${head} at offset ${offset} of ${name}, which has ${length} bytes`,
        memory.regionKind(id) === "packet" ? { help: "compare the end of the access with data_end first" } : {},
      );
    }
    return this.fault(FAULT.READ_ONLY, `${head} of ${name}, which a program cannot ${verb}`);
  }

  /** The map that r<n> points to. */
  map(n: number): VmMap {
    const map = this.hi(n) === 0 ? this.vm.mapAt((this.lo(n) >>> 0) - MAP_BASE) : undefined;
    if (map === undefined)
      throw this.fault(FAULT.BAD_ARGUMENT, `r${n}: expected a map, got 0x${this.u64(n).toString(16)}`);
    return map;
  }

  /** The slot of the function that r<n> points to. */
  func(n: number): number {
    const slot = this.vm.functionAt(this.image, this.lo(n));
    if (slot === undefined || this.hi(n) !== 0) {
      throw this.fault(
        FAULT.BAD_ARGUMENT,
        `r${n}: expected a function of the program, got 0x${this.u64(n).toString(16)}`,
      );
    }
    return slot;
  }

  /** NUL-terminated text at the address in r<n>, at most `limit` bytes. */
  cstring(n: number, limit: number): Uint8Array {
    const address = this.lo(n) >>> 0;
    const { u8 } = this.memory;
    let length = 0;
    while (length < limit && u8[address + length] !== 0) length++;
    this.readable(n, Math.min(length + 1, limit), "string");
    return u8.subarray(address, address + length);
  }

  /** Calls helper `id`. */
  helper(id: number): void {
    const call = this.vm.helpers[id];
    if (call === undefined) throw this.noHelper(id);
    call(this);
  }

  noHelper(id: number): VmFault {
    const name = helperById(id)?.name;
    if (name === undefined) return this.fault(FAULT.ILLEGAL, `there is no helper function ${id}`);
    return this.fault(FAULT.NOT_MODELLED, `helper bpf_${name}#${id} is not modelled here`, {
      help: `give the test a mock: { mocks: { ${name}: (args) => 0n } }`,
    });
  }

  /** At the end: everything acquired must have been given back. */
  checkLeaks(): void {
    for (const { what, insn } of this.acquired.values()) {
      throw faultAt(this.image.spec, insn, FAULT.LEAK, `${what} is not given back when the program ends`);
    }
  }
}
