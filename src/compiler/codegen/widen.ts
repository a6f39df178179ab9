/**
 * Instruction sets below v3 have no w-registers: 32-bit arithmetic becomes 64-bit arithmetic on extended operands
 * whose result is extended again. (The instructions are older than the sets, but the verifiers of that age follow
 * them badly, and clang does not use them there either.)
 */
import type { Func, Inst } from "../ir/ir.ts";
import { isBinOp } from "../ir/ir.ts";

/** Rewrites `f` in place; comparisons keep their width. */
export function widenArithmetic(f: Func): void {
  for (const b of f.blocks) {
    let out: Inst[] | undefined;
    for (let k = 0; k < b.insts.length; k++) {
      const i = b.insts[k]!;
      if (i.width === 32 && (isBinOp(i.op) || i.op === "neg")) {
        out ??= b.insts.slice(0, k);
        widen(f, i, out);
      } else out?.push(i);
    }
    if (out !== undefined) b.insts = out;
  }
}

function widen(f: Func, i: Inst, out: Inst[]): void {
  const extend = (op: "zext" | "sext", v: Inst): Inst => {
    const r = f.inst(v.op === "const" ? "const" : op, "int", v.op === "const" ? [] : [v], i.span);
    if (v.op === "const") r.value = op === "zext" ? BigInt.asUintN(32, v.value) : BigInt.asIntN(32, v.value);
    else {
      r.bits = 32;
      out.push(r);
    }
    return r;
  };
  /** Of a shift: modulo 32. */
  const count = (v: Inst): Inst => {
    const mask = f.inst("const", "int");
    mask.value = v.op === "const" ? v.value & 31n : 31n;
    if (v.op === "const") return mask;
    const r = f.inst("and", "int", [v, mask], i.span);
    out.push(r);
    return r;
  };
  const wide = f.inst(i.op, "int", i.args.slice(), i.span);
  switch (i.op) {
    case "udiv":
    case "umod":
      wide.args = i.args.map((a) => extend("zext", a));
      break;
    case "sdiv":
    case "smod":
      wide.args = i.args.map((a) => extend("sext", a));
      break;
    case "lshr":
      wide.args = [extend("zext", i.args[0]!), count(i.args[1]!)];
      break;
    case "ashr":
      wide.args = [extend("sext", i.args[0]!), count(i.args[1]!)];
      break;
    case "shl":
      wide.args = [i.args[0]!, count(i.args[1]!)];
      break;
    default:
  }
  out.push(wide);
  // The extension takes the place of `i`, so that its uses stay as they are.
  i.op = "zext";
  i.bits = 32;
  i.width = 64;
  i.args = [wide];
  out.push(i);
}
