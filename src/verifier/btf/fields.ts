/** Special fields of map values (btf_parse_fields). */
import type { VMap } from "../map.ts";

/** Sets map.record from its value type's BTF. */
export function parseMapRecord(map: VMap): void {
  map.record = null;
}
