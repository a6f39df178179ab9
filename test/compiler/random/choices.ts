/** Random choices from a seed: the same number gives the same program, so that a failure is one number to report. */
export class Choices {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e37_79b9) >>> 0;
    for (let k = 0; k < 4; k++) this.bits();
  }
  /** 32 random bits (Mulberry32). */
  bits(): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  /** A number from 0 to `max`. */
  upTo(max: number): number {
    return this.bits() % (max + 1);
  }
  pick<T>(...items: readonly T[]): T {
    return items[this.upTo(items.length - 1)]!;
  }
  chance(percent: number): boolean {
    return this.upTo(99) < percent;
  }
  /** Below 2^64. */
  wide(): bigint {
    return (BigInt(this.bits()) << 32n) | BigInt(this.bits());
  }
}
