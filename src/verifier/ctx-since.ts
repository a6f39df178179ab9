/** Context fields that the simulated kernel does not have yet. */
import { CTX_KINDS, type CtxFieldRow, ctxLayout } from "../uapi/ctx.ts";
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";
import type { Env } from "./env.ts";

const STRUCTS: ReadonlyMap<number, string> = new Map(
  CTX_KINDS.flatMap((row) => (row.struct === undefined ? [] : [[BPF_PROG_TYPE[row.progType], row.struct] as const])),
);

/** Does the access at `off` begin in a field of a later release? */
export function ctxFieldTooNew(env: Env, off: number): boolean {
  const struct = STRUCTS.get(env.progType);
  const field: CtxFieldRow | undefined =
    struct === undefined
      ? undefined
      : ctxLayout(struct)?.fields.find((f) => off >= f.offset && off < f.offset + f.size);
  return field !== undefined && !env.kernel.atLeast(field.since);
}
