/** Names of helpers as they stand in the kernel's text. */
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
