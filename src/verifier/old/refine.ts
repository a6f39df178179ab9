/** What a comparison with a constant teaches, before 6.8 (reg_set_min_max): only one register is refined. */
import {
  BPF_JEQ,
  BPF_JGE,
  BPF_JGT,
  BPF_JLE,
  BPF_JLT,
  BPF_JNE,
  BPF_JSET,
  BPF_JSGE,
  BPF_JSGT,
  BPF_JSLE,
  BPF_JSLT,
} from "../../asm/opcode.ts";
import { type RegState, setKnownNumber, setUnbounded } from "../reg-state.ts";
import { markReg32Known } from "../scalar/bits.ts";
import { regsRefine, revOpcode } from "../scalar/branch.ts";
import { zextBounds } from "../scalar/extend.ts";
import { combine64Into32, regBoundsSync } from "../scalar/sync.ts";
import { setUnbounded64 } from "../scalar/unbounded.ts";

/** __reg_combine_32_into_64: with a high word of zero the 32-bit ranges are the whole, else nothing is known of 64 bits. */
function combine32Into64(r: RegState): void {
  if ((r.valHi | r.maskHi) === 0) zextBounds(r);
  else setUnbounded64(r);
  regBoundsSync(r);
}

function becomes(r: RegState, value: RegState, is32: boolean): void {
  if (is32) markReg32Known(r, value.valLo);
  else setKnownNumber(r, value.valLo, value.valHi);
}

/** Ranges of `r` when `r op value` holds. JEQ, JNE and JSET are handled apart. */
function narrow(r: RegState, value: RegState, op: number, is32: boolean): void {
  const other = value.clone();
  setConst(other, value, is32);
  regsRefine(r, other, op, is32);
}

/** The constant as both 64-bit and 32-bit ranges. */
function setConst(other: RegState, value: RegState, is32: boolean): void {
  if (is32) markReg32Known(other, value.valLo);
  else setKnownNumber(other, value.valLo, value.valHi);
}

/** reg_set_min_max: `taken` is the register where `reg op value` holds, `other` where it does not. `value` is a constant (its low word, for 32 bits). */
export function refineByConst(taken: RegState, other: RegState, value: RegState, op: number, is32: boolean): void {
  switch (op) {
    case BPF_JEQ:
      becomes(taken, value, is32);
      break;
    case BPF_JNE:
      becomes(other, value, is32);
      break;
    case BPF_JSET: {
      const lo = value.valLo;
      const hi = is32 ? 0 : value.valHi;
      setUnbounded(other);
      other.valLo &= ~lo;
      other.maskLo &= ~lo;
      other.valHi &= ~hi;
      other.maskHi &= ~hi;
      const single = hi === 0 ? lo !== 0 && (lo & (lo - 1)) === 0 : lo === 0 && (hi & (hi - 1)) === 0;
      if (single) {
        taken.valLo |= lo;
        taken.maskLo &= ~lo;
        taken.valHi |= hi;
        taken.maskHi &= ~hi;
      }
      break;
    }
    case BPF_JGE:
    case BPF_JGT:
    case BPF_JLE:
    case BPF_JLT:
    case BPF_JSGE:
    case BPF_JSGT:
    case BPF_JSLE:
    case BPF_JSLT:
      narrow(other, value, revOpcode(op), is32);
      narrow(taken, value, op, is32);
      break;
    default:
      return;
  }
  if (is32) {
    combine32Into64(other);
    combine32Into64(taken);
  } else {
    combine64Into32(other);
    combine64Into32(taken);
  }
}

/** __reg_combine_min_max: two scalars that are equal know what either knows, of 64 bits. */
export function combineEqual(a: RegState, b: RegState): void {
  regsRefine(a, b, BPF_JEQ, false);
  regBoundsSync(a);
  regBoundsSync(b);
}
