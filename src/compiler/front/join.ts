/** One value from two ways through the program. */
import type { Block } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe, meetFacts } from "./context.ts";
import { irSpace } from "./place.ts";
import { commonType } from "./types.ts";
import type { Facts, PlaceVal, ScalarVal, Val } from "./value.ts";
import { ERROR } from "./value.ts";

interface Way {
  readonly block: Block;
  readonly value: () => Val;
  readonly node: Ast;
}

/** One value from two ways. */
export function join(fn: Fn, ways: readonly [Way, Way]): Val {
  const { b } = fn;
  const end = b.block("end");
  const out = b.func.slot(8, 8, "value");
  b.start(out);
  const types: ScalarVal["type"][] = [];
  let other: PlaceVal | undefined;
  let failed = false;
  let facts: Facts | undefined;
  const values: Val[] = [];
  for (const way of ways) {
    b.at(way.block);
    const v = way.value();
    values.push(v);
    if (v.k === "error") failed = true;
    else if (v.k === "place" && v.indices === undefined) {
      other = v;
      b.store(b.slotAddr(out), v.off === 0 ? v.base : b.add(v.base, v.off), { size: 8 });
    } else {
      const s = fn.scalar(v, way.node, "a number, boolean or struct");
      if (s === undefined) failed = true;
      else {
        types.push(s.type);
        b.store(b.slotAddr(out), s.v, { size: 8 });
      }
    }
    facts = facts === undefined ? fn.facts : meetFacts(facts, fn.facts);
    b.jmp(end);
  }
  b.at(end);
  if (facts !== undefined) fn.facts = facts;
  if (failed) return ERROR;
  if (other !== undefined && types.length === 0) {
    return { ...other, off: 0, base: b.load(b.slotAddr(out), { size: 8, space: irSpace(other) }) };
  }
  const [x, y] = types;
  if (x === undefined || y === undefined || other !== undefined) {
    return fn.report("BPF1016", ways[1].node, { first: describe(values[0]!), second: describe(values[1]!) });
  }
  const type = commonType(x, y);
  if (type === undefined)
    return fn.report("BPF1016", ways[1].node, { first: describe(values[0]!), second: describe(values[1]!) });
  return {
    k: "scalar",
    type,
    v: b.load(b.slotAddr(out), {
      size: 8,
      ...(type.k === "ptr" && type.space === "kernel" ? { space: "btf" as const } : {}),
    }),
  };
}
