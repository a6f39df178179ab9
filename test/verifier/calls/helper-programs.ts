/** Programs that call a random helper with random arguments, mostly of the kind it asks for. */
import fc from "fast-check";
import {
  type Insn,
  alu64Imm,
  alu64Reg,
  callHelper,
  exit,
  jmpImm,
  ldMapFd,
  ldMapValue,
  ldxMem,
  mov64Imm,
  mov64Reg,
  stMem,
} from "../../../src/asm/index.ts";
import { helperById } from "../../../src/uapi/index.ts";
import type { ArgType } from "../../../src/uapi/index.ts";

/** [type, key, value, entries] of the maps that arguments come from; the first is an array of one. */
export const MAPS: readonly (readonly [number, number, number, number])[] = [
  [2, 4, 64, 1],
  [1, 8, 64, 8],
  [3, 4, 4, 2],
  [4, 4, 4, 2],
  [5, 4, 16, 4],
  [6, 4, 16, 4],
  [7, 4, 8, 4],
  [8, 4, 4, 2],
  [9, 4, 16, 4],
  [14, 4, 4, 2],
  [15, 4, 4, 2],
  [16, 4, 4, 2],
  [17, 4, 4, 2],
  [18, 4, 4, 2],
  [20, 4, 8, 2],
  [22, 0, 8, 4],
  [23, 0, 8, 4],
  [27, 0, 0, 4096],
  [30, 0, 8, 4],
  [31, 0, 0, 4096],
];

/** How an argument register is filled. */
export type Fill =
  | { kind: "none" }
  | { kind: "imm"; value: number }
  | { kind: "unknown"; mask: number }
  | { kind: "ctx"; off: number }
  | { kind: "stack"; off: number }
  | { kind: "map"; index: number }
  | { kind: "value"; off: number }
  | { kind: "lookup"; off: number };

export interface HelperCall {
  readonly id: number;
  readonly fills: readonly Fill[];
  /** What is done with r0: nothing, a NULL check, a load through it unchecked or checked. */
  readonly use: number;
}

const CTX = 6;
const LOOKUP = 7;
const UNKNOWN = 8;
const FP = 10;

function fillInsns(reg: number, fill: Fill): Insn[] {
  switch (fill.kind) {
    case "none":
      return [];
    case "imm":
      return [mov64Imm(reg, fill.value)];
    case "unknown":
      return fill.mask === 0 ? [mov64Reg(reg, UNKNOWN)] : [mov64Reg(reg, UNKNOWN), alu64Imm("and", reg, fill.mask)];
    case "ctx":
      return fill.off === 0 ? [mov64Reg(reg, CTX)] : [mov64Reg(reg, CTX), alu64Imm("add", reg, fill.off)];
    case "stack":
      return [mov64Reg(reg, FP), alu64Imm("add", reg, fill.off)];
    case "map":
      return ldMapFd(reg, fill.index);
    case "value":
      return ldMapValue(reg, 0, fill.off);
    case "lookup":
      return fill.off === 0 ? [mov64Reg(reg, LOOKUP)] : [mov64Reg(reg, LOOKUP), alu64Reg("add", reg, UNKNOWN)];
  }
}

/** r6 ctx, r7 a looked-up value or NULL, r8 an unknown number; fp-8 is 0, the rest of the stack is not written. */
export function helperProgram(call: HelperCall): Insn[] {
  const insns: Insn[] = [
    mov64Reg(CTX, 1),
    stMem("dw", FP, -8, 0),
    ldxMem("dw", UNKNOWN, FP, -400),
    mov64Imm(LOOKUP, 0),
  ];
  if (call.fills.some((f) => f.kind === "lookup")) {
    insns.push(...ldMapFd(1, 1), mov64Reg(2, FP), alu64Imm("add", 2, -8), callHelper(1), mov64Reg(LOOKUP, 0));
    if (call.use !== 3) insns.push(jmpImm("jne", LOOKUP, 0, 2), mov64Imm(0, 0), exit());
  }
  call.fills.forEach((fill, i) => insns.push(...fillInsns(i + 1, fill)));
  insns.push(callHelper(call.id));
  if (call.use === 1 || call.use === 2) {
    if (call.use === 2) insns.push(jmpImm("jne", 0, 0, 2), mov64Imm(0, 0), exit());
    insns.push(ldxMem("w", 1, 0, 4));
  }
  insns.push(mov64Imm(0, 0), exit());
  return insns;
}

const imm = fc.constantFrom(0, 1, 4, 8, 16, 64, 512, -1).map((value): Fill => ({ kind: "imm", value }));
const unknown = fc.constantFrom(0, 0x3f, 0xfff, 7).map((mask): Fill => ({ kind: "unknown", mask }));
const ctx = fc.constantFrom(0, 0, 0, 8).map((off): Fill => ({ kind: "ctx", off }));
const stack = fc.constantFrom(-8, -16, -64, -256, -12, 0, -520).map((off): Fill => ({ kind: "stack", off }));
const map = fc.nat(MAPS.length - 1).map((index): Fill => ({ kind: "map", index }));
const value = fc.constantFrom(0, 0, 8, 60, 64).map((off): Fill => ({ kind: "value", off }));
const lookup = fc.constantFrom(0, 0, 1).map((off): Fill => ({ kind: "lookup", off }));
const any: fc.Arbitrary<Fill> = fc.oneof(
  imm,
  unknown,
  ctx,
  stack,
  map,
  value,
  lookup,
  fc.constant<Fill>({ kind: "none" }),
);

function fitting(type: ArgType): fc.Arbitrary<Fill> {
  switch (type) {
    case "ARG_CONST_MAP_PTR":
      return map;
    case "ARG_PTR_TO_CTX":
      return ctx;
    case "ARG_CONST_SIZE":
    case "ARG_CONST_SIZE_OR_ZERO":
    case "ARG_CONST_ALLOC_SIZE_OR_ZERO":
    case "ARG_ANYTHING":
      return fc.oneof(imm, imm, unknown);
    case "ARG_PTR_TO_MAP_KEY":
    case "ARG_PTR_TO_MAP_VALUE":
    case "ARG_PTR_TO_MEM":
      return fc.oneof(stack, stack, value, lookup, imm);
    case "ARG_PTR_TO_DYNPTR":
      return stack;
    default:
      return any;
  }
}

/** A call of any helper, ids beyond both ends included. */
export const helperCalls: fc.Arbitrary<HelperCall> = fc
  .integer({ min: 0, max: 213 })
  .filter((id) => id !== 36 && id !== 58)
  .chain((id) => {
    const args = helperById(id)?.args ?? [];
    const fills = [0, 1, 2, 3, 4].map((i) => {
      const arg = args[i];
      return arg === undefined
        ? fc.oneof({ weight: 3, arbitrary: fc.constant<Fill>({ kind: "none" }) }, { weight: 1, arbitrary: any })
        : fc.oneof({ weight: 5, arbitrary: fitting(arg.type) }, { weight: 1, arbitrary: any });
    });
    return fc.record({ id: fc.constant(id), fills: fc.tuple(...fills), use: fc.nat(3) }, { noNullPrototype: true });
  });
