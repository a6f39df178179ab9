/** Which functions of a program its entry can reach. */
import type { Block, Module } from "./ir.ts";

/** Drops the functions that the entry cannot reach by calls or addresses in reachable blocks: the verifier refuses them. */
export function dropUnreached(m: Module): void {
  if (m.funcs.length < 2) return;
  const byName = new Map(m.funcs.map((f) => [f.name, f]));
  const used = new Set<string>([m.funcs[0]!.name]);
  for (const name of used) {
    const f = byName.get(name);
    if (f === undefined) continue;
    const seen = new Set<Block>([f.blocks[0]!]);
    for (const b of seen) {
      for (const i of b.insts) {
        const c = i.call?.callee;
        if (c !== undefined && c.kind === "subprog") used.add(c.name);
        for (const a of i.args) if (a.op === "func") used.add(a.sym);
      }
      for (const e of b.term!.edges) {
        for (const a of e.args) if (a.op === "func") used.add(a.sym);
        seen.add(e.to);
      }
    }
  }
  const kept = m.funcs.filter((f) => used.has(f.name));
  m.funcs.splice(0, m.funcs.length, ...kept);
}
