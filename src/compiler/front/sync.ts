/** Spin locks and timers: what lies in map values and only the kernel writes. */
import type { MapHandle } from "../../probe/map-types.ts";
import type { Schema, StructSchema } from "../../probe/schema-types.ts";
import { isManaged, spinLock, timer } from "../../probe/schema.ts";
import { BPF_FUNC } from "../../uapi/index.ts";
import { FuncBuilder } from "../ir/builder.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import type { MapUse } from "./map-ops.ts";
import { mapPointer, truth } from "./map-ops.ts";
import { addressOf } from "./place.ts";
import { Scope } from "./scope.ts";
import { fromSchema } from "./types.ts";
import type { FunctionVal, PlaceVal, Sym, Val } from "./value.ts";
import { ERROR } from "./value.ts";

/** Program types in which the kernel refuses locks and timers (is_tracing_prog_type in kernel/bpf/verifier.c). */
const TRACING: ReadonlySet<string> = new Set([
  "kprobe",
  "tracepoint",
  "perf_event",
  "raw_tracepoint",
  "raw_tracepoint_writable",
]);
/** Maps that may hold what only the kernel writes (map_check_btf in kernel/bpf/syscall.c). */
const HOLDERS: Readonly<
  Record<string, { readonly what: string; readonly types: ReadonlySet<string>; readonly instead: string }>
> = {
  bpf_spin_lock: {
    what: "a spin lock",
    types: new Set(["hash", "array", "cgroup_storage", "sk_storage", "inode_storage", "task_storage", "cgrp_storage"]),
    instead: "a hash, an arrayMap or a storage",
  },
  bpf_timer: {
    what: "a timer",
    types: new Set(["hash", "lru_hash", "array"]),
    instead: "a hash, an lruHash or an arrayMap",
  },
};

/** What the values of a map hold that maps of its type cannot hold. */
export function misplacedIn(map: MapHandle): { readonly what: string; readonly instead: string } | undefined {
  const find = (s: Schema): { readonly what: string; readonly instead: string } | undefined => {
    if (s.kind === "array") return find(s.element);
    if (s.kind !== "struct" && s.kind !== "union") return undefined;
    const row = s.name === undefined || !isManaged(s) ? undefined : HOLDERS[s.name];
    if (row !== undefined) return row.types.has(map.type) ? undefined : row;
    for (const f of s.fields) {
      const found = find(f.schema);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return map.value === undefined ? undefined : find(map.value);
}

const CLOCK_MONOTONIC = 1;

/** A lock or timer in memory; undefined when reported. */
function managed(fn: Fn, node: Ast, schema: StructSchema, what: string): PlaceVal | undefined {
  const v = fn.expr(node);
  if (v.k === "place" && v.type.k === "struct" && v.type.schema.name === schema.name && v.indices === undefined)
    return v;
  if (v.k === "opt") fn.report("BPF2007", node, { what: v.what, name: "the value" });
  else if (v.k !== "error") fn.report("BPF2006", node, { expected: `${what} in a map value`, found: describe(v) });
  return undefined;
}

function callbackOf(fn: Fn, node: Ast): FunctionVal | undefined {
  const v = fn.expr(node);
  if (v.k === "function") return v;
  if (v.k !== "error") fn.report("BPF2006", node, { expected: "a function", found: describe(v) });
  return undefined;
}

/** `bpf.locked(entry.lock, () => …)`. */
export function locked(fn: Fn, args: readonly Ast[], node: Ast): Val {
  const { type } = fn.program.handle;
  if (TRACING.has(type) || type === "socket_filter")
    return fn.report("BPF3013", node, { what: "a spin lock", progType: type });
  const lock = managed(fn, args[0]!, spinLock, "a spinLock");
  const body = callbackOf(fn, args[1]!);
  if (lock === undefined || body === undefined) return ERROR;
  const { b } = fn;
  const address = addressOf(fn, lock);
  b.helper(BPF_FUNC.spin_lock, [address], { clobbers: "all", type: "void" });
  const known = calls(fn);
  const v = fn.lowering.call(fn, body, [], args[1]!);
  const result = v.k === "void" ? v : fn.settle(v, args[1]!);
  if (calls(fn) > known) fn.report("BPF3012", args[1]!);
  fn.mark(node);
  b.helper(BPF_FUNC.spin_unlock, [address], { clobbers: "all", type: "void" });
  return result;
}

function calls(fn: Fn): number {
  let n = 0;
  for (const block of fn.b.func.blocks) for (const i of block.insts) if (i.op === "call") n++;
  return n;
}

/** `map.startTimer(entry.timer, nanoseconds, (value, key) => …)`. */
export function startTimer(fn: Fn, map: MapUse, args: readonly Ast[], node: Ast): Val {
  const { type } = fn.program.handle;
  const { key, value } = map.handle;
  if (TRACING.has(type)) return fn.report("BPF3013", node, { what: "a timer", progType: type });
  const place = managed(fn, args[0]!, timer, "a timer");
  const delay = fn.int(fn.value(args[1]!), args[1]!);
  const callback = callbackOf(fn, args[2]!);
  if (place === undefined || delay === undefined || callback === undefined) return ERROR;
  if (key === undefined || value === undefined) return ERROR;
  const { b } = fn;
  const name = fn.module.unique(`${fn.program.name}__timer`);
  const inner = new FuncBuilder(name, "callback");
  inner.span = b.span;
  fn.module.paramNames.set(name, ["map", "key", "value"]);
  inner.param("ptr", "map");
  const at = (base: PlaceVal["base"], t: PlaceVal["type"], readonly: boolean): PlaceVal => ({
    k: "place",
    type: t,
    base,
    off: 0,
    space: "map",
    ...(readonly ? { readonly: "a key" } : {}),
  });
  const k = at(inner.param("ptr", "map-value"), fromSchema(key), true);
  const v = at(inner.param("ptr", "map-value"), fromSchema(value), false);
  const outer = fn.enter(inner);
  fn.returns = { kind: "callback", give: () => {} };
  const scope = lasting(fn, callback);
  const given = [v, k].slice(0, callback.node.params.length).map((x) => fn.settle(x, node));
  fn.scope = scope;
  fn.lowering.call(fn, { ...callback, scope }, given, node);
  fn.cleanUp();
  inner.ret(0);
  fn.leave(outer);
  fn.mark(node);
  const address = addressOf(fn, place);
  // Fails when the timer was made ready before: it still is.
  b.helper(BPF_FUNC.timer_init, [address, mapPointer(fn, map), CLOCK_MONOTONIC], { clobbers: "mem" });
  b.helper(BPF_FUNC.timer_set_callback, [address, b.funcAddr(name)], { clobbers: "mem" });
  return truth(fn, "eq", b.helper(BPF_FUNC.timer_start, [address, delay, 0], { clobbers: "mem" }), 0);
}

/** What a callback that runs later can see of the program's names: what is known at compile time. */
function lasting(fn: Fn, callback: FunctionVal): Scope {
  const scope = new Scope();
  for (const name of callback.scope?.names() ?? []) {
    const sym = fn.find(name, callback.scope);
    if (sym === undefined) continue;
    const { val } = sym;
    const lasts =
      sym.slot === undefined &&
      (val.k === "int" ||
        val.k === "js" ||
        val.k === "handle" ||
        val.k === "function" ||
        (val.k === "builtin" && !val.what.startsWith("the context of ")));
    const gone: Sym = {
      name,
      mutable: false,
      val: { k: "builtin", what: `'${name}', which is gone when the timer fires` },
    };
    scope.declare(lasts ? sym : gone);
  }
  return scope;
}
