/** Compiling a probe file for `run`: warnings to standard error, the result into the cache. */
import { DiagnosticError } from "../core/errors.ts";
import type { CompileCache } from "../load/compile-cache.ts";
import { compileForCache } from "../load/compile-cache-write.ts";
import { compileModule } from "../load/compile-module.ts";
import type { Startable } from "../load/start.ts";
import { realKernel } from "../syscall/index.ts";
import type { ModuleFile } from "./module-of-file.ts";
import { warn } from "./report.ts";

/** `keep` fills the cache, and is called when the programs are attached. */
export function compileFile(
  module: ModuleFile,
  cache: CompileCache | undefined,
): { compiled: Startable; keep?: () => void } {
  const made =
    cache === undefined
      ? { compiled: compileModule(module.exports, module) }
      : compileForCache(cache, module.exports, { ...module, kernel: realKernel() });
  const { compiled } = made;
  warn(compiled.diagnostics, compiled.spec.sources);
  if (compiled.programs.size === 0) throw noProgram(module.path);
  return made;
}

/** A file that has nothing to compile. */
export function noProgram(path: string): DiagnosticError {
  return new DiagnosticError("NO_PROGRAM", [
    {
      code: "BPF0001",
      severity: "error",
      message: `${path} exports no program`,
      labels: [],
      notes: [],
      help: "export what tracepoint(…), uprobe(…), xdp(…) return: `export const onExec = tracepoint(…)`",
    },
  ]);
}
