/**
 * What a run executed, in order: the starts of straight pieces of code, as traced compiled code writes them down. A
 * piece ends at a jump, a target of jumps, or behind a call.
 */
import { FORM, FORM_OF } from "../asm/check.ts";
import type { LineInfo } from "../elf/spec.ts";
import { lineOf } from "./fault.ts";
import type { Image } from "./image.ts";

/** Slots need 20 bits: a program has a million instructions at most. */
const SLOT_BITS = 20;
const SLOT_MASK = (1 << SLOT_BITS) - 1;

/** An entry of the path: program number and slot. */
export const pathEntry = (program: number, slot: number): number => (program << SLOT_BITS) | slot;

/** One executed instruction. */
export interface TracedInsn {
  readonly image: Image;
  readonly slot: number;
}

/**
 * The instructions of one run in order, kept as 4 bytes for each piece of straight code.
 *
 * @example
 * const { trace } = vm.trace("count", { data: new Uint8Array(64) });
 * for (const { line } of trace.lines()) console.log(line);
 */
export class Trace {
  /** Starts of straight code, oldest first. */
  readonly path: Uint32Array;
  /** The oldest entries are missing: there were more than the limit. */
  readonly truncated: boolean;
  /** Instructions executed, those that are missing included. */
  readonly executed: number;
  readonly #images: readonly Image[];
  readonly #ends: ReadonlyMap<Image, Uint32Array>;

  constructor(
    path: Uint32Array,
    of: {
      readonly truncated: boolean;
      readonly executed: number;
      readonly images: readonly Image[];
      readonly ends: ReadonlyMap<Image, Uint32Array>;
    },
  ) {
    this.path = path;
    this.truncated = of.truncated;
    this.executed = of.executed;
    this.#images = of.images;
    this.#ends = of.ends;
  }

  /** Every executed instruction, in order. */
  *insns(): Generator<TracedInsn> {
    for (const entry of this.path) {
      const image = this.#images[entry >>> SLOT_BITS]!;
      const { opcode } = image.columns;
      const end = this.#ends.get(image)![entry & SLOT_MASK]!;
      for (let slot = entry & SLOT_MASK; slot < end; slot++) {
        yield { image, slot };
        if (FORM_OF[opcode[slot]!] === FORM.LD_IMM64) slot++;
      }
    }
  }

  /** How often each instruction of `image` ran, by slot; of the path that was kept. */
  counts(image: Image): Uint32Array {
    const counts = new Uint32Array(image.columns.length);
    const ends = this.#ends.get(image);
    if (ends === undefined) return counts;
    for (const entry of this.path) {
      if (this.#images[entry >>> SLOT_BITS] !== image) continue;
      const start = entry & SLOT_MASK;
      for (let slot = start; slot < ends[start]!; slot++) counts[slot]!++;
    }
    return counts;
  }

  /** Source lines in the order they ran; one that goes on is given once. */
  *lines(): Generator<LineInfo> {
    let last: LineInfo | undefined;
    for (const { image, slot } of this.insns()) {
      const line = lineOf(image.spec.lines, slot);
      if (line !== undefined && line !== last) yield line;
      last = line;
    }
  }
}
