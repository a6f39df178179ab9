/**
 * Instruction selection: legal IR (see `lower.ts`) to `LInst`s over virtual registers.
 *
 * A first walk, backwards, counts which values are needed in a register once constants
 * went into immediates, addresses into offsets and comparisons into jumps; what nobody needs is never selected.
 */
import {
  BPF_ALU,
  BPF_ALU64,
  BPF_AND,
  BPF_ARSH,
  BPF_ATOMIC,
  BPF_CMPXCHG,
  BPF_DIV,
  BPF_END,
  BPF_FETCH,
  BPF_JMP,
  BPF_JMP32,
  BPF_JNE,
  BPF_LDX,
  BPF_LSH,
  BPF_MEM,
  BPF_MEMSX,
  BPF_MOD,
  BPF_MUL,
  BPF_NEG,
  BPF_OR,
  BPF_ADD,
  BPF_RSH,
  BPF_ST,
  BPF_STX,
  BPF_SUB,
  BPF_TO_BE,
  BPF_TO_LE,
  BPF_X,
  BPF_XCHG,
  BPF_XOR,
  BPF_B,
  BPF_H,
  BPF_W,
  BPF_DW,
} from "../../asm/opcode.ts";
import type { Cfg } from "../ir/cfg.ts";
import { computeCfg, dominates, findLoops, loopDepths } from "../ir/cfg.ts";
import type { Block, Cond, Edge, Func, Inst, Op, Size, Width } from "../ir/ir.ts";
import { isLeaf, negateCond, swapCond } from "../ir/ir.ts";
import type { LFunc, LSlot } from "./lir.ts";
import { CALL, EXIT, FP, LBlock, LInst, MOV32, MOV64, MOV64_IMM, START } from "./lir.ts";
import { flipJump, isSigned, JMP_CODE, jumpCanFlip } from "./jumps.ts";
import type { LoopLeaves } from "./leaves.ts";
import { planLoops, slotOffset, wideKey } from "./leaves.ts";
import { fitsImm, Materializer, MIN_S32 } from "./materialize.ts";
import { sequence } from "./parallel-copy.ts";
import { accessBase, accessOffset, countRegisterUses, isSelected } from "./register-uses.ts";
import type { Target } from "./target.ts";

const ALU_CODE: Readonly<Partial<Record<Op, number>>> = {
  add: BPF_ADD,
  sub: BPF_SUB,
  mul: BPF_MUL,
  udiv: BPF_DIV,
  umod: BPF_MOD,
  sdiv: BPF_DIV,
  smod: BPF_MOD,
  and: BPF_AND,
  or: BPF_OR,
  xor: BPF_XOR,
  shl: BPF_LSH,
  lshr: BPF_RSH,
  ashr: BPF_ARSH,
};
const SIZE_BITS: Readonly<Record<Size, number>> = { 1: BPF_B, 2: BPF_H, 4: BPF_W, 8: BPF_DW };
const ATOMIC_IMM = {
  add: BPF_ADD,
  or: BPF_OR,
  and: BPF_AND,
  xor: BPF_XOR,
  xchg: BPF_XCHG,
  cmpxchg: BPF_CMPXCHG,
} as const;

function commutes(op: Op): boolean {
  return op === "add" || op === "mul" || op === "and" || op === "or" || op === "xor";
}
/** Selects instructions for `f`, whose IR must be legal for `target`. */
export function selectFunc(f: Func, target: Target): LFunc {
  return new Selector(f, target).run();
}

class Selector extends Materializer {
  readonly #f: Func;
  readonly #target: Target;
  readonly #cfg: Cfg;
  /** Register uses by instruction id. */
  readonly #uses: Int32Array;
  readonly #regs: Int32Array;
  #nextBlock: number;
  readonly #blocks: LBlock[] = [];
  readonly #heads: LBlock[];
  readonly #slots: LSlot[];
  /** The block parameters that edges pass a value to. */
  readonly #passed: ReadonlyMap<Inst, Inst[]>;
  /** Two-slot constants and addresses already in a register of the current block. */
  #wide = new Map<string, number>();
  readonly #loopLeaves: LoopLeaves;

  constructor(f: Func, target: Target) {
    super(target.isa >= 3);
    this.#f = f;
    this.#target = target;
    this.#cfg = computeCfg(f);
    const { uses, passed } = countRegisterUses(f, this.#cfg.order);
    this.#uses = uses;
    this.#passed = passed;
    this.#regs = new Int32Array(f.instCount);
    this.#nextBlock = this.#cfg.order.length;
    const loops = findLoops(this.#cfg);
    const depth = loopDepths(this.#cfg, loops);
    this.#loopLeaves = planLoops(this.#cfg, loops);
    this.#heads = this.#cfg.order.map((b, k) => {
      const l = new LBlock(k);
      l.depth = depth[k]!;
      l.cold = b.cold;
      return l;
    });
    this.#slots = f.slots.map((s) => ({ size: s.size, align: s.align }));
  }

  run(): LFunc {
    const { order } = this.#cfg;
    for (let k = 0; k < order.length; k++) this.#block(order[k]!, this.#heads[k]!);
    return { name: this.#f.name, blocks: this.#blocks, slots: this.#slots, regCount: this.nextReg, span: this.#f.span };
  }

  // Emission

  #def(i: Inst): number {
    let r = this.#regs[i.id]!;
    if (r === 0) {
      r = this.nextReg++;
      this.#regs[i.id] = r;
    }
    return r;
  }
  /** The register that holds `v`; leaves are made here. */
  #use(v: Inst): number {
    if (!this.#remade(v)) return this.#def(v);
    const key = wideKey(v);
    if (key !== undefined) {
      const known = this.#wide.get(key);
      if (known !== undefined) return known;
    }
    const r = this.temp();
    this.leaf(v, r);
    if (key !== undefined) this.#wide.set(key, r);
    return r;
  }
  /** Whether `v` is made anew at each use. */
  #remade(v: Inst): boolean {
    return isLeaf(v.op) || slotOffset(v) !== undefined;
  }
  /** `dst = v`. */
  #copy(dst: number, v: Inst): void {
    if (this.#remade(v)) this.leaf(v, dst);
    else this.emit(MOV64, dst, this.#def(v));
  }
  #newBlock(like: LBlock): LBlock {
    const b = new LBlock(this.#nextBlock++);
    b.depth = like.depth;
    b.cold = like.cold;
    return b;
  }
  #enter(b: LBlock): void {
    this.cur = b;
    this.#blocks.push(b);
  }

  #block(b: Block, l: LBlock): void {
    this.#enter(l);
    this.#wide = new Map(this.#loopLeaves.hoisted[l.id]);
    if (this.#blocks.length === 1) {
      for (const p of this.#f.params) if (this.#uses[p.id]! > 0) this.emit(MOV64, this.#def(p), 1 + p.index);
    }
    for (const i of b.insts) {
      if (i.op === "start") {
        this.emit(START, 0, 0).slot = i.slot!.id;
        continue;
      }
      if (!isSelected(i, this.#uses)) continue;
      this.span = i.span ?? this.span;
      this.#inst(i);
    }
    this.#term(b.term!, l);
  }

  #inst(i: Inst): void {
    switch (i.op) {
      case "neg": {
        const d = this.#def(i);
        this.#copy(d, i.args[0]!);
        this.emit((i.width === 32 ? BPF_ALU : BPF_ALU64) | BPF_NEG, d, 0);
        break;
      }
      case "bswap":
      case "tobe":
      case "tole": {
        const d = this.#def(i);
        this.#copy(d, i.args[0]!);
        if (i.op === "bswap" && this.#target.isa >= 4) this.emit(BPF_ALU64 | BPF_END, d, 0, 0, i.bits);
        else {
          const toBe = i.op === "tobe" || (i.op === "bswap" && this.#target.endian === "little");
          this.emit(BPF_ALU | BPF_END | (toBe ? BPF_TO_BE : BPF_TO_LE), d, 0, 0, i.bits);
        }
        break;
      }
      case "zext": {
        const d = this.#def(i);
        if (i.bits === 32) this.#zext32(d, i.args[0]!);
        else {
          this.#copy(d, i.args[0]!);
          this.emit(BPF_ALU64 | BPF_AND, d, 0, 0, i.bits === 8 ? 0xff : 0xffff);
        }
        break;
      }
      case "sext": {
        const d = this.#def(i);
        if (this.#target.isa >= 4) this.emit(MOV64, d, this.#use(i.args[0]!), i.bits);
        else {
          this.#copy(d, i.args[0]!);
          this.emit(BPF_ALU64 | BPF_LSH, d, 0, 0, 64 - i.bits);
          this.emit(BPF_ALU64 | BPF_ARSH, d, 0, 0, 64 - i.bits);
        }
        break;
      }
      case "cmp":
        this.#select(i, i, undefined, undefined);
        break;
      case "select":
        this.#select(i, i.args[0]!, i.args[1]!, i.args[2]!);
        break;
      case "opaque":
        this.#copy(this.#def(i), i.args[0]!);
        break;
      case "load":
        this.#load(i);
        break;
      case "store":
        this.#store(i);
        break;
      case "atomic":
        this.#atomic(i);
        break;
      case "call":
        this.#call(i);
        break;
      default:
        this.#bin(i);
    }
  }

  #bin(i: Inst): void {
    const d = this.#def(i);
    let a = i.args[0]!;
    let b = i.args[1]!;
    const cls = i.width === 32 ? BPF_ALU : BPF_ALU64;
    if (commutes(i.op) && this.#betterFirst(i, b) > this.#betterFirst(i, a)) [a, b] = [b, a];
    const code = ALU_CODE[i.op]!;
    const signedDiv = i.op === "sdiv" || i.op === "smod" ? 1 : 0;
    if (b.op === "core" && i.op === "add" && fitsImm(b.value) && b.core!.kind !== 11) {
      this.#copy(d, a);
      this.emit(cls | code, d, 0, 0, Number(b.value)).core = b.core;
      return;
    }
    if (b.op === "const") {
      let v = i.width === 32 ? BigInt.asIntN(32, b.value) : b.value;
      let op = code;
      if (i.op === "sub" && v !== MIN_S32) {
        v = -v;
        op = BPF_ADD;
      } else if (i.op === "shl" || i.op === "lshr" || i.op === "ashr") v &= BigInt(i.width - 1);
      if (v === 0n && (code === BPF_DIV || code === BPF_MOD)) {
        // The verifier refuses a constant zero divisor.
        if (code === BPF_DIV) this.emit(MOV64_IMM, d, 0);
        else if (i.width === 32) this.#zext32(d, a);
        else this.#copy(d, a);
        return;
      }
      if (fitsImm(v)) {
        this.#copy(d, a);
        this.emit(cls | op, d, 0, signedDiv, Number(v));
        return;
      }
    }
    const r = this.#use(b);
    this.#copy(d, a);
    this.emit(cls | code | BPF_X, d, r, signedDiv);
  }

  /** How well `v` serves as the operand that the result overwrites: one that ends here, best a loop's running value. */
  #betterFirst(i: Inst, v: Inst): number {
    if (v.op === "const") return -2;
    if (this.#remade(v)) return -1;
    // Values that end up in the same block parameter can share its register all along.
    const to = this.#passed.get(i);
    if (to !== undefined && (to.includes(v) || this.#passed.get(v)?.some((p) => to.includes(p)) === true)) return 3;
    return this.#uses[v.id] === 1 ? 2 : 0;
  }

  #address(i: Inst): { base: number; off: number; slot: number } {
    const p = accessBase(i);
    const off = accessOffset(i, p);
    if (p.op === "slot") return { base: FP, off, slot: p.slot!.id };
    return { base: this.#use(p), off, slot: -1 };
  }
  #load(i: Inst): void {
    const { base, off, slot } = this.#address(i);
    const d = this.#def(i);
    const signExtend = i.signed && i.size < 8;
    const native = signExtend && this.#target.isa >= 4;
    const l = this.emit(BPF_LDX | (native ? BPF_MEMSX : BPF_MEM) | SIZE_BITS[i.size], d, base, off);
    l.slot = slot;
    l.core = i.core;
    l.space = i.args[0]!.space;
    if (signExtend && !native) {
      this.emit(BPF_ALU64 | BPF_LSH, d, 0, 0, 64 - i.size * 8);
      this.emit(BPF_ALU64 | BPF_ARSH, d, 0, 0, 64 - i.size * 8);
    }
  }
  #store(i: Inst): void {
    const v = i.args[1]!;
    if (v.op === "undef" && !i.volatile) return;
    const bits = i.size * 8;
    const { base, off, slot } = this.#address(i);
    let l: LInst;
    // Kernels before 6.4 refuse an immediate store to ctx.
    const imm = v.op === "const" && i.args[0]!.space !== "ctx" ? BigInt.asIntN(Math.max(bits, 32), v.value) : undefined;
    if (imm !== undefined && fitsImm(imm)) {
      l = this.emit(
        BPF_ST | BPF_MEM | SIZE_BITS[i.size],
        base,
        0,
        off,
        Number(bits < 32 ? BigInt.asIntN(bits, imm) : imm),
      );
    } else l = this.emit(BPF_STX | BPF_MEM | SIZE_BITS[i.size], base, this.#use(v), off);
    l.slot = slot;
    l.core = i.core;
    l.space = i.args[0]!.space;
  }
  #atomic(i: Inst): void {
    const opcode = BPF_STX | BPF_ATOMIC | SIZE_BITS[i.size];
    const { base, off, slot } = this.#address(i);
    if (i.aop === "cmpxchg") {
      const v = this.#use(i.args[2]!);
      this.#copy(0, i.args[1]!);
      const l = this.emit(opcode, base, v, off, BPF_CMPXCHG);
      l.slot = slot;
      l.space = i.args[0]!.space;
      if (this.#uses[i.id]! > 0) this.emit(MOV64, this.#def(i), 0);
      return;
    }
    const fetch = i.aop === "xchg" || (i.fetch && this.#uses[i.id]! > 0);
    let v: number;
    if (fetch) {
      v = this.#def(i);
      this.#copy(v, i.args[1]!);
    } else v = this.#use(i.args[1]!);
    const l = this.emit(opcode, base, v, off, ATOMIC_IMM[i.aop] | (fetch ? BPF_FETCH : 0));
    l.slot = slot;
    l.space = i.args[0]!.space;
  }
  #call(i: Inst): void {
    const { callee } = i.call!;
    const n = i.args.length;
    // Registers first, constants last: they can be made while nothing else needs the register.
    for (let k = 0; k < n; k++) if (!this.#remade(i.args[k]!)) this.#copy(1 + k, i.args[k]!);
    for (let k = 0; k < n; k++) if (this.#remade(i.args[k]!)) this.#copy(1 + k, i.args[k]!);
    const c = this.emit(CALL, 0, 0);
    c.nargs = n;
    if (callee.kind === "helper") c.imm = callee.id;
    else if (callee.kind === "kfunc") c.ref = { kind: "kfunc", name: callee.name, weak: callee.weak };
    else c.ref = { kind: "subprog", name: callee.name };
    if (this.#uses[i.id]! > 0) this.emit(MOV64, this.#def(i), 0);
  }

  /** Whether `v` can be the immediate of a comparison. */
  #immFor(v: Inst, cond: Cond, width: Width): boolean {
    if (v.op !== "const") return false;
    if (width === 64) return fitsImm(v.value);
    if (this.#target.isa >= 3) return true;
    return !isSigned(cond) && fitsImm(BigInt.asUintN(32, v.value));
  }
  /** A conditional jump on `a cond b`; `inverted` says that it jumps when the condition does not hold. */
  #jump(cond: Cond, a: Inst, b: Inst, width: Width): { jump: LInst; inverted: boolean } {
    if (isLeaf(a.op) && !isLeaf(b.op)) {
      [a, b] = [b, a];
      cond = swapCond(cond);
    }
    let inverted = false;
    if (
      cond === "nset" ||
      (this.#target.isa < 2 && (cond === "ult" || cond === "ule" || cond === "slt" || cond === "sle"))
    ) {
      cond = negateCond(cond);
      inverted = true;
    }
    const code = JMP_CODE[cond as Exclude<Cond, "nset">];
    const wide = width === 64 || this.#target.isa < 3;
    const useImm = this.#immFor(b, cond, width);
    let ra: number;
    let rb = 0;
    let imm = 0;
    if (width === 32 && wide) {
      // No 32-bit jumps: compare the low halves moved to where a 64-bit one sees only them.
      ra = this.#low(a, useImm);
      if (useImm) imm = Number(BigInt.asUintN(32, (b as Inst).value));
      else rb = this.#low(b, false);
    } else {
      ra = this.#use(a);
      if (useImm) imm = Number(width === 32 ? BigInt.asIntN(32, b.value) : b.value);
      else rb = this.#use(b);
    }
    const jump = new LInst((wide ? BPF_JMP : BPF_JMP32) | code | (useImm ? 0 : BPF_X), ra, rb, 0, imm, this.span);
    return { jump, inverted };
  }
  /** The low half of `v`, in the high half where nothing needs it to be in its place. */
  #low(v: Inst, inPlace: boolean): number {
    const r = this.temp();
    if (inPlace) this.#zext32(r, v);
    else {
      this.#copy(r, v);
      this.emit(BPF_ALU64 | BPF_LSH, r, 0, 0, 32);
    }
    return r;
  }
  #zext32(d: number, v: Inst): void {
    if (this.#target.isa >= 3) {
      this.emit(MOV32, d, this.#use(v));
      return;
    }
    this.#copy(d, v);
    this.emit(BPF_ALU64 | BPF_LSH, d, 0, 0, 32);
    this.emit(BPF_ALU64 | BPF_RSH, d, 0, 0, 32);
  }

  /** `i = c ? a : b`, or 1 and 0 without them: one value is set first, a jump skips the other. */
  #select(i: Inst, c: Inst, a: Inst | undefined, b: Inst | undefined): void {
    const d = this.#def(i);
    let jump: LInst;
    let inverted: boolean;
    if (c.op === "cmp") ({ jump, inverted } = this.#jump(c.cond, c.args[0]!, c.args[1]!, c.width));
    else {
      jump = new LInst(BPF_JMP | BPF_JNE, this.#use(c), 0, 0, 0, this.span);
      inverted = false;
    }
    const first = (v: Inst | undefined, alternative: bigint): void => {
      if (v === undefined) this.constant(d, alternative);
      else this.#copy(d, v);
    };
    const dies = (v: Inst | undefined): boolean => v !== undefined && !isLeaf(v.op) && this.#uses[v.id] === 1;
    // The value that is set before the jump must be the one kept when it is taken.
    if (
      !dies(a) &&
      (dies(b) || (b !== undefined && !isLeaf(b.op) && (a === undefined || isLeaf(a.op)))) &&
      jumpCanFlip(jump, this.#target.isa)
    ) {
      flipJump(jump);
      inverted = !inverted;
    }
    const other = this.#newBlock(this.cur);
    const join = this.#newBlock(this.cur);
    join.cold = this.cur.cold;
    if (inverted) first(b, 0n);
    else first(a, 1n);
    this.cur.term = jump;
    this.cur.succs = [join, other];
    this.#enter(other);
    if (inverted) first(a, 1n);
    else first(b, 0n);
    other.succs = [join];
    this.#enter(join);
  }

  #term(t: Inst, l: LBlock): void {
    this.span = t.span ?? this.span;
    switch (t.op) {
      case "ret":
        if (t.args.length > 0) this.#copy(0, t.args[0]!);
        this.#exit(t.args.length);
        break;
      case "unreachable":
        this.emit(MOV64_IMM, 0, 0);
        this.#exit(1);
        break;
      case "jmp": {
        const e = t.edges[0]!;
        const plan = this.#loopLeaves.before.get(l.id);
        if (plan !== undefined) for (const [key, leaf] of plan.leaves) plan.made.set(key, this.#use(leaf));
        this.#copies(e);
        this.cur.succs = [this.#head(e.to)];
        break;
      }
      case "br": {
        const [then, otherwise] = t.edges as [Edge, Edge];
        const hoisted = [then, otherwise].map(
          (e, k) => e.args.length > 0 && this.#hoistable(t, e, k === 0 ? otherwise : then, l),
        );
        // Both hoisted: the second could overwrite what the first reads or writes.
        if (hoisted[0] === true && hoisted[1] === true) hoisted[0] = false;
        const { jump, inverted } = this.#jump(t.cond, t.args[0]!, t.args[1]!, t.width);
        if (hoisted[0] === true) this.#copies(then);
        if (hoisted[1] === true) this.#copies(otherwise);
        const from = this.cur;
        const targets = [then, otherwise].map((e, k) => {
          const head = this.#head(e.to);
          if (e.args.length === 0 || hoisted[k] === true) return head;
          const split = this.#newBlock(head.depth < from.depth ? head : from);
          split.cold ||= head.cold;
          this.#enter(split);
          this.#wide.clear();
          this.#copies(e);
          split.succs = [head];
          return split;
        });
        from.term = jump;
        from.succs = inverted ? targets.reverse() : targets;
        break;
      }
      default:
        throw new Error(`${t.op} is not legal here`);
    }
  }
  #exit(nargs: number): void {
    const e = new LInst(EXIT, 0, 0, 0, 0, this.span);
    e.nargs = nargs;
    this.cur.term = e;
    this.cur.succs = [];
  }
  #head(b: Block): LBlock {
    return this.#heads[this.#cfg.index[b.id]!]!;
  }

  /**
   * Whether the copies of edge `e` may run before the jump, on the way to `other` too: its parameters must be dead
   * there. A parameter is only live where its block dominates.
   */
  #hoistable(t: Inst, e: Edge, other: Edge, l: LBlock): boolean {
    const target = this.#cfg.index[e.to.id]!;
    if (e.to === other.to) return false;
    if (dominates(this.#cfg, target, this.#cfg.index[other.to.id]!)) return false;
    // In a loop's latch the parameter may still be read by the jump or by the other edge.
    if (dominates(this.#cfg, target, l.id)) return false;
    return !t.args.some((a) => e.to.params.includes(a)) && !other.args.some((a) => e.to.params.includes(a));
  }

  /** The arguments of `e` into its block's parameters, as if all at once. */
  #copies(e: Edge): void {
    const { params } = e.to;
    const moves: [number, number][] = [];
    for (let k = 0; k < params.length; k++) {
      const a = e.args[k]!;
      if (this.#dead(params[k]!) || this.#remade(a)) continue;
      const d = this.#def(params[k]!);
      const s = this.#def(a);
      if (d !== s) moves.push([d, s]);
    }
    for (const [d, from] of sequence(moves, () => this.temp())) this.emit(MOV64, d, from);
    for (let k = 0; k < params.length; k++) {
      const a = e.args[k]!;
      if (!this.#dead(params[k]!) && this.#remade(a)) this.leaf(a, this.#def(params[k]!));
    }
  }
  #dead(param: Inst): boolean {
    return this.#uses[param.id] === 0;
  }
}
