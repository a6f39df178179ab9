/** Contents of simulated maps as text. */
import type { MapHandle } from "../probe/map-types.ts";
import type { Bucket } from "../values/histogram.ts";
import { cell, table } from "./output.ts";
import { histogramText } from "./histogram-text.ts";

/** Maps and buffers under their names; empty ones and zeros of arrays are left out. `handleOf` tells which are histograms. */
export function mapsText(
  contents: Readonly<Record<string, readonly unknown[]>>,
  handleOf: (name: string) => MapHandle | undefined,
): string {
  let out = "";
  for (const [name, list] of Object.entries(contents)) {
    if (list.length > 0 && handleOf(name)?.histogram !== undefined) {
      const [first] = list;
      const keyed = isRecord(first) && "buckets" in first;
      for (const part of keyed
        ? (list as { key: unknown; buckets: Bucket[] }[])
        : [{ key: undefined, buckets: list as Bucket[] }])
        out += `\n${name}${part.key === undefined ? "" : `[${cell(part.key)}]`}\n${histogramText(part.buckets)}`;
      continue;
    }
    const rows = list.filter((item) => !(Array.isArray(item) && isZero(item[1])));
    if (rows.length === 0) continue;
    const cells = rows.map((item) =>
      Array.isArray(item) ? [...columns(item[0]), ...columns(item[1])] : columns(item),
    );
    const [first] = rows;
    const header = Array.isArray(first)
      ? [...names(first[0], "key"), ...names(first[1], "value")]
      : names(first, "value");
    out += `\n${name}\n${table(header, cells).replace(/^(?=.)/gm, "  ")}`;
  }
  return out;
}

/** Long byte arrays say nothing to a person. */
const short = (value: unknown): unknown =>
  value instanceof Uint8Array && value.length > 32 ? `${cell(value.subarray(0, 32))}… (${value.length} bytes)` : value;
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
const columns = (value: unknown): unknown[] => (isRecord(value) ? Object.values(value) : [value]).map(short);
const names = (value: unknown, otherwise: string): string[] => (isRecord(value) ? Object.keys(value) : [otherwise]);

function isZero(value: unknown): boolean {
  if (value instanceof Uint8Array) return value.every((b) => b === 0);
  if (typeof value === "object" && value !== null) return Object.values(value).every(isZero);
  return value === 0 || value === 0n || value === "" || value === false;
}
