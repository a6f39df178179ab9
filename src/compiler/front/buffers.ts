/** Ring buffers and perf event arrays: samples filled where the reader will find them. */
import { lostCounterName } from "../../elf/data-maps.ts";
import { BPF_FUNC } from "../../uapi/index.ts";
import type { Block, Inst } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import { unwrap, walk } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import type { MapUse } from "./map-ops.ts";
import { mapPointer } from "./map-ops.ts";
import { readByHelpers, storeInto, storeValue, tempOf, zeroHoles } from "./memory.ts";
import { outline } from "./outline.ts";
import { addressOf } from "./place.ts";
import { BOOL, S64, fromSchema, sizeOf } from "./types.ts";
import type { BuiltinVal, PlaceVal, Val } from "./value.ts";
import { ERROR, NOTHING } from "./value.ts";

const BPF_F_CURRENT_CPU = 0xffff_ffffn;

/** `events.emit({…})`: whether the sample got into the buffer. */
export function emit(fn: Fn, map: MapUse, sample: Ast, node: Ast): Val {
  const schema = map.handle.value;
  const type = schema === undefined ? undefined : fromSchema(schema);
  if (schema === undefined || type === undefined) return ERROR;
  if (map.handle.type === "perf_event_array") {
    const value = tempOf(fn, schema, sample, "sample");
    const size = sizeOf(type);
    const r = fn.b.helper(
      BPF_FUNC.perf_event_output,
      [fn.ctx, mapPointer(fn, map), BPF_F_CURRENT_CPU, addressOf(fn, value), size],
      {
        clobbers: "none",
        mem: [{ arg: 3, mode: "in", size }],
      },
    );
    return { k: "scalar", type: BOOL, v: fn.b.cmp("eq", r, 0) };
  }
  const { b } = fn;
  const e = unwrap(sample);
  // What changes something must happen even when the buffer is full.
  const named = e.type === "Identifier" || e.type === "MemberExpression";
  const early = hasEffects(e) ? fn.value(e) : named ? fn.expr(e) : undefined;
  if (early !== undefined && readByHelpers(early, type)) return output(fn, map, early);
  const place = reserve(fn, map, type);
  const sent = b.func.slot(8, 8, "sent");
  b.start(sent);
  b.store(b.slotAddr(sent), 0, { size: 8 });
  const room = b.block("room");
  const end = b.block("emitted");
  b.br("ne", place.base, 0, room, whenFull(fn, map, end));
  b.at(room);
  const before = fn.facts;
  if (early === undefined) {
    zeroHoles(fn, place);
    storeInto(fn, place, e, { clean: false, partial: false });
  } else {
    zeroHoles(fn, place);
    storeValue(fn, place, early, e, false);
  }
  fn.mark(node);
  b.helper(BPF_FUNC.ringbuf_submit, [place.base, 0], { clobbers: "mem", type: "void" });
  b.store(b.slotAddr(sent), 1, { size: 8 });
  b.jmp(end);
  b.at(end);
  fn.facts = before;
  return { k: "scalar", type: BOOL, v: b.load(b.slotAddr(sent), { size: 8 }) };
}

/** Copies a sample that lies in memory already. */
function output(fn: Fn, map: MapUse, sample: PlaceVal): Val {
  const { b } = fn;
  const size = sizeOf(sample.type);
  const r = b.helper(BPF_FUNC.ringbuf_output, [mapPointer(fn, map), addressOf(fn, sample), size, 0], {
    clobbers: "none",
    mem: [{ arg: 1, mode: "in", size }],
  });
  const end = b.block("emitted");
  const full = whenFull(fn, map, end);
  if (full !== end) b.br("eq", r, 0, end, full);
  else b.jmp(end);
  b.at(end);
  return { k: "scalar", type: BOOL, v: b.cmp("eq", r, 0) };
}

function reserve(fn: Fn, map: MapUse, type: PlaceVal["type"]): PlaceVal {
  const base = fn.b.helper(BPF_FUNC.ringbuf_reserve, [mapPointer(fn, map), sizeOf(type), 0], {
    space: "mem",
    nullable: true,
    clobbers: "none",
  });
  return { k: "place", type, base, off: 0, space: "mem" };
}

/** Where a program goes that found no room: the sample is counted as lost. */
function whenFull(fn: Fn, map: MapUse, end: Block): Block {
  if (!map.handle.countLost || map.pointer !== undefined) return end;
  const { b } = fn;
  const here = b.current;
  const full = b.block("full");
  b.at(full);
  const counter = b.mapValue(".bss", fn.module.sections.counter(lostCounterName(map.name)));
  b.atomic("add", counter, 1, { size: 8 });
  b.jmp(end);
  b.at(here);
  return full;
}

/** Reserves room that is discarded on every way out of the program on which it was neither submitted nor discarded. */
function hold(fn: Fn, map: MapUse, type: PlaceVal["type"]): PlaceVal {
  const { b } = fn;
  const slot = b.func.slot(8, 8, "reserved");
  // A flag of its own: verifiers before 6.2 forget, at a second null check, that the pointer is not null.
  const held = b.func.slot(8, 8, "held");
  const discard = (): void => {
    const yes = b.block("discard");
    const end = b.block("kept");
    b.br("ne", b.load(b.slotAddr(held), { size: 8 }), 0, yes, end);
    b.at(yes);
    const pointer = b.load(b.slotAddr(slot), { size: 8, space: "mem" });
    b.helper(BPF_FUNC.ringbuf_discard, [pointer, 0], { clobbers: "mem", type: "void" });
    b.jmp(end);
    b.at(end);
  };
  fn.atStart(() => {
    b.store(b.slotAddr(slot), b.nullPtr(), { size: 8 });
    b.store(b.slotAddr(held), 0, { size: 8 });
  });
  // In a loop, what the last iteration left is given back first.
  if (fn.jumps.length > 0) {
    discard();
    b.store(b.slotAddr(held), 0, { size: 8 });
  }
  const place = reserve(fn, map, type);
  b.store(b.slotAddr(slot), place.base, { size: 8 });
  const got = b.block("reserved");
  const end = b.block("maybe");
  b.br("ne", place.base, 0, got, whenFull(fn, map, end));
  b.at(got);
  b.store(b.slotAddr(held), 1, { size: 8 });
  b.jmp(end);
  b.at(end);
  fn.frame.cleanups.push(discard);
  fn.frame.reservations.push({ map: map.name, base: place.base, slot: held });
  return place;
}

/** `place` is given away: no longer to be discarded. False: it is another function's. */
function release(fn: Fn, map: MapUse, place: PlaceVal): boolean {
  const { b } = fn;
  const mine = fn.frame.reservations.filter((r) => r.map === map.name);
  const known = mine.filter((r) => r.base === place.base);
  for (const r of known.length > 0 ? known : mine) b.store(b.slotAddr(r.slot), 0, { size: 8 });
  return mine.length > 0;
}

const CHANGING = new Set([
  "set",
  "add",
  "delete",
  "insert",
  "getOrInsert",
  "emit",
  "increment",
  "push",
  "pop",
  "submit",
  "discard",
]);

/** Whether evaluating `node` changes anything that the program can see. */
function hasEffects(node: Ast): boolean {
  let found = false;
  walk(node, (n) => {
    const e = unwrap(n);
    if (e.type === "AssignmentExpression" || e.type === "UpdateExpression") found = true;
    if (e.type === "CallExpression") {
      const callee = unwrap(e.callee);
      if (
        callee.type === "MemberExpression" &&
        callee.property.type === "Identifier" &&
        CHANGING.has(callee.property.name)
      )
        found = true;
    }
    return !found;
  });
  return found;
}

type Make = (arity: number, optional: number, run: (args: readonly Ast[], node: Ast) => Val) => BuiltinVal;

/** `reserve`, `submit`, `discard`. */
export function reservation(fn: Fn, map: MapUse, method: string, make: Make): Val | undefined {
  const { value } = map.handle;
  switch (method) {
    case "reserve":
      return make(0, 0, () => {
        const type = value === undefined ? undefined : fromSchema(value);
        if (type === undefined) return ERROR;
        const inner = hold(fn, map, type);
        return { k: "opt", ptr: inner.base, inner, what: `room in ${map.seen}` };
      });
    case "submit":
    case "discard":
      return make(1, 0, (args) => {
        const v = fn.expr(args[0]!);
        if (v.k === "opt") return fn.report("BPF2007", args[0]!, { what: v.what, name: "the value" });
        if (v.k !== "place" || v.space !== "mem")
          return v.k === "error"
            ? ERROR
            : fn.report("BPF2006", args[0]!, { expected: `what ${map.seen}.reserve() gave`, found: describe(v) });
        if (!release(fn, map, v)) return fn.report("BPF3011", args[0]!, { map: map.seen, method });
        fn.b.helper(method === "submit" ? BPF_FUNC.ringbuf_submit : BPF_FUNC.ringbuf_discard, [v.base, 0], {
          clobbers: "mem",
          type: "void",
        });
        return NOTHING;
      });
    default:
      return undefined;
  }
}

/** `commands.drain((sample) => …)`: takes what user space sent; a callback that returns true stops. */
export function drain(fn: Fn, map: MapUse, node: Ast, at: Ast): Val {
  const schema = map.handle.value;
  const type = schema === undefined ? undefined : fromSchema(schema);
  const callback = fn.expr(node);
  if (type === undefined || callback.k === "error") return ERROR;
  if (callback.k !== "function")
    return fn.report("BPF2006", node, { expected: "a function", found: describe(callback) });
  const size = sizeOf(type);
  let taken: Inst | undefined;
  outline(fn, {
    params: [{ name: "sample", type: "ptr", space: "unknown" }],
    nodes: [callback.node],
    label: undefined,
    loop: false,
    body: ([dynptr]) => {
      const sample = fn.temp(type, "sample");
      const r = fn.b.helper(BPF_FUNC.dynptr_read, [addressOf(fn, sample), size, dynptr!, 0, 0], {
        clobbers: "mem",
        mem: [{ arg: 0, mode: "inout", size }],
      });
      const whole = fn.b.block("whole");
      const short = fn.b.block("short");
      fn.b.br("eq", r, 0, whole, short);
      fn.b.at(whole);
      const given = callback.node.params.length > 0 ? [fn.settle(sample, at)] : [];
      fn.nothingIsFalse = true;
      fn.returns.give(fn, fn.lowering.call(fn, callback, given, at), at);
      // A sample that is too short is skipped.
      fn.b.at(short);
    },
    call: (func, context, bytes) => {
      taken = fn.b.helper(BPF_FUNC.user_ringbuf_drain, [mapPointer(fn, map), func, context, 0], {
        clobbers: "mem",
        mem: [{ arg: 2, mode: "inout", size: bytes }],
      });
    },
  });
  return taken === undefined ? ERROR : { k: "scalar", type: S64, v: taken };
}
