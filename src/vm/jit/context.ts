/** What code is emitted for. */
import type { Image } from "../image.ts";
import type { VmMap } from "../maps/map.ts";
import type { Access } from "./facts.ts";

/** Accesses that one check is for; `off` is the distance from its lowest address. */
export type CheckSite = readonly Access[];

export interface EmitContext {
  readonly image: Image;
  /** Every check that was emitted, by its number. */
  readonly checks: CheckSite[];
  /** WebAssembly function that looks keys up in this map, when there is one. */
  lookupOf(map: VmMap): number | undefined;
  /** Where the path that runs takes is written down. */
  readonly trace: TraceSite | undefined;
  /** Every byte below exists already. */
  readonly top: number;
  /** WebAssembly function of each BPF function, by its first slot. */
  readonly functions: ReadonlyMap<number, number>;
  readonly nullReads: boolean;
  readonly stackEnd: number;
  mapAt(pointer: number): VmMap | undefined;
}

export interface TraceSite {
  /** Number of this program in the trace. */
  readonly program: number;
  /** Address of the entries, and how many bytes there are: a power of two. */
  readonly base: number;
  readonly bytes: number;
  /** End of each piece of straight code, by its first slot: filled while code is emitted. */
  readonly ends: Uint32Array;
}
