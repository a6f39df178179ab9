/** Loading a probe file as the command does: its exports, and what compiling them needs. */
import { basename, resolve } from "node:path";
import { BpfkitError } from "../core/errors.ts";
import type { LoadedModule } from "../compiler/capture/types.ts";
import { loadModule, type PrepareCache } from "../load/module-loader.ts";
import type { Host } from "./command.ts";
import { own, resolveOwn } from "./own-module.ts";

export interface ModuleFile {
  readonly path: string;
  /** Base name without extension: the name of the collection. */
  readonly name: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly modules: ReadonlyMap<string, LoadedModule>;
}

export async function moduleOfFile(path: string, host: Host, cache?: PrepareCache): Promise<ModuleFile> {
  if (!/\.[mc]?[jt]s$/.test(path)) throw new BpfkitError("FILE", `${path}: expected a TypeScript or JavaScript file`);
  const { exports, modules } = await loadModule(resolve(path), {
    own,
    resolveOwn,
    importModule: (url) => host.importModule(url),
    ...(cache === undefined ? {} : { cache }),
  });
  return { path, name: basename(path).replace(/\.[^.]*$/, ""), exports, modules };
}
