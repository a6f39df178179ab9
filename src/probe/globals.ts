/** Globals and constants of a program: `.data` and `.rodata` in C's terms. */
import { ArgumentError } from "../core/errors.ts";
import { type Handle, outsideProgram, seal } from "./handle.ts";
import type { Body, Input, Schema } from "./schema-types.ts";
import { checkOptions } from "./options.ts";
import { isSchema } from "./schema.ts";
import { callSite, type DeclaredBy, declarer } from "./site.ts";

/** What the compiler and the loader read of a global. */
export interface GlobalHandle extends Handle {
  readonly kind: "global";
  /** "data": shared and writable. "rodata": fixed at load, so that the kernel drops the branches it makes dead. */
  readonly section: "data" | "rodata";
  readonly schema: Schema;
  /** Value at load, in JavaScript form; `config` values can be replaced with `--set`. */
  readonly initial: unknown;
  readonly name: string | undefined;
}
/** A global variable. Kernel 5.2+. */
export interface Global<S extends Schema> extends GlobalHandle {
  readonly schema: S;
  /** Only inside a program body. */
  value: Body<S>;
}
/** A constant that is set when the program is loaded. Kernel 5.2+. */
export interface Config<S extends Schema> extends GlobalHandle {
  readonly schema: S;
  /** Only inside a program body. */
  readonly value: Body<S>;
}

const outside: object = Object.create(null, {
  value: {
    get: () => outsideProgram(".value of a global", "use the loaded collection: `app.global(handle).value`"),
    set() {
      outsideProgram(".value of a global", "use the loaded collection: `app.global(handle).value`");
    },
  },
});

function declare(
  section: "data" | "rodata",
  schema: Schema,
  initial: unknown,
  options: { readonly name?: string },
  declaredBy: DeclaredBy,
): unknown {
  checkOptions(declarer(declaredBy), "global", options);
  if (!isSchema(schema))
    throw new ArgumentError(`${declarer(declaredBy)}(schema)`, `expected a schema such as u32, got ${String(schema)}`);
  const site = callSite(declaredBy);
  return seal({
    __proto__: outside,
    kind: "global",
    section,
    schema,
    initial,
    name: options.name,
    get site() {
      return site();
    },
  });
}

/**
 * A variable that programs share, kept between runs; user space reads and writes it too. Kernel 5.2+.
 * @example
 * import { global, u64 } from "bpfkit";
 * export const drops = global(u64, 0);   // in a program: drops.value += 1
 */
export function global<S extends Schema>(
  schema: S,
  initial: Input<S>,
  options: { readonly name?: string } = {},
): Global<S> {
  return declare("data", schema, initial, options, { global }) as Global<S>;
}

/**
 * A constant set at load: `bpfkit run --set NAME=VALUE`. The kernel's verifier knows its value. Kernel 5.2+.
 * @example
 * import { config, u32 } from "bpfkit";
 * export const onlyUid = config(u32, 0xffff_ffff);
 */
export function config<S extends Schema>(
  schema: S,
  initial: Input<S>,
  options: { readonly name?: string } = {},
): Config<S> {
  return declare("rodata", schema, initial, options, { config }) as Config<S>;
}
