/** The whole way in one call, for scripts: compile, load, attach. */
import type { Btf } from "../btf/btf.ts";
import type { LoadedModule } from "../compiler/capture/types.ts";
import type { Kernel } from "../syscall/kernel.ts";
import type { App } from "./app.ts";
import { compileModule } from "./compile-module.ts";
import { type StartOptions, startCompiled } from "./start.ts";

/**
 * Compiles the programs that `module` exports, loads them and attaches each where its
 * declaration says. Needs the privilege that loading needs (see README). The caller closes
 * the app's collection.
 *
 * @example
 * import { start } from "bpfkit/load";
 * // using app = start(await import("./execsnoop.ts"));
 */
export function start(module: Readonly<Record<string, unknown>>, options: StartOptions = {}): App {
  const compiled = compileModule(module, { name: options.name ?? "probe", ...pick(options) });
  return startCompiled(compiled, options);
}

function pick({ kernel, btf, modules }: StartOptions): {
  kernel?: Kernel;
  btf?: Btf;
  modules?: ReadonlyMap<string, LoadedModule>;
} {
  return {
    ...(kernel === undefined ? {} : { kernel }),
    ...(btf === undefined ? {} : { btf }),
    ...(modules === undefined ? {} : { modules }),
  };
}
