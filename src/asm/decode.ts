/** Bytes to instructions. */
import type { Endian } from "../core/bytes.ts";
import { DecodeError } from "../core/errors.ts";
import type { Insn } from "./insn.ts";

export interface DecodeInsnsOptions {
  /** Byte order of the program; default "little". */
  readonly endian?: Endian;
  /** Names the input in errors; default "instructions". */
  readonly what?: string;
  /** Offset of `bytes[0]` in that input; default 0. */
  readonly base?: number;
}

/**
 * The instruction slots in `bytes`, one for each 8 bytes, whatever they hold: every
 * bit pattern decodes, and `encodeInsns` gives the same bytes back.
 *
 * @throws DecodeError when the length is not a multiple of 8.
 * @example
 * decodeInsns(Uint8Array.of(0x95, 0, 0, 0, 0, 0, 0, 0)); // [exit]
 */
export function decodeInsns(bytes: Uint8Array, options: DecodeInsnsOptions = {}): Insn[] {
  const count = slots(bytes, options);
  const insns: Insn[] = [];
  if (options.endian === "big") {
    for (let i = 0, at = 0; i < count; i++, at += 8) {
      const regs = bytes[at + 1]!;
      insns.push({
        opcode: bytes[at]!,
        dst: regs >> 4,
        src: regs & 0xf,
        off: (((bytes[at + 2]! << 8) | bytes[at + 3]!) << 16) >> 16,
        imm: (bytes[at + 4]! << 24) | (bytes[at + 5]! << 16) | (bytes[at + 6]! << 8) | bytes[at + 7]!,
      });
    }
  } else {
    for (let i = 0, at = 0; i < count; i++, at += 8) {
      const regs = bytes[at + 1]!;
      insns.push({
        opcode: bytes[at]!,
        dst: regs & 0xf,
        src: regs >> 4,
        off: (((bytes[at + 3]! << 8) | bytes[at + 2]!) << 16) >> 16,
        imm: (bytes[at + 7]! << 24) | (bytes[at + 6]! << 16) | (bytes[at + 5]! << 8) | bytes[at + 4]!,
      });
    }
  }
  return insns;
}

function slots(bytes: Uint8Array, options: DecodeInsnsOptions): number {
  if (bytes.length % 8 !== 0) {
    throw new DecodeError(
      options.what ?? "instructions",
      `expected a multiple of 8 bytes, got ${bytes.length}: the last instruction is cut off`,
      { offset: (options.base ?? 0) + bytes.length - (bytes.length % 8) },
    );
  }
  return bytes.length / 8;
}

/**
 * The same slots, a typed array for each field: what loops that read one or two fields
 * of every instruction want (an `Insn[]` costs a pointer and a header each).
 */
export interface InsnColumns {
  readonly length: number;
  readonly opcode: Uint8Array;
  readonly dst: Uint8Array;
  readonly src: Uint8Array;
  readonly off: Int16Array;
  readonly imm: Int32Array;
}

function emptyColumns(length: number): InsnColumns {
  return {
    length,
    opcode: new Uint8Array(length),
    dst: new Uint8Array(length),
    src: new Uint8Array(length),
    off: new Int16Array(length),
    imm: new Int32Array(length),
  };
}

/** `insns` as columns. The fields must be in range (as `decodeInsns` and the builders give them). */
export function toColumns(insns: readonly Insn[]): InsnColumns {
  const columns = emptyColumns(insns.length);
  const { opcode, dst, src, off, imm } = columns;
  for (let i = 0; i < insns.length; i++) {
    const insn = insns[i]!;
    opcode[i] = insn.opcode;
    dst[i] = insn.dst;
    src[i] = insn.src;
    off[i] = insn.off;
    imm[i] = insn.imm;
  }
  return columns;
}

/** The slots of `columns` as objects. */
export function fromColumns(columns: InsnColumns): Insn[] {
  const insns: Insn[] = [];
  const { length, opcode, dst, src, off, imm } = columns;
  for (let i = 0; i < length; i++) {
    insns.push({ opcode: opcode[i]!, dst: dst[i]!, src: src[i]!, off: off[i]!, imm: imm[i]! });
  }
  return insns;
}
