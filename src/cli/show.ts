/** Maps and histograms as text for a person. */
import { type App, type Bucket, KvMap, PerCpuMap, QueueMap } from "../load/index.ts";
import type { Histogram, MapHandle } from "../probe/map-types.ts";
import { histogramText } from "./histogram-text.ts";
import { cell, table } from "./output.ts";

/** Rows of a map that are shown; the rest is counted. */
const MAX_ROWS = 40;

/** A map's contents under its name, or undefined when there is nothing to show (buffers, program arrays, empty maps). */
export function mapText(app: App, name: string, handle: MapHandle): string | undefined {
  if (handle.histogram !== undefined) return histogramsText(app, name, handle as Histogram);
  const map = app.collection.anyMap(name);
  if (map instanceof QueueMap || !(map instanceof KvMap)) return undefined;
  const entries = map instanceof PerCpuMap ? sums(map) : [...map];
  const rows = (map.typeName.endsWith("array") ? entries.filter(([, v]) => !isZero(v)) : entries).sort(byValue);
  if (rows.length === 0) return undefined;
  const shown = rows.slice(0, MAX_ROWS).map(([k, v]) => [...columns(k), ...columns(v)]);
  const header = [...names(rows[0]?.[0], "key"), ...names(rows[0]?.[1], "value")];
  const more = rows.length > MAX_ROWS ? `… and ${rows.length - MAX_ROWS} more\n` : "";
  return `${name}\n${indent(table(header, shown))}${more}`;
}

/** As data for `--json`. */
export function mapData(app: App, name: string, handle: MapHandle): unknown {
  if (handle.histogram !== undefined) {
    const h = app.histogram(handle as Histogram) as Bucket[] | Map<unknown, Bucket[]>;
    return Array.isArray(h) ? h : [...h].map(([key, buckets]) => ({ key, buckets }));
  }
  const map = app.collection.anyMap(name);
  if (map instanceof QueueMap || !(map instanceof KvMap)) return undefined;
  return [...map].map(([key, value]) => ({ key, value }));
}

function sums(map: PerCpuMap): [unknown, unknown][] {
  return [...map].map(([k, values]) => {
    const numeric = values.every((v) => typeof v === "number" || typeof v === "bigint");
    return [k, numeric ? (values as (number | bigint)[]).reduce((sum: bigint, v) => sum + BigInt(v), 0n) : values];
  });
}

function isZero(value: unknown): boolean {
  if (typeof value === "object" && value !== null && !(value instanceof Uint8Array))
    return Object.values(value).every(isZero);
  return (
    value === 0 ||
    value === 0n ||
    value === "" ||
    value === false ||
    (value instanceof Uint8Array && value.every((b) => b === 0))
  );
}

/** Largest number first; anything else keeps its order. */
function byValue([, a]: readonly [unknown, unknown], [, b]: readonly [unknown, unknown]): number {
  const numeric = (v: unknown): v is number | bigint => typeof v === "number" || typeof v === "bigint";
  return numeric(a) && numeric(b) ? (a < b ? 1 : a > b ? -1 : 0) : 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
function columns(value: unknown): unknown[] {
  return isRecord(value) ? Object.values(value) : [value];
}
function names(value: unknown, otherwise: string): string[] {
  return isRecord(value) ? Object.keys(value) : [otherwise];
}

function histogramsText(app: App, name: string, handle: Histogram): string | undefined {
  const h = app.histogram(handle) as Bucket[] | Map<unknown, Bucket[]>;
  if (Array.isArray(h)) return h.length === 0 ? undefined : `${name}\n${histogramText(h)}`;
  const parts = [...h].map(([key, buckets]) => `${name}[${cell(key)}]\n${histogramText(buckets)}`);
  return parts.length === 0 ? undefined : parts.join("\n");
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, "  ");
}
