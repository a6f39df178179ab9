/** Which values selection will need in a register, once addresses went into offsets and comparisons into jumps. */
import type { Block, Func, Inst } from "../ir/ir.ts";
import { isLeaf } from "../ir/ir.ts";
import { slotOffset } from "./leaves.ts";

export interface RegisterUses {
  /** By instruction id; 0: it need not be selected at all. */
  readonly uses: Int32Array;
  /** The block parameters that edges pass a value to. */
  readonly passed: ReadonlyMap<Inst, Inst[]>;
}

/** @param order Reachable blocks, dominators before what they dominate. */
export function countRegisterUses(f: Func, order: readonly Block[]): RegisterUses {
  const uses = new Int32Array(f.instCount);
  const passed = new Map<Inst, Inst[]>();
  const need = (v: Inst): void => {
    if (!isLeaf(v.op) && slotOffset(v) === undefined) uses[v.id]!++;
  };
  for (let b = order.length - 1; b >= 0; b--) {
    const { insts, term } = order[b]!;
    for (const e of term!.edges) {
      for (let k = 0; k < e.args.length; k++) {
        need(e.args[k]!);
        const list = passed.get(e.args[k]!);
        if (list === undefined) passed.set(e.args[k]!, [e.to.params[k]!]);
        else list.push(e.to.params[k]!);
      }
    }
    term!.args.forEach(need);
    for (let k = insts.length - 1; k >= 0; k--) {
      const i = insts[k]!;
      if (!isSelected(i, uses)) continue;
      switch (i.op) {
        case "load":
        case "store":
        case "atomic":
          need(accessBase(i));
          for (let a = 1; a < i.args.length; a++) need(i.args[a]!);
          break;
        case "select": {
          const [c, x, y] = i.args as [Inst, Inst, Inst];
          if (c.op === "cmp") c.args.forEach(need);
          else need(c);
          need(x);
          need(y);
          break;
        }
        default:
          i.args.forEach(need);
      }
    }
  }
  return { uses, passed };
}

/** Whether the instruction is needed, for its result or its effect. */
export function isSelected(i: Inst, uses: Int32Array): boolean {
  return !isLeaf(i.op) && i.op !== "start" && (uses[i.id]! > 0 || hasEffect(i));
}

function hasEffect(i: Inst): boolean {
  switch (i.op) {
    case "store":
    case "atomic":
      return true;
    case "load":
      return i.volatile;
    case "call":
      return !i.call!.pure;
    default:
      return false;
  }
}

/** The pointer that an access really needs, after constant additions moved into its offset. */
export function accessBase(i: Inst): Inst {
  let p = i.args[0]!;
  if (i.core !== undefined) return p;
  let { off } = i;
  while (p.op === "add" && p.type === "ptr" && p.args[1]!.op === "const") {
    off += Number(p.args[1]!.value);
    if ((off << 16) >> 16 !== off) break;
    p = p.args[0]!;
  }
  return p;
}
/** The access's offset from `accessBase(i)`. */
export function accessOffset(i: Inst, base: Inst): number {
  let { off } = i;
  for (let p = i.args[0]!; p !== base; p = p.args[0]!) off += Number(p.args[1]!.value);
  return off;
}
