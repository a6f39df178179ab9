/** From a module to a running app: compile, load, attach. */
import type { CompileResult } from "../compiler/compile.ts";
import type { LoadedModule } from "../compiler/capture/types.ts";
import type { Btf } from "../btf/btf.ts";
import type { AnyProgram } from "../probe/program-types.ts";
import type { Schema } from "../probe/schema-types.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { App, type AppOptions } from "./app.ts";
import { attachHandle } from "./attach-handle.ts";
import type { VariableValue } from "../values/variables.ts";
import { type LoadOptions, load } from "./load.ts";
import type { AttachOptions } from "./program.ts";

export interface StartOptions extends AppOptions {
  /** Names the collection; "probe" by default. */
  readonly name?: string;
  readonly kernel?: Kernel;
  readonly btf?: Btf;
  /** Values of `config()` constants and `global()` variables by name. */
  readonly config?: Readonly<Record<string, VariableValue>>;
  /** As in `LoadOptions`. */
  readonly capture?: LoadOptions["capture"];
  /** Interface of xdp and tc programs, cgroup of cgroup programs. */
  readonly attach?: AttachOptions;
  /** @internal modules that bpfkit loaded itself */
  readonly modules?: ReadonlyMap<string, LoadedModule>;
}

/** What `startCompiled` needs of a compiled module: `CompileResult`, or what a cache kept of one. */
export type Startable = Pick<CompileResult, "spec" | "schemas" | "globals"> & {
  readonly programs: ReadonlyMap<string, AnyProgram>;
  /** Kernel types that it was compiled with. */
  readonly madeFor?: Btf | undefined;
};

/** Loads and attaches what was compiled. Everything acquired before a failure is released. */
export function startCompiled(compiled: Startable, options: StartOptions = {}): App {
  const globals = new Map<string, Schema>([...compiled.globals].map(([name, g]) => [name, g.schema]));
  const collection = load(compiled.spec, {
    schemas: compiled.schemas,
    globals,
    ...(compiled.madeFor === undefined ? {} : { madeFor: compiled.madeFor }),
    ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
    ...(options.config === undefined ? {} : { config: options.config }),
    ...(options.capture === undefined ? {} : { capture: options.capture }),
  });
  try {
    for (const [name, handle] of compiled.programs) {
      const link = attachHandle(collection.prog(name), handle, options.attach);
      if (link !== undefined) collection.adopt(link);
    }
    return new App(collection, handleNames(compiled), options);
  } catch (error) {
    collection.close();
    throw error;
  }
}

function handleNames(compiled: Startable): ReadonlyMap<object, string> {
  const names = new Map<object, string>();
  for (const [name, { handle }] of compiled.schemas) names.set(handle, name);
  for (const [name, handle] of compiled.globals) names.set(handle, name);
  for (const [name, handle] of compiled.programs) names.set(handle, name);
  return names;
}
