/**
 * Random programs that know what their registers hold, so that many are accepted: calls, loops, packets, map values,
 * spills, subprograms, callbacks, atomics, ring buffers, dynptrs, iterators, BTF pointers. A few insns are wild, and some
 * programs have fields changed at random afterwards.
 */
import type { Insn } from "../../../src/asm/index.ts";
import type { Rng } from "./rng.ts";
import type * as t from "./targets.ts";
import { FunctionWriter } from "./write-function.ts";
import type { FuncSpec, Value } from "./writer-state.ts";

export interface Generated {
  readonly insns: Insn[];
  /** Byte triples for func_info: insn offset and BTF id; empty: no program BTF. */
  readonly funcs: readonly { readonly insn: number; readonly typeId: number }[];
  readonly flags: number;
}

/** BTF ids of the kernel functions that programs call, by name. */
export type KfuncIds = ReadonlyMap<string, number>;

const MAX_FUNCS = 5;

export function generate(rng: Rng, target: t.Target, types: t.ProgTypes, kfuncs: KfuncIds): Generated {
  const withBtf = rng.chance(50);
  const specs: FuncSpec[] = [{ index: 0, args: [{ kind: "ctx" }], role: "main", global: null, typeId: types.main }];
  const globals = [...types.globals];
  const bodies: FunctionWriter[] = [];
  const request = (role: FuncSpec["role"], args: readonly Value[]): FuncSpec | null => {
    if (specs.length >= MAX_FUNCS) return null;
    const global = role === "global" ? (globals.splice(rng.below(globals.length), 1)[0] ?? null) : null;
    if (role === "global" && (global === null || !withBtf)) return null;
    const statics = specs.filter((s) => s.role !== "global").length - 1;
    const spec: FuncSpec = {
      index: specs.length,
      role,
      global,
      typeId: global?.id ?? types.statics[statics]!,
      args: global === null ? args : global.args.map((a) => ({ kind: a === "scalar" ? "scalar" : "mem8null" })),
    };
    specs.push(spec);
    return spec;
  };
  const budget = 2 + rng.below(10);
  for (let i = 0; i < specs.length; i++) {
    const w = new FunctionWriter(rng, target, kfuncs, specs[i]!, withBtf, request, specs);
    w.write(i === 0 ? budget : 1 + rng.below(3));
    bodies.push(w);
  }
  // Addresses of functions, then calls.
  const starts: number[] = [];
  let at = 0;
  for (const w of bodies) {
    starts.push(at);
    at += w.insns.length;
  }
  const insns: Insn[] = [];
  bodies.forEach((w, n) => {
    const base = starts[n]!;
    w.insns.forEach((insn, i) => {
      const callee = w.callees.get(i);
      insns.push(callee === undefined ? insn : { ...insn, imm: starts[callee]! - (base + i) - 1 });
    });
  });
  if (rng.chance(12)) mutate(rng, insns);
  const roll = rng.below(20);
  // A state saved at every insn of a loop without an end takes gigabytes, of the kernel too.
  const loops = insns.some((x) => (x.opcode & 7) >= 5 && x.off < 0);
  return {
    insns,
    funcs: withBtf ? specs.map((s, n) => ({ insn: starts[n]!, typeId: s.typeId })) : [],
    flags: roll === 0 && !loops ? 8 : roll === 1 ? 1 : roll === 2 ? 128 : 0,
  };
}

const OFFSETS = [0, 1, -1, 2, -2, 4, 8, -8, 16, -512, -520, 0x7fff, -0x8000];
const NUMBERS = [0, 1, -1, 2, 8, 16, 31, 32, 63, 64, 255, 0x7fffffff, -0x80000000, 0x10000];

/** One to three fields, or whole insns, changed. */
function mutate(rng: Rng, insns: Insn[]): void {
  for (let n = 1 + rng.below(3); n > 0; n--) {
    const i = rng.below(insns.length);
    const old = insns[i]!;
    switch (rng.below(7)) {
      case 0:
        insns[i] = { ...old, opcode: rng.below(256) };
        break;
      case 1:
        insns[i] = { ...old, dst: rng.below(11) };
        break;
      case 2:
        insns[i] = { ...old, src: rng.below(11) };
        break;
      case 3:
        insns[i] = { ...old, off: rng.pick(OFFSETS) };
        break;
      case 4:
        insns[i] = { ...old, imm: rng.pick(NUMBERS) };
        break;
      case 5:
        insns[i] = { ...insns[rng.below(insns.length)]! };
        break;
      default:
        insns[i] = { ...old, off: Math.max(-0x8000, Math.min(0x7fff, old.off + 1 - rng.below(3))) };
    }
  }
}
