/** What a branch that was taken says about a later comparison of the same values. */
import type { Cond, Inst, Width } from "../ir/ir.ts";
import { foldCond } from "./fold.ts";
import { rootOf } from "./util.ts";

/** `a cond b` holds. */
export interface Fact {
  readonly cond: Cond;
  readonly a: Inst;
  readonly b: Inst;
  readonly width: Width;
}

// Relations of a to b as bits: less 1, equal 2, greater 4.
const UNSIGNED: Readonly<Partial<Record<Cond, number>>> = { eq: 2, ne: 5, ult: 1, ule: 3, ugt: 4, uge: 6 };
const SIGNED: Readonly<Partial<Record<Cond, number>>> = { eq: 2, ne: 5, slt: 1, sle: 3, sgt: 4, sge: 6 };

/** Whether `fact` makes `a cond b` true or false; undefined when it says nothing. */
export function implies(fact: Fact, cond: Cond, a: Inst, b: Inst, width: Width): boolean | undefined {
  if (fact.width !== width) return undefined;
  if (fact.a === a && fact.b === b) {
    if (fact.cond === cond) return true;
    if ((fact.cond === "set" && cond === "nset") || (fact.cond === "nset" && cond === "set")) return false;
    for (const table of [UNSIGNED, SIGNED]) {
      const known = table[fact.cond];
      const asked = table[cond];
      if (known === undefined || asked === undefined) continue;
      if ((known & ~asked) === 0) return true;
      if ((known & asked) === 0) return false;
    }
    return undefined;
  }
  if (fact.a === a && fact.b.op === "const" && b.op === "const")
    return byConstants(fact.cond, fact.b.value, cond, b.value, width);
  return byPacketRange(fact, cond, a, b);
}

function byConstants(known: Cond, c: bigint, asked: Cond, d: bigint, width: Width): boolean | undefined {
  if (known === "eq") return foldCond(asked, c, d, width);
  if (known === "ne") return undefined;
  for (const signed of [false, true]) {
    const table = signed ? SIGNED : UNSIGNED;
    if (table[known] === undefined || table[asked] === undefined) continue;
    const cut = (v: bigint): bigint => (signed ? BigInt.asIntN(width, v) : BigInt.asUintN(width, v));
    const min = signed ? -(1n << BigInt(width - 1)) : 0n;
    const max = signed ? (1n << BigInt(width - 1)) - 1n : (1n << BigInt(width)) - 1n;
    const [lo, hi] = interval(table[known]!, cut(c), min, max);
    const v = cut(d);
    if (asked === "eq" || asked === "ne") return v < lo || v > hi ? asked === "ne" : undefined;
    const [qlo, qhi] = interval(table[asked]!, v, min, max);
    if (qlo <= lo && hi <= qhi) return true;
    if (hi < qlo || qhi < lo) return false;
  }
  return undefined;
}
function interval(relation: number, v: bigint, min: bigint, max: bigint): [bigint, bigint] {
  switch (relation) {
    case 1:
      return [min, v - 1n];
    case 3:
      return [min, v];
    case 4:
      return [v + 1n, max];
    default:
      return [v, max];
  }
}

/** `packet + n <= end` covers every smaller n of the same pointer. */
function byPacketRange(fact: Fact, cond: Cond, a: Inst, b: Inst): boolean | undefined {
  if (a.type !== "ptr" || fact.b !== b || b.space !== "packet-end") return undefined;
  if (fact.cond !== "ule" && fact.cond !== "ult") return undefined;
  if (cond !== "ugt" && cond !== "ule") return undefined;
  const known = rootOf(fact.a);
  const asked = rootOf(a);
  if (known.base !== asked.base || !(asked.off <= known.off)) return undefined;
  return cond === "ule";
}
