/**
 * Which low bits of each value its users look at. An extension or a mask of bits that nobody
 * looks at goes; a signed load of which only the loaded bits matter needs no extension.
 */
import { computeCfg } from "../ir/cfg.ts";
import type { Func, Inst } from "../ir/ir.ts";
import { Replacements } from "./util.ts";

/** Rewrites `f` in place; whether anything changed. */
export function dropUndemanded(f: Func): boolean {
  const demand = new Uint8Array(f.instCount);
  const replace = new Replacements();
  let changed = false;
  const use = (v: Inst, bits: number): void => {
    if (demand[v.id]! < bits) demand[v.id] = bits;
  };
  const { order } = computeCfg(f);
  for (let b = order.length - 1; b >= 0; b--) {
    const t = order[b]!.term!;
    for (const e of t.edges) for (const a of e.args) use(a, 64);
    const width = t.op === "br" || t.op === "switch" ? t.width : 64;
    for (const a of t.args) use(a, width);
  }
  for (let b = order.length - 1; b >= 0; b--) {
    const { insts } = order[b]!;
    for (let k = insts.length - 1; k >= 0; k--) {
      const i = insts[k]!;
      const bits = demand[i.id]!;
      switch (i.op) {
        case "load":
          if (i.signed && bits <= i.size * 8 && i.size < 8) {
            i.signed = false;
            changed = true;
          }
          use(i.args[0]!, 64);
          break;
        case "store":
          use(i.args[0]!, 64);
          use(i.args[1]!, i.size * 8);
          break;
        case "zext":
        case "sext":
          if (bits <= i.bits && i.args[0]!.type === "int") {
            replace.set(i, i.args[0]!);
            use(i.args[0]!, bits);
          } else use(i.args[0]!, i.bits);
          break;
        case "bswap":
        case "tobe":
        case "tole":
          use(i.args[0]!, i.bits);
          break;
        case "and": {
          const mask = i.args[1]!;
          if (mask.op === "const" && i.type === "int") {
            const low = (1n << BigInt(bits)) - 1n;
            if ((mask.value & low) === low && i.args[0]!.type === "int" && bits <= i.width) {
              replace.set(i, i.args[0]!);
              use(i.args[0]!, bits);
              break;
            }
          }
          use(i.args[0]!, Math.min(bits, i.width));
          use(i.args[1]!, Math.min(bits, i.width));
          break;
        }
        case "add":
        case "sub":
        case "mul":
        case "or":
        case "xor":
        case "neg":
          // The low bits of the result come from the low bits of the operands.
          for (const a of i.args) use(a, i.type === "ptr" ? 64 : Math.min(bits, i.width));
          break;
        case "shl":
          use(i.args[0]!, Math.min(bits, i.width));
          use(i.args[1]!, 64);
          break;
        case "cmp":
          for (const a of i.args) use(a, i.width);
          break;
        case "udiv":
        case "umod":
        case "sdiv":
        case "smod":
        case "lshr":
        case "ashr":
          for (const a of i.args) use(a, i.width);
          break;
        case "select":
          use(i.args[0]!, 64);
          use(i.args[1]!, bits);
          use(i.args[2]!, bits);
          break;
        default:
          for (const a of i.args) use(a, 64);
      }
    }
  }
  replace.applyTo(f);
  return changed || replace.any;
}
