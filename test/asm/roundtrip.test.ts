import fc from "fast-check";
import { assert, suite } from "../harness.ts";
import {
  checkInsn,
  decodeInsns,
  disassemble,
  encodeInsns,
  fromColumns,
  fromOp,
  insnSlots,
  minIsa,
  minKernel,
  parseAsm,
  printInsn,
  toColumns,
  toOp,
} from "../../src/asm/index.ts";
import type { Insn, Op } from "../../src/asm/index.ts";
import { BpfkitError, DecodeError } from "../../src/core/errors.ts";
import { anySlot, legalInsn, legalInsns, legalOp, nearlyLegal, opsByKind } from "./arbitraries.ts";

const test = suite("asm round trips");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 1500);
const check = <T>(arbitrary: fc.Arbitrary<T>, property: (value: T) => void, numRuns = RUNS): void =>
  fc.assert(fc.property(arbitrary, property), { numRuns });

test("every op survives raw slots, and is legal", () => {
  check(legalOp, (op) => {
    const insns = fromOp(op);
    assert.is(checkInsn(insns, 0), undefined);
    assert.is(insnSlots(insns[0]!), insns.length);
    assert.equal(toOp(insns, 0), op);
  });
});

test("every kind of op is in the arbitrary of all legal instructions", () => {
  const seen = new Set(fc.sample(legalOp, { numRuns: 2000, seed: 1 }).map((op) => op.kind));
  assert.equal([...seen].sort(), Object.keys(opsByKind).sort());
});

test("any slots survive bytes, in both byte orders and as columns", () => {
  check(fc.array(anySlot), (insns) => {
    const little = encodeInsns(insns);
    const big = encodeInsns(insns, "big");
    assert.equal(decodeInsns(little), insns);
    assert.equal(decodeInsns(big, { endian: "big" }), insns);
    assert.equal(fromColumns(toColumns(insns)), insns);
  });
});

test("the two byte orders differ as instruction-set.rst says", () => {
  const insn: Insn = { opcode: 0x63, dst: 1, src: 10, off: -2, imm: 0x0102_0304 };
  assert.equal([...encodeInsns([insn])], [0x63, 0xa1, 0xfe, 0xff, 4, 3, 2, 1]);
  assert.equal([...encodeInsns([insn], "big")], [0x63, 0x1a, 0xff, 0xfe, 1, 2, 3, 4]);
});

test("parse(print(x)) = x for every legal instruction", () => {
  check(
    legalInsn,
    (insns) => {
      assert.equal(parseAsm(printInsn(insns, 0)), insns);
    },
    RUNS * 3,
  );
});

test("parse(disassemble(x)) = x for programs of legal instructions, plain and with labels", () => {
  check(
    legalInsns({ maxLength: 12 }),
    (insns) => {
      assert.equal(parseAsm(disassemble(insns)), insns);
      assert.equal(parseAsm(disassemble(insns, { slots: false })), insns);
      assert.equal(parseAsm(disassemble(insns, { labels: true })), insns);
      assert.equal(parseAsm(disassemble(insns, { labels: true, slots: false, mapNumber: "fd" })), insns);
    },
    RUNS / 3,
  );
});

test("parse(disassemble(x)) = x for any slots whatever", () => {
  check(
    fc
      .array(
        fc.oneof(
          anySlot.map((insn) => [insn]),
          nearlyLegal,
        ),
      )
      .map((all) => all.flat()),
    (insns) => {
      assert.equal(parseAsm(disassemble(insns)), insns);
      assert.equal(parseAsm(disassemble(insns, { labels: true, slots: false })), insns);
    },
  );
});

test("toOp of any slot gives an op that encodes back, or a DecodeError with the slot's offset", () => {
  check(
    fc.tuple(
      fc.oneof(
        anySlot.map((insn) => [insn]),
        nearlyLegal,
      ),
    ),
    ([insns]) => {
      let op: Op;
      try {
        op = toOp(insns, 0);
      } catch (error) {
        assert.instance(error, DecodeError);
        assert.is((error as DecodeError).code, "ILLEGAL_INSN");
        assert.is((error as DecodeError).offset, 0);
        return;
      }
      const back = fromOp(op);
      // The kernel ignores these two fields.
      const ignored = op.kind === "exit" ? { off: insns[0]!.off } : {};
      assert.equal({ ...back[0]!, ...ignored }, insns[0]!);
      if (back.length === 2 && !(op.kind === "ld-imm64" && op.value.kind === "func")) assert.equal(back[1], insns[1]);
    },
  );
});

test("fields out of range are named", () => {
  const insn: Insn = { opcode: 0xb7, dst: 0, src: 0, off: 0, imm: 0 };
  for (const [field, value] of [
    ["opcode", 256],
    ["dst", 16],
    ["src", -1],
    ["off", 0x8000],
    ["imm", 2 ** 31],
    ["imm", 1.5],
    ["off", Number.NaN],
  ] as const) {
    assert.throws(
      () => encodeInsns([insn, { ...insn, [field]: value }]),
      (error: unknown) =>
        error instanceof BpfkitError && error.code === "ARGUMENT" && error.message.includes(`insns[1].${field}`),
      field,
    );
  }
});

test("bytes that are not whole slots are refused with the offset of the torso", () => {
  assert.throws(
    () => decodeInsns(new Uint8Array(20), { what: "section xdp", base: 0x40 }),
    (error: unknown) => error instanceof DecodeError && error.offset === 0x50 && error.what === "section xdp",
  );
});

test("what an illegal slot lacks is said in the kernel's words, with field and remedy", () => {
  const message = (insns: Insn[], index = 0): string => {
    try {
      toOp(insns, index);
    } catch (error) {
      return (error as Error).message;
    }
    return "legal";
  };
  const zero: Insn = { opcode: 0, dst: 0, src: 0, off: 0, imm: 0 };
  assert.match(
    message([{ ...zero, opcode: 0xbf, off: 3 }]),
    /program\+0x0 \(insns\.\[0\]\.off\): BPF_MOV uses reserved fields: off is 3, expected 0, 8, 16, 32/,
  );
  assert.match(message([{ ...zero, opcode: 0x8d }]), /unknown opcode 8d: the kernel has no indirect call/);
  assert.match(message([{ ...zero, opcode: 0x18 }]), /the second slot is missing/);
  assert.match(
    message([{ ...zero, opcode: 0x18 }, zero], 1),
    /unknown opcode 00: this is the second slot of the ld_imm64/,
  );
  assert.match(message([{ ...zero, opcode: 0xdb, imm: 2 }]), /invalid atomic opcode 02/);
  assert.match(message([{ ...zero, opcode: 0xc3 | 0x08, imm: 0 }]), /invalid atomic operand size/);
  assert.match(message([{ ...zero, opcode: 0xbf, src: 11 }]), /R11 is invalid/);
  assert.match(message([], 3), /expected an instruction at slot 3, the program has 0/);
});

test("versions: what v2, v3, v4 and later kernels brought", () => {
  const of = (text: string): string => {
    const op = toOp(parseAsm(text), 0);
    return `v${minIsa(op)} ${minKernel(op)}`;
  };
  const rows: Record<string, string> = {
    "r0 = 1": "v1 3.18",
    "w0 += w1": "v1 3.18",
    "lock *(u64 *)(r1 +0) += r2": "v1 3.18",
    "if r1 < 0x5 goto pc+0": "v2 4.14",
    "if w1 < 0x5 goto pc+0": "v3 5.1",
    "lock *(u64 *)(r1 +0) |= r2": "v3 5.12",
    "r0 = atomic_cmpxchg((u32 *)(r1 +0), r0, r2)": "v3 5.12",
    "r1 = bswap16 r1": "v4 6.6",
    "r1 s/= r2": "v4 6.6",
    "r1 = (s8)r2": "v4 6.6",
    "r1 = *(s16 *)(r2 +0)": "v4 6.6",
    "gotol pc+0": "v4 6.6",
    "may_goto pc+0": "v4 6.9",
    "r1 = addr_space_cast(r2, 0, 1)": "v4 6.9",
    "r1 = load_acquire((u8 *)(r2 +0))": "v4 6.15",
    "call pc+0": "v1 4.16",
    "call kernel-function#7": "v1 5.13",
    "r1 = map[fd:3][0]+0": "v1 5.2",
    "r1 = map[idx:3]": "v1 5.14",
  };
  for (const [text, expected] of Object.entries(rows)) assert.is(of(text), expected, text);
});
