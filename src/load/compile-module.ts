/** Compiling a module's exports for the kernel this process runs on. */
import { Btf } from "../btf/index.ts";
import { type CompileResult, type Arch, compile, createCapture } from "../compiler/index.ts";
import type { LoadedModule } from "../compiler/capture/types.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { realKernel } from "../syscall/kernel-real.ts";
import { type TracepointFormat, tracepointFormat } from "../syscall/tracefs.ts";
import { nodeCaptureHost } from "./capture-node.ts";
import { kernelBtf } from "./kernel-btf.ts";

export interface CompileModuleOptions {
  /** Of the collection; names its `.rodata` and `.data` maps. */
  readonly name: string;
  readonly kernel?: Kernel;
  /** Kernel types instead of the running kernel's. */
  readonly btf?: Btf;
  /** Modules that bpfkit loaded itself. */
  readonly modules?: ReadonlyMap<string, LoadedModule>;
  readonly license?: string;
}

/**
 * Compiles the programs that a module exports, with the running kernel's types and tracepoint layouts.
 *
 * @throws DiagnosticError code "COMPILE" with every error of the module
 */
export function compileModule(exports: Readonly<Record<string, unknown>>, options: CompileModuleOptions): CompileResult {
  const kernel = options.kernel ?? realKernel();
  return compile({
    name: options.name,
    exports,
    capture: createCapture(nodeCaptureHost(options.modules)),
    get btf(): Btf {
      return options.btf ?? kernelBtf(kernel).vmlinux;
    },
    tracepointFormat: (name) => formatOf(kernel, name),
    arch: process.arch as Arch,
    ...(options.license === undefined ? {} : { license: options.license }),
  });
}

function formatOf(kernel: Kernel, name: string): TracepointFormat {
  const [category = "", event = ""] = name.split(":");
  return tracepointFormat(kernel, category, event);
}
