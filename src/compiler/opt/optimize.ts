/** The order of passes. */
import type { Target } from "../codegen/target.ts";
import { expandMem } from "../codegen/lower.ts";
import { widenArithmetic } from "../codegen/widen.ts";
import type { Func, Inst, Module } from "../ir/ir.ts";
import { dropUnreached } from "../ir/reach.ts";
import { orderBlocks, simplifyBlocks } from "./cfg-simplify.ts";
import { shareEqualSlots } from "./share-slots.ts";
import { dropUndemanded } from "./demanded.ts";
import { removeDeadStores } from "./dse.ts";
import { numberValues } from "./gvn.ts";
import { inlineCalls } from "./inline.ts";
import { hoistInvariants } from "./licm.ts";
import { transformLoops } from "./loops.ts";
import { promoteSlots } from "./mem2reg.ts";
import { removeDead } from "./util.ts";

/** 0: only what other passes rely on (variables become values, dead code goes). 2: everything. */
export type OptLevel = 0 | 1 | 2;

/** 8-byte words of a constant-size copy that is expanded before the optimiser; larger ones are after it. */
const MAX_EXPANDED = 32;

/**
 * Optimises a program in place: functions are inlined, their blocks rewritten, unused subprograms dropped.
 * @param level 0 none to speak of, 1 without inlining and loop passes, 2 all
 */
export function optimize(m: Module, target: Target, level: OptLevel = 2): void {
  for (const f of m.funcs) {
    if (target.isa < 3) widenArithmetic(f);
    simplifyBlocks(f);
    if (level > 0) expandCopies(f, target);
    promoteSlots(f);
  }
  if (level === 0) {
    for (const f of m.funcs) removeDead(f);
    dropUnreached(m);
    return;
  }
  if (level >= 2) inlineCalls(m);
  dropUnreached(m);
  for (const f of m.funcs) optimizeFunc(f, target, level);
  // A call in what turned out to be dead code may have been the only one.
  dropUnreached(m);
}

function optimizeFunc(f: Func, target: Target, level: OptLevel): void {
  simplifyBlocks(f);
  for (let round = 0; round < 4; round++) {
    promoteSlots(f);
    const decided = numberValues(f, target);
    const bits = round < 2 && dropUndemanded(f);
    removeDead(f);
    const shared = round === 1 && shareEqualSlots(f);
    const stores = removeDeadStores(f, target.endian === "little") || shared;
    let blocks = simplifyBlocks(f);
    if (round === 0 && level >= 2 && transformLoops(f)) blocks = true;
    if (round === 1 && level >= 2 && hoistInvariants(f)) blocks = true;
    // The first round's removals make single uses, which allow more in the second.
    if (round > 0 && !decided && !stores && !blocks && !bits) break;
  }
  orderBlocks(f);
}

function expandCopies(f: Func, target: Target): void {
  for (const b of f.blocks) {
    if (!b.insts.some((i) => i.op === "memcpy" || i.op === "memset")) continue;
    const out: Inst[] = [];
    for (const i of b.insts) {
      if ((i.op === "memcpy" || i.op === "memset") && i.bytes <= MAX_EXPANDED * 8) expandMem(f, i, out, target);
      else out.push(i);
    }
    b.insts = out;
  }
}
