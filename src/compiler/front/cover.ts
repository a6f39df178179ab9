/**
 * Counters of statements and branches, for coverage: the compiler puts them where the source says, so that no
 * optimisation moves or merges what they count. Programs are only compiled with them for a VM.
 */
import type { Span } from "../../core/diagnostic.ts";
import type { Ast, FunctionNode } from "./ast.ts";
import type { Fn } from "./context.ts";

export type BranchKind = "if" | "conditional" | "logical" | "switch";

/** Times that something was reached: counter `counter`, less counter `minus` when there is one. */
export interface CoverCount {
  readonly span: Span;
  readonly counter: number;
  readonly minus?: number;
}
export interface CoverBranch {
  readonly kind: BranchKind;
  readonly span: Span;
  /** In the order of the source; that of a missing `else` or `default` has the span of the whole. */
  readonly arms: readonly CoverCount[];
}
export interface CoverFunction extends CoverCount {
  readonly name: string;
}

/** What a program with counters can be asked for. */
export interface CoverTable {
  /** Array map with one entry: a u64 for each counter. */
  readonly map: string;
  readonly counters: number;
  readonly functions: readonly CoverFunction[];
  readonly statements: readonly CoverCount[];
  readonly branches: readonly CoverBranch[];
}

export const COVER_MAP = "bpfkit_cover";

export class Cover {
  readonly functions = new Map<string, CoverFunction>();
  readonly statements = new Map<string, CoverCount>();
  readonly branches = new Map<string, CoverBranch>();
  #counters = 0;

  next(): number {
    return this.#counters++;
  }

  table(): CoverTable {
    return {
      map: COVER_MAP,
      counters: this.#counters,
      functions: [...this.functions.values()],
      statements: [...this.statements.values()],
      branches: [...this.branches.values()],
    };
  }
}

const keyOf = ({ file, line, col, endLine, endCol }: Span): string => `${file}:${line}:${col}-${endLine}:${endCol}`;

function hit(fn: Fn, counter: number): void {
  fn.b.atomic("add", fn.b.mapValue(COVER_MAP, counter * 8), 1, { size: 8 });
}

/** Counts that `node` is executed. The code of one place may be there several times: inlined, unrolled. */
export function coverStatement(fn: Fn, node: Ast): void {
  const { cover } = fn.module;
  if (cover === undefined) return;
  const span = fn.span(node);
  const key = keyOf(span);
  let point = cover.statements.get(key);
  if (point === undefined) cover.statements.set(key, (point = { span, counter: cover.next() }));
  hit(fn, point.counter);
}

/** Counts calls of a function of the user's; an expression that is its body counts as a statement. */
export function coverFunction(fn: Fn, name: string, node: FunctionNode): void {
  const { cover } = fn.module;
  if (cover === undefined) return;
  const span = fn.span(node);
  const key = keyOf(span);
  let point = cover.functions.get(key);
  if (point === undefined) cover.functions.set(key, (point = { span, name, counter: cover.next() }));
  hit(fn, point.counter);
  if (node.body.type !== "BlockStatement") coverStatement(fn, node.body);
}

/** Ways that lead on from one place. */
export interface Ways {
  /** Counts way `index`: call it where that way begins. */
  take(index: number): void;
}
const NO_WAYS: Ways = { take: () => {} };

/** A way that is `implied` is not taken explicitly: it counts as often as `node` was reached and the other way was not taken. */
export interface Way {
  readonly node: Ast;
  readonly implied?: true;
}

/** Counts the ways that lead on from `node`; call it before what decides between them. */
export function coverBranch(fn: Fn, kind: BranchKind, node: Ast, ways: readonly Way[]): Ways {
  const { cover } = fn.module;
  if (cover === undefined) return NO_WAYS;
  const span = fn.span(node);
  const key = `${kind} ${keyOf(span)}`;
  let branch = cover.branches.get(key);
  if (branch === undefined) {
    const counters = ways.map(() => cover.next());
    const minus = counters[ways.findIndex((w) => w.implied !== true)];
    const arms = ways.map((w, i): CoverCount => {
      const arm = { span: fn.span(w.node), counter: counters[i]! };
      return w.implied === true && minus !== undefined ? { ...arm, minus } : arm;
    });
    cover.branches.set(key, (branch = { kind, span, arms }));
  }
  const { arms } = branch;
  for (const arm of arms) if (arm.minus !== undefined) hit(fn, arm.counter);
  return { take: (index) => hit(fn, arms[index]!.counter) };
}
