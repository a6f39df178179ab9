/**
 * The compiler's intermediate representation: functions of basic blocks in SSA form.
 *
 * **Values.** Every value is one 64-bit register, of type `int` or `ptr`. There are no
 * narrow value types: narrow data exists in memory (`load`/`store` with a size and a
 * sign) and where the program narrows on purpose (`zext`, `sext`). Arithmetic has a
 * `width`: 64, or 32, which reads the low halves and gives the zero-extended 32-bit
 * result, exactly as BPF's w-registers do. The optimiser picks w-register forms and drops
 * extensions on its own; a front end says 64 unless the source means 32-bit wrapping.
 *
 * **Blocks** take parameters (in the place of phis); each edge to a block passes one
 * argument a parameter. The first block of a function is its entry, has no parameters
 * and is no edge's target. A block ends in exactly one terminator.
 *
 * **Leaves** (`const`, `undef`, `slot`, `map`, `mapval`, `ksym`, `func`, `core`) have no position: they
 * may be used anywhere in the function, are made anew where they are needed and never cost a register in between.
 *
 * **Memory.** `slot` is the address of a stack object of the function. A slot that is only
 * loaded and stored directly becomes an SSA value; a front end therefore gives every
 * mutable variable a slot and never makes block parameters for it.
 *
 * **The verifier.** The optimiser never speculates a load or pointer arithmetic, and the
 * register that a comparison checked is the one that later code uses. `opaque` hides a
 * value's origin where even known facts must not be used.
 */
import type { Span } from "../../core/diagnostic.ts";

export type Type = "int" | "ptr" | "void";

/** What a pointer points to, as the verifier sees it; "unknown" is always correct. */
export type Space =
  | "unknown"
  | "ctx"
  | "stack"
  | "map-value"
  | "packet"
  | "packet-end"
  | "packet-meta"
  | "btf"
  | "map"
  | "mem"
  | "func";
export const SPACES = [
  "unknown",
  "ctx",
  "stack",
  "map-value",
  "packet",
  "packet-end",
  "packet-meta",
  "btf",
  "map",
  "mem",
  "func",
] as const satisfies readonly Space[];

/** Bits an operation works on. */
export type Width = 32 | 64;
/** Bytes of a memory access. */
export type Size = 1 | 2 | 4 | 8;

/** Comparisons; `set` is `(a & b) != 0`. `u`/`s`: unsigned/signed. */
export type Cond = "eq" | "ne" | "ugt" | "uge" | "ult" | "ule" | "sgt" | "sge" | "slt" | "sle" | "set" | "nset";
export const CONDS = [
  "eq",
  "ne",
  "ugt",
  "uge",
  "ult",
  "ule",
  "sgt",
  "sge",
  "slt",
  "sle",
  "set",
  "nset",
] as const satisfies readonly Cond[];

/** Two-operand arithmetic. Division by zero gives 0, modulo by zero the dividend; shift counts are taken modulo the width. */
export type BinOp =
  | "add"
  | "sub"
  | "mul"
  | "udiv"
  | "umod"
  | "sdiv"
  | "smod"
  | "and"
  | "or"
  | "xor"
  | "shl"
  | "lshr"
  | "ashr";
export const BIN_OPS = [
  "add",
  "sub",
  "mul",
  "udiv",
  "umod",
  "sdiv",
  "smod",
  "and",
  "or",
  "xor",
  "shl",
  "lshr",
  "ashr",
] as const satisfies readonly BinOp[];

/**
 * | op | args | payload | result |
 * | --- | --- | --- | --- |
 * | `param` | | `index` | parameter of the function (`block` undefined) or of a block |
 * | `const` | | `value` | the 64-bit integer |
 * | `undef` | | | any value (becomes 0 where it must exist) |
 * | `slot` | | `slot` | address of the stack object |
 * | `map` | | `sym` | the map's handle, for helper arguments |
 * | `mapval` | | `sym`, `off` | address in the value of entry 0 (globals) |
 * | `ksym` | | `sym`, `weak`, `typed` | address of a kernel variable |
 * | `func` | | `sym` | address of a subprogram (callbacks) |
 * | `core` | | `core`, `value` | integer set by a CO-RE relocation; `value` is the local one |
 * | BinOp | a, b | `width` | type `ptr` for pointer ± integer |
 * | `neg` | a | `width` | |
 * | `bswap` | a | `bits` 16/32/64 | low `bits` bits swapped, zero-extended |
 * | `tobe`, `tole` | a | `bits` | low `bits` bits to/from that byte order, zero-extended |
 * | `zext`, `sext` | a | `bits` 8/16/32 | low `bits` bits extended to 64 |
 * | `cmp` | a, b | `cond`, `width` | 0 or 1 |
 * | `select` | c, a, b | | c != 0 ? a : b |
 * | `opaque` | a | | a; nothing is known about it |
 * | `load` | p | `size`, `signed`, `off`, `volatile`, `invariant`, `core` | `*(size *)(p + off)` |
 * | `store` | p, v | `size`, `off`, `volatile`, `core` | |
 * | `memcpy` | dst, src | `bytes`, `align` | regions do not overlap (or are equal) |
 * | `memset` | dst | `bytes`, `align`, `value` (byte) | |
 * | `start` | | `slot` | the slot's contents are undefined from here (a declaration is entered) |
 * | `atomic` | p, v or p, expected, v | `aop`, `size` 4/8, `off`, `fetch` | old value if `fetch` |
 * | `call` | ≤ 5 | `call` | the callee's r0 |
 * | `jmp` | | `edges[0]` | terminator |
 * | `br` | a, b | `cond`, `width`, `edges` then, else | terminator |
 * | `switch` | v | `cases`, `edges`: one a case, last the default | terminator; `width` |
 * | `ret` | none or v | | terminator |
 * | `unreachable` | | | terminator: the program never gets here |
 */
export type Op =
  | "param"
  | "const"
  | "undef"
  | "slot"
  | "map"
  | "mapval"
  | "ksym"
  | "func"
  | "core"
  | BinOp
  | "neg"
  | "bswap"
  | "tobe"
  | "tole"
  | "zext"
  | "sext"
  | "cmp"
  | "select"
  | "opaque"
  | "load"
  | "store"
  | "memcpy"
  | "memset"
  | "start"
  | "atomic"
  | "call"
  | "jmp"
  | "br"
  | "switch"
  | "ret"
  | "unreachable";

export type AtomicOp = "add" | "or" | "and" | "xor" | "xchg" | "cmpxchg";

/** A BTF type by whatever record the front end keeps for it; the back end only compares and prints it. */
export interface TypeRef {
  readonly name: string;
}

/** A CO-RE relocation: `kind` is `bpf_core_relo_kind` 0-12, `access` the "0:1:2" string from `type`. */
export interface CoreAccess {
  readonly type: TypeRef;
  readonly access: string;
  readonly kind: number;
}

/** What a call does to the memory behind one of its pointer arguments. */
export interface ArgMem {
  /** Index into the call's arguments. */
  readonly arg: number;
  /** `out`: all `size` bytes are always written and none is read; memory that a failing call leaves alone is `inout`. */
  readonly mode: "in" | "out" | "inout";
  /** Bytes from the pointer on; undefined when not constant. */
  readonly size: number | undefined;
}

export type Callee =
  | { readonly kind: "helper"; readonly id: number }
  /** `type`: the FUNC for the call's relocation. A 32-bit result has undefined high bits: follow with `sext`/`zext`. */
  | { readonly kind: "kfunc"; readonly name: string; readonly weak: boolean }
  | { readonly kind: "subprog"; readonly name: string };

export interface CallInfo {
  readonly callee: Callee;
  /**
   * Memory the call may write besides what `mem` lists: `none` at all; `mem`: anything but ctx fields, packet
   * pointers and slots it was not given; `all`: ctx fields and packet pointers too.
   */
  readonly clobbers: "none" | "mem" | "all";
  /** May be removed when its result is unused, and merged with an equal earlier call when nothing was written in between. */
  readonly pure: boolean;
  /** Pointer arguments whose access is known exactly. A slot passed otherwise may be read and written, now and later. */
  readonly mem: readonly ArgMem[];
  /** Result is below 2^bits (64 = nothing known). */
  readonly bits: number;
  /** The pointer result may be null. */
  readonly nullable: boolean;
  /** Control does not come back when the call succeeds or ever (`bpf_tail_call` still may: false). */
  readonly noreturn: boolean;
}

/** A stack object. */
export interface Slot {
  /** Index in `Func.slots`. */
  readonly id: number;
  readonly name: string;
  readonly size: number;
  /** 1, 2, 4 or 8. */
  readonly align: number;
}

/** An edge to a block, with one argument for each of its parameters. */
export interface Edge {
  to: Block;
  args: Inst[];
}

const NO_INSTS: Inst[] = [];
const NO_EDGES: Edge[] = [];

/** One operation and the value it defines. All operations share one shape so that the passes stay monomorphic. */
export class Inst {
  readonly id: number;
  op: Op;
  type: Type;
  args: Inst[];
  span: Span | undefined;
  /** What a `ptr` value points to. */
  space: Space = "unknown";
  width: Width = 64;
  size: Size = 8;
  bits = 64;
  signed = false;
  volatile = false;
  /** `load`: the memory never changes while the program runs (`.rodata`, read-only ctx fields). */
  invariant = false;
  fetch = false;
  weak = false;
  typed = false;
  off = 0;
  index = 0;
  bytes = 0;
  align = 1;
  value = 0n;
  cond: Cond = "eq";
  aop: AtomicOp = "add";
  sym = "";
  slot: Slot | undefined = undefined;
  core: CoreAccess | undefined = undefined;
  call: CallInfo | undefined = undefined;
  cases: bigint[] | undefined = undefined;
  edges: Edge[] = NO_EDGES;

  constructor(id: number, op: Op, type: Type, args: Inst[] = NO_INSTS, span?: Span) {
    this.id = id;
    this.op = op;
    this.type = type;
    this.args = args;
    this.span = span;
  }
}

export class Block {
  readonly id: number;
  name: string;
  params: Inst[] = [];
  /** Without the terminator. */
  insts: Inst[] = [];
  term: Inst | undefined = undefined;
  /** On a loop header: `"full"` unrolls the loop completely, `"no"` never; undefined lets the optimiser choose. */
  unroll: "full" | "no" | undefined = undefined;
  /** How often the block is expected to run: `cold` blocks (error paths) are laid out last. */
  cold = false;

  constructor(id: number, name: string) {
    this.id = id;
    this.name = name;
  }
}

/** A function: the program itself or a subprogram. */
export class Func {
  readonly name: string;
  /** `param` instructions of the function; at most 5 (an entry has 1: the ctx). */
  readonly params: Inst[] = [];
  blocks: Block[] = [];
  slots: Slot[] = [];
  /** The program's entry, a static subprogram, or a callback whose address is taken. */
  readonly kind: "entry" | "subprog" | "callback";
  /** Subprograms only. */
  inline: "always" | "never" | undefined = undefined;
  /** Whether `ret` carries a value. An entry always returns one. */
  readonly returns: boolean;
  span: Span | undefined = undefined;
  #nextInst = 0;
  #nextBlock = 0;

  constructor(name: string, kind: Func["kind"], returns = true) {
    this.name = name;
    this.kind = kind;
    this.returns = returns;
  }

  /** Instruction ids are in [0, instCount). */
  get instCount(): number {
    return this.#nextInst;
  }
  /** Block ids are in [0, blockCount). */
  get blockCount(): number {
    return this.#nextBlock;
  }

  inst(op: Op, type: Type, args?: Inst[], span?: Span): Inst {
    return new Inst(this.#nextInst++, op, type, args, span);
  }
  param(type: Type, space: Space = "unknown"): Inst {
    const p = this.inst("param", type);
    p.space = space;
    p.index = this.params.length;
    this.params.push(p);
    return p;
  }
  block(name = ""): Block {
    const id = this.#nextBlock++;
    const b = new Block(id, name === "" ? `b${id}` : name);
    this.blocks.push(b);
    return b;
  }
  blockParam(b: Block, type: Type, space: Space = "unknown"): Inst {
    const p = this.inst("param", type);
    p.space = space;
    p.index = b.params.length;
    b.params.push(p);
    return p;
  }
  slot(size: number, align: number, name = ""): Slot {
    const id = this.slots.length;
    const s: Slot = { id, name: name === "" ? `s${id}` : name, size, align };
    this.slots.push(s);
    return s;
  }
}

/** One program: its entry function first, then the subprograms and callbacks it may reach. */
export interface Module {
  readonly funcs: Func[];
}

/** Whether the operation has no operands and no position: see "Leaves". */
export function isLeaf(op: Op): boolean {
  return (
    op === "const" ||
    op === "undef" ||
    op === "slot" ||
    op === "map" ||
    op === "mapval" ||
    op === "ksym" ||
    op === "func" ||
    op === "core"
  );
}

const BIN_SET: ReadonlySet<string> = new Set(BIN_OPS);
export function isBinOp(op: Op): op is BinOp {
  return BIN_SET.has(op);
}

const NEGATED: Readonly<Record<Cond, Cond>> = {
  eq: "ne",
  ne: "eq",
  ugt: "ule",
  ule: "ugt",
  uge: "ult",
  ult: "uge",
  sgt: "sle",
  sle: "sgt",
  sge: "slt",
  slt: "sge",
  set: "nset",
  nset: "set",
};
/** The condition that holds exactly when `c` does not. */
export function negateCond(c: Cond): Cond {
  return NEGATED[c];
}

const SWAPPED: Readonly<Record<Cond, Cond>> = {
  eq: "eq",
  ne: "ne",
  ugt: "ult",
  ult: "ugt",
  uge: "ule",
  ule: "uge",
  sgt: "slt",
  slt: "sgt",
  sge: "sle",
  sle: "sge",
  set: "set",
  nset: "nset",
};
/** `a c b` is `b swapCond(c) a`. */
export function swapCond(c: Cond): Cond {
  return SWAPPED[c];
}
