/** Random programs for a socket filter: mostly sensible, with stack, packet-free context, loops and subprograms. */
import fc from "fast-check";
import type { Insn } from "../../src/asm/index.ts";

export type Step = readonly [number, number, number, number, number];

const insn = (opcode: number, dst: number, src: number, off: number, imm: number): Insn => ({ opcode, dst, src, off, imm });

const ALU_OPS = [0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xa0, 0xb0, 0xc0];
const JMP_OPS = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0];
const IMMS = [0, 1, -1, 2, 3, 5, 7, 8, 15, 16, 31, 63, 64, 100, 127, 255, 256, 1000, 4095, 65535, -2, -8, -100, 0x7fffffff, -0x80000000, 0x1000000];
const SIZES = [0x00, 0x08, 0x10, 0x18];
const BYTES: Readonly<Record<number, number>> = { 0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8 };
// Readable fields of __sk_buff for a socket filter: len, pkt_type, mark, queue_mapping, protocol, priority, hash.
const FIELDS = [0, 4, 8, 12, 16, 32, 68];

/** Scalars live in r0, r2-r5 and r7-r9; r6 keeps the context. */
const SCALARS = [0, 2, 3, 4, 5, 7, 8, 9];
const pick = <T>(list: readonly T[], n: number): T => list[n % list.length]!;

function alu(a: number, b: number, c: number, d: number): Insn[] {
  const cls = (d & 1) !== 0 ? 0x07 : 0x04;
  const op = pick(ALU_OPS, a);
  const dst = pick(SCALARS, b);
  const shift = op === 0x60 || op === 0x70 || op === 0xc0;
  const div = op === 0x30 || op === 0x90;
  if ((d & 2) !== 0) {
    const sx = op === 0xb0 && (d & 4) !== 0 ? pick(cls === 0x07 ? [8, 16, 32] : [8, 16], d >> 3) : 0;
    return [insn(cls | op | 0x08, dst, pick(SCALARS, c), sx, 0)];
  }
  let imm = pick(IMMS, c);
  if (shift) imm = c % (cls === 0x07 ? 64 : 32);
  if (div && imm === 0) imm = 1;
  return [insn(cls | op, dst, 0, div && (d & 4) !== 0 ? 1 : 0, imm)];
}

function stack(a: number, b: number, c: number, d: number): Insn[] {
  const size = pick(SIZES, a);
  const n = BYTES[size]!;
  const off = -n * (1 + (c % Math.floor(64 / n)));
  const reg = pick(SCALARS, b);
  switch (d % 6) {
    case 0:
      return [insn(0x63 | (size & 0x18), 10, reg, off, 0)];
    case 1:
      return [insn(0x62 | (size & 0x18), 10, 0, off, pick(IMMS, b))];
    case 2:
      return [insn(0x7b, 10, reg, -8 * (1 + (c % 8)), 0)];
    case 3:
      return [insn(0x79, reg, 10, -8 * (1 + (c % 8)), 0)];
    case 4:
      return [insn(0x61 | (size & 0x18), reg, 10, off, 0)];
    default:
      // Through a copied frame pointer, sometimes with a variable offset.
      return [
        insn(0xbf, 1, 10, 0, 0),
        insn(0x07, 1, 0, 0, -64),
        ...(c % 3 === 0 ? [insn(0x57, reg, 0, 0, 7), insn(0x67, reg, 0, 0, 3), insn(0x0f, 1, reg, 0, 0)] : []),
        (b & 8) !== 0 ? insn(0x7b, 1, pick(SCALARS, b + 1), 0, 0) : insn(0x79, pick(SCALARS, b + 1), 1, 0, 0),
      ];
  }
}

/** Parts of a function: each is a few insns, or a jump over (or back over) some parts. */
type Part = { readonly insns: Insn[] } | { readonly jump: Insn; readonly parts: number };

function toPart([kind, a, b, c, d]: Step): Part {
  switch (kind % 12) {
    case 0:
    case 1:
    case 2:
    case 3:
      return { insns: alu(a, b, c, d) };
    case 4:
    case 5:
      return { insns: stack(a, b, c, d) };
    case 6:
      return { insns: [insn(0x61, pick(SCALARS, a), 6, pick(FIELDS, b), 0)] };
    case 7:
      return { insns: [insn(0x18, pick(SCALARS, a), 0, 0, pick(IMMS, b)), insn(0, 0, 0, 0, pick(IMMS, c))] };
    case 8: {
      // A bounded loop back: r9 counts.
      return { jump: insn(0xa5, 9, 0, 0, 1 + (a % 12)), parts: -(1 + (b % 4)) };
    }
    default: {
      const cls = (d & 1) !== 0 ? 0x05 : 0x06;
      const op = pick(JMP_OPS, a);
      const x = (d & 2) !== 0;
      return { jump: insn(cls | op | (x ? 0x08 : 0), pick(SCALARS, b), x ? pick(SCALARS, c) : 0, 0, x ? 0 : pick(IMMS, c)), parts: 1 + (d % 5) };
    }
  }
}

function body(steps: readonly Step[]): Insn[] {
  const parts = steps.map(toPart);
  const starts: number[] = [];
  let at = 0;
  for (const p of parts) {
    starts.push(at);
    at += "jump" in p ? (p.parts < 0 ? 2 : 1) : p.insns.length;
  }
  starts.push(at);
  const out: Insn[] = [];
  parts.forEach((p, i) => {
    if (!("jump" in p)) {
      out.push(...p.insns);
      return;
    }
    const target = starts[Math.max(0, Math.min(parts.length, i + (p.parts < 0 ? p.parts : p.parts + 1)))]!;
    if (p.parts < 0) out.push(insn(0x07, 9, 0, 0, 1));
    out.push({ ...p.jump, off: target - out.length - 1 });
  });
  return out;
}

/** A main program of `steps`, and a subprogram of `sub` that it calls when there is one. */
export function program(steps: readonly Step[], sub: readonly Step[]): Insn[] {
  const init = [
    insn(0xbf, 6, 1, 0, 0),
    insn(0xb7, 0, 0, 0, 0),
    insn(0x61, 2, 6, 0, 0),
    insn(0x61, 3, 6, 8, 0),
    insn(0xb7, 4, 0, 0, 4),
    insn(0xbf, 5, 2, 0, 0),
    insn(0x61, 7, 6, 32, 0),
    insn(0xbf, 8, 3, 0, 0),
    insn(0xb7, 9, 0, 0, 0),
  ];
  const main = body(steps);
  if (sub.length === 0) return [...init, ...main, insn(0x95, 0, 0, 0, 0)];
  const again = [insn(0xb7, 2, 0, 0, 2), insn(0xb7, 3, 0, 0, 3), insn(0xb7, 4, 0, 0, 4), insn(0xb7, 5, 0, 0, 5)];
  const head = [...init, ...main.slice(0, 0)];
  const call = [insn(0xbf, 1, 6, 0, 0), insn(0x85, 0, 1, 0, 0), ...again];
  const code = [...head, ...call, ...main, insn(0x95, 0, 0, 0, 0)];
  const target = code.length;
  const at = head.length + 1;
  code[at] = insn(0x85, 0, 1, 0, target - at - 1);
  const subInit = [
    insn(0xbf, 6, 1, 0, 0),
    insn(0xbf, 0, 3, 0, 0),
    insn(0x61, 7, 6, 8, 0),
    insn(0xbf, 8, 7, 0, 0),
    insn(0xb7, 9, 0, 0, 0),
  ];
  return [...code, ...subInit, ...body(sub), insn(0x95, 0, 0, 0, 0)];
}

const step = fc.tuple(fc.nat(11), fc.nat(31), fc.nat(31), fc.nat(63), fc.nat(63));

export const programs = (length: number): fc.Arbitrary<Insn[]> =>
  fc
    .tuple(fc.array(step, { minLength: 1, maxLength: length }), fc.oneof({ weight: 3, arbitrary: fc.constant<Step[]>([]) }, { weight: 1, arbitrary: fc.array(step, { minLength: 1, maxLength: length }) }))
    .map(([main, sub]) => program(main, sub));
