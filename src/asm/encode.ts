/** Instructions to bytes. */
import type { Endian } from "../core/bytes.ts";
import { ArgumentError } from "../core/errors.ts";
import type { Insn } from "./insn.ts";

/**
 * The bytes of `insns`, 8 a slot.
 *
 * Register nibbles and fields follow `endian`, that of the machine the program is
 * for (the kernel takes its own order only). Fields are range-checked; whether the
 * instruction is one the kernel knows is `toOp`'s question.
 *
 * @throws ArgumentError naming slot and field when a field does not fit.
 * @example
 * encodeInsns([{ opcode: 0xb7, dst: 0, src: 0, off: 0, imm: 1 }]); // r0 = 1
 */
export function encodeInsns(insns: readonly Insn[], endian: Endian = "little"): Uint8Array {
  const out = new Uint8Array(insns.length * 8);
  const little = endian === "little";
  for (let i = 0, at = 0; i < insns.length; i++, at += 8) {
    const insn = insns[i]!;
    const { opcode, dst, src, off, imm } = insn;
    if (
      (opcode & 0xff) !== opcode ||
      (dst & 0xf) !== dst ||
      (src & 0xf) !== src ||
      (off << 16) >> 16 !== off ||
      (imm | 0) !== imm
    ) {
      throw fieldError(insn, i);
    }
    out[at] = opcode;
    if (little) {
      out[at + 1] = (src << 4) | dst;
      out[at + 2] = off;
      out[at + 3] = off >> 8;
      out[at + 4] = imm;
      out[at + 5] = imm >> 8;
      out[at + 6] = imm >> 16;
      out[at + 7] = imm >> 24;
    } else {
      out[at + 1] = (dst << 4) | src;
      out[at + 2] = off >> 8;
      out[at + 3] = off;
      out[at + 4] = imm >> 24;
      out[at + 5] = imm >> 16;
      out[at + 6] = imm >> 8;
      out[at + 7] = imm;
    }
  }
  return out;
}

const RANGES = {
  opcode: [0, 0xff],
  dst: [0, 15],
  src: [0, 15],
  off: [-0x8000, 0x7fff],
  imm: [-0x8000_0000, 0x7fff_ffff],
} as const;

function fieldError(insn: Insn, index: number): ArgumentError {
  for (const field of ["opcode", "dst", "src", "off", "imm"] as const) {
    const value = insn[field];
    const [min, max] = RANGES[field];
    if (!Number.isInteger(value) || value < min || value > max) {
      return new ArgumentError(
        `insns[${index}].${field}`,
        `expected an integer in [${min}, ${max}], got ${String(value)}`,
      );
    }
  }
  return new ArgumentError(`insns[${index}]`, "expected an instruction");
}
