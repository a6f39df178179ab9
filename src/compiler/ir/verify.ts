/** Checks the rules that every pass relies on. For tests and for looking for the pass that broke something. */
import { computeCfg, dominates } from "./cfg.ts";
import type { Func, Inst } from "./ir.ts";
import { isLeaf } from "./ir.ts";
import { printInst } from "./print.ts";

/** What is wrong with `f`: one sentence each; none when it is well-formed. */
export function verifyFunc(f: Func): string[] {
  const problems: string[] = [];
  const place = new Map<Inst, { block: number; at: number }>();
  for (const b of f.blocks) if (b.term === undefined) problems.push(`${b.name} has no terminator`);
  if (problems.length > 0) return problems;
  if (f.blocks[0]!.params.length > 0) problems.push("the entry has parameters");
  const cfg = computeCfg(f);
  if (cfg.preds[0]!.length > 0) problems.push("the entry is the target of an edge");
  for (const p of f.params) place.set(p, { block: 0, at: -1 });
  cfg.order.forEach((b, block) => {
    b.params.forEach((p, k) => {
      if (p.index !== k) problems.push(`parameter ${k} of ${b.name} says it is ${p.index}`);
      place.set(p, { block, at: -1 });
    });
    b.insts.forEach((i, at) => {
      if (place.has(i)) problems.push(`${printInst(i)} is twice in the function`);
      place.set(i, { block, at });
    });
  });
  cfg.order.forEach((b, block) => {
    const use = (v: Inst, at: number, user: string): void => {
      if (v.op === "slot" && f.slots[v.slot!.id] !== v.slot)
        problems.push(`${user} in ${b.name} uses slot ${v.slot!.name}, which the function does not have`);
      if (isLeaf(v.op)) return;
      const d = place.get(v);
      if (d === undefined) problems.push(`${user} in ${b.name} uses %${v.id}, which is nowhere`);
      else if (d.block === block ? d.at >= at : !dominates(cfg, d.block, block))
        problems.push(`${user} in ${b.name} uses %${v.id}, which is not always set before`);
    };
    b.insts.forEach((i, at) => {
      for (const a of i.args) use(a, at, printInst(i));
    });
    const t = b.term!;
    for (const a of t.args) use(a, Infinity, t.op);
    for (const e of t.edges) {
      for (const a of e.args) use(a, Infinity, t.op);
      if (e.args.length !== e.to.params.length)
        problems.push(
          `${b.name} passes ${e.args.length} arguments to ${e.to.name}, which has ${e.to.params.length} parameters`,
        );
      else
        e.args.forEach(
          (a, k) =>
            a.type !== e.to.params[k]!.type &&
            a.op !== "const" &&
            a.op !== "undef" &&
            problems.push(`${b.name} passes ${a.type} for ${e.to.params[k]!.type} to ${e.to.name}`),
        );
    }
  });
  return problems;
}
