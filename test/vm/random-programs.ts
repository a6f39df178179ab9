/**
 * Random programs that the kernel accepts: scalars in r0, r2-r5 and r8, r6 the context, r7 a map value;
 * arithmetic, memory of all kinds, atomics, forward branches, counted loops, subprograms, callbacks.
 */
import * as b from "../../src/asm/index.ts";
import type { AluOp, AtomicOp, Insn, JmpOp, Size } from "../../src/asm/index.ts";
import type { InsnRef } from "../../src/elf/spec.ts";
import { BPF_FUNC, BPF_MAP_TYPE, BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { mapSpec, progSpec } from "./kernel-run.ts";
import type { Random } from "./random.ts";

export const CTX_SIZE = 64;
export const VALUE_SIZE = 64;
export const VALUES = mapSpec("values", BPF_MAP_TYPE.ARRAY, 4, VALUE_SIZE, 1);
export const TABLE = mapSpec("table", BPF_MAP_TYPE.HASH, 8, 8, 4);

const STACK = 64;
const SCALARS = [0, 2, 3, 4, 5, 8] as const;
const BYTES: Readonly<Record<Size, number>> = { b: 1, h: 2, w: 4, dw: 8 };
const SIZES: Size[] = ["b", "h", "w", "dw"];
const ALU: AluOp[] = [
  "add",
  "sub",
  "mul",
  "div",
  "sdiv",
  "or",
  "and",
  "lsh",
  "rsh",
  "mod",
  "smod",
  "xor",
  "mov",
  "arsh",
];
const JMP: JmpOp[] = ["jeq", "jgt", "jge", "jset", "jne", "jsgt", "jsge", "jlt", "jle", "jslt", "jsle"];
const ATOMIC: AtomicOp[] = ["add", "or", "and", "xor", "xchg", "cmpxchg"];

class Maker {
  readonly r: Random;
  readonly insns: Insn[] = [];
  readonly refs: InsnRef[] = [];
  /** Calls and function addresses whose subprogram is placed at the end. */
  readonly subs: { at: number; kind: "subprog" | "func" | "callback" }[] = [];
  readonly maps: boolean;
  readonly callbacks: boolean;
  constructor(r: Random, maps: boolean, callbacks: boolean) {
    this.r = r;
    this.maps = maps;
    this.callbacks = callbacks;
  }
  emit(...insns: readonly Insn[]): void {
    this.insns.push(...insns);
  }
  scalar(): number {
    return this.r.pick(SCALARS);
  }
  /** A place of `size` bytes: base register and offset. */
  place(size: number, writable: boolean, atomic: boolean): { base: number; off: number } {
    const which = this.r.below(atomic ? 2 : 3);
    if (which === 0) return { base: 10, off: -STACK + this.r.below(STACK / size) * size };
    if (which === 1)
      return {
        base: 7,
        off: atomic || writable ? this.r.below(VALUE_SIZE / size) * size : this.r.below(VALUE_SIZE - size + 1),
      };
    return { base: 6, off: this.r.below(CTX_SIZE / size) * size };
  }

  simple(): void {
    const { r } = this;
    const dst = this.scalar();
    switch (r.below(12)) {
      case 0:
      case 1:
      case 2:
        this.emit((r.chance(60) ? b.alu64Reg : b.alu32Reg)(r.pick(ALU), dst, this.scalar()));
        break;
      case 3:
      case 4: {
        const op = r.pick(ALU);
        const wide = r.chance(60);
        const imm = op.endsWith("sh") ? r.below(wide ? 64 : 32) : r.s32() || 3;
        this.emit((wide ? b.alu64Imm : b.alu32Imm)(op, dst, imm));
        break;
      }
      case 5:
        this.emit(
          r.pick([
            b.neg64(dst),
            b.neg32(dst),
            b.endian("be", dst, r.pick([16, 32, 64])),
            b.endian("le", dst, r.pick([16, 32, 64])),
            b.bswap(dst, r.pick([16, 32, 64])),
            b.movsx64(dst, this.scalar(), r.pick([8, 16, 32])),
            b.movsx32(dst, this.scalar(), r.pick([8, 16])),
          ]),
        );
        break;
      case 6:
        this.emit(...b.ldImm64(dst, BigInt.asIntN(64, r.u64())));
        break;
      case 7:
      case 8: {
        const size = r.pick(SIZES);
        const { base, off } = this.place(BYTES[size], false, false);
        this.emit(
          size !== "dw" && base !== 6 && r.chance(40)
            ? b.ldxMemsx(size, dst, base, off)
            : b.ldxMem(size, dst, base, off),
        );
        break;
      }
      case 9: {
        const size = r.pick(SIZES);
        const { base, off } = this.place(BYTES[size], true, false);
        this.emit(b.stxMem(size, base, this.scalar(), off));
        break;
      }
      case 10: {
        const size = r.pick(SIZES);
        const { base, off } = this.place(BYTES[size], true, false);
        // The kernel has no BPF_ST to a context of any but the newest versions.
        if (base === 6) this.emit(b.stxMem(size, base, this.scalar(), off));
        else this.emit(b.stMem(size, base, off, r.s32()));
        break;
      }
      default: {
        const size = r.pick(["w", "dw"] as const);
        const { base, off } = this.place(BYTES[size], true, true);
        const op = r.pick(ATOMIC);
        const fetch = op === "xchg" || op === "cmpxchg" || r.chance(50);
        // Kernels without the fix that `kernel-bugs.test.ts` shows lose track of what an atomic fetches from a
        // spilled register: a byte written into the slot makes it plain bytes.
        if (fetch && base === 10) this.emit(b.stMem("b", 10, off + BYTES[size] - 1, r.s32() | 1));
        this.emit(b.atomic(op, size, base, this.scalar(), off, fetch));
        // Nor do they always clear the high half of r0.
        if (op === "cmpxchg" && size === "w") this.emit(b.mov32Reg(0, 0));
      }
    }
  }

  /** r1-r5 have values again after a call. */
  refill(): void {
    for (const reg of [2, 3, 4, 5]) this.emit(b.mov64Reg(reg, this.r.pick([0, 8])));
  }

  branch(depth: number): void {
    const { r } = this;
    const at = this.insns.length;
    this.emit(b.ja(0));
    this.block(1 + r.below(5), depth);
    const off = this.insns.length - at - 1;
    const op = r.pick(JMP);
    const [x, y] = [this.scalar(), this.scalar()];
    this.insns[at] = r.pick([
      b.jmpReg(op, x, y, off),
      b.jmpImm(op, x, r.s32(), off),
      b.jmp32Reg(op, x, y, off),
      b.jmp32Imm(op, x, r.s32(), off),
    ]);
  }

  loop(): void {
    const { r } = this;
    this.emit(b.mov64Imm(9, 1 + r.below(4)));
    const start = this.insns.length;
    for (let i = 0, n = 1 + r.below(4); i < n; i++) this.simple();
    this.emit(b.add64Imm(9, -1));
    this.emit(b.jmpImm("jne", 9, 0, start - this.insns.length - 1));
  }

  call(): void {
    this.subs.push({ at: this.insns.length, kind: "subprog" });
    this.emit(b.mov64Reg(1, 0), b.callSubprog(0));
    this.subs.at(-1)!.at++;
    this.refill();
  }

  bpfLoop(): void {
    this.emit(b.stxMem("dw", 10, this.r.pick(SCALARS), -STACK - 8));
    this.emit(b.mov64Imm(1, this.r.below(6)));
    this.subs.push({ at: this.insns.length, kind: "callback" });
    this.emit(
      ...b.ldFunc(2, 0),
      b.mov64Reg(3, 10),
      b.add64Imm(3, -STACK - 8),
      b.mov64Imm(4, 0),
      b.callHelper(BPF_FUNC.loop),
    );
    this.refill();
  }

  map(): void {
    const { r } = this;
    const key = -STACK - 16;
    this.emit(b.stMem("dw", 10, key, r.below(6)), b.stxMem("dw", 10, r.pick(SCALARS), key + 8));
    const args = (): void => {
      this.refs.push({ kind: "map", insn: this.insns.length, map: TABLE.name });
      this.emit(...b.ldMapFd(1, 0), b.mov64Reg(2, 10), b.add64Imm(2, key));
    };
    args();
    switch (r.below(4)) {
      case 0:
        this.emit(b.callHelper(BPF_FUNC.map_delete_elem));
        break;
      case 1:
      case 2:
        this.emit(
          b.mov64Reg(3, 10),
          b.add64Imm(3, key + 8),
          b.mov64Imm(4, r.pick([0, 0, 0, 1, 2, 3, 8])),
          b.callHelper(BPF_FUNC.map_update_elem),
        );
        break;
      default:
        this.emit(b.callHelper(BPF_FUNC.map_lookup_elem), b.jmpImm("jeq", 0, 0, 3));
        this.emit(b.ldxMem("dw", 1, 0, 0), b.stxMem("dw", 0, 8, 0), b.mov64Reg(0, 1));
    }
    this.refill();
  }

  block(count: number, depth: number): void {
    for (let i = 0; i < count; i++) {
      const kind = this.r.below(100);
      if (depth > 0 && kind < 12) this.branch(depth - 1);
      else if (depth > 1 && kind < 16) this.loop();
      else if (depth > 1 && kind < 19) this.call();
      else if (depth > 1 && this.callbacks && kind < 21) this.bpfLoop();
      else if (depth > 0 && this.maps && kind < 27) this.map();
      else this.simple();
    }
  }

  /** A static function of r1: straight code on scalars and its own stack. */
  sub(): void {
    const { r } = this;
    this.emit(b.mov64Reg(0, 1), b.mov64Imm(2, r.s32()), b.stxMem("dw", 10, 1, -8), b.ldxMem("w", 3, 10, -8));
    for (let i = 0, n = 1 + r.below(5); i < n; i++) {
      const op = r.pick(ALU);
      this.emit((r.chance(50) ? b.alu64Reg : b.alu32Reg)(op, r.pick([0, 2, 3]), r.pick([0, 2, 3])));
    }
    this.emit(b.exit());
  }
  /** A callback of bpf_loop: changes what r2 points to, goes on or stops. */
  callback(): void {
    this.emit(
      b.ldxMem("dw", 3, 2, 0),
      b.alu64Reg(this.r.pick(["add", "xor", "mul", "sub"]), 3, 1),
      b.stxMem("dw", 2, 3, 0),
    );
    this.emit(b.mov64Imm(0, 0), b.jmpImm("jne", 1, 2 + this.r.below(4), 1), b.mov64Imm(0, 1), b.exit());
  }
}

/** A random syscall program of about `size` instructions; its maps are `VALUES` and `TABLE`. */
export function randomProgram(
  r: Random,
  size: number,
  options: { readonly maps?: boolean; readonly callbacks?: boolean } = {},
): ReturnType<typeof progSpec> {
  const m = new Maker(r, options.maps ?? true, options.callbacks ?? true);
  m.emit(b.mov64Reg(6, 1));
  m.refs.push({ kind: "map-value", insn: m.insns.length, map: VALUES.name, offset: 0 });
  m.emit(...b.ldMapValue(7, 0, 0));
  for (const [i, reg] of SCALARS.entries()) m.emit(b.ldxMem("dw", reg, 6, i * 8));
  for (let off = -STACK; off < 0; off += 8) m.emit(b.stxMem("dw", 10, m.scalar(), off));
  m.block(size, 3);
  // Everything a register or the stack holds shows up in the map value, too.
  for (const reg of SCALARS.slice(1)) m.emit(b.atomic("xor", "dw", 7, reg, (reg * 8) % VALUE_SIZE));
  for (let off = -STACK; off < 0; off += 8)
    m.emit(b.ldxMem("dw", 1, 10, off), b.atomic("add", "dw", 7, 1, ((-off * 3) % VALUE_SIZE) & ~7));
  m.emit(b.exit());
  const funcs = [{ insn: 0, typeId: 0, name: "vmtest" }];
  for (const { at, kind } of m.subs) {
    const target = m.insns.length;
    funcs.push({ insn: target, typeId: 0, name: kind === "callback" ? "callback" : "sub" });
    if (kind === "callback") {
      m.callback();
      m.insns[at] = { ...m.insns[at]!, imm: target - at - 1 };
      m.refs.push({ kind: "func", insn: at, target });
    } else {
      m.sub();
      m.insns[at] = { ...m.insns[at]!, imm: target - at - 1 };
      m.refs.push({ kind: "subprog", insn: at, target });
    }
  }
  return progSpec("random", BPF_PROG_TYPE.SYSCALL, m.insns, { refs: m.refs, funcs });
}
