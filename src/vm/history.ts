/** A run that steps back, too, and stops where something that is watched changes. */
import { FORM, FORM_OF } from "../asm/check.ts";
import { ArgumentError } from "../core/errors.ts";
import type { Control, Status } from "./control.ts";
import type { Interp } from "./interp.ts";
import { FRAME_STRIDE, LOW, type VmMemory } from "./memory.ts";
import type { VmMap } from "./maps/map.ts";

/** A register, bytes of memory (a slot of the stack), or the value of a key. */
export type Watched =
  | { readonly reg: number }
  | { readonly address: number; readonly size: number }
  | { readonly map: VmMap; readonly key: Uint8Array };

/** Why `forward` or `backward` stopped. */
export interface Stop {
  readonly reason: "watch" | "breakpoint" | "end" | "limit";
  /** What changed, with its value before and after the step, in the order of time. */
  readonly watch?: { readonly watched: Watched; readonly before: string; readonly after: string };
}

interface Change {
  readonly address: number;
  bytes: Uint8Array;
}
/** What a call or an exit changed: more than one register. */
interface Heavy {
  control: Control;
  regs: Int32Array;
  regions: Int32Array;
}

const DEFAULT_LIMIT = 1 << 20;
const NOTHING = -1;
const SIZE = [4, 2, 1, 8];

/**
 * Every step of an interpreted run, kept as what it changed: 20 bytes for an ordinary instruction. Going back and forth
 * changes registers and memory; programs are executed only at the end of what is known.
 *
 * @example
 * const history = vm.history("count", { data: new Uint8Array(64) });
 * history.watch({ reg: 0 });
 * history.forward(); // until r0 changes
 * history.back(); // before it did
 */
export class History {
  readonly run: Interp;
  readonly #memory: VmMemory;
  readonly #limit: number;
  readonly #pcs: Int32Array;
  readonly #known: Int32Array;
  /** Number of the register that the step wrote, or `NOTHING`; its halves and region. */
  readonly #reg: Int8Array;
  readonly #lo: Int32Array;
  readonly #hi: Int32Array;
  readonly #region: Int32Array;
  readonly #changes = new Map<number, Change[]>();
  readonly #heavy = new Map<number, Heavy>();
  readonly #stack = new Map<number, { init: Uint8Array; regions: Int32Array; at: number }>();
  #watches: Watched[] = [];
  /** Memory as it was before the call that runs. */
  #shadow: Uint8Array;
  #length = 0;
  #position = 0;

  /** @throws ArgumentError for a limit below 1 */
  constructor(run: Interp, limit = DEFAULT_LIMIT) {
    if (!Number.isInteger(limit) || limit < 1) throw new ArgumentError("limit", `expected 1 or more, got ${limit}`);
    this.run = run;
    this.#memory = run.memory;
    this.#limit = limit;
    this.#pcs = new Int32Array(limit);
    this.#known = new Int32Array(limit);
    this.#reg = new Int8Array(limit);
    this.#lo = new Int32Array(limit);
    this.#hi = new Int32Array(limit);
    this.#region = new Int32Array(limit);
    this.#shadow = this.#memory.u8.slice(0, this.#memory.top);
  }

  /** Steps from the start to here. */
  get position(): number {
    return this.#position;
  }
  /** Steps that are known: `position` when the run is at its newest. */
  get length(): number {
    return this.#length;
  }
  /** The first position that it can go back to. */
  get first(): number {
    return Math.max(0, this.#length - this.#limit);
  }

  /** One instruction on: out of the history, or by executing it. @throws VmFault */
  step(): Status {
    if (this.#position < this.#length) {
      this.#swap(this.#position++);
      return this.run.exited ? "exited" : "paused";
    }
    if (this.run.exited) return "exited";
    this.#record();
    return this.run.exited ? "exited" : "paused";
  }

  /** One instruction back; false at the first one that is known. */
  back(): boolean {
    if (this.#position <= this.first) return false;
    this.#swap(--this.#position);
    return true;
  }

  /** Goes to a position, executing what is not known yet. False when the run or the history ends before. @throws VmFault */
  goTo(position: number): boolean {
    while (this.#position > position) if (!this.back()) return false;
    while (this.#position < position) {
      const before = this.#position;
      this.step();
      if (this.#position === before) return false;
    }
    return true;
  }

  /** Makes `forward` and `backward` stop where this changes. */
  watch(watched: Watched): void {
    this.#watches = [...this.#watches, watched];
  }
  unwatch(watched: Watched): void {
    this.#watches = this.#watches.filter((w) => w !== watched);
  }

  /** On to a breakpoint, a change of what is watched, or the end, at most `limit` steps. @throws VmFault */
  forward(limit = Number.POSITIVE_INFINITY): Stop {
    return this.#go(limit, () => {
      const before = this.#position;
      this.step();
      return this.#position > before;
    });
  }
  /** The same way back: it stops before the instruction that made the change. */
  backward(limit = Number.POSITIVE_INFINITY): Stop {
    return this.#go(limit, () => this.back());
  }

  #go(limit: number, move: () => boolean): Stop {
    let values = this.#watches.map((w) => this.#value(w));
    for (let i = 0; i < limit; i++) {
      const from = this.#position;
      if (!move()) return { reason: "end" };
      const now = this.#watches.map((w) => this.#value(w));
      const changed = now.findIndex((v, k) => v !== values[k]);
      if (changed >= 0) {
        const [a, b] = [values[changed]!, now[changed]!];
        const on = this.#position > from;
        return {
          reason: "watch",
          watch: { watched: this.#watches[changed]!, before: on ? a : b, after: on ? b : a },
        };
      }
      values = now;
      if (!this.run.exited && this.run.breakpoints.has(this.run.insn)) return { reason: "breakpoint" };
    }
    return { reason: "limit" };
  }

  /** In hexadecimal; "none" for a key without a value. */
  #value(w: Watched): string {
    if ("reg" in w) return this.run.reg(w.reg).toString(16);
    const bytes = "map" in w ? w.map.lookup(w.key) : this.#memory.bytes(w.address, w.size);
    if (bytes === undefined) return "none";
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  #record(): void {
    const { run } = this;
    const { image } = run;
    const pc = run.insn;
    const { opcode, dst, off } = image.columns;
    const form = FORM_OF[opcode[pc]!]!;
    const at = this.#length % this.#limit;
    this.#drop(this.#length - this.#limit);
    this.#pcs[at] = pc;
    this.#known[at] = run.known;
    this.#reg[at] = NOTHING;
    const heavy = form === FORM.CALL || form === FORM.EXIT || form === FORM.LD_ABS || form === FORM.LD_IND;
    const loops = form === FORM.MAY_GOTO;
    const stores = form === FORM.ST || form === FORM.STX || form === FORM.ATOMIC;
    const written = heavy ? 0 : image.writes[pc]!;
    const step = this.#length;
    const before = heavy || loops ? this.#whole() : undefined;
    if (written !== 0) this.#keep(at, 31 - Math.clz32(written));
    const address = (run.lo(dst[pc]!) + off[pc]!) >>> 0;
    const size = SIZE[(opcode[pc]! >> 3) & 3]!;
    const held = stores && address + size <= this.#memory.top;
    const change = held ? { address, bytes: this.#memory.copy(address, size) } : undefined;
    const stack = heavy ? this.#frames() : held ? this.#stackAt(address, size) : undefined;
    run.step();
    if (change !== undefined) {
      this.#changes.set(step, [change]);
      this.#shadow.set(this.#memory.bytes(address, size), address);
    }
    if (stack !== undefined) this.#stack.set(step, stack);
    if (before !== undefined) this.#heavy.set(step, before);
    if (form === FORM.CALL) this.#changes.set(step, this.#differences());
    this.#length++;
    this.#position++;
  }

  #keep(at: number, reg: number): void {
    const { run } = this;
    this.#reg[at] = reg;
    this.#lo[at] = run.lo(reg);
    this.#hi[at] = run.hi(reg);
    this.#region[at] = run.regions[reg]!;
  }
  #whole(): Heavy {
    const { run } = this;
    return { control: run.control, regs: this.#memory.regs.slice(), regions: run.regions.slice() };
  }
  /** What is known of the stack bytes there; undefined outside the stack. */
  #stackAt(address: number, size: number): { init: Uint8Array; regions: Int32Array; at: number } | undefined {
    const { stackBase, stackEnd, stackInit, stackRegion } = this.#memory;
    if (address < stackBase || address >= stackEnd) return undefined;
    const at = (address - stackBase) >> 3;
    const end = ((address - stackBase + size - 1) >> 3) + 1;
    return { init: stackInit.slice(at, end), regions: stackRegion.slice(at, end), at };
  }

  /** The same of every frame up to the one that a call makes. */
  #frames(): { init: Uint8Array; regions: Int32Array; at: number } {
    const { stackInit, stackRegion } = this.#memory;
    const end = ((this.run.depth + 2) * FRAME_STRIDE) >> 3;
    return { init: stackInit.slice(0, end), regions: stackRegion.slice(0, end), at: 0 };
  }

  /** What memory looked like before the call, where it differs now. */
  #differences(): Change[] {
    const { u8, top } = this.#memory;
    if (this.#shadow.length < top) {
      const grown = new Uint8Array(top);
      grown.set(this.#shadow);
      this.#shadow = grown;
    }
    const shadow = this.#shadow;
    const words = Math.floor(top / 4);
    const now = new Int32Array(u8.buffer, 0, words);
    const was = new Int32Array(shadow.buffer, 0, words);
    const changes: Change[] = [];
    for (let i = LOW / 4; i < words; i++) {
      if (now[i] === was[i]) continue;
      let end = i + 1;
      while (end < words && now[end] !== was[end]) end++;
      changes.push({ address: i * 4, bytes: shadow.slice(i * 4, end * 4) });
      was.set(now.subarray(i, end), i);
      i = end;
    }
    return changes;
  }

  /** Exchanges what the step changed with what is kept of it: back and on again. */
  #swap(step: number): void {
    const { run } = this;
    const memory = this.#memory;
    const at = step % this.#limit;
    const changes = this.#changes.get(step) ?? [];
    for (const change of changes) {
      const bytes = memory.copy(change.address, change.bytes.length);
      memory.u8.set(change.bytes, change.address);
      this.#shadow.set(change.bytes, change.address);
      change.bytes = bytes;
    }
    const stack = this.#stack.get(step);
    if (stack !== undefined) {
      const init = memory.stackInit.slice(stack.at, stack.at + stack.init.length);
      const regions = memory.stackRegion.slice(stack.at, stack.at + stack.regions.length);
      memory.stackInit.set(stack.init, stack.at);
      memory.stackRegion.set(stack.regions, stack.at);
      stack.init = init;
      stack.regions = regions;
    }
    const heavy = this.#heavy.get(step);
    if (heavy !== undefined) {
      const { control, regs, regions } = heavy;
      Object.assign(heavy, this.#whole());
      run.control = control;
      memory.regs.set(regs);
      run.regions.set(regions);
      return;
    }
    const pc = run.insn;
    const { known } = run;
    run.moveTo(this.#pcs[at]!, this.#known[at]!);
    this.#pcs[at] = pc;
    this.#known[at] = known;
    const reg = this.#reg[at]!;
    if (reg === NOTHING) return;
    const [lo, hi, region] = [this.#lo[at]!, this.#hi[at]!, this.#region[at]!];
    this.#keep(at, reg);
    run.copyReg(reg, lo, hi, region);
  }

  #drop(step: number): void {
    if (step < 0) return;
    this.#changes.delete(step);
    this.#stack.delete(step);
    this.#heavy.delete(step);
  }
}
