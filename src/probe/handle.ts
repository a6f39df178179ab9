/** What every declared thing (map, global, program) has in common. */
import { BpfkitError } from "../core/errors.ts";
import type { CallSite } from "./site.ts";

const brand = Symbol.for("bpfkit.handle");

/**
 * A declaration: plain data about a map, a global or a program. It touches no kernel;
 * its name comes later, from the export key or the constant that holds it.
 */
export interface Handle {
  readonly kind: "map" | "global" | "program" | "struct-ops";
  /** Where it was declared, in the text that runs; undefined where the engine cannot tell. */
  readonly site: CallSite | undefined;
}

/** True for every map, global and program handle, also one made by another copy of this package. */
export function isHandle(value: unknown): value is Handle {
  return typeof value === "object" && value !== null && (value as { [brand]?: unknown })[brand] === true;
}

/** Marks `target` as a handle and freezes it. */
export function seal<T extends object>(target: T): Readonly<T> {
  Object.defineProperty(target, brand, { value: true });
  return Object.freeze(target);
}

/** The error of a method that only means something in compiled code. `what` is like "get()". */
export function outsideProgram(what: string, instead: string): never {
  throw new BpfkitError(
    "OUTSIDE_PROGRAM",
    `${what} exists only inside a program body, which is compiled and never run as JavaScript. In user space, ${instead}`,
  );
}
