/** Names for operands of instructions: maps, kernel functions and variables, functions of the program. */
import type { InsnRef, ProgSpec } from "../elf/spec.ts";

/** By instruction slot. */
export function symbolsOf(prog: ProgSpec): ReadonlyMap<number, string> {
  const functions = new Map(prog.funcs.map((f) => [f.insn, f.name]));
  return new Map(prog.refs.flatMap((r) => symbolOf(r, functions)));
}

function symbolOf(ref: InsnRef, functions: ReadonlyMap<number, string>): [number, string][] {
  switch (ref.kind) {
    case "map":
    case "map-value":
      return [[ref.insn, ref.map]];
    case "kfunc":
    case "ksym":
      return [[ref.insn, ref.name]];
    case "func":
    case "subprog": {
      const name = functions.get(ref.target);
      return name === undefined ? [] : [[ref.insn, name]];
    }
  }
}
