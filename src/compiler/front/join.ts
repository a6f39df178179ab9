/** One value from two ways through the program. */
import type { Block } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { meetFacts } from "./context.ts";
import type { Merge } from "./merge.ts";
import type { Facts, Val } from "./value.ts";

interface Way {
  readonly block: Block;
  readonly value: () => Val;
  readonly node: Ast;
}

/** One value from two ways. `merge` began before they parted. */
export function join(fn: Fn, merge: Merge, ways: readonly [Way, Way], node: Ast): Val {
  const { b } = fn;
  const end = b.block("end");
  let facts: Facts | undefined;
  for (const way of ways) {
    b.at(way.block);
    merge.give(way.value(), way.node);
    facts = facts === undefined ? fn.facts : meetFacts(facts, fn.facts);
    b.jmp(end);
  }
  b.at(end);
  if (facts !== undefined) fn.facts = facts;
  return merge.result(node);
}
