import { ArgumentError } from "../core/errors.ts";

/**
 * The integers from 0 to `end - 1`, or from `start` to `end - 1` in steps: a loop that a kernel can prove to end.
 *
 * @throws ArgumentError outside a program, if an argument is not an integer or `step` is 0.
 * @example
 * import { range } from "bpfkit";
 * for (const i of range(3)) console.log(i); // 0 1 2
 */
export function range(end: number): IterableIterator<number>;
export function range(start: number, end: number, step?: number): IterableIterator<number>;
export function range(first: number, second?: number, step = 1): IterableIterator<number> {
  const [start, end] = second === undefined ? [0, first] : [first, second];
  for (const [argument, value] of Object.entries({ start, end, step })) {
    if (!Number.isSafeInteger(value))
      throw new ArgumentError(`range(${argument})`, `expected an integer, got ${String(value)}`);
  }
  if (step === 0) throw new ArgumentError("range(step)", "expected a step other than 0");
  return count(start, end, step);
}

function* count(start: number, end: number, step: number): IterableIterator<number> {
  for (let i = start; step > 0 ? i < end : i > end; i += step) yield i;
}
