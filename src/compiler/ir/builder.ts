/**
 * Building IR: a cursor (current block and span) with one method an operation.
 *
 * Values that a front end holds are `Inst`s. Literal operands may be given as numbers
 * or bigints. Emitting after a terminator goes into a fresh unreachable block, so a front end need
 * not look out for code after `return`.
 *
 * @example
 * const b = new FuncBuilder("count", "entry");
 * const ctx = b.param("ptr", "ctx");
 * const n = b.slot(8, 8, "n");
 * b.store(n, 1, { size: 8 });
 * b.ret(b.load(ctx, { size: 4, off: 0 }));
 * const func = b.finish();
 */
import type { Span } from "../../core/diagnostic.ts";
import type {
  ArgMem,
  AtomicOp,
  BinOp,
  Block,
  Callee,
  CallInfo,
  Cond,
  CoreAccess,
  Edge,
  Inst,
  Op,
  Size,
  Slot,
  Space,
  Type,
  Width,
} from "./ir.ts";
import { Func, negateCond } from "./ir.ts";

export type Operand = Inst | number | bigint;

export interface AccessOptions {
  readonly size: Size;
  /** `load` only: sign-extend. */
  readonly signed?: boolean;
  readonly off?: number;
  readonly volatile?: boolean;
  /** `load` only: memory that never changes. */
  readonly invariant?: boolean;
  /** Field byte-offset relocation for this very access; `off` is the local offset. */
  readonly core?: CoreAccess;
  /** `load` only: what the loaded pointer points to (makes the result a `ptr`). */
  readonly space?: Space;
}

export interface CallOptions {
  /** Result; default `int`. */
  readonly type?: Type;
  readonly space?: Space;
  readonly clobbers?: CallInfo["clobbers"];
  readonly pure?: boolean;
  readonly mem?: readonly ArgMem[];
  readonly bits?: number;
  readonly nullable?: boolean;
  readonly noreturn?: boolean;
}

export class FuncBuilder {
  readonly func: Func;
  /** Where operations go. */
  current: Block;
  /** Given to every operation from here on. */
  span: Span | undefined = undefined;

  constructor(name: string, kind: Func["kind"] = "entry", returns = true) {
    this.func = new Func(name, kind, returns);
    this.current = this.func.block("entry");
  }

  /** The function; every block without terminator ends in `unreachable`. */
  finish(): Func {
    for (const b of this.func.blocks) b.term ??= this.func.inst("unreachable", "void");
    return this.func;
  }

  // Blocks

  block(name?: string): Block {
    return this.func.block(name);
  }
  /** Continues in `b`. */
  at(b: Block): this {
    this.current = b;
    return this;
  }
  /** Whether the current block already ended: what follows is dead code. */
  get terminated(): boolean {
    return this.current.term !== undefined;
  }
  param(type: Type, space?: Space): Inst {
    return this.func.param(type, space);
  }
  blockParam(b: Block, type: Type, space?: Space): Inst {
    return this.func.blockParam(b, type, space);
  }

  // Constants and addresses

  int(value: number | bigint): Inst {
    const i = this.#emit("const", "int");
    i.value = BigInt.asIntN(64, BigInt(value));
    return i;
  }
  /** The null pointer. */
  nullPtr(): Inst {
    const i = this.#emit("const", "ptr");
    i.value = 0n;
    return i;
  }
  undef(type: Type = "int"): Inst {
    return this.#emit("undef", type);
  }
  /** A new stack object; the result is its address. `align` 1, 2, 4 or 8. */
  slot(size: number, align: number, name?: string): Inst {
    return this.slotAddr(this.func.slot(size, align, name));
  }
  slotAddr(slot: Slot): Inst {
    const i = this.#emit("slot", "ptr");
    i.slot = slot;
    i.space = "stack";
    return i;
  }
  /** Marks where a slot's variable is declared: earlier contents are dead, so that slots can share the stack. */
  start(slot: Slot): void {
    this.#emit("start", "void").slot = slot;
  }
  map(name: string): Inst {
    const i = this.#emit("map", "ptr");
    i.sym = name;
    i.space = "map";
    return i;
  }
  /** Address of a global: byte `off` of entry 0 of `map`. */
  mapValue(map: string, off: number): Inst {
    const i = this.#emit("mapval", "ptr");
    i.sym = map;
    i.off = off;
    i.space = "map-value";
    return i;
  }
  ksym(name: string, options: { weak?: boolean; typed?: boolean; space?: Space } = {}): Inst {
    const i = this.#emit("ksym", "ptr");
    i.sym = name;
    i.weak = options.weak ?? false;
    i.typed = options.typed ?? true;
    i.space = options.space ?? "btf";
    return i;
  }
  funcAddr(name: string): Inst {
    const i = this.#emit("func", "ptr");
    i.sym = name;
    i.space = "func";
    return i;
  }
  /** An integer that a CO-RE relocation sets at load (offset, size, exists, enum value, …); `local` is its value here. */
  core(access: CoreAccess, local: number | bigint): Inst {
    const i = this.#emit("core", "int");
    i.core = access;
    i.value = BigInt(local);
    return i;
  }

  // Arithmetic

  bin(op: BinOp, a: Operand, b: Operand, width: Width = 64): Inst {
    const x = this.value(a);
    const y = this.value(b);
    // Pointer - pointer is an integer; pointer ± integer stays a pointer into the same object.
    let ptr: Inst | undefined;
    if (width === 64 && op === "add") ptr = x.type === "ptr" ? x : y.type === "ptr" ? y : undefined;
    else if (width === 64 && op === "sub" && x.type === "ptr" && y.type !== "ptr") ptr = x;
    const i = this.#emit(op, ptr === undefined ? "int" : "ptr", [x, y]);
    if (ptr !== undefined) i.space = ptr.space;
    i.width = width;
    return i;
  }
  add(a: Operand, b: Operand, width?: Width): Inst {
    return this.bin("add", a, b, width);
  }
  sub(a: Operand, b: Operand, width?: Width): Inst {
    return this.bin("sub", a, b, width);
  }
  mul(a: Operand, b: Operand, width?: Width): Inst {
    return this.bin("mul", a, b, width);
  }
  and(a: Operand, b: Operand, width?: Width): Inst {
    return this.bin("and", a, b, width);
  }
  or(a: Operand, b: Operand, width?: Width): Inst {
    return this.bin("or", a, b, width);
  }
  xor(a: Operand, b: Operand, width?: Width): Inst {
    return this.bin("xor", a, b, width);
  }
  neg(a: Operand, width: Width = 64): Inst {
    const i = this.#emit("neg", "int", [this.value(a)]);
    i.width = width;
    return i;
  }
  /** Bitwise complement. */
  not(a: Operand, width?: Width): Inst {
    return this.bin("xor", a, -1, width);
  }
  bswap(a: Operand, bits: 16 | 32 | 64): Inst {
    return this.#bits("bswap", a, bits);
  }
  /** Between host and big-endian order (both ways). */
  tobe(a: Operand, bits: 16 | 32 | 64): Inst {
    return this.#bits("tobe", a, bits);
  }
  tole(a: Operand, bits: 16 | 32 | 64): Inst {
    return this.#bits("tole", a, bits);
  }
  zext(a: Operand, bits: 8 | 16 | 32): Inst {
    return this.#bits("zext", a, bits);
  }
  sext(a: Operand, bits: 8 | 16 | 32): Inst {
    return this.#bits("sext", a, bits);
  }
  /** 0 or 1. */
  cmp(cond: Cond, a: Operand, b: Operand, width: Width = 64): Inst {
    const i = this.#emit("cmp", "int", [this.value(a), this.value(b)]);
    i.cond = cond;
    i.width = width;
    return i;
  }
  /** `c != 0 ? a : b`, both computed. */
  select(c: Operand, a: Operand, b: Operand): Inst {
    const x = this.value(a);
    const y = this.value(b);
    const ptr = x.type === "ptr" ? x : y;
    const i = this.#emit("select", ptr.type, [this.value(c), x, y]);
    if (ptr.type === "ptr") i.space = x.space === y.space ? x.space : "unknown";
    return i;
  }
  opaque(a: Operand): Inst {
    const x = this.value(a);
    const i = this.#emit("opaque", x.type, [x]);
    i.space = x.space;
    return i;
  }

  // Memory

  load(p: Inst, options: AccessOptions): Inst {
    const i = this.#emit("load", options.space === undefined ? "int" : "ptr", [p]);
    i.size = options.size;
    i.signed = options.signed ?? false;
    i.off = options.off ?? 0;
    i.volatile = options.volatile ?? false;
    i.invariant = options.invariant ?? false;
    i.core = options.core;
    i.space = options.space ?? "unknown";
    return i;
  }
  store(p: Inst, v: Operand, options: AccessOptions): void {
    const i = this.#emit("store", "void", [p, this.value(v)]);
    i.size = options.size;
    i.off = options.off ?? 0;
    i.volatile = options.volatile ?? false;
    i.core = options.core;
  }
  /** Copies `bytes` (constant) bytes; `align` is what both addresses are known to be aligned to. */
  memcpy(dst: Inst, src: Inst, bytes: number, align: number): void {
    const i = this.#emit("memcpy", "void", [dst, src]);
    i.bytes = bytes;
    i.align = align;
  }
  memset(dst: Inst, byte: number, bytes: number, align: number): void {
    const i = this.#emit("memset", "void", [dst]);
    i.value = BigInt(byte & 0xff);
    i.bytes = bytes;
    i.align = align;
  }
  /** `fetch`: gives the old value (`xchg` and `cmpxchg` always do). */
  atomic(
    aop: Exclude<AtomicOp, "cmpxchg">,
    p: Inst,
    v: Operand,
    options: { size: 4 | 8; off?: number; fetch?: boolean },
  ): Inst {
    const i = this.#emit("atomic", "int", [p, this.value(v)]);
    i.aop = aop;
    i.size = options.size;
    i.off = options.off ?? 0;
    i.fetch = aop === "xchg" || (options.fetch ?? false);
    return i;
  }
  cmpxchg(p: Inst, expected: Operand, v: Operand, options: { size: 4 | 8; off?: number }): Inst {
    const i = this.#emit("atomic", "int", [p, this.value(expected), this.value(v)]);
    i.aop = "cmpxchg";
    i.size = options.size;
    i.off = options.off ?? 0;
    i.fetch = true;
    return i;
  }

  // Calls

  helper(id: number, args: readonly Operand[], options: CallOptions = {}): Inst {
    return this.call({ kind: "helper", id }, args, options);
  }
  kfunc(name: string, args: readonly Operand[], options: CallOptions & { weak?: boolean } = {}): Inst {
    return this.call({ kind: "kfunc", name, weak: options.weak ?? false }, args, options);
  }
  subprog(name: string, args: readonly Operand[], options: CallOptions = {}): Inst {
    return this.call({ kind: "subprog", name }, args, { clobbers: "all", ...options });
  }
  call(callee: Callee, args: readonly Operand[], options: CallOptions = {}): Inst {
    const type = options.type ?? (options.space === undefined ? "int" : "ptr");
    const i = this.#emit(
      "call",
      type,
      args.map((a) => this.value(a)),
    );
    i.space = options.space ?? "unknown";
    i.call = {
      callee,
      clobbers: options.clobbers ?? "mem",
      pure: options.pure ?? false,
      mem: options.mem ?? [],
      bits: options.bits ?? 64,
      nullable: options.nullable ?? false,
      noreturn: options.noreturn ?? false,
    };
    return i;
  }

  // Terminators

  jmp(to: Block, args: Operand[] = []): void {
    this.#terminate("jmp", [], [this.#edge(to, args)]);
  }
  br(cond: Cond, a: Operand, b: Operand, then: Block, otherwise: Block, width: Width = 64): void {
    const t = this.#terminate("br", [this.value(a), this.value(b)], [this.#edge(then, []), this.#edge(otherwise, [])]);
    t.cond = cond;
    t.width = width;
  }
  /** Branches on `v != 0`. */
  brIf(v: Inst, then: Block, otherwise: Block): void {
    if (v.op === "cmp") this.br(v.cond, v.args[0]!, v.args[1]!, then, otherwise, v.width);
    else this.br("ne", v, 0, then, otherwise);
  }
  /** Branches on `v == 0`. */
  brUnless(v: Inst, then: Block, otherwise: Block): void {
    if (v.op === "cmp") this.br(negateCond(v.cond), v.args[0]!, v.args[1]!, then, otherwise, v.width);
    else this.br("eq", v, 0, then, otherwise);
  }
  switch(v: Inst, cases: readonly { value: number | bigint; to: Block }[], otherwise: Block): void {
    const edges = cases.map((c) => this.#edge(c.to, []));
    edges.push(this.#edge(otherwise, []));
    const t = this.#terminate("switch", [v], edges);
    t.cases = cases.map((c) => BigInt.asIntN(64, BigInt(c.value)));
  }
  ret(v?: Operand): void {
    this.#terminate("ret", v === undefined ? [] : [this.value(v)], []);
  }
  unreachable(): void {
    this.#terminate("unreachable", [], []);
  }

  /** An operand as a value: literals become constants. */
  value(v: Operand): Inst {
    return typeof v === "object" ? v : this.int(v);
  }

  #bits(op: Op, a: Operand, bits: number): Inst {
    const i = this.#emit(op, "int", [this.value(a)]);
    i.bits = bits;
    return i;
  }
  #edge(to: Block, args: Operand[]): Edge {
    return { to, args: args.map((a) => this.value(a)) };
  }
  #emit(op: Op, type: Type, args?: Inst[]): Inst {
    if (this.current.term !== undefined) this.current = this.func.block();
    const i = this.func.inst(op, type, args, this.span);
    this.current.insts.push(i);
    return i;
  }
  #terminate(op: Op, args: Inst[], edges: Edge[]): Inst {
    if (this.current.term !== undefined) this.current = this.func.block();
    const i = this.func.inst(op, "void", args, this.span);
    i.edges = edges;
    this.current.term = i;
    return i;
  }
}
