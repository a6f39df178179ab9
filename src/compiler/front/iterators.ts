/** Open-coded iterators of the kernel (`bpf_iter_*_new`, `_next`, `_destroy`): what `for (const x of bpf.tasks())` is made of. */
import { kfuncByName } from "../../uapi/index.ts";
import type { Inst } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe, nameOf } from "./context.ts";
import { progTypeName } from "./contexts.ts";
import { fieldAddress } from "./kernel-access.ts";
import type { PointerType } from "./types.ts";
import { U32, intType } from "./types.ts";
import type { Val } from "./value.ts";
import { ERROR } from "./value.ts";

/** `BPF_TASK_ITER_*` of kernel/bpf/task_iter.c. */
const ALL_PROCESSES = 0;
const ALL_THREADS = 1;
const THREADS_OF = 2;

/** `enum bpf_cgroup_iter_order`: those that `bpf_iter_css_new` takes. */
const ORDERS: Readonly<Record<string, number>> = { descendants: 2, "descendants-last": 3, ancestors: 4 };
/** `CSS_TASK_ITER_*`. */
const WHICH: Readonly<Record<string, number>> = { threads: 0, processes: 1 };

interface Row {
  readonly args: readonly [min: number, max: number];
  /** Kernel functions `<name>_new`, `_next`, `_destroy`; its state is `struct <name>`. */
  readonly name: string;
  /** The struct that it gives pointers to; undefined: integers. */
  readonly item: string | undefined;
  /** It needs the RCU read lock, which only programs that may sleep have to take themselves. */
  readonly rcu: boolean;
  /** Arguments behind the state; undefined when reported. */
  readonly pass: (fn: Fn, args: readonly Ast[], node: Ast) => readonly (Inst | number)[] | undefined;
}

const ROWS: Readonly<Record<string, Row>> = {
  tasks: {
    args: [0, 0],
    name: "bpf_iter_task",
    item: "task_struct",
    rcu: true,
    pass: (fn) => [fn.b.nullPtr(), ALL_PROCESSES],
  },
  threads: {
    args: [0, 1],
    name: "bpf_iter_task",
    item: "task_struct",
    rcu: true,
    pass: (fn, [of]) => {
      if (of === undefined) return [fn.b.nullPtr(), ALL_THREADS];
      const task = object(fn, of, "a task");
      return task === undefined ? undefined : [task, THREADS_OF];
    },
  },
  vmas: {
    args: [1, 2],
    name: "bpf_iter_task_vma",
    item: "vm_area_struct",
    rcu: false,
    pass: (fn, [of, from]) => {
      const task = object(fn, of!, "a task");
      const address = from === undefined ? 0 : fn.int(fn.value(from), from);
      return task === undefined || address === undefined ? undefined : [task, address];
    },
  },
  cgroups: {
    args: [1, 2],
    name: "bpf_iter_css",
    item: "cgroup_subsys_state",
    rcu: true,
    pass: (fn, [start, order]) => {
      const css = object(fn, start!, "a cgroup");
      const flags = order === undefined ? ORDERS["descendants"] : choice(fn, order, ORDERS);
      return css === undefined || flags === undefined ? undefined : [css, flags];
    },
  },
  cgroupTasks: {
    args: [1, 2],
    name: "bpf_iter_css_task",
    item: "task_struct",
    rcu: false,
    pass: (fn, [of, which]) => {
      const css = object(fn, of!, "a cgroup");
      const flags = which === undefined ? WHICH["threads"] : choice(fn, which, WHICH);
      return css === undefined || flags === undefined ? undefined : [css, flags];
    },
  },
  kmemCaches: { args: [0, 0], name: "bpf_iter_kmem_cache", item: "kmem_cache", rcu: false, pass: () => [] },
  dmabufs: { args: [0, 0], name: "bpf_iter_dmabuf", item: "dma_buf", rcu: false, pass: () => [] },
  bits: {
    args: [2, 2],
    name: "bpf_iter_bits",
    item: undefined,
    rcu: false,
    pass: (fn, [address, words]) => {
      const p = object(fn, address!, "an address");
      const n = fn.int(fn.value(words!), words!);
      return p === undefined || n === undefined ? undefined : [p, n];
    },
  },
};

export const ITERATOR_NAMES = Object.keys(ROWS);

/** `bpf.tasks` and its kind. */
export function iterator(fn: Fn, name: string): Val | undefined {
  const row = Object.hasOwn(ROWS, name) ? ROWS[name] : undefined;
  if (row === undefined) return undefined;
  return {
    k: "builtin",
    what: `bpf.${name}`,
    call: (args, node) => {
      const [min, max] = row.args;
      if (args.length < min || args.length > max) {
        const count = min === max ? String(min) : `${min} to ${max}`;
        const expected = `${count} argument${max === 1 ? "" : "s"}`;
        return fn.report("BPF1010", node, { name: `bpf.${name}`, expected, got: String(args.length) });
      }
      return begin(fn, name, row, args, node);
    },
  };
}

function begin(fn: Fn, name: string, row: Row, args: readonly Ast[], node: Ast): Val {
  const { kernel } = fn.module;
  if (kernel === undefined) return fn.report("BPF4002", node);
  const { handle } = fn.program;
  const make = `${row.name}_new`;
  const known = kfuncByName(make);
  if (known !== undefined && !known.progs.includes(progTypeName(handle)))
    return fn.report("BPF3003", node, {
      name,
      progType: handle.type,
      where: `${known.progs
        .slice(0, 6)
        .map((p) => p.toLowerCase())
        .join(", ")} programs`,
    });
  if (known?.flags.includes("KF_SLEEPABLE") === true && !handle.sleepable)
    return fn.report("BPF3003", node, {
      name,
      progType: `${handle.type} (not sleepable)`,
      where: "programs that may sleep: `{ sleepable: true }`",
    });
  const state = kernel.findStruct(row.name);
  const struct = row.item === undefined ? undefined : kernel.findStruct(row.item);
  if (state === undefined || kernel.prototype(make) === undefined || (row.item !== undefined && struct === undefined))
    return fn.report("BPF3008", node, { name: make });
  const passed = row.pass(fn, args, node);
  if (passed === undefined) return ERROR;
  const item: PointerType = {
    k: "ptr",
    to: struct ?? intType(32, true),
    space: "kernel",
    trust: "trusted",
  };
  return {
    k: "iter",
    what: `what bpf.${name}() gives, which is for \`for … of\``,
    name: row.name,
    size: state.size,
    args: passed,
    item,
    value: struct === undefined ? U32 : undefined,
    rcu: row.rcu,
  };
}

/** A pointer to an object of the kernel's. */
function object(fn: Fn, node: Ast, expected: string): Inst | undefined {
  const v = fn.expr(node);
  if (v.k === "kplace" && (v.type.k === "kstruct" || v.type.k === "array")) return fieldAddress(fn, v);
  const s = fn.settle(v, node);
  if (s.k === "scalar" && s.type.k === "ptr" && s.type.nullable !== undefined)
    return void fn.report("BPF2007", node, { what: s.type.nullable, name: nameOf(node) });
  if (s.k === "scalar" && (s.type.k === "ptr" || s.type.k === "int")) return s.v;
  if (s.k !== "error") fn.report("BPF2006", node, { expected, found: describe(s) });
  return undefined;
}

function choice(fn: Fn, node: Ast, values: Readonly<Record<string, number>>): number | undefined {
  const v = fn.value(node);
  const known = v.k === "js" && typeof v.value === "string" ? values[v.value] : undefined;
  if (known !== undefined) return known;
  const expected = `one of ${Object.keys(values)
    .map((name) => JSON.stringify(name))
    .join(", ")}`;
  if (v.k !== "error") fn.report("BPF2006", node, { expected, found: describe(v) });
  return undefined;
}
