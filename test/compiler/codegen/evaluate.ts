/** A plain evaluator of IR: what the language reference says, without any cleverness. Little-endian memory. */
import type { Block, Edge, Func, Inst, Module } from "../../../src/compiler/ir/index.ts";

interface Ptr {
  readonly mem: Uint8Array;
  readonly off: number;
}
type Value = bigint | Ptr;

const MAX_STEPS = 1_000_000;

/** Runs the entry with `ctx` as its memory (changed in place); the result is r0, unsigned 64 bits. */
export function evaluate(m: Module, ctx: Uint8Array): bigint {
  const run = new Evaluator(m);
  const r = run.call(m.funcs[0]!, [{ mem: ctx, off: 0 }]);
  return BigInt.asUintN(64, r as bigint);
}

class Evaluator {
  readonly #funcs: Map<string, Func>;
  #steps = 0;
  constructor(m: Module) {
    this.#funcs = new Map(m.funcs.map((f) => [f.name, f]));
  }

  call(f: Func, args: readonly Value[]): Value {
    const values = new Map<Inst, Value>();
    const slots = f.slots.map((s) => new Uint8Array(s.size));
    f.params.forEach((p, k) => values.set(p, args[k]!));
    const get = (i: Inst): Value => {
      switch (i.op) {
        case "const":
          return i.value;
        case "undef":
          return 0n;
        case "slot":
          return { mem: slots[i.slot!.id]!, off: 0 };
        default: {
          const v = values.get(i);
          if (v === undefined) throw new Error(`%${i.id} (${i.op}) is read before it is set`);
          return v;
        }
      }
    };
    const int = (i: Inst): bigint => {
      const v = get(i);
      if (typeof v !== "bigint") throw new Error(`%${i.id} (${i.op}) is a pointer`);
      return v;
    };
    let block: Block = f.blocks[0]!;
    for (;;) {
      if (++this.#steps > MAX_STEPS) throw new Error("too many steps");
      for (const i of block.insts) {
        const v = this.#inst(i, get, int);
        if (v !== undefined) values.set(i, typeof v === "bigint" ? BigInt.asIntN(64, v) : v);
      }
      const t = block.term!;
      let edge: Edge;
      if (t.op === "ret") return t.args.length === 0 ? 0n : get(t.args[0]!);
      if (t.op === "jmp") edge = t.edges[0]!;
      else if (t.op === "br") edge = t.edges[holds(t, int(t.args[0]!), int(t.args[1]!)) ? 0 : 1]!;
      else if (t.op === "switch") {
        const v = int(t.args[0]!);
        const k = t.cases!.findIndex((c) => BigInt.asIntN(t.width, c) === BigInt.asIntN(t.width, v));
        edge = t.edges[k < 0 ? t.edges.length - 1 : k]!;
      } else throw new Error(t.op);
      const passed = edge.args.map(get);
      edge.to.params.forEach((p, k) => values.set(p, passed[k]!));
      block = edge.to;
    }
  }

  #inst(i: Inst, get: (i: Inst) => Value, int: (i: Inst) => bigint): Value | undefined {
    const w = i.width;
    const u = (k: number): bigint => BigInt.asUintN(w, int(i.args[k]!));
    const s = (k: number): bigint => BigInt.asIntN(w, int(i.args[k]!));
    const out = (v: bigint): bigint => BigInt.asUintN(w, v);
    const view = (p: Ptr): DataView => new DataView(p.mem.buffer, p.mem.byteOffset + p.off + i.off);
    switch (i.op) {
      case "add":
      case "sub": {
        const a = get(i.args[0]!);
        if (typeof a !== "bigint")
          return { mem: a.mem, off: a.off + Number(i.op === "add" ? int(i.args[1]!) : -int(i.args[1]!)) };
        return out(i.op === "add" ? u(0) + u(1) : u(0) - u(1));
      }
      case "mul":
        return out(u(0) * u(1));
      case "udiv":
        return u(1) === 0n ? 0n : u(0) / u(1);
      case "umod":
        return u(1) === 0n ? u(0) : u(0) % u(1);
      case "sdiv":
        return s(1) === 0n ? 0n : out(s(0) / s(1));
      case "smod":
        return s(1) === 0n ? out(s(0)) : out(s(0) % s(1));
      case "and":
        return u(0) & u(1);
      case "or":
        return u(0) | u(1);
      case "xor":
        return u(0) ^ u(1);
      case "shl":
        return out(u(0) << (u(1) % BigInt(w)));
      case "lshr":
        return u(0) >> (u(1) % BigInt(w));
      case "ashr":
        return out(s(0) >> (u(1) % BigInt(w)));
      case "neg":
        return out(-u(0));
      case "zext":
        return BigInt.asUintN(i.bits, int(i.args[0]!));
      case "sext":
        return BigInt.asIntN(i.bits, int(i.args[0]!));
      case "tole":
        return BigInt.asUintN(i.bits, int(i.args[0]!));
      case "bswap":
      case "tobe": {
        let r = 0n;
        const v = int(i.args[0]!);
        for (let k = 0; k < i.bits; k += 8) r = (r << 8n) | ((v >> BigInt(k)) & 0xffn);
        return r;
      }
      case "cmp":
        return holds(i, int(i.args[0]!), int(i.args[1]!)) ? 1n : 0n;
      case "select":
        return int(i.args[0]!) !== 0n ? get(i.args[1]!) : get(i.args[2]!);
      case "opaque":
        return get(i.args[0]!);
      case "load": {
        const d = view(get(i.args[0]!) as Ptr);
        const v =
          i.size === 1
            ? BigInt(d.getUint8(0))
            : i.size === 2
              ? BigInt(d.getUint16(0, true))
              : i.size === 4
                ? BigInt(d.getUint32(0, true))
                : d.getBigUint64(0, true);
        return i.signed ? BigInt.asIntN(i.size * 8, v) : v;
      }
      case "store":
        put(view(get(i.args[0]!) as Ptr), i.size, int(i.args[1]!));
        return undefined;
      case "memset": {
        const p = get(i.args[0]!) as Ptr;
        p.mem.fill(Number(i.value), p.off, p.off + i.bytes);
        return undefined;
      }
      case "memcpy": {
        const d = get(i.args[0]!) as Ptr;
        const p = get(i.args[1]!) as Ptr;
        d.mem.set(p.mem.slice(p.off, p.off + i.bytes), d.off);
        return undefined;
      }
      case "atomic": {
        const d = view(get(i.args[0]!) as Ptr);
        const bits = i.size * 8;
        const old = i.size === 4 ? BigInt(d.getUint32(0, true)) : d.getBigUint64(0, true);
        const v = int(i.args[i.args.length - 1]!);
        let next = old;
        if (i.aop === "add") next = old + v;
        else if (i.aop === "and") next = old & v;
        else if (i.aop === "or") next = old | BigInt.asUintN(bits, v);
        else if (i.aop === "xor") next = old ^ BigInt.asUintN(bits, v);
        else if (i.aop === "xchg") next = v;
        else if (old === BigInt.asUintN(bits, int(i.args[1]!))) next = v;
        put(d, i.size, next);
        return old;
      }
      case "call": {
        const c = i.call!.callee;
        if (c.kind === "subprog") return this.call(this.#funcs.get(c.name)!, i.args.map(get));
        // Only helpers whose result the program does not look at.
        return 0n;
      }
      case "start":
        return undefined;
      default:
        return undefined;
    }
  }
}

function put(d: DataView, size: number, v: bigint): void {
  if (size === 1) d.setUint8(0, Number(v & 0xffn));
  else if (size === 2) d.setUint16(0, Number(v & 0xffffn), true);
  else if (size === 4) d.setUint32(0, Number(v & 0xffff_ffffn), true);
  else d.setBigUint64(0, BigInt.asUintN(64, v), true);
}

function holds(i: Inst, x: bigint, y: bigint): boolean {
  const ux = BigInt.asUintN(i.width, x);
  const uy = BigInt.asUintN(i.width, y);
  const sx = BigInt.asIntN(i.width, x);
  const sy = BigInt.asIntN(i.width, y);
  switch (i.cond) {
    case "eq":
      return ux === uy;
    case "ne":
      return ux !== uy;
    case "ugt":
      return ux > uy;
    case "uge":
      return ux >= uy;
    case "ult":
      return ux < uy;
    case "ule":
      return ux <= uy;
    case "sgt":
      return sx > sy;
    case "sge":
      return sx >= sy;
    case "slt":
      return sx < sy;
    case "sle":
      return sx <= sy;
    case "set":
      return (ux & uy) !== 0n;
    case "nset":
      return (ux & uy) === 0n;
  }
}
