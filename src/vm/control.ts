/** Where an interpreted run is. */
import type { Image } from "./image.ts";
import type { Callback } from "./run.ts";

/** Iterations of may_goto in one call of a function (BPF_MAX_LOOPS). */
export const MAX_LOOPS = 8 * 1024 * 1024;

/** A function that called another. */
export interface Frame {
  image: Image;
  /** Slot to go on at. */
  pc: number;
  readonly saved: Int32Array;
  readonly regions: Int32Array;
  known: number;
  loops: number;
  base: number;
  callback: Callback | undefined;
}

/** One that further steps leave as it is. */
export const copyFrame = (f: Frame): Frame => ({ ...f, saved: f.saved.slice(), regions: f.regions.slice() });

/** Where a run is: everything but registers and memory. */
export interface Control {
  readonly image: Image;
  readonly pc: number;
  readonly known: number;
  readonly depth: number;
  readonly base: number;
  readonly loops: number;
  readonly exited: boolean;
  readonly frames: readonly (Frame | undefined)[];
}

/** How `step` and `exec` ended. */
export type Status = "paused" | "breakpoint" | "exited";
