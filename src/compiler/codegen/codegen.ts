/** The back end: IR in, instructions of a program out. */
import { DiagnosticError } from "../../core/errors.ts";
import type { Func, Inst, Module } from "../ir/ir.ts";
import { dropUnreached } from "../ir/reach.ts";
import type { Code, Placed } from "./emit.ts";
import { emitCode } from "./emit.ts";
import { selectFunc } from "./isel.ts";
import { layoutBlocks } from "./layout.ts";
import { lower } from "./lower.ts";
import { allocateRegisters } from "./regalloc.ts";
import { layoutSlots } from "./slots.ts";
import type { Target } from "./target.ts";

/** Bytes of stack of one function. */
const MAX_STACK = 512;

/**
 * Generates the code of a program: its entry function first, the others laid behind it in
 * their order. The IR is consumed (rewritten in place).
 * @throws DiagnosticError `STACK_TOO_LARGE` when the stack objects of a function do not fit 512 bytes.
 */
export function generate(m: Module, target: Target): Code {
  for (const f of m.funcs) lower(f, target);
  dropUnreached(m);
  return emitCode(m.funcs.map((f) => generateFunc(f, target)), target);
}

function generateFunc(f: Func, target: Target): Placed {
  const pinned = escapingSlots(f);
  const func = selectFunc(f, target);
  allocateRegisters(func);
  layoutBlocks(func);
  const stack = layoutSlots(func, pinned);
  if (stack.size > MAX_STACK) throw stackError(f, stack.size);
  return { func, stack };
}

/** Slots whose address lives on in a register or in memory; elsewhere each use of a slot names it. */
export function escapingSlots(f: Func): Set<number> {
  const escaped = new Set<number>();
  const slotOf = (v: Inst): number | undefined =>
    v.op === "slot" ? v.slot!.id : v.op === "add" && v.args[0]!.op === "slot" && v.args[1]!.op === "const" ? v.args[0]!.slot!.id : undefined;
  const escape = (v: Inst): void => {
    const s = slotOf(v);
    if (s !== undefined) escaped.add(s);
  };
  for (const b of f.blocks) {
    for (const i of b.insts) {
      switch (i.op) {
        case "load":
        case "memset":
        case "memcpy":
        case "call":
          break;
        case "store":
        case "atomic":
          for (let k = 1; k < i.args.length; k++) escape(i.args[k]!);
          break;
        case "add":
          if (slotOf(i) === undefined) i.args.forEach(escape);
          break;
        default:
          i.args.forEach(escape);
      }
    }
    const t = b.term!;
    if (t.op === "ret" || t.op === "switch") t.args.forEach(escape);
    for (const e of t.edges) e.args.forEach(escape);
  }
  return escaped;
}

function stackError(f: Func, size: number): DiagnosticError {
  const largest = [...f.slots].sort((a, b) => b.size - a.size).slice(0, 5);
  return new DiagnosticError("STACK_TOO_LARGE", [
    {
      code: "STACK_TOO_LARGE",
      severity: "error",
      message: `${f.name} needs ${size} bytes of stack, the kernel allows ${MAX_STACK}`,
      labels: f.span === undefined ? [] : [{ span: f.span }],
      notes: largest.map((s) => `${s.name}: ${s.size} bytes`),
      help: "keep large values in a map or reserve them in a ring buffer",
    },
  ]);
}
