/**
 * What is known of the registers in straight code: which of them are one pointer plus a constant, and which bytes
 * around that pointer were checked already. Saves most bounds checks: those of stack and map values at constant
 * offsets, and all but one of those through one pointer.
 */
import { FORM, FORM_OF } from "../../asm/index.ts";
import * as op from "../../asm/opcode.ts";
import type { Image } from "../image.ts";

/** Origins that are known: the frame pointer, and an address that is known itself (`delta`). */
export const FRAME = 1;
export const ADDRESS = 2;
const FIRST = 3;
const REGS = 11;
/** Constants added up beyond this make a new origin; accesses half as far apart share no check. */
const NEAR = 0x400;
/** Bytes behind the last one that a check compares, which an access may reach. */
export const SLACK = NEAR;
const LOOKAHEAD = 48;

/** Bytes [min, max) around an origin that may be accessed; `local` holds the address of the first, less `LOW`. */
export interface Checked {
  readonly min: number;
  readonly max: number;
  readonly local: number;
}

/** One access that a check stands for. */
export interface Access {
  readonly slot: number;
  readonly off: number;
  readonly size: number;
  readonly write: boolean;
}

const SIZE_SHIFT = [2, 1, 0, 3];

/** The access of a load, store or atomic: base register, offset, size. */
export function accessOf(
  image: Image,
  slot: number,
): { reg: number; off: number; size: number; write: boolean } | undefined {
  const { opcode, dst, src, off, imm } = image.columns;
  const code = opcode[slot]!;
  const size = 1 << SIZE_SHIFT[(code >> 3) & 3]!;
  switch (FORM_OF[code]!) {
    case FORM.LDX:
    case FORM.LDSX:
      return { reg: src[slot]!, off: off[slot]!, size, write: false };
    case FORM.ST:
    case FORM.STX:
      return { reg: dst[slot]!, off: off[slot]!, size, write: true };
    case FORM.ATOMIC:
      return imm[slot] === op.BPF_LOAD_ACQ
        ? { reg: src[slot]!, off: off[slot]!, size, write: false }
        : { reg: dst[slot]!, off: off[slot]!, size, write: true };
    default:
      return undefined;
  }
}

export class Facts {
  readonly origin = new Int32Array(REGS);
  /** What the register is beyond its origin. */
  readonly delta = new Float64Array(REGS);
  readonly checked: Map<number, Checked>;
  static #next = FIRST;

  constructor(from?: Facts) {
    this.checked = new Map(from?.checked);
    if (from === undefined) {
      for (let reg = 0; reg < REGS; reg++) this.origin[reg] = Facts.#next++;
      this.origin[10] = FRAME;
    } else {
      this.origin.set(from.origin);
      this.delta.set(from.delta);
    }
  }

  #fresh(reg: number): void {
    this.origin[reg] = Facts.#next++;
    this.delta[reg] = 0;
  }
  /** Registers of `mask` have new values. */
  forget(mask: number): void {
    for (let reg = 0; reg < 10; reg++) if ((mask & (1 << reg)) !== 0) this.#fresh(reg);
  }

  /** The instruction at `slot` ran. `address` tells what a ld_imm64 of a map value is. */
  step(image: Image, slot: number): void {
    const { opcode, dst, src, off, imm } = image.columns;
    const code = opcode[slot]!;
    const d = dst[slot]!;
    switch (FORM_OF[code]!) {
      case FORM.MOV_X:
        if (op.classOf(code) === op.BPF_ALU64 && off[slot] === 0) {
          this.origin[d] = this.origin[src[slot]!]!;
          this.delta[d] = this.delta[src[slot]!]!;
        } else this.#fresh(d);
        return;
      case FORM.ALU_K: {
        const which = op.codeOf(code);
        if (op.classOf(code) === op.BPF_ALU64 && (which === op.BPF_ADD || which === op.BPF_SUB)) {
          const delta = this.delta[d]! + (which === op.BPF_ADD ? imm[slot]! : -imm[slot]!);
          if (this.origin[d] === ADDRESS ? delta >= 0 && delta < 0x7fff_ffff : Math.abs(delta) < NEAR) {
            this.delta[d] = delta;
            return;
          }
        }
        this.#fresh(d);
        return;
      }
      case FORM.LD_IMM64:
        if (image.wideHi[slot] === 0 && image.wideRegion[slot]! > 0) {
          this.origin[d] = ADDRESS;
          this.delta[d] = image.wideLo[slot]! >>> 0;
        } else this.#fresh(d);
        return;
      case FORM.CALL:
        this.forget(0b11_1111);
        return;
      case FORM.LD_ABS:
      case FORM.LD_IND:
        this.forget(0b11_1111);
        return;
      default:
        this.forget(image.writes[slot]!);
    }
  }

  /**
   * Accesses that go through the origin of the one at `slot`, which is the first, as long as no call comes between:
   * offsets are those from the origin. Code from `start` to `end` may run `again` times more; what may not run after
   * all is left out when it lies below the first access, since a check compares the lowest address.
   */
  accessesFrom(image: Image, slot: number, start: number, end: number, again: number): Access[] {
    const first = accessOf(image, slot)!;
    const origin = this.origin[first.reg]!;
    const near = this.delta[first.reg]! + first.off;
    const list: Access[] = [];
    const at = new Facts(this);
    let round = 0;
    for (let i = slot, count = 0; count < LOOKAHEAD; i++, count++) {
      if (i >= end) {
        if (round++ === again) break;
        i = start;
      }
      const form = FORM_OF[image.columns.opcode[i]!]!;
      if (form === FORM.CALL || form === FORM.LD_ABS || form === FORM.LD_IND) break;
      const access = accessOf(image, i);
      if (access !== undefined && at.origin[access.reg] === origin) {
        const off = at.delta[access.reg]! + access.off;
        if (Math.abs(off - near) < NEAR / 2 && (round === 0 || off >= near)) {
          list.push({ slot: i, off, size: access.size, write: access.write });
        }
      }
      at.step(image, i);
      if (form === FORM.LD_IMM64) i++;
    }
    return list;
  }
}
