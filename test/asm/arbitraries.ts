/** fast-check arbitraries of instructions, for every suite that needs some. */
import fc from "fast-check";
import { fromOp } from "../../src/asm/index.ts";
import type { Insn, Op, Operand, WideValue } from "../../src/asm/index.ts";

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as unknown as fc.Arbitrary<T>;
const just = <const T>(value: T): fc.Arbitrary<T> => fc.constant(value);
const oneOf = <const T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

/** r0-r10. */
export const reg = fc.integer({ min: 0, max: 10 });
/** s16 and s32 with their limits, small numbers and 0 well represented. */
export const s16 = fc.oneof(
  fc.integer({ min: -0x8000, max: 0x7fff }),
  fc.integer({ min: -64, max: 64 }),
  oneOf(-0x8000, 0x7fff),
);
export const s32 = fc.oneof(
  fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
  fc.integer({ min: -64, max: 64 }),
  oneOf(-0x8000_0000, 0x7fff_ffff, 0xffff, 0x1_0000),
);
const operand: fc.Arbitrary<Operand> = fc.oneof(
  record<Operand & { kind: "reg" }>({ kind: just("reg"), reg }),
  record<Operand & { kind: "imm" }>({ kind: just("imm"), imm: s32 }),
);
const width = oneOf<32 | 64>(32, 64);
const size = oneOf("b", "h", "w", "dw");
const small = oneOf<"b" | "h" | "w">("b", "h", "w");

const wide: fc.Arbitrary<WideValue> = fc.oneof(
  record<WideValue & { kind: "const" }>({ kind: just("const"), lo: s32, hi: s32 }),
  record<WideValue & { kind: "map-fd" }>({ kind: just("map-fd"), fd: s32 }),
  record<WideValue & { kind: "map-value" }>({ kind: just("map-value"), fd: s32, offset: s32 }),
  record<WideValue & { kind: "btf-id" }>({ kind: just("btf-id"), btfId: s32, btfFd: s32 }),
  record<WideValue & { kind: "func" }>({ kind: just("func"), off: s32 }),
  record<WideValue & { kind: "map-idx" }>({ kind: just("map-idx"), index: s32 }),
  record<WideValue & { kind: "map-idx-value" }>({ kind: just("map-idx-value"), index: s32, offset: s32 }),
);

type Of<K extends Op["kind"]> = Extract<Op, { kind: K }>;

/** By kind: every legal form of it. */
export const opsByKind: { readonly [K in Op["kind"]]: fc.Arbitrary<Op> } = {
  alu: record<Of<"alu">>({
    kind: just("alu"),
    op: oneOf("add", "sub", "mul", "div", "sdiv", "or", "and", "lsh", "rsh", "mod", "smod", "xor", "mov", "arsh"),
    width,
    dst: reg,
    src: operand,
  }),
  neg: record<Of<"neg">>({ kind: just("neg"), width, dst: reg }),
  movsx: fc.oneof(
    record<Of<"movsx">>({ kind: just("movsx"), width: just(64), from: oneOf(8, 16, 32), dst: reg, src: reg }),
    record<Of<"movsx">>({ kind: just("movsx"), width: just(32), from: oneOf(8, 16), dst: reg, src: reg }),
  ),
  end: record<Of<"end">>({ kind: just("end"), to: oneOf("le", "be", "swap"), width: oneOf(16, 32, 64), dst: reg }),
  "addr-space-cast": oneOf(0, 1).chain((toSpace) =>
    record<Of<"addr-space-cast">>({
      kind: just("addr-space-cast"),
      dst: reg,
      src: reg,
      toSpace: just(toSpace),
      fromSpace: just(1 - toSpace),
    }),
  ),
  load: fc.oneof(
    record<Of<"load">>({ kind: just("load"), size, signed: just(false), dst: reg, src: reg, off: s16 }),
    record<Of<"load">>({ kind: just("load"), size: small, signed: just(true), dst: reg, src: reg, off: s16 }),
  ),
  store: record<Of<"store">>({ kind: just("store"), size, dst: reg, off: s16, src: operand }),
  atomic: fc.oneof(
    record<Of<"atomic">>({
      kind: just("atomic"),
      op: oneOf("add", "or", "and", "xor"),
      fetch: fc.boolean(),
      size: oneOf("w", "dw"),
      dst: reg,
      src: reg,
      off: s16,
    }),
    record<Of<"atomic">>({
      kind: just("atomic"),
      op: oneOf("xchg", "cmpxchg"),
      fetch: just(true),
      size: oneOf("w", "dw"),
      dst: reg,
      src: reg,
      off: s16,
    }),
  ),
  "load-acquire": record<Of<"load-acquire">>({ kind: just("load-acquire"), size, dst: reg, src: reg, off: s16 }),
  "store-release": record<Of<"store-release">>({ kind: just("store-release"), size, dst: reg, src: reg, off: s16 }),
  "ld-abs": record<Of<"ld-abs">>({ kind: just("ld-abs"), size: small, imm: s32 }),
  "ld-ind": record<Of<"ld-ind">>({ kind: just("ld-ind"), size: small, src: reg, imm: s32 }),
  "ld-imm64": record<Of<"ld-imm64">>({ kind: just("ld-imm64"), dst: reg, value: wide }),
  goto: fc.oneof(
    record<Of<"goto">>({ kind: just("goto"), long: just(false), off: s16 }),
    record<Of<"goto">>({ kind: just("goto"), long: just(true), off: s32 }),
  ),
  "may-goto": record<Of<"may-goto">>({ kind: just("may-goto"), off: s16 }),
  branch: record<Of<"branch">>({
    kind: just("branch"),
    op: oneOf("jeq", "jgt", "jge", "jset", "jne", "jsgt", "jsge", "jlt", "jle", "jslt", "jsle"),
    width,
    dst: reg,
    src: operand,
    off: s16,
  }),
  "call-helper": record<Of<"call-helper">>({
    kind: just("call-helper"),
    id: fc.oneof(fc.integer({ min: 0, max: 220 }), s32),
  }),
  "call-subprog": record<Of<"call-subprog">>({ kind: just("call-subprog"), off: s32 }),
  "call-kfunc": record<Of<"call-kfunc">>({ kind: just("call-kfunc"), btfId: s32, fdIndex: fc.oneof(just(0), s16) }),
  exit: just({ kind: "exit" }),
};

/** Every legal instruction, by meaning. */
export const legalOp: fc.Arbitrary<Op> = fc.oneof(...Object.values(opsByKind));

/** The slots of one legal instruction: one, or the two of an ld_imm64. */
export const legalInsn: fc.Arbitrary<Insn[]> = legalOp.map(fromOp);

/** Slots of legal instructions one after the other; jumps go anywhere. */
export const legalInsns = (options: { minLength?: number; maxLength?: number } = {}): fc.Arbitrary<Insn[]> =>
  fc.array(legalInsn, options).map((insns) => insns.flat());

/** Any bit pattern of a slot. */
export const anySlot: fc.Arbitrary<Insn> = record<Insn>({
  opcode: fc.integer({ min: 0, max: 255 }),
  dst: fc.integer({ min: 0, max: 15 }),
  src: fc.integer({ min: 0, max: 15 }),
  off: s16,
  imm: fc.oneof(s32, just(0)),
});

/** A legal instruction with one field changed: mostly illegal, but only just. */
export const nearlyLegal: fc.Arbitrary<Insn[]> = fc
  .tuple(legalInsn, oneOf("opcode", "dst", "src", "off", "imm"), anySlot, fc.nat(1))
  .map(([insns, field, other, at]) =>
    insns.map((insn, i) => (i === Math.min(at, insns.length - 1) ? { ...insn, [field]: other[field] } : insn)),
  );
