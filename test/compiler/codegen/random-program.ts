/**
 * Random IR programs that the verifier accepts: a BPF_PROG_TYPE_SYSCALL program whose ctx
 * is 128 bytes of input and 128 bytes of output. The choices come from a list of numbers, so that the
 * same list gives the same program and fast-check can shrink it.
 */
import type { BinOp, Cond, Inst, Module, Size } from "../../../src/compiler/ir/index.ts";
import { BIN_OPS, CONDS, FuncBuilder } from "../../../src/compiler/ir/index.ts";

export const CTX_SIZE = 256;
const SIZES: readonly Size[] = [1, 2, 4, 8];
const CONSTANTS = [
  0n,
  1n,
  2n,
  7n,
  8n,
  63n,
  0xffn,
  0x100n,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  -1n,
  -2n,
  -8n,
  -0x8000_0000n,
  -0x8000_0001n,
  -0x8000_0000_0000_0000n,
  0x0102_0304_0506_0708n,
];

export function randomProgram(choices: readonly number[]): Module {
  return new Generator(choices).module();
}

class Generator {
  readonly #choices: readonly number[];
  #at = 0;
  #b!: FuncBuilder;
  #values: Inst[] = [];
  #variables: Inst[] = [];
  #arrays: { slot: Inst; size: number }[] = [];
  #ctx: Inst | undefined;
  #subprogs: { name: string; params: number }[] = [];
  #depth = 0;
  #loops = 0;

  constructor(choices: readonly number[]) {
    this.#choices = choices;
  }
  get #left(): boolean {
    return this.#at < this.#choices.length;
  }
  #pick(n: number): number {
    return (this.#choices[this.#at++] ?? 0) % n;
  }
  #one<T>(list: readonly T[]): T {
    return list[this.#pick(list.length)]!;
  }

  module(): Module {
    const funcs = [];
    for (let k = this.#pick(3); k > 0; k--) {
      const params = 1 + this.#pick(5);
      const name = `sub${k}`;
      const b = (this.#b = new FuncBuilder(name, "subprog"));
      if (this.#pick(2) === 0) b.func.inline = "never";
      this.#values = Array.from({ length: params }, () => b.param("int"));
      this.#variables = [];
      this.#arrays = [];
      this.#ctx = undefined;
      this.#variable();
      this.#statements(1 + this.#pick(6));
      b.ret(this.#value());
      funcs.push(b.finish());
      this.#subprogs.push({ name, params });
    }
    const b = (this.#b = new FuncBuilder("main", "entry"));
    const ctx = (this.#ctx = b.param("ptr", "ctx"));
    this.#values = [];
    this.#variables = [];
    this.#arrays = [];
    for (let k = 0; k < 3; k++) this.#values.push(this.#load(ctx, 128));
    for (let k = 1 + this.#pick(10); k > 0; k--) this.#variable();
    for (let k = this.#pick(3); k > 0; k--) this.#array();
    while (this.#left) this.#statements(4);
    let at = 128;
    for (const v of this.#variables) {
      b.store(ctx, b.load(v, { size: 8 }), { size: 8, off: at });
      at += 8;
    }
    for (const a of this.#arrays) {
      for (let k = 0; k + 8 <= a.size && at < CTX_SIZE; k += 8, at += 8)
        b.store(ctx, b.load(a.slot, { size: 8, off: k }), { size: 8, off: at });
    }
    for (const v of this.#values.slice(-12)) {
      if (at >= CTX_SIZE) break;
      b.store(ctx, v, { size: 8, off: at });
      at += 8;
    }
    b.ret(this.#value());
    return { funcs: [b.finish(), ...funcs] };
  }

  #variable(): void {
    const s = this.#b.slot(8, 8);
    this.#b.store(s, this.#value(), { size: 8 });
    this.#variables.push(s);
  }
  #array(): void {
    const size = 8 * (1 + this.#pick(4));
    const slot = this.#b.slot(size, 8);
    this.#b.memset(slot, this.#one([0, 0, 0xa5]), size, 8);
    this.#arrays.push({ slot, size });
  }
  #load(p: Inst, bytes: number): Inst {
    const size = this.#one(SIZES);
    return this.#b.load(p, { size, off: size * this.#pick(bytes / size), signed: this.#pick(2) === 1 });
  }
  #value(): Inst {
    if (this.#values.length === 0 || this.#pick(5) === 0) return this.#b.int(this.#one(CONSTANTS));
    return this.#one(this.#values.slice(-24));
  }
  #width(): 32 | 64 {
    return this.#pick(3) === 0 ? 32 : 64;
  }

  #statements(n: number): void {
    for (let k = 0; k < n; k++) this.#statement();
  }
  /** Statements whose values are not seen outside. */
  #scope(n: number): void {
    const { length } = this.#values;
    const arrays = this.#arrays.length;
    this.#depth++;
    this.#statements(n);
    this.#depth--;
    this.#values.length = length;
    this.#arrays.length = arrays;
  }

  #statement(): void {
    const b = this.#b;
    switch (this.#pick(24)) {
      case 0:
      case 1:
        if (this.#variables.length > 0) b.store(this.#one(this.#variables), this.#value(), { size: 8 });
        return;
      case 2:
      case 3:
        if (this.#variables.length > 0) this.#values.push(b.load(this.#one(this.#variables), { size: 8 }));
        return;
      case 4:
        if (this.#ctx !== undefined) this.#values.push(this.#load(this.#ctx, 128));
        return;
      case 5:
        if (this.#arrays.length > 0) {
          const a = this.#one(this.#arrays);
          const size = this.#one(SIZES);
          b.store(a.slot, this.#value(), { size, off: size * this.#pick(a.size / size) });
        }
        return;
      case 6:
        if (this.#arrays.length > 0) {
          const a = this.#one(this.#arrays);
          this.#values.push(this.#load(a.slot, a.size));
        }
        return;
      case 7:
        if (this.#arrays.length > 0) {
          // A bounded index.
          const a = this.#one(this.#arrays);
          const index = b.and(this.#value(), 7);
          this.#values.push(b.load(b.add(a.slot, index), { size: 1 }));
        }
        return;
      case 8:
        this.#values.push(b.cmp(this.#one(CONDS), this.#value(), this.#value(), this.#width()));
        return;
      case 9:
        this.#values.push(b.select(this.#value(), this.#value(), this.#value()));
        return;
      case 10:
        this.#values.push(
          this.#pick(2) === 0
            ? b.zext(this.#value(), this.#one([8, 16, 32] as const))
            : b.sext(this.#value(), this.#one([8, 16, 32] as const)),
        );
        return;
      case 11: {
        const bits = this.#one([16, 32, 64] as const);
        const v = this.#value();
        this.#values.push(
          this.#pick(3) === 0 ? b.tobe(v, bits) : this.#pick(2) === 0 ? b.tole(v, bits) : b.bswap(v, bits),
        );
        return;
      }
      case 12:
        this.#values.push(this.#pick(2) === 0 ? b.neg(this.#value(), this.#width()) : b.not(this.#value()));
        return;
      case 13:
      case 14:
        if (this.#depth < 3) this.#if();
        return;
      case 15:
        if (this.#depth < 2 && this.#loops < 2) this.#loop();
        return;
      case 16:
        // A call clobbers r0-r5.
        b.helper(8, [], { clobbers: "none" });
        return;
      case 17:
        if (this.#subprogs.length > 0 && this.#ctx !== undefined) {
          const s = this.#one(this.#subprogs);
          this.#values.push(
            b.subprog(
              s.name,
              Array.from({ length: s.params }, () => this.#value()),
              { clobbers: "none" },
            ),
          );
        }
        return;
      case 18:
        if (this.#arrays.length > 0) {
          const a = this.#one(this.#arrays);
          const size = this.#one([4, 8] as const);
          const off = size * this.#pick(a.size / size);
          const aop = this.#one(["add", "or", "and", "xor", "xchg", "cmpxchg"] as const);
          if (aop === "cmpxchg") this.#values.push(b.cmpxchg(a.slot, this.#value(), this.#value(), { size, off }));
          else {
            const fetch = this.#pick(2) === 0;
            const v = b.atomic(aop, a.slot, this.#value(), { size, off, fetch });
            if (fetch || aop === "xchg") this.#values.push(v);
          }
        }
        return;
      case 19:
        if (this.#depth < 2) this.#switch();
        return;
      case 20:
        if (this.#arrays.length > 0) {
          const d = this.#one(this.#arrays);
          const s = this.#one(this.#arrays);
          if (d !== s) b.memcpy(d.slot, s.slot, 8, 8);
        } else if (this.#ctx !== undefined) this.#array();
        return;
      default: {
        const op = this.#one(BIN_OPS) as BinOp;
        this.#values.push(b.bin(op, this.#value(), this.#value(), this.#width()));
      }
    }
  }

  #if(): void {
    const b = this.#b;
    const [then, otherwise, join] = [b.block(), b.block(), b.block()];
    b.br(this.#one(CONDS) as Cond, this.#value(), this.#value(), then, otherwise, this.#width());
    b.at(then);
    this.#scope(1 + this.#pick(4));
    if (this.#pick(8) === 0) b.ret(this.#value());
    else b.jmp(join);
    b.at(otherwise);
    if (this.#pick(2) === 0) this.#scope(1 + this.#pick(3));
    b.jmp(join);
    b.at(join);
  }
  #switch(): void {
    const b = this.#b;
    const join = b.block();
    const cases = Array.from({ length: 1 + this.#pick(9) }, () => ({ value: this.#one(CONSTANTS), to: b.block() }));
    const otherwise = b.block();
    b.switch(this.#value(), cases, otherwise);
    for (const c of [...cases.map((x) => x.to), otherwise]) {
      b.at(c);
      this.#scope(1 + this.#pick(2));
      b.jmp(join);
    }
    b.at(join);
  }
  #loop(): void {
    const b = this.#b;
    const [header, body, exit] = [b.block(), b.block(), b.block()];
    const i = b.slot(8, 8);
    const n = 1 + this.#pick(6);
    b.store(i, 0, { size: 8 });
    b.jmp(header);
    b.at(header);
    this.#loops++;
    const count = b.load(i, { size: 8 });
    b.br("ult", count, n, body, exit);
    b.at(body);
    const { length } = this.#values;
    this.#values.push(count);
    this.#scope(1 + this.#pick(4));
    this.#values.length = length;
    b.store(i, b.add(b.load(i, { size: 8 }), 1), { size: 8 });
    b.jmp(header);
    b.at(exit);
    this.#loops--;
  }
}
