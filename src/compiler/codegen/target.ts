/** What the instructions must run on. */
import { ArgumentError } from "../../core/errors.ts";
import { parseKernel } from "../../uapi/features.ts";

export interface Target {
  /**
   * Instruction set, as `clang -mcpu`: 1 (no `jlt` family), 2, 3 (32-bit jumps, kernel 5.1), 4 (signed division,
   * sign-extending moves and loads, `bswap`, `gotol`; kernel 6.6).
   */
  readonly isa: 1 | 2 | 3 | 4;
  readonly endian: "little" | "big";
  /**
   * Whether map values, packets and samples may be accessed at any address (x86-64, arm64, s390x, ppc64le: yes;
   * the verifier of other machines wants natural alignment). Default true. The stack is always aligned.
   */
  readonly unaligned?: boolean;
}

export const DEFAULT_TARGET: Target = { isa: 3, endian: "little" };

/**
 * The best instruction set of a kernel release: v4 from 6.6, v3 from 5.1, v2 from 4.14, else v1. Needs no running kernel.
 *
 * @throws ArgumentError when `release` does not begin with a version
 * @example
 * import { targetFor } from "bpfkit/compiler";
 * targetFor("6.1").isa; // 3
 */
export function targetFor(release: string, endian: Target["endian"] = "little"): Target {
  const version = parseKernel(release);
  if (version === undefined)
    throw new ArgumentError("release", `expected a kernel release such as "6.1", got ${JSON.stringify(release)}`);
  const [major, minor] = version;
  const atLeast = (a: number, b: number): boolean => major > a || (major === a && minor >= b);
  return { isa: atLeast(6, 6) ? 4 : atLeast(5, 1) ? 3 : atLeast(4, 14) ? 2 : 1, endian };
}
