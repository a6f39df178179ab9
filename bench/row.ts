/** One measured ratio. `ratio` is ours / rival, in `unit`. */
export interface Row {
  readonly bench: string;
  readonly case: string;
  readonly metric: string;
  readonly unit: string;
  readonly ours: number;
  readonly rival: number;
  readonly rivalName: string;
  readonly ratio: number;
}

export function row(
  bench: string,
  name: string,
  metric: string,
  unit: string,
  ours: number,
  rival: number,
  rivalName: string,
): Row {
  return { bench, case: name, metric, unit, ours, rival, rivalName, ratio: ours / rival };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The rows of each metric with two or more cases, closed by their geometric mean. */
export function withGeomean(rows: readonly Row[]): Row[] {
  const groups = groupBy(rows);
  return [...groups.values()].flatMap((group) => {
    const first = group[0];
    if (first === undefined || group.length < 2) return group;
    const mean = (of: (r: Row) => number): number =>
      Math.exp(group.reduce((sum, r) => sum + Math.log(of(r)), 0) / group.length);
    return [
      ...group,
      {
        ...first,
        case: "geomean",
        ours: mean((r) => r.ours),
        rival: mean((r) => r.rival),
        ratio: mean((r) => r.ratio),
      },
    ];
  });
}

function groupBy(rows: readonly Row[]): Map<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const r of rows) {
    const key = `${r.metric} ${r.rivalName}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [r]);
    else group.push(r);
  }
  return groups;
}
