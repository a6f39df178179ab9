/** The verifier's log: text appended as the kernel prints it, with its reset (level 1 drops explored paths). */

/** Pieces joined into one block at a time, so that millions of small writes stay linear. */
const PIECES = 2048;
/** No engine's longest string is shorter than twice this; a million instructions at level 2 can say more. */
const LONGEST = 1 << 28;

export class Log {
  /** BPF_LOG_LEVEL1 (1) | LEVEL2 (2) | STATS (4) */
  readonly level: number;
  readonly level1: boolean;
  readonly level2: boolean;
  readonly any: boolean;
  /** Longest log kept, in characters; more is dropped from the front, as the kernel's rotating log does. */
  readonly limit: number;
  #blocks: string[] = [];
  #pieces: string[] = [];
  #pos = 0;
  /** Characters in #blocks. */
  #blocked = 0;

  constructor(level: number, limit = 0) {
    this.level = level;
    this.level1 = (level & 1) !== 0;
    this.level2 = (level & 2) !== 0;
    this.any = level !== 0;
    this.limit = limit > 0 ? Math.min(limit, LONGEST) : LONGEST;
  }

  /** verbose() */
  write(text: string): void {
    this.#pieces.push(text);
    this.#pos += text.length;
    if (this.#pieces.length < PIECES) return;
    const block = this.#pieces.join("");
    this.#pieces = [];
    this.#blocks.push(block);
    this.#blocked += block.length;
    while (this.#blocks.length > 1 && this.#blocked - this.#blocks[0]!.length >= this.limit) {
      this.#blocked -= this.#blocks.shift()!.length;
    }
  }

  /** Characters written so far, resets taken back. */
  get pos(): number {
    return this.#pos;
  }

  /** bpf_vlog_reset: forgets what came after `pos`. */
  reset(pos: number): void {
    let over = this.#pos - pos;
    while (over > 0) {
      const list = this.#pieces.length > 0 ? this.#pieces : this.#blocks;
      const last = list.pop();
      if (last === undefined) break;
      const kept = last.length > over ? last.slice(0, last.length - over) : "";
      if (list === this.#blocks) this.#blocked -= last.length - kept.length;
      if (kept !== "") list.push(kept);
      over -= last.length;
    }
    this.#pos = pos;
  }

  text(): string {
    const all = this.#blocks.join("") + this.#pieces.join("");
    return all.length > this.limit ? all.slice(-this.limit) : all;
  }
}
