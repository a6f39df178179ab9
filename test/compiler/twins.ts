/** What the tests of programs written twice share. */
import { type Collection, KvMap, PerCpuMap } from "../../src/load/index.ts";

/** JSON-like copy without fields named in `without`; numbers and bigints are the same, bytes are arrays. */
export function plain(value: unknown, without: readonly string[] = []): unknown {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map((v) => plain(v, without));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([k]) => !without.includes(k))
      .map(([k, v]) => [k, plain(v, without)]),
  );
}

/** Every table of a collection with its entries in one order, but for the sections of globals. */
export function mapContents(c: Collection, without: readonly string[] = []): Record<string, string[]> {
  const out: Record<string, string[]> = {};
  for (const name of [...c.mapNames].sort()) {
    if (/[.](data|rodata|bss)/.test(name)) continue;
    const map = c.anyMap(name);
    const entries: [unknown, unknown][] =
      map instanceof PerCpuMap
        ? // Which CPU counted is chance: only sums compare.
          [...map.entries()].map(([k, v]) => [k, sum(v)])
        : map instanceof KvMap
          ? map.toArray()
          : [];
    out[name] = entries.map((e) => JSON.stringify(plain(e, without))).sort();
  }
  return out;
}

/** One value per CPU to one: numbers are added up, field by field. */
export function sum(values: readonly unknown[]): unknown {
  const [first] = values;
  if (typeof first === "number" || typeof first === "bigint") return values.reduce((a: number, b) => a + Number(b), 0);
  if (typeof first !== "object" || first === null) return first;
  return Object.fromEntries(
    Object.keys(first).map((k) => [k, sum(values.map((v) => (v as Record<string, unknown>)[k]))]),
  );
}
