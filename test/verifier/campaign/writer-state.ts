/** What the statements of a random function are written with: registers and stack slots whose contents are known. */
import type { Insn } from "../../../src/asm/index.ts";
import type { Rng } from "./rng.ts";
import type * as t from "./targets.ts";

/** What a register holds, as far as the writer knows. */
export type Value =
  | { readonly kind: "none" | "scalar" | "ctx" | "packet" | "packetEnd" | "mem8null" | "mem8" | "task" | "any" }
  /** Unsigned and below `max`. */
  | { readonly kind: "small"; readonly max: number }
  /** Pointer into the stack of this function (or a caller's): bytes from the pointer up that may be used. */
  | { readonly kind: "stack"; readonly room: number }
  | { readonly kind: "value" | "valueNull"; readonly size: number }
  | { readonly kind: "record" | "recordNull"; readonly size: number };

export interface FuncSpec {
  readonly index: number;
  readonly role: "main" | "static" | "global" | "loop" | "each";
  readonly args: readonly Value[];
  readonly global: t.GlobalFunc | null;
  readonly typeId: number;
}

export const NONE: Value = { kind: "none" };
export const SCALAR: Value = { kind: "scalar" };
export const ALU = [0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xa0, 0xb0, 0xc0];
export const JMP = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0];
export const NUMBERS = [
  0, 0, 1, 1, -1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 511, 1000, 4095, 4096, 0xffff, -2, -8,
  -128, 0x7fffffff, -0x80000000, -0x7fffffff, 0x1000000,
];
export const SIZE_BITS: Readonly<Record<number, number>> = { 1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18 };
export const ATOMICS = [0x00, 0x01, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1];
export const LOAD_ACQUIRE = 0x100;
export const STORE_RELEASE = 0x110;

export const insn = (opcode: number, dst: number, src: number, off: number, imm: number): Insn => ({
  opcode,
  dst,
  src,
  off,
  imm,
});

export abstract class WriterState {
  readonly insns: Insn[] = [];
  /** Insns that call or name a function: insn → function. */
  readonly callees = new Map<number, number>();
  protected readonly rng: Rng;
  protected readonly target: t.Target;
  protected readonly kfuncs: ReadonlyMap<string, number>;
  protected readonly spec: FuncSpec;
  protected readonly withBtf: boolean;
  protected readonly request: (role: FuncSpec["role"], args: readonly Value[]) => FuncSpec | null;
  protected readonly specs: readonly FuncSpec[];
  protected regs: Value[] = [...Array.from({ length: 10 }, () => NONE), { kind: "stack", room: 0 }];
  /** Slots of the stack known to hold a scalar or zero: by spi. */
  protected slots: Value[] = Array.from({ length: 16 }, () => NONE);
  protected depth = 0;
  protected loops = 0;
  /** Counters of loops being written: left alone, mostly, as a loop without an end takes a second to verify. */
  protected readonly counters = new Set<number>();

  constructor(
    rng: Rng,
    target: t.Target,
    kfuncs: ReadonlyMap<string, number>,
    spec: FuncSpec,
    withBtf: boolean,
    request: (role: FuncSpec["role"], args: readonly Value[]) => FuncSpec | null,
    specs: readonly FuncSpec[],
  ) {
    this.rng = rng;
    this.target = target;
    this.kfuncs = kfuncs;
    this.spec = spec;
    this.withBtf = withBtf;
    this.request = request;
    this.specs = specs;
  }

  protected emit(opcode: number, dst: number, src: number, off: number, imm: number): number {
    this.insns.push(insn(opcode, dst, src, off, imm));
    return this.insns.length - 1;
  }

  protected set(r: number, v: Value): void {
    if (r < 10) this.regs[r] = v;
  }

  protected movImm(r: number, imm: number): void {
    this.emit(0xb7, r, 0, 0, imm);
    this.set(r, SCALAR);
  }

  protected mov(dst: number, src: number): void {
    this.emit(0xbf, dst, src, 0, 0);
    this.set(dst, src === 10 ? { kind: "stack", room: 0 } : this.regs[src]!);
  }

  /** A register that holds one of `kinds`; -1: none. Now and then any register at all. */
  protected find(...kinds: readonly Value["kind"][]): number {
    if (this.rng.chance(1)) return this.rng.below(11);
    const start = this.rng.below(10);
    for (let i = 0; i < 10; i++) {
      const r = (start + i) % 10;
      if (kinds.includes(this.regs[r]!.kind)) return r;
    }
    return -1;
  }

  protected scalar(): number {
    const r = this.find("scalar", "small");
    if (r >= 0 && (!this.counters.has(r) || this.rng.chance(1))) return r;
    const dst = this.freeRegister();
    this.movImm(dst, this.rng.pick(NUMBERS));
    return dst;
  }

  /** A register to write: rarely the ones that keep something worth having. */
  protected freeRegister(): number {
    for (let tries = 0; tries < 4; tries++) {
      const r = this.rng.below(10);
      const { kind } = this.regs[r]!;
      if (this.counters.has(r)) continue;
      if (kind === "none" || kind === "scalar" || kind === "small") return r;
    }
    return this.rng.pick([0, 1, 2, 3, 4, 5, 7, 8, 9].filter((r) => !this.counters.has(r)));
  }

  /** One of the registers that calls keep. */
  protected kept(): number {
    return this.rng.pick([7, 8, 9].filter((r) => !this.counters.has(r)));
  }

  protected callDone(): void {
    for (let r = 0; r <= 5; r++) this.regs[r] = NONE;
  }

  protected call(id: number, result: Value): void {
    this.emit(0x85, 0, 0, 0, id);
    this.callDone();
    this.set(0, result);
  }

  protected kfunc(name: string, result: Value): boolean {
    const id = this.kfuncs.get(name);
    if (id === undefined) return false;
    this.emit(0x85, 0, 2, 0, id);
    this.callDone();
    this.set(0, result);
    return true;
  }

  protected loadMap(r: number, map: number): void {
    this.emit(0x18, r, 1, 0, map);
    this.insns.push(insn(0, 0, 0, 0, 0));
    this.set(r, NONE);
  }

  /** fp + off in `r`. */
  protected stackPtr(r: number, off: number): void {
    this.emit(0xbf, r, 10, 0, 0);
    this.emit(0x07, r, 0, 0, off);
    this.set(r, { kind: "stack", room: -off });
  }

  /** Makes `bytes` at fp - bytes - 8 * k initialised; returns the offset. */
  protected buffer(bytes: number): number {
    const words = (bytes + 7) >> 3;
    const top = this.rng.below(Math.max(1, 12 - words));
    const off = -8 * (top + words);
    for (let i = 0; i < words; i++) {
      if (this.slots[top + i]!.kind === "scalar" && this.rng.chance(60)) continue;
      if (this.rng.chance(4)) continue;
      if (this.rng.chance(50)) this.emit(0x7a, 10, 0, -8 * (top + i + 1), this.rng.pick(NUMBERS));
      else this.emit(0x7b, 10, this.scalar(), -8 * (top + i + 1), 0);
      this.slots[top + i] = SCALAR;
    }
    return off;
  }

  protected access(p: number, off: number, size: number, bits: number): void {
    const rng = this.rng;
    const kind = rng.below(5);
    if (kind === 0) this.emit(0x62 | bits, p, 0, off, rng.pick(NUMBERS));
    else if (kind === 1) this.emit(0x63 | bits, p, this.scalar(), off, 0);
    else {
      const dst = this.freeRegister();
      this.emit((rng.chance(20) && size < 8 ? 0x81 : 0x61) | bits, dst, p, off, 0);
      this.set(dst, SCALAR);
    }
  }

  /** The scalar `r` becomes at most `max` (unsigned). */
  protected bound(r: number, max: number): void {
    const rng = this.rng;
    const way = rng.below(12);
    if (way < 8) {
      let mask = 1;
      while (mask * 2 <= max + 1) mask *= 2;
      this.emit(rng.pick([0x57, 0x54]), r, 0, 0, mask - 1);
    } else if (way < 10) {
      this.emit(rng.pick([0x25, 0xa5 ^ 0x80]), r, 0, 1, max);
      this.emit(0x05, 0, 0, 1, 0);
      this.emit(0xb7, r, 0, 0, rng.below(max + 1));
    } else if (way < 11) {
      this.emit(0x97, r, 0, 0, Math.max(1, max));
    } else {
      this.emit(0xb7, r, 0, 0, rng.below(max + 1));
    }
    this.set(r, { kind: "small", max: max + 1 });
  }

  protected condition(): number {
    const rng = this.rng;
    const cls = rng.chance(65) ? 0x05 : 0x06;
    const dst = this.scalar();
    if (rng.chance(35)) return this.emit(cls | rng.pick(JMP) | 0x08, dst, this.scalar(), 0, 0);
    return this.emit(cls | rng.pick(JMP), dst, 0, 0, rng.pick(NUMBERS));
  }

  protected save(): { regs: Value[]; slots: Value[] } {
    return { regs: this.regs.slice(), slots: this.slots.slice() };
  }

  /** Two ways meet: what they do not agree on is not known. */
  protected merge(other: { regs: Value[]; slots: Value[] }): void {
    const meet = (a: Value, b: Value): Value => {
      if (a.kind === b.kind) return "max" in a && "max" in b && b.max > a.max ? b : a;
      const scalar = (v: Value): boolean => v.kind === "scalar" || v.kind === "small";
      return scalar(a) && scalar(b) ? SCALAR : NONE;
    };
    this.regs = this.regs.map((v, i) => meet(v, other.regs[i]!));
    this.slots = this.slots.map((v, i) => meet(v, other.slots[i]!));
  }

  protected land(at: number): void {
    this.insns[at] = { ...this.insns[at]!, off: this.insns.length - at - 1 };
  }

  protected nested(count: number): void {
    if (this.depth >= 3) return;
    this.depth++;
    this.statements(count);
    this.depth--;
  }

  protected abstract statements(count: number): void;
}
