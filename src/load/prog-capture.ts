/** Captures of the loads of a collection: everything the kernel is given, as JSON for bug reports and `bpfkit verify`. */
import type { Btf } from "../btf/btf.ts";
import { BpfkitError } from "../core/errors.ts";
import { progLoadToJson } from "../elf/capture.ts";
import { LoadMaker } from "../elf/prog-loads.ts";
import type { CollectionSpec, MapSpec, ProgSpec } from "../elf/spec.ts";
import { possibleCpus } from "../syscall/cpus.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { kallsyms } from "./kallsyms.ts";
import type { KernelBtf } from "./kernel-btf.ts";

export interface CaptureContext {
  readonly kernel: Kernel;
  /** The kernel's BTF; throws where there is none. */
  kernelBtf(): KernelBtf;
  readonly madeFor: Btf | undefined;
  /** Contents of data sections as they are loaded. */
  data(map: MapSpec): Uint8Array | undefined;
}

/** What `load` hands each program to before it is loaded. */
export type CaptureSink = (prog: ProgSpec, spec: CollectionSpec, context: CaptureContext) => void;

/**
 * A sink for `load({ capture })`: `write` gets each program's name and its capture as JSON data.
 *
 * @example
 * // load(spec, { capture: captureTo((program, capture) => writeFileSync(`${program}.json`, JSON.stringify(capture))) });
 */
export function captureTo(write: (program: string, capture: Record<string, unknown>) => void): CaptureSink {
  return (prog, spec, context) => write(prog.name, captureProgram(prog, spec, context));
}

/** `prog` as a capture. What cannot be captured is a BpfkitError, as loading it would be. */
function captureProgram(prog: ProgSpec, spec: CollectionSpec, context: CaptureContext): Record<string, unknown> {
  const { kernel } = context;
  let types: KernelBtf | undefined;
  try {
    types = context.kernelBtf();
  } catch (error) {
    // A program that needs none is captured without.
    if (!(error instanceof BpfkitError)) throw error;
  }
  const modules = new Map<string, Btf>();
  for (const name of types?.moduleNames() ?? []) {
    const btf = types?.module(name);
    if (btf !== undefined) modules.set(name, btf);
  }
  const maker = new LoadMaker(spec, {
    vmlinux: types?.vmlinux ?? null,
    modules,
    symbolAddress: (name) => kallsyms(kernel).addressOf(name),
    pageSize: kernel.pageSize,
    possibleCpus: possibleCpus(kernel),
    data: (map) => context.data(map),
    madeFor: context.madeFor,
  });
  return progLoadToJson(maker.make(prog).load, kernel.release);
}
