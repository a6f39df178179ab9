/** Upper bounds that the source makes obvious: what a loop needs to be provable. */
import type { Val } from "./value.ts";

/** The largest value of a non-negative integer, when that is plain to see. */
export function maxOf(v: Val): bigint | undefined {
  if (v.k === "int") return v.value < 0n ? undefined : v.value;
  if (v.k !== "scalar") return undefined;
  if (v.max !== undefined) return v.max;
  if (v.type.k === "int" && v.type.bits < 32 && v.type.sign.kind() === "u") return (1n << BigInt(v.type.bits)) - 1n;
  return undefined;
}

/** The bound of `min(a, b)`. */
export function commonNumber(a: Val, b: Val): bigint | undefined {
  const x = maxOf(a);
  const y = maxOf(b);
  if (x === undefined) return y;
  return y === undefined || x < y ? x : y;
}
