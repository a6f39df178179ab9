/** What the instructions must run on. */
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
