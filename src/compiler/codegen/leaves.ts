/** Values without a position: which are worth a register of their own, and where. */
import type { Cfg, Loop } from "../ir/cfg.ts";
import type { Inst } from "../ir/ir.ts";

/** The constant offset of `v` from its slot when it is such an address: cheaper to make again than to keep. */
export function slotOffset(v: Inst): number | undefined {
  if (v.op !== "add" || v.type !== "ptr" || v.args[0]!.op !== "slot" || v.args[1]!.op !== "const") return undefined;
  return Number(v.args[1]!.value);
}

/** Leaves that take two slots and are worth sharing in a block. Map handles only go into argument registers. */
export function wideKey(v: Inst): string | undefined {
  switch (v.op) {
    case "const":
      return v.value < -0x8000_0000n || v.value > 0xffff_ffffn ? `c${v.value}` : undefined;
    case "mapval":
      return `v${v.off} ${v.sym}`;
    case "ksym":
      return `k${v.sym}`;
    default:
      return undefined;
  }
}

export interface LoopLeaves {
  /** By block index: those that were made in front of the loop around it, by `wideKey`. */
  readonly hoisted: (Map<string, number> | undefined)[];
  /** By block index: leaves to make at its end, for the loop that follows. */
  readonly before: Map<number, { readonly leaves: Map<string, Inst>; readonly made: Map<string, number> }>;
}

/**
 * Two-slot leaves that a loop without calls uses are made once, in the block in front of it. Nothing is kept over
 * calls for that: making them again is cheaper than a spill.
 */
export function planLoops(cfg: Cfg, loops: readonly Loop[]): LoopLeaves {
  const plan: LoopLeaves = { hoisted: cfg.order.map(() => undefined), before: new Map() };
  // The outermost loop comes first and decides.
  for (const l of loops) if (plan.hoisted[l.header] === undefined) planLoop(cfg, l, plan);
  return plan;
}

function planLoop({ order, preds }: Cfg, loop: Loop, plan: LoopLeaves): void {
  const outside = preds[loop.header]!.filter((p) => !loop.blocks.includes(p));
  if (outside.length !== 1 || order[outside[0]!]!.term!.op !== "jmp") return;
  const leaves = new Map<string, Inst>();
  for (const b of loop.blocks) {
    for (const i of order[b]!.insts) {
      if (i.op === "call") return;
      for (const a of i.args) {
        const key = wideKey(a);
        if (key !== undefined) leaves.set(key, a);
      }
    }
  }
  if (leaves.size === 0 || leaves.size > 3) return;
  const made = new Map<string, number>();
  plan.before.set(outside[0]!, { leaves, made });
  for (const b of loop.blocks) plan.hoisted[b] = made;
}
