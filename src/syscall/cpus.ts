/** The CPUs of this machine: per-CPU map values have one slot for each possible CPU, perf events one for each online one. */
import { BpfkitError } from "../core/errors.ts";
import type { Kernel } from "./kernel.ts";

/** Parses a list such as "0-3,8". */
export function parseCpuList(text: string): number[] {
  const cpus: number[] = [];
  for (const part of text.trim().split(",")) {
    if (part === "") continue;
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (match === null)
      throw new BpfkitError("CPU_LIST", `expected a CPU list such as 0-3,8, got ${JSON.stringify(text)}`);
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    for (let cpu = first; cpu <= last && cpus.length < 65_536; cpu++) cpus.push(cpu);
  }
  return cpus;
}

const possible = new WeakMap<Kernel, number>();

/** How many CPUs there could ever be: the number of slots in a per-CPU value. */
export function possibleCpus(kernel: Kernel): number {
  let count = possible.get(kernel);
  if (count === undefined) {
    count = (readList(kernel, "possible").at(-1) ?? 0) + 1;
    possible.set(kernel, count);
  }
  return count;
}

/** The CPUs that are online now. */
export function onlineCpus(kernel: Kernel): readonly number[] {
  return readList(kernel, "online");
}

function readList(kernel: Kernel, name: string): number[] {
  const bytes = kernel.readFile(`/sys/devices/system/cpu/${name}`);
  if (typeof bytes === "number") {
    throw new BpfkitError(
      "CPU_LIST",
      `/sys/devices/system/cpu/${name} cannot be read (errno ${-bytes}); is /sys mounted?`,
    );
  }
  return parseCpuList(new TextDecoder().decode(bytes));
}
