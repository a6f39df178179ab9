/** The kernels that `bpfkit verify --kernel` names: their rules and their types. */
import type { Btf } from "../btf/btf.ts";
import { BpfkitError } from "../core/errors.ts";
import { kernelBtf } from "../load/kernel-btf.ts";
import { realKernel } from "../syscall/kernel-real.ts";
import { PACKAGED_KERNELS, packagedKernel } from "../testing/world/kernel-types.ts";
import { KERNELS, type KernelProfile, LATEST_KERNEL, kernelProfile } from "../verifier/kernel-profile.ts";
import { type CommandSpec, UsageError } from "./args.ts";
import { btfOption } from "./spec-of-file.ts";

export interface Target {
  /** As the user named it: "6.1", "live". */
  readonly name: string;
  readonly kernel: KernelProfile;
  /** Types of that kernel; null where there are none. */
  readonly types: () => Btf | null;
}

/** "6.18" of "6.18.44-generic"; the newest kernel known where nothing runs. */
function runningSeries(): string {
  try {
    return /^\d+\.\d+/.exec(realKernel().release)?.[0] ?? LATEST_KERNEL;
  } catch {
    return LATEST_KERNEL;
  }
}

function runningTypes(): Btf | null {
  try {
    return kernelBtf(realKernel()).vmlinux;
  } catch (error) {
    if (!(error instanceof BpfkitError)) throw error;
    return null;
  }
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

const series = (name: string): string => /^\d+\.\d+/.exec(name)?.[0] ?? name;

/** Types of a kernel by its name: the running one's where that is it, else the package's. */
function typesOf(name: string): Btf | null {
  const wanted = series(name);
  if (wanted === runningSeries()) {
    const btf = runningTypes();
    if (btf !== null) return btf;
  }
  return (PACKAGED_KERNELS as readonly string[]).includes(wanted) ? packagedKernel(wanted).btf : null;
}

function target(name: string, given: (() => Btf) | undefined, spec: CommandSpec): Target {
  if (name === "live") return { name, kernel: kernelProfile(runningSeries()), types: given ?? once(runningTypes) };
  try {
    return { name, kernel: kernelProfile(name), types: given ?? once(() => typesOf(name)) };
  } catch (error) {
    if (!(error instanceof BpfkitError)) throw error;
    throw new UsageError(`--kernel ${name}: expected versions such as ${KERNELS.join(", ")}, or live`, spec);
  }
}

/** What `--kernel LIST` and `--btf FILE` ask for; the running kernel's rules and types by default. */
export function targetsOf(list: string | undefined, btfPath: string | undefined, spec: CommandSpec): Target[] {
  const given = btfPath === undefined ? undefined : once(() => btfOption(btfPath).btf!);
  const names = (list ?? "live").split(",").map((n) => n.trim());
  return [...new Set(names)].map((name) => target(name, given, spec));
}

/** The kernels with long-term support, oldest first, with the types that there are of them. */
export function longTermTargets(btfPath: string | undefined, spec: CommandSpec): Target[] {
  return targetsOf(KERNELS.join(), btfPath, spec);
}
