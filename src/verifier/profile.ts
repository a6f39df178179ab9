/** Counting where the work goes: processed instructions and kept states, by instruction and by chain of calls. */
import type { Env } from "./env.ts";

/** What one chain of calls costs. `calls` are the insns that called, outermost first; empty for the main function. */
export interface ProfileFrame {
  readonly calls: readonly number[];
  /** Processed, by insn. */
  readonly insns: Uint32Array;
  /** States kept, by insn. */
  readonly states: Uint32Array;
}

/** The main loop calls `insn` for every processed instruction, and `state` for every state it keeps. */
export class Profile {
  readonly #frames = new Map<string, ProfileFrame>();
  #last: ProfileFrame | undefined;
  #lastKey = "";
  #lastDepth = -1;
  #lastCallsite = -1;

  get frames(): readonly ProfileFrame[] {
    return [...this.#frames.values()];
  }

  insn(env: Env, i: number): void {
    this.#frame(env).insns[i]!++;
  }

  state(env: Env, i: number): void {
    this.#frame(env).states[i]!++;
  }

  #frame(env: Env): ProfileFrame {
    const { frames, curframe } = env.state;
    // Where there is one caller, its insn says all.
    if (
      curframe < 2 &&
      this.#last !== undefined &&
      this.#lastDepth === curframe &&
      this.#lastCallsite === frames[curframe]!.callsite
    )
      return this.#last;
    const calls: number[] = [];
    for (let n = 1; n <= curframe; n++) calls.push(frames[n]!.callsite);
    const key = calls.join();
    let frame = this.#lastKey === key ? this.#last : this.#frames.get(key);
    if (frame === undefined)
      this.#frames.set(key, (frame = { calls, insns: new Uint32Array(env.len), states: new Uint32Array(env.len) }));
    this.#last = frame;
    this.#lastKey = key;
    this.#lastDepth = curframe;
    this.#lastCallsite = frames[curframe]!.callsite;
    return frame;
  }
}
