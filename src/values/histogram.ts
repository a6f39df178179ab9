/** Histograms as the compiler lays them out: bucket numbers to counts. */
import type { Buckets } from "../probe/map-types.ts";

/** A bucket counts values `low <= v < high`; the outermost ones are open (undefined). */
export interface Bucket {
  readonly low: bigint | undefined;
  readonly high: bigint | undefined;
  readonly count: bigint;
}

/** The buckets that were hit, in ascending order; with keys, by key. `entries` are those of the map, counts of per-CPU maps one a CPU. */
export function histogramBuckets(
  entries: Iterable<readonly [unknown, unknown]>,
  buckets: Buckets,
): Bucket[] | Map<unknown, Bucket[]> {
  const byKey = new Map<unknown, { key: unknown; counts: Map<number, bigint> }>();
  let keyed = false;
  for (const [k, v] of entries) {
    const pair = typeof k === "object" && k !== null ? (k as { key: unknown; bucket: number }) : undefined;
    keyed ||= pair !== undefined;
    const id = pair === undefined ? "" : keyText(pair.key);
    let entry = byKey.get(id);
    if (entry === undefined) byKey.set(id, (entry = { key: pair?.key, counts: new Map() }));
    const bucket = pair === undefined ? Number(k) : pair.bucket;
    entry.counts.set(bucket, total(v));
  }
  if (!keyed) return rows(byKey.get("")?.counts ?? new Map(), buckets);
  return new Map([...byKey.values()].map(({ key, counts }) => [key, rows(counts, buckets)]));
}

/** Keys that are objects are equal when their contents are. */
function keyText(key: unknown): string {
  return typeof key === "object"
    ? JSON.stringify(key, (_, v: unknown) => (typeof v === "bigint" ? `${v}n` : v))
    : String(key);
}

function total(value: unknown): bigint {
  if (Array.isArray(value)) return (value as (bigint | number)[]).reduce((sum: bigint, v) => sum + BigInt(v), 0n);
  return BigInt(value as bigint | number);
}

function rows(counts: ReadonlyMap<number, bigint>, buckets: Buckets): Bucket[] {
  return [...counts]
    .filter(([, count]) => count > 0n)
    .sort(([a], [b]) => a - b)
    .map(([bucket, count]) => ({ ...bounds(bucket, buckets), count }));
}

function bounds(bucket: number, buckets: Buckets): Pick<Bucket, "low" | "high"> {
  if (buckets.scale === "log2") {
    return bucket === 0 ? { low: undefined, high: 1n } : { low: 1n << BigInt(bucket - 1), high: 1n << BigInt(bucket) };
  }
  const { min, max, step } = buckets;
  const count = Math.ceil((max - min) / step);
  if (bucket === 0) return { low: undefined, high: BigInt(min) };
  if (bucket > count) return { low: BigInt(max), high: undefined };
  return { low: BigInt(min + (bucket - 1) * step), high: BigInt(Math.min(max, min + bucket * step)) };
}
