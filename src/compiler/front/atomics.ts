/** `bpf.atomicAdd(entry.packets, 1)`: atomic instructions on integers in memory. */
import type { AtomicOp, Inst } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import { checkFits } from "./ops.ts";
import { guarded } from "./place.ts";
import type { IntType, ScalarType } from "./types.ts";
import type { PlaceVal, ScalarVal, Val } from "./value.ts";
import { ERROR } from "./value.ts";

const OPS: Readonly<Record<string, AtomicOp>> = {
  atomicAdd: "add",
  atomicSub: "add",
  atomicAnd: "and",
  atomicOr: "or",
  atomicXor: "xor",
  atomicExchange: "xchg",
  atomicCompareExchange: "cmpxchg",
};
export const ATOMIC_NAMES = Object.keys(OPS);

/** `bpf.atomicAdd` and its kind. */
export function atomic(fn: Fn, name: string): Val | undefined {
  const op = Object.hasOwn(OPS, name) ? OPS[name] : undefined;
  if (op === undefined) return undefined;
  const arity = op === "cmpxchg" ? 3 : 2;
  return {
    k: "builtin",
    what: `bpf.${name}`,
    call: (args, node) => {
      if (args.length !== arity)
        return fn.report("BPF1010", node, {
          name: `bpf.${name}`,
          expected: op === "cmpxchg" ? "a place, the value expected in it, and the new one" : "a place and a value",
          got: String(args.length),
        });
      const place = target(fn, args[0]!);
      const values = args.slice(1).map((a) => operand(fn, a, place));
      if (place === undefined || values.includes(undefined)) return ERROR;
      const [x, y] = values as [Inst, Inst | undefined];
      fn.mark(node);
      const dropped = fn.dropped === node;
      return operate(fn, place, op, name === "atomicSub" ? fn.b.neg(x) : x, y, !dropped);
    },
  };
}

type Target = PlaceVal & { readonly type: IntType };

/** An integer of 4 or 8 bytes that atomic instructions reach. */
function target(fn: Fn, node: Ast): Target | undefined {
  const v = fn.expr(node);
  if (v.k === "place" && v.type.k === "int" && v.ref !== true) {
    const { type } = v;
    if (v.readonly !== undefined) return void fn.report("BPF2012", node, { what: v.readonly });
    if (type.bits >= 32 && type.bigEndian !== true && v.space !== "packet" && v.space !== "ctx" && v.space !== "btf")
      return { ...v, type };
  }
  if (v.k === "opt") return void fn.report("BPF2007", node, { what: v.what, name: "the value" });
  if (v.k === "error") return undefined;
  fn.report("BPF2006", node, {
    expected: "an integer of 32 or 64 bits in a map, a global or a variable of a struct type",
    found: v.k === "place" && v.space === "packet" ? "a field of the packet" : describe(v),
  });
  return undefined;
}

function operand(fn: Fn, node: Ast, place: Target | undefined): Inst | undefined {
  const v = fn.value(node);
  if (place !== undefined) checkFits(fn, v, place.type, node);
  return fn.int(v, node);
}

function operate(fn: Fn, place: Target, op: AtomicOp, x: Inst, y: Inst | undefined, fetch: boolean): Val {
  const { b } = fn;
  const size = (place.type.bits / 8) as 4 | 8;
  const old = b.func.slot(8, 8, "old");
  b.start(old);
  b.store(b.slotAddr(old), 0, { size: 8 });
  // An index outside of its array changes nothing and gives 0.
  guarded(fn, place, (base) => {
    const i =
      op === "cmpxchg"
        ? b.cmpxchg(base, x, y ?? 0, { size, off: place.off })
        : b.atomic(op, base, x, { size, off: place.off, fetch });
    if (fetch) b.store(b.slotAddr(old), i, { size: 8 });
  });
  const v = b.load(b.slotAddr(old), { size: 8 });
  const type: ScalarType = { k: "int", bits: place.type.bits, sign: place.type.sign };
  return { k: "scalar", type, v: size === 4 && type.sign.kind() === "s" ? b.sext(v, 32) : v } satisfies ScalarVal;
}
