/** Modules that bpfkit's own loader brought into this process: what their names mean needs no inspector. */
import type { LoadedModule } from "../compiler/capture/types.ts";

const KEY = Symbol.for("bpfkit.loaded");
type Holder = typeof globalThis & { [KEY]?: Map<string, LoadedModule> };

/** By URL. The command and `bpfkit/testing` may be two copies of this file in one process: both see them. */
export function loadedModules(): Map<string, LoadedModule> {
  return ((globalThis as Holder)[KEY] ??= new Map());
}
