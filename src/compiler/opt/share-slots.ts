/**
 * Two temporaries that hold the same, such as the key of a look-up and of the update behind it, become
 * one: the second is never stored. Both must be written once, and only be read.
 */
import { computeCfg, dominates } from "../ir/cfg.ts";
import type { Func, Inst, Slot } from "../ir/ir.ts";
import { escapedSlots } from "./memory.ts";
import { rootOf } from "./util.ts";

interface Usage {
  readonly stores: { readonly inst: Inst; readonly off: number; readonly block: number; readonly at: number }[];
  readonly reads: { readonly block: number; readonly at: number }[];
  /** Written by something else. */
  other: boolean;
}

/** Rewrites `f` in place; whether anything changed. */
export function shareEqualSlots(f: Func): boolean {
  if (f.slots.length < 2) return false;
  const escaped = escapedSlots(f);
  const usage = new Map<Slot, Usage>();
  for (const s of f.slots) if (!escaped.has(s)) usage.set(s, { stores: [], reads: [], other: false });
  if (usage.size < 2) return false;
  const cfg = computeCfg(f);
  for (let b = 0; b < cfg.order.length; b++) {
    const { insts } = cfg.order[b]!;
    for (let at = 0; at < insts.length; at++) collect(insts[at]!, b, at, usage);
  }
  const bySignature = new Map<string, Slot[]>();
  for (const [slot, u] of usage) {
    if (u.other || u.stores.length === 0 || u.stores.length > 4) continue;
    const block = u.stores[0]!.block;
    const sorted = [...u.stores].sort((x, y) => x.off - y.off);
    // Every byte once, in one block.
    let end = 0;
    if (sorted.some((s) => s.block !== block || s.off !== end || ((end += s.inst.size), false))) continue;
    if (end !== slot.size) continue;
    const key = `${slot.size} ${slot.align} ${sorted.map((s) => `${s.inst.size}:${s.inst.args[1]!.op === "const" ? `c${s.inst.args[1]!.value}` : s.inst.args[1]!.id}`).join(" ")}`;
    const list = bySignature.get(key);
    if (list === undefined) bySignature.set(key, [slot]);
    else list.push(slot);
  }
  const into = new Map<Slot, Slot>();
  for (const list of bySignature.values()) {
    for (let k = 1; k < list.length; k++) {
      const { stores: later, reads } = usage.get(list[k]!)!;
      // A read that the stores do not dominate sees what an earlier iteration stored, when the first may have moved on.
      if (!reads.every((r) => comesBefore(later, [r], cfg))) continue;
      const first = list.slice(0, k).find((s) => !into.has(s) && comesBefore(usage.get(s)!.stores, later, cfg));
      if (first !== undefined) into.set(list[k]!, first);
    }
  }
  if (into.size === 0) return false;
  const dead = (i: Inst): boolean => {
    if (i.op === "start") return into.has(i.slot!);
    if (i.op !== "store") return false;
    const { base } = rootOf(i.args[0]!);
    return base.op === "slot" && into.has(base.slot!);
  };
  for (const b of f.blocks) {
    b.insts = b.insts.filter((i) => !dead(i));
    for (const i of b.insts) {
      for (let k = 0; k < i.args.length; k++) {
        const a = i.args[k]!;
        const to = a.op === "slot" ? into.get(a.slot!) : undefined;
        if (to === undefined) continue;
        const address = f.inst("slot", "ptr");
        address.slot = to;
        address.space = "stack";
        i.args[k] = address;
      }
    }
  }
  return true;
}

function comesBefore(first: Usage["reads"], later: Usage["reads"], cfg: ReturnType<typeof computeCfg>): boolean {
  const b = first[0]!.block;
  const c = later[0]!.block;
  if (b !== c) return dominates(cfg, b, c);
  return Math.max(...first.map((s) => s.at)) < Math.min(...later.map((s) => s.at));
}

function collect(i: Inst, block: number, at: number, usage: ReadonlyMap<Slot, Usage>): void {
  const of = (p: Inst): { u: Usage; off: number } | undefined => {
    const { base, off } = rootOf(p);
    const u = base.op === "slot" ? usage.get(base.slot!) : undefined;
    return u === undefined ? undefined : { u, off };
  };
  const read = (p: Inst): void => {
    of(p)?.u.reads.push({ block, at });
  };
  switch (i.op) {
    case "load":
      read(i.args[0]!);
      return;
    case "store": {
      const r = of(i.args[0]!);
      if (r === undefined) return;
      if (i.volatile || i.core !== undefined || Number.isNaN(r.off)) r.u.other = true;
      else r.u.stores.push({ inst: i, off: r.off + i.off, block, at });
      return;
    }
    case "atomic":
    case "memset":
    case "memcpy": {
      const r = of(i.args[0]!);
      if (r !== undefined) r.u.other = true;
      if (i.op === "memcpy") read(i.args[1]!);
      return;
    }
    case "call":
      for (const m of i.call!.mem) {
        const r = m.mode === "in" ? undefined : of(i.args[m.arg]!);
        if (r !== undefined) r.u.other = true;
        else read(i.args[m.arg]!);
      }
      return;
    default:
  }
}
