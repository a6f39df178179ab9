/** Histograms as bars of text. */
import type { Bucket } from "../values/histogram.ts";

const BAR_WIDTH = 40;

/** Buckets as bars, the gaps between them included. */
export function histogramText(buckets: readonly Bucket[]): string {
  const rows = withGaps(buckets).map((b) => [range(b), b.count] as const);
  const max = rows.reduce((m, [, count]) => (count > m ? count : m), 1n);
  const width = Math.max(...rows.map(([r]) => r.length));
  const digits = Math.max(...rows.map(([, count]) => String(count).length), 5);
  return rows
    .map(
      ([r, count]) =>
        `${r.padEnd(width)} ${String(count).padStart(digits)} |${"@".repeat(Number((count * BigInt(BAR_WIDTH)) / max)).padEnd(BAR_WIDTH)}|\n`,
    )
    .join("");
}

function withGaps(buckets: readonly Bucket[]): Bucket[] {
  const out: Bucket[] = [];
  for (const bucket of buckets) {
    let last = out.at(-1);
    // Powers of two double from bucket to bucket; linear ones keep their width.
    while (last?.low !== undefined && last.high !== undefined && bucket.low !== undefined && last.high < bucket.low) {
      const doubles = bucket.high !== undefined && bucket.high === bucket.low * 2n && last.high === last.low * 2n;
      const high = doubles ? last.high * 2n : last.high + (last.high - last.low);
      last = { low: last.high, high: high > bucket.low ? bucket.low : high, count: 0n };
      out.push(last);
    }
    out.push(bucket);
  }
  return out;
}

function range({ low, high }: Bucket): string {
  if (low === undefined) return `(…, ${short(high ?? 0n)})`;
  if (high === undefined) return `[${short(low)}, …)`;
  return low + 1n === high ? `[${short(low)}]` : `[${short(low)}, ${short(high)})`;
}

/** Powers of 1024 as K, M, G, T, like bpftrace. */
function short(n: bigint): string {
  for (const [shift, unit] of [
    [40n, "T"],
    [30n, "G"],
    [20n, "M"],
    [10n, "K"],
  ] as const) {
    if (n >= 1n << shift && n % (1n << shift) === 0n) return `${n >> shift}${unit}`;
  }
  return String(n);
}
