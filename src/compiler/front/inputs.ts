/** What a program is called with: a context in the first register, or the arguments of the function that it replaces. */
import type { AnyProgram } from "../../probe/program-types.ts";
import type { FuncBuilder } from "../ir/builder.ts";
import type { Inst, Space, Type } from "../ir/ir.ts";
import { ctxLayout } from "../../uapi/index.ts";
import { contextOf, narrowed } from "./contexts.ts";
import type { Fn } from "./context.ts";
import { fromSchema, isScalar } from "./types.ts";
import type { BuiltinVal, PlaceVal, Val } from "./value.ts";
import { ERROR } from "./value.ts";

interface Input {
  readonly name: string;
  readonly type: Type;
  readonly space: Space;
}

/** The arguments of a program's entry function. */
export function inputsOf(handle: AnyProgram): readonly Input[] {
  const { attach } = handle;
  if (attach.how !== "freplace") return [{ name: "ctx", type: "ptr", space: "ctx" }];
  return Object.entries(attach.args).map(([name, arg]): Input => {
    if (typeof arg === "string") return { name, type: "ptr", space: "ctx" };
    return isScalar(fromSchema(arg)) ? { name, type: "int", space: "unknown" } : { name, type: "ptr", space: "mem" };
  });
}

/** The register that helpers take as the context: of a replaced function its context, if it has one. */
export function contextInput(b: FuncBuilder, inputs: readonly Input[], params: readonly Inst[]): Inst {
  return params[inputs.findIndex((i) => i.space === "ctx")] ?? b.nullPtr();
}

/** `ctx` of a program that replaces a function: its arguments by name. */
export function replacedArgs(fn: Fn, params: readonly Inst[]): BuiltinVal | undefined {
  const { attach, section } = fn.program.handle;
  if (attach.how !== "freplace") return undefined;
  const values = new Map<string, Val>();
  for (const [i, [name, arg]] of Object.entries(attach.args).entries()) {
    const v = params[i]!;
    if (typeof arg === "string") values.set(name, ctxLayout(arg) === undefined ? unknown(fn, arg) : contextOf(fn, arg));
    else {
      const type = fromSchema(arg);
      if (isScalar(type)) values.set(name, narrowed(fn, type, v));
      else {
        const inner: PlaceVal = { k: "place", type, base: v, off: 0, space: "mem" };
        values.set(name, { k: "opt", ptr: v, inner, what: `the argument ${name}` });
      }
    }
  }
  return {
    k: "builtin",
    what: `the arguments of ${section}`,
    members: () => [...values.keys()],
    member: (name) => values.get(name),
  };
}

function unknown(fn: Fn, name: string): Val {
  fn.report("BPF2006", fn.source.node, { expected: "the C name of a context, such as xdp_md", found: name });
  return ERROR;
}
