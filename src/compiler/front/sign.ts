/**
 * Signs of integers. A number that was only ever made from literals has no sign
 * of its own: it takes the sign of the first signed or unsigned integer that it
 * meets, wherever in the function that is, and is signed when it meets none.
 */
export type SignKind = "u" | "s" | "mixed";

export class Sign {
  #kind: SignKind | undefined;
  #parent: Sign | undefined;

  constructor(kind?: SignKind) {
    this.#kind = kind;
  }

  #root(): Sign {
    return this.#parent === undefined ? this : this.#parent.#root();
  }

  /** What is known so far; undefined while nothing but literals took part. */
  kind(): SignKind | undefined {
    return this.#root().#kind;
  }

  /** The final answer: signed unless something unsigned took part. */
  get signed(): boolean {
    return this.kind() !== "u";
  }

  /** Makes both the same sign; false when one is signed and the other unsigned (or either is mixed). */
  unify(other: Sign): boolean {
    const a = this.#root();
    const b = other.#root();
    if (a === b) return a.#kind !== "mixed";
    if (a.#kind === "mixed" || b.#kind === "mixed") return false;
    if (a.#kind === undefined) {
      a.#parent = b;
      return true;
    }
    if (b.#kind === undefined) {
      b.#parent = a;
      return true;
    }
    return a.#kind === b.#kind;
  }
}

export const UNSIGNED = new Sign("u");
export const SIGNED = new Sign("s");
export const MIXED = new Sign("mixed");

/** The sign of `a + b` and the like: the operands may differ, the bits are the same either way. */
export function joinSigns(a: Sign, b: Sign): Sign {
  const ka = a.kind();
  const kb = b.kind();
  if (ka === undefined && kb === undefined) {
    a.unify(b);
    return a;
  }
  if (ka === undefined) return b;
  if (kb === undefined) return a;
  return ka === kb ? a : MIXED;
}
