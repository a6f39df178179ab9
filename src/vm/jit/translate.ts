/**
 * A program as a WebAssembly module. Control flow becomes blocks and loops by the dominator tree (Ramsey, "Beyond
 * Relooper"); a function whose graph is irreducible, or nests too deep, becomes a loop over a br_table instead.
 */
import { FORM, FORM_OF } from "../../asm/index.ts";
import { EMPTY, I32, I64, W, WasmBytes } from "./bytes.ts";
import { type Cfg, type CfgBlock, buildCfg } from "./cfg.ts";
import { Facts } from "./facts.ts";
import type { CheckSite, EmitContext } from "./context.ts";
import { InsnEmitter } from "./emit.ts";
import { IMPORTS, IMPORT_NAMES, IMPORT_TYPES, STATE } from "./layout.ts";
import { HashMap } from "../maps/hash.ts";
import type { VmMap } from "../maps/map.ts";
import { REGS } from "../memory.ts";
import { MAX_KEY, lookupBody } from "./lookup.ts";

/** Blocks beyond which a function is not structured: the tree may nest as deep. */
const MAX_STRUCTURED = 1500;

/** Instructions that an unrolled loop may have. */
const MAX_UNROLLED = 96;

interface Unrolled {
  readonly times: number;
  readonly exit: number;
  /** The branch at the block's end stays in the loop when it is taken. */
  readonly stays: boolean;
}

type Scope = { readonly kind: "block" | "loop"; readonly block: number } | { readonly kind: "if" };

class FunctionEmitter extends InsnEmitter {
  readonly #cfg: Cfg;
  readonly #scopes: Scope[] = [];

  constructor(context: EmitContext, cfg: Cfg) {
    super(context);
    this.#cfg = cfg;
  }

  body(): WasmBytes {
    this.prologue();
    this.burn(1, this.#cfg.blocks[0]!.start);
    if (this.#cfg.reducible && this.#cfg.blocks.length <= MAX_STRUCTURED) this.#tree(0, this.facts, 0);
    else this.#dispatch();
    this.out.op(W.unreachable, W.end);
    return this.locals().append(this.out);
  }

  /** Block `at` and all it dominates. `facts` hold at the end of its dominator; `written` are registers that changed since. */
  #tree(at: number, facts: Facts, written: number): void {
    const { out } = this;
    const block = this.#cfg.blocks[at]!;
    this.facts = new Facts(facts);
    this.facts.forget(written | block.loopWrites);
    const unrolled = this.#unrolling(at);
    if (unrolled !== undefined && unrolled.exit > at) this.#cfg.blocks[unrolled.exit]!.merge = true;
    const merges = block.children.filter((c) => this.#cfg.blocks[c]!.merge).sort((a, b) => b - a);
    if (block.loop > 0) {
      out.op(W.loop, EMPTY);
      this.#scopes.push({ kind: "loop", block: at });
      this.burn(block.loop * (unrolled?.times ?? 1), block.start);
    }
    this.#within(at, merges, 0, unrolled);
    if (block.loop > 0) {
      out.op(W.end);
      this.#scopes.pop();
    }
  }

  /** The block's code, and behind it the merge blocks it dominates, the last one outermost. */
  #within(at: number, merges: readonly number[], i: number, unrolled: Unrolled | undefined): Facts {
    const { out } = this;
    const merge = merges[i];
    if (merge !== undefined) {
      out.op(W.block, EMPTY);
      this.#scopes.push({ kind: "block", block: merge });
      const facts = this.#within(at, merges, i + 1, unrolled);
      out.op(W.end);
      this.#scopes.pop();
      this.#tree(merge, facts, this.#writtenBefore(at, merge));
      return facts;
    }
    const block = this.#cfg.blocks[at]!;
    if (unrolled !== undefined) return this.#unroll(at, unrolled);
    const last = this.#straight(block);
    const { facts } = this;
    if (last === FORM.EXIT) this.return();
    else if (block.next.length === 2) {
      const [taken, other] = block.next as readonly [number, number];
      this.condition(block.end - 1);
      if (this.#isLabel(at, taken)) {
        out.op(W.br_if).u(this.#depth(at, taken));
        this.#go(at, other, facts);
      } else if (this.#isLabel(at, other)) {
        out.op(W.i32_eqz, W.br_if).u(this.#depth(at, other));
        this.#go(at, taken, facts);
      } else {
        out.op(W.if, EMPTY);
        this.#scopes.push({ kind: "if" });
        this.#go(at, taken, facts);
        out.op(W.else);
        this.#go(at, other, facts);
        out.op(W.end);
        this.#scopes.pop();
      }
    } else if (block.next.length === 1) this.#go(at, block.next[0]!, facts);
    else this.#pastEnd(block);
    return facts;
  }

  /** How the loop that is block `at` alone is unrolled; undefined when it is not such a loop. */
  #unrolling(at: number): Unrolled | undefined {
    const { blocks } = this.#cfg;
    const block = blocks[at]!;
    const length = block.end - block.start;
    // A traced path has every block.
    if (this.context.trace !== undefined) return undefined;
    if (block.loop === 0 || block.next.length !== 2 || length > MAX_UNROLLED / 2) return undefined;
    const { opcode } = this.context.image.columns;
    if (FORM_OF[opcode[block.end - 1]!] === FORM.MAY_GOTO) return undefined;
    // A block that only jumps back is part of the way round.
    const back = block.next.map((to) => {
      const next = blocks[to]!;
      const jump = to > at && !next.merge && next.end === next.start + 1 && next.next.length === 1;
      return to === at || (jump && next.next[0] === at && FORM_OF[opcode[next.start]!] === FORM.JA);
    });
    if (back[0] === back[1]) return undefined;
    const times = Math.min(8, Math.floor(MAX_UNROLLED / length));
    return { times, exit: block.next[back[0] === true ? 1 : 0]!, stays: back[0] === true };
  }

  /** The loop's body several times: the fuel is checked once, and so may be its accesses. */
  #unroll(at: number, { times, exit, stays }: Unrolled): Facts {
    const { out } = this;
    const block = this.#cfg.blocks[at]!;
    let first: Facts | undefined;
    for (let k = 1; k <= times; k++) {
      this.again = times - k;
      this.#straight(block);
      first ??= new Facts(this.facts);
      this.condition(block.end - 1);
      if (stays) out.op(W.i32_eqz);
      out.op(W.if, EMPTY);
      this.#scopes.push({ kind: "if" });
      if (k < times) this.refund(block.loop * (times - k));
      out.op(W.br).u(this.#depth(at, exit));
      this.#scopes.pop();
      out.op(W.end);
    }
    this.again = 0;
    out.op(W.br).u(this.#depth(at, at));
    // Whichever time it was left: only what the body does not write is known.
    first!.forget(block.writes);
    return first!;
  }

  /** Registers that may be written between the end of block `at` and `merge`, which it dominates. */
  #writtenBefore(at: number, merge: number): number {
    return this.#cfg.blocks[at]!.children.reduce(
      (mask, c) => (c === merge ? mask : mask | this.#cfg.blocks[c]!.subWrites),
      0,
    );
  }

  /** Everything before the jump at the block's end; its form. */
  #straight(block: CfgBlock): number {
    const { opcode } = this.context.image.columns;
    this.blockStart = block.start;
    this.blockEnd = block.end;
    this.traceFrom(block.start);
    let form = 0;
    for (let slot = block.start; slot < block.end; slot++) {
      form = FORM_OF[opcode[slot]!]!;
      if ((form >= FORM.JA && form <= FORM.BRANCH_X) || form === FORM.EXIT) return form;
      this.insn(slot);
      this.facts.step(this.context.image, slot);
      if (form === FORM.LD_IMM64) slot++;
      else if (form === FORM.CALL) this.traceFrom(slot + 1);
    }
    return form;
  }
  #pastEnd(block: CfgBlock): void {
    this.out.i32(block.end).call(IMPORTS.illegal).op(W.unreachable);
  }

  /** Is the target reached by a branch instruction (else its code follows here)? */
  #isLabel(from: number, to: number): boolean {
    return to <= from || this.#cfg.blocks[to]!.merge;
  }
  #go(from: number, to: number, facts: Facts): void {
    if (this.#isLabel(from, to)) this.out.op(W.br).u(this.#depth(from, to));
    else this.#tree(to, facts, 0);
  }
  #depth(from: number, to: number): number {
    const kind = to <= from ? "loop" : "block";
    for (let i = this.#scopes.length - 1; i >= 0; i--) {
      const scope = this.#scopes[i]!;
      if (scope.kind === kind && scope.block === to) return this.#scopes.length - 1 - i;
    }
    throw new Error(`no ${kind} of block ${to} around block ${from}`);
  }

  /** A loop over a table of blocks: right for every graph. */
  #dispatch(): void {
    const { out } = this;
    const { blocks } = this.#cfg;
    out.i32(0).set(STATE);
    out.op(W.loop, EMPTY);
    for (let i = 0; i < blocks.length; i++) out.op(W.block, EMPTY);
    out
      .get(STATE)
      .op(W.br_table)
      .u(blocks.length - 1);
    for (let i = 0; i < blocks.length; i++) out.u(i);
    blocks.forEach((block, i) => {
      out.op(W.end);
      const again = blocks.length - 1 - i;
      this.facts = new Facts();
      this.burn(block.end - block.start, block.start);
      const last = this.#straight(block);
      if (last === FORM.EXIT) this.return();
      else if (block.next.length === 2) {
        out.i32(block.next[0]!).i32(block.next[1]!);
        this.condition(block.end - 1);
        out.op(W.select).set(STATE).op(W.br).u(again);
      } else if (block.next.length === 1) out.i32(block.next[0]!).set(STATE).op(W.br).u(again);
      else this.#pastEnd(block);
    });
    out.op(W.end);
  }
}

export interface Translated {
  readonly bytes: Uint8Array;
  readonly checks: readonly CheckSite[];
}

/** The module. It exports `f<slot>` for each function: arguments and result in the VM's registers. */
export function translate(context: Omit<EmitContext, "functions" | "checks" | "lookupOf">): Translated {
  const starts = [...context.image.functions].sort((a, b) => a - b);
  const first = IMPORT_NAMES.length;
  const functions = new Map(starts.map((start, i) => [start, first + i]));
  const checks: CheckSite[] = [];
  const lookups: HashMap[] = [];
  const lookupOf = (map: VmMap): number | undefined => {
    if (!(map instanceof HashMap) || map.constructor !== HashMap || map.spec.keySize > MAX_KEY) return undefined;
    const known = lookups.indexOf(map);
    return first + starts.length * 2 + (known < 0 ? lookups.push(map) - 1 : known);
  };
  const full: EmitContext = { ...context, functions, checks, lookupOf };
  const bodies = starts.map((start) => new FunctionEmitter(full, buildCfg(context.image, start)).body());

  // Types: those of the imports, then a BPF function, an entry without arguments, a look-up.
  const types = new WasmBytes().u(IMPORT_TYPES.length + 3);
  for (const [params, results] of IMPORT_TYPES) {
    types
      .op(0x60)
      .u(params)
      .op(...Array<number>(params).fill(I32))
      .u(results)
      .op(...Array<number>(results).fill(I32));
  }
  types
    .op(0x60)
    .u(6)
    .op(...Array<number>(6).fill(I64))
    .u(1)
    .op(I64);
  types.op(0x60).u(0).u(0);
  types.op(0x60).u(1).op(I32).u(1).op(I32);
  const bpfType = IMPORT_TYPES.length;

  const imports = new WasmBytes().u(IMPORT_NAMES.length + 3);
  IMPORT_NAMES.forEach((name, i) => imports.text("vm").text(name).op(0).u(i));
  imports.text("vm").text("memory").op(2, 0).u(1);
  imports.text("vm").text("fuel").op(3, I32, 1);
  imports.text("vm").text("span").op(3, I64, 1);

  const funcs = new WasmBytes().u(starts.length * 2 + lookups.length);
  for (let i = 0; i < starts.length; i++) funcs.u(bpfType);
  for (let i = 0; i < starts.length; i++) funcs.u(bpfType + 1);
  for (let i = 0; i < lookups.length; i++) funcs.u(bpfType + 2);

  const exports = new WasmBytes().u(starts.length);
  starts.forEach((start, i) =>
    exports
      .text(`f${start}`)
      .op(0)
      .u(first + starts.length + i),
  );

  const code = new WasmBytes().u(starts.length * 2 + lookups.length);
  for (const body of bodies) code.sized(body);
  for (const start of starts) code.sized(entry(functions.get(start)!));
  for (const map of lookups) code.sized(lookupBody(map));

  const module = new WasmBytes().op(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
  module.op(1).sized(types).op(2).sized(imports).op(3).sized(funcs).op(7).sized(exports).op(10).sized(code);
  return { bytes: module.finish(), checks };
}

/** Calls a function with the registers in memory. */
function entry(index: number): WasmBytes {
  const out = new WasmBytes().u(0);
  out.i32(0);
  for (const reg of [1, 2, 3, 4, 5, 10]) out.i32(0).access(W.i64_load, REGS + reg * 8);
  return out.call(index).access(W.i64_store, REGS).op(W.end);
}
