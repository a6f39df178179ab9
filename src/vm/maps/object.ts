/** What programs that look at a map's struct bpf_map find there. */
import type { Btf } from "../../btf/btf.ts";
import { type VmMemory, MAP_STRIDE, READ } from "../memory.ts";
import type { VmMap } from "./map.ts";

/** Fills in the plain members of the map's struct bpf_map, laid out as `btf` says; the rest is zero. */
export function showMap(memory: VmMemory, btf: Btf, map: VmMap): void {
  const type = btf.findByName("bpf_map", "struct");
  if (type === undefined) return;
  const members: Readonly<Record<string, number>> = {
    map_type: map.spec.type,
    key_size: map.spec.keySize,
    value_size: map.spec.valueSize,
    max_entries: map.spec.maxEntries,
    map_flags: map.spec.flags,
    id: map.id + 1,
  };
  for (const member of type.members) {
    const value = members[member.name];
    if (value !== undefined && member.bitOffset / 8 + 4 <= MAP_STRIDE)
      memory.view.setUint32(map.pointer + member.bitOffset / 8, value, true);
  }
  memory.mapRegions[map.id] = memory.addRegion(map.pointer, MAP_STRIDE, "kernel", `map ${map.name} itself`, READ);
}
