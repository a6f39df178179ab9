/** Coverage by line, way and function of the TypeScript source, and what becomes of it: lcov, a listing, a summary. */
import type { BranchKind, CoverCount, CoverTable } from "../compiler/front/cover.ts";
import type { Span } from "../core/diagnostic.ts";
import { listing } from "./listing.ts";
import { lcov } from "./lcov.ts";

/** A place, and how often it was reached. */
export interface Reached {
  readonly span: Span;
  readonly count: number;
}
export interface ReachedFunction extends Reached {
  readonly name: string;
}
/** A place where the program goes one of several ways; arms in the order of the source, a missing `else` last. */
export interface ReachedBranch {
  readonly kind: BranchKind;
  readonly span: Span;
  readonly arms: readonly Reached[];
}

export interface FileCoverage {
  readonly file: string;
  /** The file's text, where it is known. */
  readonly text: string | undefined;
  readonly functions: readonly ReachedFunction[];
  readonly statements: readonly Reached[];
  readonly branches: readonly ReachedBranch[];
  /** Lines on which statements begin, and how often they ran. */
  readonly lines: ReadonlyMap<number, number>;
}

export interface Totals {
  readonly hit: number;
  readonly found: number;
  /** 100 where there is nothing to find. */
  readonly percent: number;
}

/** What programs did of their source. Counts are of whole statements: a line is covered when a statement that begins there ran. */
export class Coverage {
  /** By file, sorted. Only what is compiled counts: JavaScript around the programs is not here. */
  readonly files: readonly FileCoverage[];

  constructor(files: readonly FileCoverage[]) {
    this.files = files;
  }

  get lines(): Totals {
    return totals(this.files.flatMap((f) => [...f.lines.values()]));
  }
  get branches(): Totals {
    return totals(this.files.flatMap((f) => f.branches.flatMap((b) => b.arms.map((a) => a.count))));
  }
  get functions(): Totals {
    return totals(this.files.flatMap((f) => f.functions.map((x) => x.count)));
  }

  /** Lines that never ran, as "file:line". */
  get missed(): readonly string[] {
    return this.files.flatMap((f) => [...f.lines].filter(([, n]) => n === 0).map(([line]) => `${f.file}:${line}`));
  }

  /** The lcov tracefile, as `genhtml` and editors read it. */
  lcov(): string {
    return lcov(this.files);
  }
  /** The source with counts in front of its lines, `#####` where a line never ran, and ways that were never taken below it. */
  listing(): string {
    return this.files.map(listing).join("\n");
  }

  /** Both together: counts of the same places are added. */
  merge(other: Coverage): Coverage {
    return new Coverage(mergeFiles([...this.files, ...other.files]));
  }
}

function totals(counts: readonly number[]): Totals {
  const hit = counts.filter((n) => n > 0).length;
  const found = counts.length;
  return { hit, found, percent: found === 0 ? 100 : Math.floor((hit / found) * 1000) / 10 };
}

/** What the counters of one compiled module say. */
export function coverageOf(
  table: CoverTable,
  counters: ArrayLike<number>,
  sources: ReadonlyMap<string, string>,
): Coverage {
  const reached = ({ span, counter, minus }: CoverCount): Reached => ({
    span,
    count: Math.max(0, (counters[counter] ?? 0) - (minus === undefined ? 0 : (counters[minus] ?? 0))),
  });
  const parts = new Map<string, { functions: ReachedFunction[]; statements: Reached[]; branches: ReachedBranch[] }>();
  const of = ({ file }: Span): { functions: ReachedFunction[]; statements: Reached[]; branches: ReachedBranch[] } => {
    let part = parts.get(file);
    if (part === undefined) parts.set(file, (part = { functions: [], statements: [], branches: [] }));
    return part;
  };
  for (const f of table.functions) of(f.span).functions.push({ ...reached(f), name: f.name });
  for (const s of table.statements) of(s.span).statements.push(reached(s));
  for (const b of table.branches)
    of(b.span).branches.push({ kind: b.kind, span: b.span, arms: b.arms.map((a) => reached(a)) });
  return new Coverage(
    mergeFiles([...parts].map(([file, part]) => ({ file, text: sources.get(file), ...part, lines: new Map() }))),
  );
}

const order = (a: { readonly span: Span }, b: { readonly span: Span }): number =>
  a.span.line - b.span.line ||
  a.span.col - b.span.col ||
  b.span.endLine - a.span.endLine ||
  b.span.endCol - a.span.endCol;
const place = ({ line, col, endLine, endCol }: Span): string => `${line}:${col}-${endLine}:${endCol}`;

/** One of each file, with its lines; equal places of several parts are one, with the sum of their counts. */
function mergeFiles(parts: readonly FileCoverage[]): FileCoverage[] {
  const files = new Map<string, FileCoverage[]>();
  for (const part of parts) {
    const same = files.get(part.file);
    if (same === undefined) files.set(part.file, [part]);
    else same.push(part);
  }
  return [...files]
    .map(([file, list]): FileCoverage => {
      const statements = sum(
        list.flatMap((f) => f.statements),
        place1,
        add,
      );
      const lines = new Map<number, number>();
      for (const { span, count } of statements) lines.set(span.line, Math.max(lines.get(span.line) ?? 0, count));
      return {
        file,
        text: list.find((f) => f.text !== undefined)?.text,
        functions: sum(
          list.flatMap((f) => f.functions),
          place1,
          add,
        ),
        statements,
        branches: sum(
          list.flatMap((f) => f.branches),
          (b) => `${b.kind} ${place(b.span)}`,
          (a, b) => ({ ...a, arms: a.arms.map((arm, i) => ({ ...arm, count: arm.count + (b.arms[i]?.count ?? 0) })) }),
        ),
        lines: new Map([...lines].sort((a, b) => a[0] - b[0])),
      };
    })
    .sort((a, b) => (a.file < b.file ? -1 : 1));
}

const place1 = (x: Reached): string => place(x.span);
const add = <T extends Reached>(a: T, b: T): T => ({ ...a, count: a.count + b.count });

function sum<T extends { readonly span: Span }>(
  list: readonly T[],
  key: (x: T) => string,
  plus: (a: T, b: T) => T,
): T[] {
  const merged = new Map<string, T>();
  for (const x of list) {
    const known = merged.get(key(x));
    merged.set(key(x), known === undefined ? x : plus(known, x));
  }
  return [...merged.values()].sort(order);
}

/** Counters of one compiled module, added up over every simulation of this process. */
export interface CoverageTotal {
  readonly table: CoverTable;
  readonly counters: Float64Array;
  readonly sources: ReadonlyMap<string, string>;
}

const KEY = Symbol.for("bpfkit.coverage");
type Holder = typeof globalThis & { [KEY]?: CoverageTotal[] };

/** Every module that was compiled with counters. `bpfkit test` reads it, perhaps of another copy of this file. */
export function coverageTotals(): CoverageTotal[] {
  return ((globalThis as Holder)[KEY] ??= []);
}

/**
 * Coverage by all simulations of this process so far: for a test file's end, or a test runner's.
 *
 * @example
 * import { coverage } from "bpfkit/testing";
 * coverage().lcov();
 */
export function coverage(): Coverage {
  return coverageTotals().reduce(
    (all, { table, counters, sources }) => all.merge(coverageOf(table, counters, sources)),
    new Coverage([]),
  );
}
