/** Random programs for a socket filter: mostly sensible, with stack, packet-free context, loops and subprograms. */
import fc from "fast-check";
import type { Insn } from "../../src/asm/index.ts";

export type Step = readonly [number, number, number, number, number];

const insn = (opcode: number, dst: number, src: number, off: number, imm: number): Insn => ({
  opcode,
  dst,
  src,
  off,
  imm,
});

const ALU_OPS = [0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xa0, 0xb0, 0xc0];
const JMP_OPS = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0];
const IMMS = [
  0, 1, -1, 2, 3, 5, 7, 8, 15, 16, 31, 63, 64, 100, 127, 255, 256, 1000, 4095, 65535, -2, -8, -100, 0x7fffffff,
  -0x80000000, 0x1000000,
];
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
      return {
        jump: insn(cls | op | (x ? 0x08 : 0), pick(SCALARS, b), x ? pick(SCALARS, c) : 0, 0, x ? 0 : pick(IMMS, c)),
        parts: 1 + (d % 5),
      };
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

/** Scalars in r2-r5 again, after a call or a packet access. */
const refill = (n: number): Insn[] => [
  insn(0x61, 2, 6, n % 2 === 0 ? 8 : 12, 0),
  insn(0xb7, 3, 0, 0, n),
  insn(0xbf, 4, 2, 0, 0),
  insn(0xb7, 5, 0, 0, -1),
];

/** Map and packet accesses of an XDP program; `map`: index of an array map (4-byte keys, 64-byte values) or a hash map after it. */
function xdpPart([kind, a, b, c, d]: Step): Insn[] {
  const size = pick(SIZES, a);
  const reg = pick([7, 8, 9], b);
  switch (kind % 4) {
    case 0:
      return [insn(0x85, 0, 0, 0, 7), ...refill(c), ...(d % 3 === 0 ? [insn(0xbf, 7, 0, 0, 0)] : [])];
    case 1: {
      // Look up, check, use at a fixed or variable offset.
      const off = (c % 70) - 2;
      const varOff =
        d % 3 === 0 ? [insn(0x57, reg, 0, 0, pick([7, 15, 31, 63, 127], b)), insn(0x0f, 0, reg, 0, 0)] : [];
      const use =
        (d & 4) !== 0 ? insn(0x61 | (size & 0x18), reg, 0, off, 0) : insn(0x63 | (size & 0x18), 0, reg, off, 0);
      const body = [...varOff, use];
      return [
        insn(0x62, 10, 0, -4, c),
        insn(0xbf, 2, 10, 0, 0),
        insn(0x07, 2, 0, 0, -4),
        insn(0x18, 1, 1, 0, d % 2),
        insn(0, 0, 0, 0, 0),
        insn(0x85, 0, 0, 0, 1),
        ...((d & 8) !== 0 && c % 8 === 0 ? [] : [insn(0x15, 0, 0, body.length, 0)]),
        ...body,
        insn(0xb7, 0, 0, 0, c),
        ...refill(c),
      ];
    }
    case 2: {
      // A bounds check of the packet, then a load before it.
      const n = c % 40;
      const grow = d % 3 === 0 ? [insn(0x57, reg, 0, 0, 63), insn(0x0f, 2, reg, 0, 0)] : [];
      return [
        insn(0x61, 2, 6, 0, 0),
        insn(0x61, 3, 6, 4, 0),
        ...grow,
        insn(0xbf, 4, 2, 0, 0),
        insn(0x07, 4, 0, 0, n),
        insn(pick([0x2d, 0xad, 0x3d, 0xbd], d), (d & 4) !== 0 ? 4 : 3, (d & 4) !== 0 ? 3 : 4, 2, 0),
        insn(0x61 | (size & 0x18), reg, 2, Math.max(0, n - (BYTES[size]! + (a % 3) - 1)), 0),
        insn(0x05, 0, 0, 0, 0),
        ...refill(c),
      ];
    }
    default:
      return [
        insn(
          0xdb | (size & 0x18 & 0x18),
          10,
          reg,
          -8 * (1 + (c % 8)),
          pick([0x00, 0x01, 0x40, 0x51, 0xa0, 0xe1, 0xf1], d),
        ),
      ];
  }
}

/** An XDP program with calls, maps and packets between the plain steps. */
export const xdpPrograms = (length: number): fc.Arbitrary<Insn[]> =>
  fc.array(fc.tuple(fc.boolean(), step), { minLength: 1, maxLength: length }).map((list) => {
    const init = [
      insn(0xbf, 6, 1, 0, 0),
      insn(0xb7, 0, 0, 0, 0),
      insn(0xb7, 7, 0, 0, 1),
      insn(0x61, 8, 6, 8, 0),
      insn(0xb7, 9, 0, 0, 0),
      ...refill(0),
    ];
    const plain = (s: Step): Step => (s[0] % 12 === 6 ? [0, s[1], s[2], s[3], s[4]] : s);
    const code: Insn[] = [...init];
    let run: Step[] = [];
    for (const [special, s] of list) {
      if (!special) {
        run.push(plain(s));
        continue;
      }
      code.push(...body(run), ...xdpPart(s));
      run = [];
    }
    code.push(...body(run), insn(0xb7, 0, 0, 0, 2), insn(0x95, 0, 0, 0, 0));
    return code;
  });

/** Single fields of a program changed at random: mostly nonsense. */
export const mutated = (base: fc.Arbitrary<Insn[]>): fc.Arbitrary<Insn[]> =>
  fc
    .tuple(
      base,
      fc.array(fc.tuple(fc.nat(200), fc.nat(4), fc.oneof(fc.nat(255), fc.integer({ min: -300, max: 300 }))), {
        minLength: 1,
        maxLength: 3,
      }),
    )
    .map(([insns, changes]) => {
      const out = insns.slice();
      for (const [at, field, value] of changes) {
        const i = at % out.length;
        const old = out[i]!;
        if (field === 0) out[i] = { ...old, opcode: value & 0xff };
        else if (field === 1) out[i] = { ...old, dst: value & 15 };
        else if (field === 2) out[i] = { ...old, src: value & 15 };
        else if (field === 3) out[i] = { ...old, off: value };
        else out[i] = { ...old, imm: value };
      }
      return out;
    });

export const programs = (length: number): fc.Arbitrary<Insn[]> =>
  fc
    .tuple(
      fc.array(step, { minLength: 1, maxLength: length }),
      fc.oneof(
        { weight: 3, arbitrary: fc.constant<Step[]>([]) },
        { weight: 1, arbitrary: fc.array(step, { minLength: 1, maxLength: length }) },
      ),
    )
    .map(([main, sub]) => program(main, sub));
