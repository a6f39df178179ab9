/** The one maker of program handles. */
import { ArgumentError } from "../core/errors.ts";
import { seal } from "./handle.ts";
import { checkOptions } from "./options.ts";
import type { Attach, ProgramHandle, ProgramType, Verdict } from "./program-types.ts";
import { callSite, type DeclaredBy, declarer } from "./site.ts";

/** Options of every program. */
export interface ProgramOptions {
  /** The name in the kernel; default: the name of the constant. */
  readonly name?: string;
}
/** Options of programs that may sleep (and then read user memory that is paged out). */
export interface SleepableOptions extends ProgramOptions {
  /** Kernel 5.10+. */
  readonly sleepable?: boolean;
}

/** A sealed program handle. `declaredBy` is the public function: its caller is the declaration's place. */
export function program<P extends ProgramType, C>(
  type: P,
  section: string,
  attach: Attach,
  fn: (ctx: C, bpf: never) => Verdict,
  options: SleepableOptions,
  declaredBy: DeclaredBy,
): ProgramHandle<P, C> {
  if (typeof fn !== "function") {
    throw new ArgumentError(
      `${declarer(declaredBy)}(fn)`,
      `expected the program's body, a function (ctx, bpf) => {…}, got ${fn === null ? "null" : typeof fn}`,
    );
  }
  checkOptions(declarer(declaredBy), "program", options);
  const site = callSite(declaredBy);
  return seal({
    kind: "program" as const,
    type,
    section,
    attach,
    sleepable: options.sleepable ?? false,
    name: options.name,
    fn,
    get site() {
      return site();
    },
  });
}

/** `value`, which must be a non-empty string without white space. */
export function word(argument: string, value: unknown): string {
  if (typeof value !== "string" || !/^\S+$/.test(value)) {
    throw new ArgumentError(
      argument,
      `expected a name without spaces, got ${typeof value === "string" ? JSON.stringify(value) : typeof value}`,
    );
  }
  return value;
}

/** `value`, which must be one of `allowed`. */
export function oneOf<T extends string>(argument: string, value: T, allowed: readonly T[]): T {
  if (!allowed.includes(value))
    throw new ArgumentError(argument, `expected one of ${allowed.join(", ")}, got ${value}`);
  return value;
}
