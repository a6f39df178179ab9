/** Names of helpers as they stand in the kernel's text. */
import { editDistance } from "../core/edit-distance.ts";
import { BPF_FUNC } from "../uapi/helpers.ts";

const IDS: ReadonlyMap<string, number> = new Map([
  ["bpf_unspec", 0],
  ...Object.entries(BPF_FUNC).map(([name, id]) => [`bpf_${name}`, id] as const),
]);
const NAMES: readonly string[] = [...IDS].reduce<string[]>((names, [name, id]) => {
  names[id] = name;
  return names;
}, []);

/** `helperName(1)` is "bpf_map_lookup_elem"; undefined for an id that names none. */
export function helperName(id: number): string | undefined {
  return NAMES[id];
}

/** `helperId("bpf_map_lookup_elem")` is 1. */
export function helperId(name: string): number | undefined {
  return IDS.get(name);
}

/** The helper whose name is nearest to `name`, if one is near enough to be meant. */
export function similarHelper(name: string): string | undefined {
  if (name.length > 64) return undefined;
  const wanted = name.startsWith("bpf_") ? name : `bpf_${name}`;
  let best: string | undefined;
  // A third of the name may be wrong, three letters at most.
  let limit = Math.min(3, Math.floor(name.length / 3)) + 1;
  for (const candidate of IDS.keys()) {
    if (Math.abs(candidate.length - wanted.length) >= limit) continue;
    const distance = editDistance(wanted, candidate);
    if (distance < limit) {
      limit = distance;
      best = candidate;
    }
  }
  return best;
}
