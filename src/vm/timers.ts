/** struct bpf_timer on the world's clock: `vm.advance(ns)` runs what is due. */
import type { Image } from "./image.ts";
import type { VmMap } from "./maps/map.ts";

export interface VmTimer {
  /** Address of the struct bpf_timer. */
  readonly at: number;
  readonly map: VmMap;
  /** Address of the map value that it is in. */
  readonly value: number;
  callback: { readonly image: Image; readonly slot: number } | undefined;
  /** When it fires, by the world's clock; undefined while it is not armed. */
  due: bigint | undefined;
}

export class Timers {
  readonly #timers = new Map<number, VmTimer>();

  get(at: number): VmTimer | undefined {
    return this.#timers.get(at);
  }
  add(timer: VmTimer): void {
    this.#timers.set(timer.at, timer);
  }
  /** The armed timer that is due first, up to `until`. */
  next(until: bigint): VmTimer | undefined {
    let first: VmTimer | undefined;
    for (const timer of this.#timers.values()) {
      if (timer.due === undefined || timer.due > until) continue;
      if (first === undefined || timer.due < first.due!) first = timer;
    }
    return first;
  }
}
