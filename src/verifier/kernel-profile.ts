/** Which kernel is simulated: what it has, computed once from the tables of src/uapi. */
import { BpfkitError } from "../core/errors.ts";
import { KERNEL_CHANGES, type KernelChange, type KernelChangeName } from "../uapi/kernel-changes.ts";

/** By name: does this kernel behave so? */
export type KernelFeatures = Readonly<Record<KernelChangeName, boolean>>;

export interface KernelProfile {
  /** "6.12", or "6.12.5" where the patch level matters. */
  readonly name: string;
  readonly has: KernelFeatures;
  /** Is something that came with release `since` ("5.8", "5.8.3") there? */
  atLeast(since: string): boolean;
}

/** Kernels with long-term support that profiles are meant for, oldest first. */
export const KERNELS = ["5.4", "5.10", "5.15", "6.1", "6.6", "6.12", "6.18"] as const;
export const LATEST_KERNEL = "6.18";

function parse(text: string): [number, number, number] | null {
  const m = /^v?(\d+)\.(\d+)(?:\.(\d+))?$/.exec(text);
  // A series without a patch level is its newest kernel.
  return m === null ? null : [Number(m[1]), Number(m[2]), m[3] === undefined ? Number.POSITIVE_INFINITY : Number(m[3])];
}

const number = ([major, minor]: readonly number[]): number => major! * 1000 + minor!;

function hasChange(version: readonly [number, number, number], change: KernelChange): boolean {
  const since = parse(change.since)!;
  if (number(version) >= number(since)) return true;
  const patch = change.stable?.[`${version[0]}.${version[1]}`];
  return patch !== undefined && version[2] >= patch;
}

const made = new Map<string, KernelProfile>();

/**
 * The profile of a kernel: "6.12" (its newest stable release), "6.12.5", or what uname says ("6.1.0-56-cloud-amd64" has
 * no usable patch level: only the series counts). Kernels before 5.4 and after 6.18 are taken for those.
 * @throws BpfkitError KERNEL_VERSION when the text is not a version.
 */
export function kernelProfile(name: string): KernelProfile {
  const cached = made.get(name);
  if (cached !== undefined) return cached;
  const version = parse(name);
  if (version === null)
    throw new BpfkitError("KERNEL_VERSION", `kernel ${JSON.stringify(name)}: expected a version such as "6.12"`);
  const has = Object.fromEntries(
    Object.entries(KERNEL_CHANGES).map(([key, change]) => [key, hasChange(version, change)]),
  ) as Record<KernelChangeName, boolean>;
  const profile: KernelProfile = {
    name,
    has,
    atLeast(since) {
      const s = parse(since);
      if (s === null) return true;
      return (
        number(version) > number(s) ||
        (number(version) === number(s) && (since.split(".").length < 3 || version[2] >= s[2]))
      );
    },
  };
  made.set(name, profile);
  return profile;
}
