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
  const placed = m.funcs.map((f) => generateFunc(f, target));
  checkCombinedStack(m.funcs, placed);
  return emitCode(placed, target);
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
    v.op === "slot"
      ? v.slot!.id
      : v.op === "add" && v.args[0]!.op === "slot" && v.args[1]!.op === "const"
        ? v.args[0]!.slot!.id
        : undefined;
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

/** A chain of calls shares the 512 bytes; each frame counts in steps of 32. */
function checkCombinedStack(funcs: readonly Func[], placed: readonly Placed[]): void {
  if (funcs.length < 2) return;
  const index = new Map(funcs.map((f, k) => [f.name, k]));
  const depth = new Map<number, { size: number; chain: string[] }>();
  const deepest = (k: number, path: readonly number[]): { size: number; chain: string[] } => {
    const known = depth.get(k);
    if (known !== undefined || path.includes(k)) return known ?? { size: 0, chain: [] };
    let below: { size: number; chain: string[] } = { size: 0, chain: [] };
    for (const b of placed[k]!.func.blocks) {
      for (const { ref } of b.insts) {
        const callee =
          ref !== undefined && (ref.kind === "subprog" || ref.kind === "func") ? index.get(ref.name) : undefined;
        if (callee === undefined) continue;
        const d = deepest(callee, [...path, k]);
        if (d.size > below.size) below = d;
      }
    }
    const own = Math.ceil(Math.max(placed[k]!.stack.size, 1) / 32) * 32;
    const result = { size: own + below.size, chain: [`${funcs[k]!.name} (${placed[k]!.stack.size})`, ...below.chain] };
    depth.set(k, result);
    return result;
  };
  const { size, chain } = deepest(0, []);
  if (size <= MAX_STACK) return;
  throw new DiagnosticError("STACK_TOO_LARGE", [
    {
      code: "STACK_TOO_LARGE",
      severity: "error",
      message: `${funcs[0]!.name} and the functions it calls need ${size} bytes of stack, the kernel allows ${MAX_STACK} together`,
      labels: funcs[0]!.span === undefined ? [] : [{ span: funcs[0]!.span }],
      notes: [`${chain.join(" calls ")}, each rounded up to 32 bytes`],
      help: "keep large values in a map or reserve them in a ring buffer",
    },
  ]);
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
