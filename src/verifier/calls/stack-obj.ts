/** Objects that live in stack slots (dynptrs, iterators, irq flags): where they lie. */
import { EINVAL, ERANGE } from "../constants.ts";
import type { Env } from "../env.ts";
import type { RegState } from "../reg-state.ts";
import type { FuncState } from "../state.ts";

/** The frame a stack pointer points into. */
export const frameOf = (env: Env, r: RegState): FuncState => env.state.frames[r.frameno]!;

/** __get_spi */
export const spiOf = (off: number): number => Math.trunc((-off - 1) / 8);

/**
 * stack_slot_obj_get_spi: the first (highest) slot of an object of `slots` slots; -EINVAL (said why in the log)
 * when it cannot lie there, -ERANGE when the stack is not that deep yet.
 */
export function stackObjSpi(env: Env, r: RegState, kind: string, slots: number): number {
  if (!r.isConst()) {
    env.log.write(`${kind} has to be at a constant offset\n`);
    return -EINVAL;
  }
  const off = r.off + r.valLo;
  const spi = spiOf(off);
  if (off % 8 !== 0 || spi + 1 < slots) {
    env.log.write(`cannot pass in ${kind} at an offset=${off}\n`);
    return -EINVAL;
  }
  if (spi - slots + 1 < 0 || spi >= frameOf(env, r).stack.length) return -ERANGE;
  return spi;
}
