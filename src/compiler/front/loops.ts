/** Loops. Every one must end for reasons that a kernel can follow. */
import type { DoWhileStatement, ForOfStatement, ForStatement, VariableDeclaration, WhileStatement } from "acorn";
import type { MapHandle } from "../../probe/map-types.ts";
import type { Schema } from "../../probe/schema-types.ts";
import { BPF_FUNC } from "../../uapi/index.ts";
import type { Block, Inst, Size, Slot } from "../ir/ir.ts";
import type { Ast, Expr } from "./ast.ts";
import { assignedNames, isAbsent, unwrap, walk } from "./ast.ts";
import { declarePattern } from "./assign.ts";
import type { Fn } from "./context.ts";
import { condOf, constType, describe } from "./context.ts";
import { compare, signOf } from "./ops.ts";
import { isMap } from "./module.ts";
import { outline } from "./outline.ts";
import { maxOf } from "./ranges.ts";
import { within } from "./place.ts";
import { Scope } from "./scope.ts";
import { Sign } from "./sign.ts";
import { fromSchema, sizeOf } from "./types.ts";
import type { Facts, PlaceVal, Val } from "./value.ts";

/** Copies of a body that a loop over compile-time values may become. */
const MAX_COPIES = 256;
/** Iterations that a verifier can follow one by one. */
const MAX_ITERATIONS = 1n << 23n;

/** What still holds in every iteration: nothing about variables that the loop assigns. */
function loopFacts(fn: Fn, parts: readonly (Ast | null | undefined)[]): Facts {
  const names = assignedNames(parts);
  if (names.size === 0 || fn.facts.size === 0) return fn.facts;
  const facts = new Map(fn.facts);
  for (const sym of facts.keys()) if (names.has(sym.name)) facts.delete(sym);
  return facts;
}

interface Loop {
  readonly label: string | undefined;
  readonly parts: readonly (Ast | null | undefined)[];
  /** Emits the test: branches to `body` or `exit`. */
  readonly test: (body: Block, exit: Block) => void;
  readonly body: () => void;
  readonly step: (() => void) | undefined;
  /** `do … while`: the body runs first. */
  readonly bodyFirst?: boolean;
  /** Gives back what the loop holds when a jump leaves it for somewhere further out. */
  readonly leave?: () => void;
}

function loop(fn: Fn, l: Loop): void {
  const { b } = fn;
  const head = b.block("loop");
  const body = b.block("body");
  const step = l.step === undefined && l.bodyFirst !== true ? head : b.block("step");
  const exit = b.block("exit");
  const facts = loopFacts(fn, l.parts);
  fn.facts = facts;
  b.jmp(l.bodyFirst === true ? body : head);
  b.at(head);
  l.test(body, exit);
  const atExit = fn.facts;
  b.at(body);
  const leave = l.leave === undefined ? {} : { leave: l.leave };
  fn.jumps.push({ label: undefined, breakTo: exit, continueTo: step, ...leave });
  if (l.label !== undefined) fn.jumps.push({ label: l.label, breakTo: exit, continueTo: step });
  l.body();
  fn.jumps.splice(-(l.label === undefined ? 1 : 2));
  if (!fn.ended) b.jmp(step);
  fn.ended = false;
  fn.facts = facts;
  if (step !== head) {
    b.at(step);
    l.step?.();
    b.jmp(head);
  }
  fn.facts = atExit === facts ? facts : facts;
  b.at(exit);
}

function inScope(fn: Fn, body: () => void): void {
  const outer = fn.scope;
  fn.scope = new Scope(outer);
  body();
  fn.scope = outer;
}

export function forStatement(fn: Fn, node: ForStatement, label: string | undefined): void {
  inScope(fn, () => {
    if (!isAbsent(node.init)) {
      if (node.init.type === "VariableDeclaration") fn.lowering.stmt(fn, node.init);
      else fn.expr(node.init);
    }
    const { test, update } = node;
    if (!bounded(fn, test, node.body, update, node)) return;
    loop(fn, {
      label,
      parts: [test, update, node.body],
      test: (body, exit) => {
        if (isAbsent(test)) fn.b.jmp(body);
        else fn.lowering.cond(fn, test, body, exit);
      },
      body: () => fn.lowering.stmt(fn, node.body),
      step: isAbsent(update) ? undefined : () => void fn.expr(update),
    });
  });
}

export function whileStatement(fn: Fn, node: WhileStatement | DoWhileStatement, label: string | undefined): void {
  if (!bounded(fn, node.test, node.body, undefined, node)) return;
  loop(fn, {
    label,
    parts: [node.test, node.body],
    test: (body, exit) => void fn.lowering.cond(fn, node.test, body, exit),
    body: () => fn.lowering.stmt(fn, node.body),
    step: undefined,
    bodyFirst: node.type === "DoWhileStatement",
  });
}

/**
 * A loop can only end if its test depends on something that it changes, or if it is left from
 * inside. (Whether it ends soon enough is for the verifier to say.)
 */
function bounded(fn: Fn, test: Expr | null | undefined, body: Ast, update: Ast | null | undefined, node: Ast): boolean {
  if (leaves(body)) return true;
  const constant =
    isAbsent(test) || (unwrap(test).type === "Literal" && (unwrap(test) as { value?: unknown }).value !== false);
  let changes = false;
  if (!isAbsent(test) && !constant) {
    const names = assignedNames([test, body, update]);
    walk(test, (n) => {
      const e = n as Expr;
      if (e.type === "Identifier" && names.has(e.name)) changes = true;
      // A field, a global or what a call gives may change too.
      if (e.type === "CallExpression" || e.type === "MemberExpression") changes = true;
      return !changes;
    });
  }
  if (!changes) fn.report("BPF1006", node);
  return changes;
}

/** Whether `break` or `return` leaves the loop whose body this is. */
function leaves(body: Ast): boolean {
  let found = false;
  const visit = (n: Ast, inner: boolean): void => {
    walk(n, (x) => {
      if (
        found ||
        x.type === "ArrowFunctionExpression" ||
        x.type === "FunctionExpression" ||
        x.type === "FunctionDeclaration"
      )
        return false;
      if (x.type === "ReturnStatement") found = true;
      if (x.type === "BreakStatement" && (!inner || !isAbsent((x as { label?: unknown }).label))) found = true;
      if (x !== n && /^(For|While|DoWhile|Switch)/.test(x.type)) {
        visit(x, true);
        return false;
      }
      return true;
    });
  };
  visit(body, false);
  return found;
}

/** `for (const x of …)` */
export function forOf(fn: Fn, node: ForOfStatement, label: string | undefined): void {
  if (node.await)
    return void fn.report("BPF1001", node, { what: "`for await`", instead: "a probe runs to its end without waiting" });
  if (node.left.type !== "VariableDeclaration") {
    return void fn.report("BPF1001", node.left, {
      what: "a loop variable that exists already",
      instead: "write `for (const x of …)`",
    });
  }
  const over = fn.expr(node.right);
  switch (over.k) {
    case "range":
      return overRange(fn, node, node.left, over, label);
    case "iter":
      return overIterator(fn, node, node.left, over, label);
    case "record":
      if (over.tuple) return unrolled(fn, node, node.left, [...over.fields.values()], label);
      break;
    case "handle":
      if (isMap(over.value)) return overMap(fn, node, node.left, over.value, over.name, label);
      if (Array.isArray(over.value)) {
        const { value, name } = over;
        return unrolled(
          fn,
          node,
          node.left,
          value.map((v: unknown, i) => fn.module.constant(fn, `${name}[${i}]`, v, node.right)),
          label,
        );
      }
      break;
    case "place":
      if (over.type.k === "array" && over.indices === undefined) return overArray(fn, node, node.left, over, label);
      break;
    case "error":
      return;
    default:
      break;
  }
  fn.report("BPF2006", node.right, { expected: "`range(n)` or an array", found: describe(over) });
}

function loopVariable(fn: Fn, left: VariableDeclaration, v: Val): void {
  const pattern = left.declarations[0]?.id;
  if (pattern !== undefined) declarePattern(fn, pattern, v, left.kind !== "const");
}

/** `for (const t of bpf.tasks())`: an iterator on the stack, asked until it gives null. */
function overIterator(
  fn: Fn,
  node: ForOfStatement,
  left: VariableDeclaration,
  it: Extract<Val, { k: "iter" }>,
  label: string | undefined,
): void {
  const { b } = fn;
  const state = b.func.slot(it.size, 8, "iterator");
  b.start(state);
  const mem = [{ arg: 0, mode: "inout", size: it.size } as const];
  // A program that may sleep has to hold the read lock itself (KF_RCU_PROTECTED).
  const { sleepable, type } = fn.program.handle;
  const lock = (name: string): void => {
    if (it.rcu && (sleepable || type === "syscall")) b.kfunc(name, [], { clobbers: "mem", type: "void" });
  };
  lock("bpf_rcu_read_lock");
  b.kfunc(`${it.name}_new`, [b.slotAddr(state), ...it.args], { clobbers: "mem", mem });
  const item = b.func.slot(8, 8, "item");
  b.start(item);
  const destroy = (): void => {
    b.kfunc(`${it.name}_destroy`, [b.slotAddr(state)], { clobbers: "mem", mem, type: "void" });
    lock("bpf_rcu_read_unlock");
  };
  loop(fn, {
    label,
    parts: [node.body],
    test: (body, exit) => {
      const p = b.kfunc(`${it.name}_next`, [b.slotAddr(state)], { clobbers: "mem", mem, space: "btf", nullable: true });
      b.store(b.slotAddr(item), p, { size: 8 });
      b.br("ne", p, 0, body, exit);
    },
    body: () =>
      inScope(fn, () => {
        const v = b.load(b.slotAddr(item), { size: 8, space: "btf" });
        loopVariable(
          fn,
          left,
          it.value === undefined
            ? { k: "scalar", type: it.item, v }
            : { k: "scalar", type: it.value, v: b.load(v, { size: sizeOf(it.value) as Size }) },
        );
        fn.lowering.stmt(fn, node.body);
      }),
    step: undefined,
    leave: destroy,
  });
  destroy();
}

/** A counter in a slot, from `first` to below `limit`. */
function overRange(
  fn: Fn,
  node: ForOfStatement,
  left: VariableDeclaration,
  r: Extract<Val, { k: "range" }>,
  label: string | undefined,
): void {
  const { b } = fn;
  const { from, to, step } = r;
  if (from.k === "error" || to.k === "error") return;
  const max = step > 0n ? maxOf(to) : maxOf(from);
  const count = max === undefined ? undefined : (max + (step > 0n ? step : -step) - 1n) / (step > 0n ? step : -step);
  if (max === undefined || count === undefined || count > MAX_ITERATIONS) {
    if (step !== 1n || from.k !== "int" || from.value !== 0n) {
      return void fn.report(
        "BPF1006",
        node.right,
        {},
        {
          notes: [
            "without a constant bound a range starts at 0 and steps by 1; or bound it: `range(a, Math.min(b, 64))`",
          ],
        },
      );
    }
    return kernelLoop(fn, node, left, to, label);
  }
  const first = fn.scalar(from, node.right);
  const limit = fn.scalar(to, node.right);
  if (first === undefined || limit === undefined) return;
  const sign = new Sign();
  const pair = compare(fn, "lt", from.k === "int" ? from : first, to.k === "int" ? to : limit, node.right);
  if (pair === undefined) return;
  const type = {
    k: "int",
    bits: 64,
    sign: typeof pair === "boolean" ? signOf(to.k === "int" ? constType(to) : limit.type) : signOf(limit.type),
  } as const;
  const slot = b.func.slot(8, 8, "i");
  b.start(slot);
  b.store(b.slotAddr(slot), first.v, { size: 8 });
  const read = (): Val => ({
    k: "scalar",
    type,
    v: b.load(b.slotAddr(slot), { size: 8 }),
    max: max > 0n ? max - (step > 0n ? 1n : 0n) : 0n,
  });
  loop(fn, {
    label,
    parts: [node.body],
    test: (body, exit) => {
      const i = read();
      if (i.k !== "scalar") return;
      if (to.k !== "int" && step > 0n) {
        // The constant bound first: it is what the verifier counts with.
        const next = b.block("bound");
        b.br("ult", i.v, max, next, exit);
        b.at(next);
      }
      const rel = step > 0n ? "lt" : "gt";
      b.br(
        condOf(rel, to.k === "int" && from.k === "int" ? to.value < 0n || from.value < 0n : type.sign.signed),
        i.v,
        to.k === "int" ? b.int(to.value) : limit.v,
        body,
        exit,
      );
    },
    body: () =>
      inScope(fn, () => {
        const i = read();
        loopVariable(fn, left, i);
        fn.lowering.stmt(fn, node.body);
      }),
    step: () => increment(fn, slot, step),
  });
  void sign;
}

/** `range(n)` without a bound to see: `bpf_loop` calls the body n times (kernel 5.17, at most 2^23). */
function kernelLoop(fn: Fn, node: ForOfStatement, left: VariableDeclaration, to: Val, label: string | undefined): void {
  const n = fn.scalar(to, node.right);
  if (n === undefined) return;
  const sign = signOf(n.type);
  const count = fn.b.func.slot(8, 8, "count");
  fn.b.start(count);
  fn.b.store(fn.b.slotAddr(count), n.v, { size: 8 });
  if (sign.kind() === "s") {
    const negative = fn.b.block("negative");
    const end = fn.b.block("count");
    fn.b.br("slt", n.v, 0, negative, end);
    fn.b.at(negative);
    fn.b.store(fn.b.slotAddr(count), 0, { size: 8 });
    fn.b.jmp(end);
    fn.b.at(end);
  }
  outline(fn, {
    params: [{ name: "index", type: "int", space: "unknown" }],
    nodes: [node.body],
    label,
    loop: true,
    body: ([index]) => {
      loopVariable(fn, left, {
        k: "scalar",
        type: { k: "int", bits: 64, sign },
        v: fn.b.zext(index!, 32),
        max: MAX_ITERATIONS,
      });
      fn.lowering.stmt(fn, node.body);
    },
    call: (func, context, bytes) =>
      void fn.b.helper(BPF_FUNC.loop, [fn.b.load(fn.b.slotAddr(count), { size: 8 }), func, context, 0], {
        clobbers: "mem",
        mem: [{ arg: 2, mode: "inout", size: bytes }],
      }),
  });
}

/** `for (const [key, value] of map)`: `bpf_for_each_map_elem` (kernel 5.13). */
function overMap(
  fn: Fn,
  node: ForOfStatement,
  left: VariableDeclaration,
  map: MapHandle,
  seen: string,
  label: string | undefined,
): void {
  forEachEntry(fn, map, seen, [node.body], label, true, node.right, (key, value) => {
    loopVariable(fn, left, {
      k: "record",
      tuple: true,
      fields: new Map<string, Val>([
        ["0", key],
        ["1", value],
      ]),
    });
    fn.lowering.stmt(fn, node.body);
  });
}

const ITERABLE: ReadonlySet<string> = new Set([
  "hash",
  "lru_hash",
  "percpu_hash",
  "lru_percpu_hash",
  "array",
  "percpu_array",
]);

/** Runs a body for every entry of a map. */
export function forEachEntry(
  fn: Fn,
  map: MapHandle,
  seen: string,
  nodes: readonly Ast[],
  label: string | undefined,
  isLoop: boolean,
  at: Ast,
  body: (key: Val, value: Val) => void,
): void {
  const { key, value } = map;
  if (!ITERABLE.has(map.type) || key === undefined || value === undefined) {
    return void fn.report("BPF2006", at, { expected: "a hash table or array", found: `the map ${seen}` });
  }
  const name = fn.module.mapName(map, seen);
  const place = (base: Inst, schema: Schema, readonly: boolean): PlaceVal => ({
    k: "place",
    type: fromSchema(schema),
    base,
    off: 0,
    space: "map",
    ...(readonly ? { readonly: "a key" } : {}),
  });
  outline(fn, {
    params: [
      { name: "map", type: "ptr", space: "map" },
      { name: "key", type: "ptr", space: "map-value" },
      { name: "value", type: "ptr", space: "map-value" },
    ],
    nodes,
    label,
    loop: isLoop,
    body: ([, k, v]) => body(fn.settle(place(k!, key, true), at), fn.settle(place(v!, value, false), at)),
    call: (func, context, bytes) =>
      void fn.b.helper(BPF_FUNC.for_each_map_elem, [fn.b.map(name), func, context, 0], {
        clobbers: "mem",
        mem: [{ arg: 2, mode: "inout", size: bytes }],
      }),
  });
}

function increment(fn: Fn, slot: Slot, step: bigint): void {
  const { b } = fn;
  b.store(b.slotAddr(slot), b.add(b.load(b.slotAddr(slot), { size: 8 }), step), { size: 8 });
}

function overArray(
  fn: Fn,
  node: ForOfStatement,
  left: VariableDeclaration,
  array: PlaceVal,
  label: string | undefined,
): void {
  const { b } = fn;
  if (array.type.k !== "array") return;
  const { element, length } = array.type;
  const slot = b.func.slot(8, 8, "i");
  b.start(slot);
  b.store(b.slotAddr(slot), 0, { size: 8 });
  const scale = sizeOf(element);
  loop(fn, {
    label,
    parts: [node.body],
    test: (body, exit) => b.br("ult", b.load(b.slotAddr(slot), { size: 8 }), length, body, exit),
    body: () =>
      inScope(fn, () => {
        const index = b.load(b.slotAddr(slot), { size: 8 });
        const at: PlaceVal = {
          ...within(array, 0, element),
          base: b.add(array.base, scale === 1 ? index : b.mul(index, scale)),
        };
        loopVariable(fn, left, fn.settle(at, node));
        fn.lowering.stmt(fn, node.body);
      }),
    step: () => increment(fn, slot, 1n),
  });
}

/** One copy of the body a value: the values are known, or lie in different places. */
function unrolled(
  fn: Fn,
  node: ForOfStatement,
  left: VariableDeclaration,
  values: readonly Val[],
  label: string | undefined,
): void {
  if (values.length > MAX_COPIES) return void fn.report("BPF5002", node.right, { count: values.length });
  const { b } = fn;
  const exit = b.block("exit");
  const facts = loopFacts(fn, [node.body]);
  for (const v of values) {
    const next = b.block("next");
    fn.facts = facts;
    fn.jumps.push({ label: undefined, breakTo: exit, continueTo: next });
    if (label !== undefined) fn.jumps.push({ label, breakTo: exit, continueTo: next });
    inScope(fn, () => {
      loopVariable(fn, left, v);
      fn.lowering.stmt(fn, node.body);
    });
    fn.jumps.splice(-(label === undefined ? 1 : 2));
    if (!fn.ended) b.jmp(next);
    fn.ended = false;
    b.at(next);
  }
  b.jmp(exit);
  fn.facts = facts;
  b.at(exit);
}
