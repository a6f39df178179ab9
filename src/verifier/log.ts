/** The verifier's log: text appended as the kernel prints it, with its reset (level 1 drops explored paths). */
export class Log {
  /** BPF_LOG_LEVEL1 (1) | LEVEL2 (2) | STATS (4) */
  readonly level: number;
  #chunks: string[] = [];
  #length = 0;
  /** Longest log kept; more is dropped from the front, as the kernel's rotating log does. 0: no limit. */
  readonly limit: number;

  constructor(level: number, limit = 0) {
    this.level = level;
    this.limit = limit;
  }

  get level1(): boolean {
    return (this.level & 1) !== 0;
  }
  get level2(): boolean {
    return (this.level & 2) !== 0;
  }
  get any(): boolean {
    return this.level !== 0;
  }

  /** verbose(): written at any level but 0. */
  write(text: string): void {
    this.#chunks.push(text);
    this.#length += text.length;
    if (this.#chunks.length > 4096) this.#pack();
  }

  #pack(): void {
    const all = this.#chunks.join("");
    this.#chunks = [this.limit > 0 && all.length > 2 * this.limit ? all.slice(-this.limit) : all];
  }

  /** Characters written so far, resets taken back. */
  get pos(): number {
    return this.#length;
  }

  /** bpf_vlog_reset: forgets what came after `pos`. */
  reset(pos: number): void {
    let over = this.#length - pos;
    while (over > 0 && this.#chunks.length > 0) {
      const last = this.#chunks.pop()!;
      if (last.length > over) {
        this.#chunks.push(last.slice(0, last.length - over));
        over = 0;
      } else over -= last.length;
    }
    this.#length = pos;
  }

  text(): string {
    this.#pack();
    return this.#chunks[0] ?? "";
  }
}
