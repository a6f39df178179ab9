/** The state of compiling one function, and the few operations that everything else is made of. */
import type { Diagnostic, Label, Span } from "../../core/diagnostic.ts";
import { alignUp } from "../../core/int.ts";
import { BPF_FUNC } from "../../uapi/index.ts";
import type { AnyProgram } from "../../probe/program-types.ts";
import { isSchema } from "../../probe/schema.ts";
import type { FuncBuilder } from "../ir/builder.ts";
import type { Block, Cond, Inst, Slot, Width } from "../ir/ir.ts";
import type { Ast, Expr, Stmt } from "./ast.ts";
import type { MessageCode } from "./messages.ts";
import type { ModuleContext } from "./module.ts";
import { loadPlace } from "./place.ts";
import type { MessageArgs } from "./report.ts";
import { Scope } from "./scope.ts";
import { Sign, SIGNED, UNSIGNED } from "./sign.ts";
import type { FunctionSource } from "./source.ts";
import { literal } from "./texts.ts";
import type { IntType, ScalarType, Type } from "./types.ts";
import { BOOL, alignOf, sizeOf, typeName } from "./types.ts";
import type {
  ErrorVal,
  Facts,
  FunctionVal,
  IntConst,
  JumpTarget,
  OptVal,
  PlaceVal,
  ScalarVal,
  Sym,
  Val,
} from "./value.ts";
import { ERROR } from "./value.ts";

/** What is known on either way out of a condition. */
export interface Branch {
  readonly whenTrue: readonly Sym[];
  readonly whenFalse: readonly Sym[];
}

/** The recursive parts, filled in by `lower.ts` so that no file needs to import its callers. */
export interface Lowering {
  expr(fn: Fn, node: Ast): Val;
  cond(fn: Fn, node: Ast, yes: Block, no: Block): Branch;
  truth(fn: Fn, node: Ast): Val;
  /** Branches on JavaScript's truth of a value. */
  branch(fn: Fn, val: Val, node: Ast, yes: Block, no: Block): Branch;
  stmt(fn: Fn, node: Stmt): void;
  call(fn: Fn, callee: FunctionVal, args: readonly Val[], node: Ast): Val;
}

/** The program being compiled. */
export interface ProgramInfo {
  readonly handle: AnyProgram;
  readonly name: string;
}

/** Where `return` of the function being compiled (or inlined) goes. */
export interface ReturnTarget {
  readonly kind: "entry" | "inline" | "callback";
  readonly give: (fn: Fn, value: Val | undefined, node: Ast) => void;
}

/** What belongs to one function of the object. */
class Frame {
  /** What the function does before it ends, wherever it ends: discards what was reserved and not submitted. */
  readonly cleanups: (() => void)[] = [];
  readonly prologue: (() => void)[] = [];
  /** Room in ring buffers that may still be the function's: the slot says whether it is. */
  readonly reservations: { readonly map: string; readonly base: Inst; readonly slot: Slot }[] = [];
}

/** The function that is being built around another one. */
interface Outer {
  readonly saved: Partial<Fn>;
  readonly start: Block;
  readonly body: Block;
}

export class Fn {
  readonly module: ModuleContext;
  /** Of the function being compiled: the program, or a callback inside it. */
  b: FuncBuilder;
  readonly lowering: Lowering;
  source: FunctionSource;
  scope = new Scope();
  facts: Facts = new Map();
  jumps: JumpTarget[] = [];
  returns: ReturnTarget;
  /** Functions being inlined, outermost first, to name a recursion. */
  callStack: { readonly name: string; readonly node: Ast; readonly callSpan: Span }[] = [];
  /** Undecided signs: instructions to set once every statement was seen. */
  readonly #pending: (() => void)[] = [];
  /** Of the function that `b` builds. */
  frame = new Frame();
  /** The next function that is called may return a boolean on some paths and nothing, which is false, on others. */
  nothingIsFalse = false;
  /** A call whose result nobody takes. */
  dropped: Ast | undefined;
  /** The last statement left the block: nothing after it runs. */
  ended = false;
  /** The program's context. */
  ctx: Inst;
  /** Variables of the program as a callback sees them. */
  readonly captured = new Map<Sym, Sym>();
  readonly program: ProgramInfo;

  constructor(
    module: ModuleContext,
    program: ProgramInfo,
    b: FuncBuilder,
    ctx: Inst,
    source: FunctionSource,
    lowering: Lowering,
    returns: ReturnTarget,
  ) {
    this.module = module;
    this.program = program;
    this.ctx = ctx;
    this.b = b;
    this.source = source;
    this.lowering = lowering;
    this.returns = returns;
  }

  // Places in the source

  span(node: Ast): Span {
    return this.source.span(node);
  }
  /** Instructions from here on come from `node`. */
  mark(node: Ast): void {
    this.b.span = this.source.span(node);
  }

  report(
    code: MessageCode,
    node: Ast,
    args: MessageArgs = {},
    extra: { labels?: Label[]; notes?: string[] } = {},
  ): ErrorVal {
    const chain: Label[] = this.callStack
      .filter((c) => c.callSpan.file !== "")
      .map((c) => ({ span: c.callSpan, message: `in ${c.name}, called here` }))
      .toReversed();
    // What has no name cannot be checked where it stands.
    const name = String(args["name"] ?? "");
    const check = /^[\w$]+$/.test(name) ? `if (!${name}) return;` : "const v = …; if (!v) return;";
    this.module.reporter.add(code, this.span(node), code === "BPF2007" ? { ...args, check } : args, {
      ...extra,
      labels: [...(extra.labels ?? []), ...chain],
    });
    return ERROR;
  }
  get diagnostics(): readonly Diagnostic[] {
    return this.module.reporter.diagnostics;
  }

  // Names

  /** The variable that `name` means here. */
  find(name: string, scope = this.scope): Sym | undefined {
    let sym = scope.find(name);
    for (let inner = sym; inner !== undefined; inner = this.captured.get(inner)) sym = inner;
    return sym;
  }

  // Recursion

  expr(node: Ast): Val {
    return this.lowering.expr(this, node);
  }
  /** The value of `node` now: places of scalars are loaded. */
  value(node: Ast): Val {
    return this.settle(this.lowering.expr(this, node), node);
  }

  /** `node` as a boolean, by JavaScript's rules. */
  truth(node: Ast): Val {
    return this.lowering.truth(this, node);
  }

  // Undecided signs

  /** Runs `apply` once `sign` is decided: now, or when the function is finished. */
  whenDecided(sign: Sign, apply: (signed: boolean) => void): void {
    if (sign.kind() !== undefined) apply(sign.signed);
    else this.#pending.push(() => apply(sign.signed));
  }
  /** Runs `emit` at the start of the function, before everything else. */
  atStart(emit: () => void): void {
    this.frame.prologue.push(emit);
  }
  /** Emits what has to run before the function ends, wherever it ends. */
  cleanUp(): void {
    for (const cleanup of this.frame.cleanups.toReversed()) cleanup();
  }
  /** Emits what has to run before a `return`: loops of the function that are left give back what they hold. */
  leaveLoops(above = 0): void {
    for (const jump of this.jumps.slice(above).toReversed()) jump.leave?.();
  }
  /** Builds another function with `b` until {@link leave}; what it has to run first goes between its parameters and `body`. */
  enter(b: FuncBuilder): Outer {
    const { b: outer, ctx, scope, facts, jumps, returns, ended, source, frame } = this;
    this.b = b;
    this.frame = new Frame();
    this.facts = new Map();
    this.jumps = [];
    this.ended = false;
    const start = b.current;
    const body = b.block("body");
    b.at(body);
    return { saved: { b: outer, ctx, scope, facts, jumps, returns, ended, source, frame }, start, body };
  }
  /** Ends what {@link enter} began and gives the finished function to the module. */
  leave(outer: Outer): void {
    const { b } = this;
    b.at(outer.start);
    for (const emit of this.frame.prologue) emit();
    b.jmp(outer.body);
    this.module.subprogs.push(b.finish());
    Object.assign(this, outer.saved);
  }
  /** Emits what has to run first, in the current block, and decides the open signs. */
  finish(): void {
    for (const emit of this.frame.prologue.splice(0)) emit();
    for (const p of this.#pending.splice(0)) p();
  }

  // Values

  /** Loads what is in a place that holds a scalar; leaves everything else as it is. */
  settle(val: Val, node: Ast): Val {
    if (val.k === "place") return loadPlace(this, val);
    if (val.k === "kplace") return this.module.loadKernel(this, val, node);
    return val;
  }

  /** A register for a scalar or integer constant; undefined (reported) for anything else. */
  scalar(val: Val, node: Ast, expected = "a number"): ScalarVal | undefined {
    const v = this.settle(val, node);
    switch (v.k) {
      case "scalar":
        if (v.type.k === "literal") break;
        return v;
      case "int":
        return { k: "scalar", type: constType(v), v: this.b.int(v.value) };
      case "js":
        if (typeof v.value === "boolean") return { k: "scalar", type: BOOL, v: this.b.int(v.value ? 1 : 0) };
        break;
      case "opt":
        this.report("BPF2007", node, { what: v.what, name: nameOf(node) });
        return undefined;
      case "error":
        return undefined;
      default:
        break;
    }
    this.report("BPF2006", node, { expected, found: describe(v) });
    return undefined;
  }

  /** A register for what variables and results can be: scalars, and texts known at compile time by their number. */
  held(val: Val, node: Ast, expected = "a number"): ScalarVal | undefined {
    const v = this.settle(val, node);
    if (v.k === "js" && typeof v.value === "string") return literal(this, v.value);
    return v.k === "scalar" && v.type.k === "literal" ? v : this.scalar(v, node, expected);
  }

  /** An integer (or bool, enum, address) in a register. */
  int(val: Val, node: Ast): Inst | undefined {
    return this.scalar(val, node, "an integer")?.v;
  }

  /** A stack object that lives as long as the block it is made in. */
  temp(type: Exclude<Type, { k: "void" }>, name: string): PlaceVal {
    const size = sizeOf(type);
    if (size >= SCRATCH_FROM && this.b.func.kind === "entry") return scratchPlace(this, type, size);
    // Text, bytes and structs are copied, compared and cleared by words.
    const align = size >= 8 ? 8 : size >= 4 ? 4 : alignOf(type);
    const slot = this.b.func.slot(Math.max(size, 1), align, name);
    this.b.start(slot);
    return { k: "place", type, base: this.b.slotAddr(slot), off: 0, space: "stack" };
  }

  /** Branches on a comparison whose signedness may be decided later. */
  branch(cond: Relation, a: Inst, b: Inst, sign: Sign, yes: Block, no: Block, width: Width = 64): void {
    this.b.br(condOf(cond, sign.signed), a, b, yes, no, width);
    const term = this.b.current.term;
    if (term !== undefined && sign.kind() === undefined)
      this.whenDecided(sign, (signed) => void (term.cond = condOf(cond, signed)));
  }

  /** Branches on whether `v` is defined. */
  branchDefined(v: OptVal, yes: Block, no: Block): void {
    if (v.test === undefined) this.b.br("ne", v.ptr, 0, yes, no);
    else this.b.br(v.test.cond, v.test.a, v.test.b, yes, no);
  }

  /** Adds what a branch established. Call at the start of the block where it holds. */
  assume(syms: readonly Sym[]): void {
    if (syms.length === 0) return;
    const facts = new Map(this.facts);
    for (const sym of syms) {
      if (facts.has(sym)) continue;
      const inner = sym.val.k === "opt" ? loadPlace(this, sym.val.inner) : undefined;
      facts.set(sym, inner?.k === "scalar" ? inner : true);
    }
    this.facts = facts;
  }
}

/** Temporaries of this size and more, in bytes, do not go on the 512 bytes of stack but into a per-CPU map. */
const SCRATCH_FROM = 192;

/** Room in the program's scratch map; its address is looked up when the program starts. */
function scratchPlace(fn: Fn, type: Exclude<Type, { k: "void" }>, size: number): PlaceVal {
  const { b, module } = fn;
  let scratch = module.scratch.get(fn.program.name);
  if (scratch === undefined) {
    scratch = { map: module.unique(`${fn.program.name}__scratch`), size: 0, slot: b.func.slot(8, 8, "scratch") };
    module.scratch.set(fn.program.name, scratch);
    const { map, slot } = scratch;
    fn.atStart(() => {
      const key = b.slot(4, 4, "zero");
      b.store(key, 0, { size: 4 });
      const p = b.helper(BPF_FUNC.map_lookup_elem, [b.map(map), key], {
        space: "map-value",
        nullable: true,
        clobbers: "none",
        mem: [{ arg: 1, mode: "in", size: 4 }],
      });
      b.store(b.slotAddr(slot), p, { size: 8 });
      const missing = b.block("missing");
      const there = b.block("scratch");
      b.br("eq", p, 0, missing, there);
      b.at(missing);
      // The only entry of an array is always there; the verifier wants it said.
      b.ret(0);
      b.at(there);
    });
  }
  const off = scratch.size;
  scratch.size = alignUp(off + size, 8);
  return {
    k: "place",
    type,
    base: b.load(b.slotAddr(scratch.slot), { size: 8, space: "map-value" }),
    off,
    space: "map",
  };
}

export type Relation = "eq" | "ne" | "gt" | "ge" | "lt" | "le";

export function condOf(relation: Relation, signed: boolean): Cond {
  if (relation === "eq" || relation === "ne") return relation;
  return `${signed ? "s" : "u"}${relation}`;
}

/** What holds after either of two ways met. `undefined`: that way does not get here. */
export function meetFacts(a: Facts | undefined, b: Facts | undefined): Facts {
  if (a === undefined) return b ?? new Map();
  if (b === undefined || a === b) return a;
  const both = new Map<Sym, ScalarVal | true>();
  for (const [sym, fact] of a) if (b.get(sym) === fact) both.set(sym, fact);
  return both;
}

/** The type of an integer constant: its cast's, or 64 bits with a sign still open. */
export function constType(c: IntConst): ScalarType {
  if (c.type !== undefined) return c.type;
  const sign = c.value < 0n ? SIGNED : c.value >= 1n << 63n ? UNSIGNED : new Sign();
  return { k: "int", bits: 64, sign } satisfies IntType;
}

/** The name of an expression for messages: `e.comm`, or "the value". */
export function nameOf(node: Ast): string {
  const n = node as Expr & { name?: string };
  if (n.type === "Identifier") return n.name ?? "";
  if (n.type === "MemberExpression" && !n.computed && n.property.type === "Identifier") {
    const object = nameOf(n.object);
    return object === "the value" ? n.property.name : `${object}.${n.property.name}`;
  }
  if (n.type === "CallExpression") return `${nameOf(n.callee)}()`;
  return "the value";
}

/** What a value is, in words. */
export function describe(v: Val): string {
  switch (v.k) {
    case "int":
      return v.type === undefined ? `the number ${v.value}` : `${typeName(v.type)} ${v.value}`;
    case "js":
      return v.value === undefined
        ? "undefined"
        : v.value === null
          ? "null"
          : typeof v.value === "string"
            ? "a string"
            : String(v.value);
    case "scalar":
    case "place":
    case "kplace":
      return describeType(v.type);
    case "opt":
      return `${v.what} that may be undefined`;
    case "string":
      return "a string";
    case "record":
      return v.tuple ? "an array literal" : "an object literal";
    case "handle":
      return describeHandle(v.value, v.name);
    case "function":
      return v.name === "" ? "a function" : `the function ${v.name}`;
    case "builtin":
      return v.what;
    case "range":
      return "a range";
    case "iter":
      return v.what;
    case "void":
      return "nothing";
    default:
      return "an error";
  }
}

export function describeType(t: Type): string {
  const name = typeName(t);
  if (t.k === "literal") return `one of ${name}`;
  return t.k === "char" || t.k === "array" || t.k === "struct" || t.k === "kstruct" || t.k === "void"
    ? name
    : name.startsWith("enum")
      ? `an ${name}`
      : `a ${name}`;
}

export function describeHandle(value: object, name: string): string {
  const kind = (value as { kind?: unknown }).kind;
  if (kind === "map") return `the map ${name}`;
  if (kind === "global") return `the global ${name}`;
  if (kind === "program") return `the program ${name}`;
  if (isSchema(value)) return `the schema ${name}`;
  return Array.isArray(value) ? `the array ${name}` : `the object ${name}`;
}

/** Reports a construct that has no meaning in a probe. */
export function unsupported(fn: Fn, node: Ast, what: string, instead: string): Val {
  return fn.report("BPF1001", node, { what, instead });
}
