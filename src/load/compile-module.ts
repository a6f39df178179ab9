/** Compiling a module's exports for the kernel this process runs on. */
import type { Btf } from "../btf/btf.ts";
import { type Arch, type Capture, compile, type CompileResult, createCapture } from "../compiler/index.ts";
import type { LoadedModule } from "../compiler/capture/types.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { realKernel } from "../syscall/kernel-real.ts";
import { type TracepointFormat, tracepointFormatOfBtf } from "../btf/tracepoint-format.ts";
import { tracepointFormat } from "../syscall/tracefs.ts";
import { nodeCaptureHost } from "../host/capture-host.ts";
import { NotSupportedError } from "../core/errors.ts";
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

export interface CompiledModule extends CompileResult {
  /** Kernel types that it was compiled with. */
  readonly madeFor?: Btf | undefined;
}

/**
 * Compiles the programs that a module exports, with the running kernel's types and tracepoint layouts.
 *
 * @throws DiagnosticError code "COMPILE" with every error of the module
 */
export function compileModule(
  exports: Readonly<Record<string, unknown>>,
  options: CompileModuleOptions,
): CompiledModule {
  return compileWith(exports, options, createCapture(nodeCaptureHost(options.modules)));
}

/** The same with a given capture; `onFormat` hears which tracepoint layouts were asked for. */
export function compileWith(
  exports: Readonly<Record<string, unknown>>,
  options: CompileModuleOptions,
  capture: Capture,
  onFormat: (name: string, format: TracepointFormat) => void = () => {},
): CompiledModule {
  const kernel = options.kernel ?? realKernel();
  let madeFor: Btf | undefined;
  const result = compile({
    name: options.name,
    exports,
    capture,
    get btf(): Btf {
      return (madeFor ??= options.btf ?? kernelBtf(kernel).vmlinux);
    },
    tracepointFormat: (name) => {
      const format = readableFormat(kernel, name, () => (madeFor ??= options.btf ?? kernelBtf(kernel).vmlinux));
      onFormat(name, format);
      return format;
    },
    arch: process.arch as Arch,
    ...(options.license === undefined ? {} : { license: options.license }),
  });
  return { ...result, madeFor };
}

/** The layout of "category:name" on this kernel. */
export function tracepointFormatOf(kernel: Kernel, name: string): TracepointFormat {
  const [category = "", event = ""] = name.split(":");
  return tracepointFormat(kernel, category, event);
}

/** From tracefs where it can be read, else from the kernel's types as far as they say it. */
function readableFormat(kernel: Kernel, name: string, btf: () => Btf): TracepointFormat {
  try {
    return tracepointFormatOf(kernel, name);
  } catch (error) {
    if (!(error instanceof NotSupportedError)) throw error;
    const [category = "", event = ""] = name.split(":");
    const format = tracepointFormatOfBtf(btf(), category, event);
    if (format === undefined) throw error;
    return format;
  }
}
