/**
 * What every iteration computes anew although it cannot change moves in front of the loop. Only
 * from the block that begins the loop, which always runs, so nothing is computed that was not before; and only
 * in loops without calls, where there are registers to keep the results in.
 */
import type { Cfg, Loop } from "../ir/cfg.ts";
import { computeCfg, findLoops } from "../ir/cfg.ts";
import type { Func, Inst } from "../ir/ir.ts";
import { isBinOp } from "../ir/ir.ts";
import { escapedSlots, Memory } from "./memory.ts";

/** Values that one loop may keep in registers all along. */
const MAX_HOISTED = 4;

/** Rewrites `f` in place; whether anything moved. */
export function hoistInvariants(f: Func): boolean {
  const cfg = computeCfg(f);
  const loops = findLoops(cfg);
  if (loops.length === 0) return false;
  let moved = false;
  // Inner loops first: what they give up may leave the outer one too.
  for (let k = loops.length - 1; k >= 0; k--) if (hoist(f, cfg, loops[k]!)) moved = true;
  return moved;
}

function hoist(f: Func, cfg: Cfg, loop: Loop): boolean {
  const inside = new Set(loop.blocks.map((b) => cfg.order[b]!));
  const defined = new Set<Inst>();
  for (const b of inside) {
    for (const p of b.params) defined.add(p);
    for (const i of b.insts) {
      if (i.op === "call") return false;
      defined.add(i);
    }
  }
  const header = cfg.order[loop.header]!;
  const out: Inst[] = [];
  const kept: Inst[] = [];
  const escaped = escapedSlots(f);
  for (const i of header.insts) {
    if (
      out.length < MAX_HOISTED &&
      isPure(i) &&
      !i.args.some((a) => defined.has(a)) &&
      (i.op !== "load" || isConstant(i))
    ) {
      out.push(i);
      defined.delete(i);
    } else kept.push(i);
  }
  if (out.length === 0) return false;

  function isConstant(l: Inst): boolean {
    if (l.volatile) return false;
    if (l.invariant) return true;
    const probe = new Memory(escaped);
    const { base, off } = probe.root(l.args[0]!, l.off);
    if (Number.isNaN(off)) return false;
    probe.add({ base, off, size: l.size, value: l, from: "zext" });
    for (const b of inside) for (const i of b.insts) if (i.op !== "load") probe.apply(i);
    return probe.entries.length === 1;
  }

  header.insts = kept;
  const before = f.block();
  before.insts = out;
  const jump = f.inst("jmp", "void", [], header.term!.span);
  before.term = jump;
  // All ways in from outside lead through the new block.
  const params = header.params.map((p) => f.blockParam(before, p.type, p.space));
  jump.edges = [{ to: header, args: params }];
  for (const b of f.blocks) {
    if (inside.has(b) || b === before) continue;
    for (const e of b.term!.edges) if (e.to === header) e.to = before;
  }
  return true;
}

function isPure(i: Inst): boolean {
  return (
    i.op === "load" ||
    i.op === "zext" ||
    i.op === "sext" ||
    i.op === "neg" ||
    i.op === "tobe" ||
    i.op === "tole" ||
    i.op === "bswap" ||
    isBinOp(i.op)
  );
}
