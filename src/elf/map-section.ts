/** Where a map goes in an object. */
import { ArgumentError } from "../core/errors.ts";
import { BPF_F } from "../uapi/flags.ts";
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import { dataKind } from "./data-maps.ts";
import type { MapSpec } from "./spec.ts";

/** Section of a map: said, or by its name. */
export function sectionOf(map: MapSpec): string {
  if (map.section !== undefined) return map.section;
  if (map.type === BPF_MAP_TYPE.STRUCT_OPS) return (map.flags & BPF_F.LINK) !== 0 ? ".struct_ops.link" : ".struct_ops";
  const dot = map.name.indexOf(".");
  const suffix = dot < 0 ? "" : map.name.slice(dot);
  return dataKind(suffix) === undefined ? ".maps" : suffix;
}

/** Enough for any object; what is more comes from sizes that nobody meant. */
const MAX_SECTION = 1 << 28;

export function zeros(size: number): Uint8Array {
  if (size > MAX_SECTION)
    throw new ArgumentError("maps", `a section of ${size} bytes, at most ${MAX_SECTION} can be written`);
  return new Uint8Array(size);
}
