/** One program, one call. */
import type { CollectionSpec, MapSpec, ProgSpec } from "../elf/spec.ts";
import type { RunInput } from "./context.ts";
import { type RunResult, Vm, type VmOptions } from "./vm.ts";

export interface RunProgramOptions extends RunInput, VmOptions {
  readonly maps?: readonly MapSpec[];
}

/** A collection of these programs and maps, as `readObject` or `compile` would give it. */
export function collectionOf(progs: readonly ProgSpec[], maps: readonly MapSpec[] = []): CollectionSpec {
  return {
    name: progs[0]?.name ?? "programs",
    endian: "little",
    license: "GPL",
    kernelVersion: 0,
    btf: undefined,
    maps,
    progs,
    sources: new Map(),
  };
}

/**
 * Runs one program once with maps of its own. Use `Vm` to keep the maps over several runs.
 *
 * @throws VmFault when the program misbehaves
 * @example
 * const { returnValue, vm } = runProgram(spec.progs[0], { maps: spec.maps, data: new Uint8Array(64) });
 */
export function runProgram(prog: ProgSpec, options: RunProgramOptions = {}): RunResult & { readonly vm: Vm } {
  const vm = new Vm(collectionOf([prog], options.maps ?? []), options);
  return { ...vm.run(prog.name, options), vm };
}
