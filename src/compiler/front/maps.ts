/** Maps as JavaScript's `Map`: each method and the helpers it becomes. */
import type { MapHandle } from "../../probe/map-types.ts";
import type { Schema } from "../../probe/schema-types.ts";
import { BPF_FUNC } from "../../uapi/index.ts";
import type { Inst } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe, nameOf } from "./context.ts";
import { drain, emit, reservation } from "./buffers.ts";
import { increment } from "./histogram.ts";
import { forEachEntry } from "./loops.ts";
import type { MapUse } from "./map-ops.ts";
import { BPF_NOEXIST, FIXED, addTo, input, keyOf, lookupPlace, mapPointer, truth, updatePlace } from "./map-ops.ts";
import { tempOf } from "./memory.ts";
import { addressOf } from "./place.ts";
import { SIGNED } from "./sign.ts";
import { misplacedIn, startTimer } from "./sync.ts";
import { U8, fromSchema, isScalar, sizeOf } from "./types.ts";
import type { BuiltinVal, OptVal, PlaceVal, Val } from "./value.ts";
import { ERROR, NOTHING } from "./value.ts";

const BPF_ANY = 0;
const BPF_EXIST = 2;
const KEYED = new Set(["hash", "array", "percpu_hash", "percpu_array", "lru_hash", "lru_percpu_hash", "lpm_trie"]);
const STORAGE: Readonly<Record<string, { get: number; delete: number }>> = {
  task_storage: { get: BPF_FUNC.task_storage_get, delete: BPF_FUNC.task_storage_delete },
  cgrp_storage: { get: BPF_FUNC.cgrp_storage_get, delete: BPF_FUNC.cgrp_storage_delete },
  sk_storage: { get: BPF_FUNC.sk_storage_get, delete: BPF_FUNC.sk_storage_delete },
  inode_storage: { get: BPF_FUNC.inode_storage_get, delete: BPF_FUNC.inode_storage_delete },
};

/** `map.method`; undefined when maps of this type have no such method. */
export function mapMember(fn: Fn, handle: MapHandle, seen: string, method: string): Val | undefined {
  return methodOf(fn, { handle, seen, name: fn.module.mapName(handle, seen) }, method);
}

function methodOf(fn: Fn, map: MapUse, method: string): Val | undefined {
  const { handle, seen } = map;
  const make = (arity: number, optional: number, run: (args: readonly Ast[], node: Ast) => Val): BuiltinVal => ({
    k: "builtin",
    what: `the method ${method} of ${seen}`,
    call: (args, node) => {
      if (args.length < arity || args.length > arity + optional) {
        const expected = `${arity}${optional > 0 ? ` to ${arity + optional}` : ""} argument${arity + optional === 1 ? "" : "s"}`;
        return fn.report("BPF1010", node, { name: `${seen}.${method}`, expected, got: String(args.length) });
      }
      const misplaced = misplacedIn(handle);
      if (misplaced !== undefined) return fn.report("BPF3014", node, { map: `the map ${seen}`, ...misplaced });
      return run(args, node);
    },
  });
  const { type } = handle;
  if (handle.histogram !== undefined)
    return method === "increment"
      ? make(handle.key?.kind === "struct" ? 2 : 1, 0, (args, node) => increment(fn, map, args, node))
      : undefined;
  if (KEYED.has(type)) return keyed(fn, map, method, make);
  if (type in STORAGE) return storage(fn, map, method, make);
  switch (type) {
    case "ringbuf":
    case "perf_event_array":
      if (method === "emit") return make(1, 0, (args, node) => emit(fn, map, args[0]!, node));
      return type === "ringbuf" ? reservation(fn, map, method, make) : undefined;
    case "user_ringbuf":
      return method === "drain" ? make(1, 0, (args, node) => drain(fn, map, args[0]!, node)) : undefined;
    case "queue":
    case "stack":
    case "bloom_filter":
      return queue(fn, map, method, make);
    case "prog_array":
      if (method !== "tailCall") return undefined;
      return make(2, 0, (args) => {
        const index = fn.int(fn.value(args[1]!), args[1]!);
        if (index === undefined) return ERROR;
        fn.b.helper(BPF_FUNC.tail_call, [fn.ctx, mapPointer(fn, map), index], { clobbers: "all" });
        return NOTHING;
      });
    case "devmap":
    case "devmap_hash":
    case "cpumap":
    case "xskmap":
      if (method !== "redirect") return undefined;
      return make(1, 1, (args) => {
        const key = fn.int(fn.value(args[0]!), args[0]!);
        const flags = args[1] === undefined ? fn.b.int(0) : fn.int(fn.value(args[1]), args[1]);
        if (key === undefined || flags === undefined) return ERROR;
        return signed(fn.b.helper(BPF_FUNC.redirect_map, [mapPointer(fn, map), key, flags], { clobbers: "none" }));
      });
    case "sockmap":
    case "sockhash":
      return sockets(fn, map, method, make);
    case "reuseport_sockarray":
      if (method !== "select") return undefined;
      return make(2, 0, (args) => {
        const key = keyOf(fn, map, args[1]!);
        if (key === undefined) return ERROR;
        return truth(
          fn,
          "eq",
          fn.b.helper(BPF_FUNC.sk_select_reuseport, [fn.ctx, mapPointer(fn, map), addressOf(fn, key), 0], {
            clobbers: "mem",
            mem: [input(2, key)],
          }),
          0,
        );
      });
    case "hash_of_maps":
    case "array_of_maps":
      return method === "get" ? make(1, 0, (args) => innerMap(fn, map, args[0]!)) : undefined;
    case "cgroup_array":
      if (method !== "hasCurrentTask") return undefined;
      return make(1, 0, (args) => {
        const index = fn.int(fn.value(args[0]!), args[0]!);
        if (index === undefined) return ERROR;
        return truth(
          fn,
          "eq",
          fn.b.helper(BPF_FUNC.current_task_under_cgroup, [mapPointer(fn, map), index], { clobbers: "none" }),
          1,
        );
      });
    default:
      return undefined;
  }
}

type Make = (arity: number, optional: number, run: (args: readonly Ast[], node: Ast) => Val) => BuiltinVal;

/** The inner map of a key, or undefined. */
function innerMap(fn: Fn, map: MapUse, node: Ast): Val {
  const key = keyOf(fn, map, node);
  const { inner } = map.handle;
  if (key === undefined || inner === undefined) return ERROR;
  const pointer = lookupPlace(fn, map, key);
  const use: MapUse = { handle: inner, seen: `the map in ${map.seen}`, name: map.name, pointer };
  const value: BuiltinVal = { k: "builtin", what: use.seen, member: (name) => methodOf(fn, use, name) };
  const nowhere: PlaceVal = {
    k: "place",
    type: { k: "array", element: U8, length: 0 },
    base: pointer,
    off: 0,
    space: "map",
    ref: true,
  };
  return { k: "opt", ptr: pointer, inner: nowhere, value, what: `the map of that key in ${map.seen}` };
}

/** Socket maps: redirecting a packet or message, and adding the socket of a `sockOps` program. */
function sockets(fn: Fn, map: MapUse, method: string, make: Make): Val | undefined {
  const hash = map.handle.type === "sockhash";
  const message = fn.program.handle.type === "sk_msg";
  const flagsOf = (node: Ast | undefined): Inst | undefined =>
    node === undefined ? fn.b.int(0) : fn.int(fn.value(node), node);
  switch (method) {
    case "redirect":
      return make(2, 1, (args) => {
        const flags = flagsOf(args[2]);
        if (flags === undefined) return ERROR;
        if (!hash) {
          const key = fn.int(fn.value(args[1]!), args[1]!);
          const id = message ? BPF_FUNC.msg_redirect_map : BPF_FUNC.sk_redirect_map;
          return key === undefined
            ? ERROR
            : signed(fn.b.helper(id, [fn.ctx, mapPointer(fn, map), key, flags], { clobbers: "none" }));
        }
        const key = keyOf(fn, map, args[1]!);
        const id = message ? BPF_FUNC.msg_redirect_hash : BPF_FUNC.sk_redirect_hash;
        return key === undefined
          ? ERROR
          : signed(
              fn.b.helper(id, [fn.ctx, mapPointer(fn, map), addressOf(fn, key), flags], {
                clobbers: "none",
                mem: [input(2, key)],
              }),
            );
      });
    case "set":
      return make(2, 1, (args) => {
        const key = keyOf(fn, map, args[1]!);
        const flags = flagsOf(args[2]);
        if (key === undefined || flags === undefined) return ERROR;
        const id = hash ? BPF_FUNC.sock_hash_update : BPF_FUNC.sock_map_update;
        return truth(
          fn,
          "eq",
          fn.b.helper(id, [fn.ctx, mapPointer(fn, map), addressOf(fn, key), flags], {
            clobbers: "mem",
            mem: [input(2, key)],
          }),
          0,
        );
      });
    default:
      return undefined;
  }
}

function signed(v: Inst): Val {
  return { k: "scalar", type: { k: "int", bits: 64, sign: SIGNED }, v };
}

function keyed(fn: Fn, map: MapUse, method: string, make: Make): Val | undefined {
  const { handle } = map;
  const fixed = FIXED.has(handle.type);
  const counts = (handle.value?.kind === "int" && !handle.value.bigEndian) || handle.value?.kind === "enum";
  switch (method) {
    case "get":
      return make(1, 0, (args) => lookup(fn, map, args[0]!, false));
    case "ref":
      return make(1, 0, (args) => lookup(fn, map, args[0]!, true));
    case "has":
      return make(1, 0, (args) => {
        const found = lookup(fn, map, args[0]!, false);
        return found.k === "opt" ? truth(fn, "ne", found.ptr, 0) : ERROR;
      });
    case "set":
      return make(2, 0, (args) => updateMap(fn, map, args[0]!, args[1]!, BPF_ANY));
    case "insert":
      return fixed ? undefined : make(2, 0, (args) => updateMap(fn, map, args[0]!, args[1]!, BPF_NOEXIST));
    case "replace":
      return make(2, 0, (args) => updateMap(fn, map, args[0]!, args[1]!, BPF_EXIST));
    case "getOrInsert":
      return fixed ? undefined : make(2, 0, (args) => getOrInsert(fn, map, args[0]!, args[1]!));
    case "delete":
      return fixed
        ? undefined
        : make(1, 0, (args) => {
            const key = keyOf(fn, map, args[0]!);
            if (key === undefined) return ERROR;
            return truth(
              fn,
              "eq",
              fn.b.helper(BPF_FUNC.map_delete_elem, [mapPointer(fn, map), addressOf(fn, key)], {
                clobbers: "mem",
                mem: [input(1, key)],
              }),
              0,
            );
          });
    case "forEach":
      return make(1, 0, (args) => forEach(fn, map, args[0]!));
    case "startTimer":
      return make(3, 0, (args, node) => startTimer(fn, map, args, node));
    case "add":
      return counts ? make(2, 0, (args) => add(fn, map, args[0]!, args[1]!)) : undefined;
    default:
      return undefined;
  }
}

/** `map.forEach((value, key) => …)`; a callback that returns true stops. */
function forEach(fn: Fn, map: MapUse, node: Ast): Val {
  const callback = fn.expr(node);
  if (callback.k !== "function")
    return callback.k === "error"
      ? ERROR
      : fn.report("BPF2006", node, { expected: "a function", found: describe(callback) });
  forEachEntry(fn, map.handle, map.seen, [callback.node], undefined, false, node, (key, value) => {
    fn.nothingIsFalse = true;
    const v = fn.lowering.call(
      fn,
      callback,
      callback.node.params.length > 1 ? [value, key] : [value].slice(0, callback.node.params.length),
      node,
    );
    fn.returns.give(fn, v, node);
    fn.ended = true;
  });
  return NOTHING;
}

function entry(map: MapUse, ptr: Inst, ref: boolean): OptVal | undefined {
  const { value } = map.handle;
  if (value === undefined) return undefined;
  const type = fromSchema(value);
  const inner: PlaceVal = { k: "place", type, base: ptr, off: 0, space: "map", ...(ref ? { ref: true } : {}) };
  return { k: "opt", ptr, inner, what: `the entry of ${map.seen}` };
}

function lookup(fn: Fn, map: MapUse, node: Ast, ref: boolean): OptVal | typeof ERROR {
  const key = keyOf(fn, map, node);
  if (key === undefined) return ERROR;
  return entry(map, lookupPlace(fn, map, key), ref && isScalarSchema(map.handle.value)) ?? ERROR;
}

function isScalarSchema(s: Schema | undefined): boolean {
  return s !== undefined && isScalar(fromSchema(s));
}

function updateMap(fn: Fn, map: MapUse, keyNode: Ast, valueNode: Ast, flags: number): Val {
  const key = keyOf(fn, map, keyNode);
  const schema = map.handle.value;
  if (key === undefined || schema === undefined) return ERROR;
  const value = tempOf(fn, schema, valueNode, "value");
  return truth(fn, "eq", updatePlace(fn, map, key, value, flags), 0);
}

function getOrInsert(fn: Fn, map: MapUse, keyNode: Ast, valueNode: Ast): Val {
  const { b } = fn;
  const key = keyOf(fn, map, keyNode);
  const schema = map.handle.value;
  if (key === undefined || schema === undefined) return ERROR;
  const out = b.func.slot(8, 8, "entry");
  b.start(out);
  const first = lookupPlace(fn, map, key);
  b.store(b.slotAddr(out), first, { size: 8 });
  const missing = b.block("missing");
  const end = b.block("found");
  b.br("eq", first, 0, missing, end);
  b.at(missing);
  const value = tempOf(fn, schema, valueNode, "value");
  updatePlace(fn, map, key, value, BPF_NOEXIST);
  b.store(b.slotAddr(out), lookupPlace(fn, map, key), { size: 8 });
  b.jmp(end);
  b.at(end);
  return entry(map, b.load(b.slotAddr(out), { size: 8, space: "map-value" }), false) ?? ERROR;
}

/** `add`: in place when the entry is there, created as zero first when it is not. */
function add(fn: Fn, map: MapUse, keyNode: Ast, deltaNode: Ast): Val {
  const key = keyOf(fn, map, keyNode);
  if (key === undefined) return ERROR;
  const delta = fn.int(fn.value(deltaNode), deltaNode);
  if (delta === undefined) return ERROR;
  addTo(fn, map, key, delta);
  return NOTHING;
}

function queue(fn: Fn, map: MapUse, method: string, make: Make): Val | undefined {
  const { handle } = map;
  const bloom = handle.type === "bloom_filter";
  const schema = handle.value;
  if (schema === undefined) return undefined;
  const push = (node: Ast, flags: number): Val => {
    const value = tempOf(fn, schema, node, "value");
    return truth(
      fn,
      "eq",
      fn.b.helper(BPF_FUNC.map_push_elem, [mapPointer(fn, map), addressOf(fn, value), flags], {
        clobbers: "mem",
        mem: [input(1, value)],
      }),
      0,
    );
  };
  const take = (id: number): Val => {
    const type = fromSchema(schema) as PlaceVal["type"];
    const out = fn.temp(type, "taken");
    const r = fn.b.helper(id, [mapPointer(fn, map), out.base], {
      clobbers: "mem",
      mem: [{ arg: 1, mode: "inout", size: sizeOf(type) }],
    });
    return { k: "opt", ptr: fn.b.cmp("eq", r, 0), inner: out, what: `what ${map.seen}.${method}() gives` };
  };
  if (bloom) {
    if (method === "add") return make(1, 0, (args) => push(args[0]!, 0));
    if (method !== "has") return undefined;
    return make(1, 0, (args) => {
      const value = tempOf(fn, schema, args[0]!, "value");
      return truth(
        fn,
        "eq",
        fn.b.helper(BPF_FUNC.map_peek_elem, [mapPointer(fn, map), addressOf(fn, value)], {
          clobbers: "none",
          mem: [input(1, value)],
        }),
        0,
      );
    });
  }
  switch (method) {
    case "push":
      return make(1, 1, (args) => {
        if (args[1] === undefined) return push(args[0]!, BPF_ANY);
        const options = fn.value(args[1]);
        const overwrite = options.k === "record" ? options.fields.get("overwrite") : undefined;
        if (overwrite?.k !== "js" || typeof overwrite.value !== "boolean")
          return fn.report("BPF2006", args[1], {
            expected: "{ overwrite: true } or { overwrite: false }",
            found: describe(options),
          });
        return push(args[0]!, overwrite.value ? BPF_EXIST : BPF_ANY);
      });
    case "pop":
      return make(0, 0, () => take(BPF_FUNC.map_pop_elem));
    case "peek":
      return make(0, 0, () => take(BPF_FUNC.map_peek_elem));
    default:
      return undefined;
  }
}

/** Values attached to tasks, cgroups, sockets and inodes. */
function storage(fn: Fn, map: MapUse, method: string, make: Make): Val | undefined {
  const helpers = STORAGE[map.handle.type];
  if (helpers === undefined) return undefined;
  const ownerOf = (node: Ast): Inst | undefined => {
    const v = fn.value(node);
    if (v.k === "builtin" && v.pointer !== undefined) return v.pointer;
    if (v.k === "opt") return void fn.report("BPF2007", node, { what: v.what, name: nameOf(node) });
    if (v.k === "scalar" && v.type.k === "ptr") {
      if (v.type.nullable === undefined) return v.v;
      return void fn.report("BPF2007", node, { what: v.type.nullable, name: nameOf(node) });
    }
    if (v.k !== "error") fn.report("BPF2006", node, { expected: "a kernel object", found: describe(v) });
    return undefined;
  };
  const get = (args: readonly Ast[], ref: boolean, create: boolean): Val => {
    const owner = ownerOf(args[0]!);
    const schema = map.handle.value;
    if (owner === undefined || schema === undefined) return ERROR;
    const init = args[1] === undefined ? undefined : tempOf(fn, schema, args[1], "value");
    const ptr = fn.b.helper(
      helpers.get,
      [mapPointer(fn, map), owner, init === undefined ? fn.b.nullPtr() : addressOf(fn, init), create ? 1 : 0],
      {
        space: "map-value",
        nullable: true,
        clobbers: "none",
        mem: init === undefined ? [] : [input(2, init)],
      },
    );
    return entry(map, ptr, ref) ?? ERROR;
  };
  switch (method) {
    case "get":
      return make(1, 0, (args) => get(args, false, false));
    case "ref":
      return make(1, 0, (args) => get(args, isScalarSchema(map.handle.value), false));
    case "getOrInsert":
      return make(1, 1, (args) => get(args, false, true));
    case "delete":
      return make(1, 0, (args) => {
        const owner = ownerOf(args[0]!);
        return owner === undefined
          ? ERROR
          : truth(fn, "eq", fn.b.helper(helpers.delete, [mapPointer(fn, map), owner], { clobbers: "mem" }), 0);
      });
    default:
      return undefined;
  }
}
