/** `bpf`: the short names, and what `bpf.` looks up after them. */
import { isSchema } from "../../probe/schema.ts";
import { BPF_F, BPF_FUNC, PT_REGS, helperAllowed, helperById } from "../../uapi/index.ts";
import type { Inst } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import { attachTypeOf, btfArg, helperTypeOf } from "./contexts.ts";
import { callHelper, helperFor, helperNames } from "./helper-call.ts";
import { ATOMIC_NAMES, atomic } from "./atomics.ts";
import { ITERATOR_NAMES, iterator } from "./iterators.ts";
import { kernelBuiltin, KERNEL_NAMES } from "./kernel-builtins.ts";
import { kfuncBuiltin, kfuncNames } from "./kfunc-call.ts";
import { lintSpace } from "./lint.ts";
import { isMap } from "./module.ts";
import { printk, seqPrint } from "./printk.ts";
import { copyOf, readMemory, stringAt } from "./reads.ts";
import { hint } from "./report.ts";
import { Sign } from "./sign.ts";
import { locked } from "./sync.ts";

import type { PointerSpace } from "./types.ts";
import { S64, U32, U64, fromSchema, isScalar } from "./types.ts";
import type { BuiltinVal, PlaceVal, ScalarVal, StringVal, Val } from "./value.ts";
import { ERROR } from "./value.ts";

const OTHER_NAMES = [...KERNEL_NAMES, ...ITERATOR_NAMES, ...ATOMIC_NAMES];

interface Short {
  readonly args: readonly [min: number, max: number];
  /** Helpers it needs: the program type must have them. */
  readonly helper?: number;
  readonly run: (fn: Fn, args: readonly Ast[], node: Ast) => Val;
}

const PURE = { clobbers: "none", pure: true } as const;

function u32(v: Inst): ScalarVal {
  return { k: "scalar", type: U32, v };
}
function high(fn: Fn, id: number): ScalarVal {
  return u32(fn.b.bin("lshr", fn.b.helper(id, [], PURE), 32));
}
function low(fn: Fn, id: number): ScalarVal {
  return u32(fn.b.zext(fn.b.helper(id, [], PURE), 32));
}
function plain(id: number, type: ScalarVal["type"], pure = false): Short {
  return {
    args: [0, 0],
    helper: id,
    run: (fn) => ({
      k: "scalar",
      type,
      v: fn.b.helper(id, [], {
        clobbers: "none",
        pure,
        bits: type.k === "int" && type.sign.kind() === "u" ? type.bits : 64,
      }),
    }),
  };
}

const SHORT: Readonly<Record<string, Short>> = {
  pid: { args: [0, 0], helper: BPF_FUNC.get_current_pid_tgid, run: (fn) => high(fn, BPF_FUNC.get_current_pid_tgid) },
  tid: { args: [0, 0], helper: BPF_FUNC.get_current_pid_tgid, run: (fn) => low(fn, BPF_FUNC.get_current_pid_tgid) },
  uid: { args: [0, 0], helper: BPF_FUNC.get_current_uid_gid, run: (fn) => low(fn, BPF_FUNC.get_current_uid_gid) },
  gid: { args: [0, 0], helper: BPF_FUNC.get_current_uid_gid, run: (fn) => high(fn, BPF_FUNC.get_current_uid_gid) },
  comm: { args: [0, 0], helper: BPF_FUNC.get_current_comm, run: (fn) => comm(fn) },
  nsecs: plain(BPF_FUNC.ktime_get_ns, U64),
  cpu: plain(BPF_FUNC.get_smp_processor_id, U32, true),
  numaNode: plain(BPF_FUNC.get_numa_node_id, U32, true),
  random: plain(BPF_FUNC.get_prandom_u32, U32),
  jiffies: plain(BPF_FUNC.jiffies64, U64),
  cgroupId: plain(BPF_FUNC.get_current_cgroup_id, U64, true),
  task: { args: [0, 0], run: (fn, _, node) => task(fn, node) },
  str: { args: [1, 2], run: (fn, args, node) => text(fn, undefined, args, node) },
  userStr: {
    args: [1, 2],
    helper: BPF_FUNC.probe_read_user_str,
    run: (fn, args, node) => text(fn, "user", args, node),
  },
  kernelStr: {
    args: [1, 2],
    helper: BPF_FUNC.probe_read_kernel_str,
    run: (fn, args, node) => text(fn, "kernel", args, node),
  },
  userRead: { args: [2, 2], helper: BPF_FUNC.probe_read_user, run: (fn, args) => read(fn, "user", args) },
  kernelRead: { args: [2, 2], helper: BPF_FUNC.probe_read_kernel, run: (fn, args) => read(fn, "kernel", args) },
  at: { args: [2, 2], run: (fn, args) => viewAt(fn, args) },
  seqPrint: { args: [1, 13], helper: BPF_FUNC.seq_printf, run: seqPrint },
  locked: { args: [2, 2], helper: BPF_FUNC.spin_lock, run: locked },
  printk: { args: [1, 13], helper: BPF_FUNC.trace_printk, run: printk },
  kernelStack: { args: [1, 1], helper: BPF_FUNC.get_stackid, run: (fn, args) => stackId(fn, args, 0) },
  userStack: { args: [1, 1], helper: BPF_FUNC.get_stackid, run: (fn, args) => stackId(fn, args, BPF_F.USER_STACK) },
  signal: {
    args: [1, 1],
    helper: BPF_FUNC.send_signal,
    run: (fn, args) => {
      const n = fn.int(fn.value(args[0]!), args[0]!);
      return n === undefined
        ? ERROR
        : { k: "scalar", type: S64, v: fn.b.helper(BPF_FUNC.send_signal, [n], { clobbers: "none" }) };
    },
  },
  arg: { args: [1, 1], run: functionArg },
  ret: { args: [0, 0], run: (fn, _, node) => functionReturn(fn, node) },
  funcAddress: {
    args: [0, 0],
    helper: BPF_FUNC.get_func_ip,
    run: (fn) => ({ k: "scalar", type: U64, v: fn.b.helper(BPF_FUNC.get_func_ip, [fn.ctx], PURE) }),
  },
};

/** The second parameter of a program. */
export function bpfValue(fn: Fn): BuiltinVal {
  return {
    k: "builtin",
    what: "bpf",
    members: () => [...Object.keys(SHORT), ...OTHER_NAMES, ...helperNames()],
    member: (name, node) => member(fn, name, node),
  };
}

function member(fn: Fn, name: string, node: Ast): Val {
  const { handle } = fn.program;
  const short = Object.hasOwn(SHORT, name) ? SHORT[name] : undefined;
  if (short !== undefined) {
    return {
      k: "builtin",
      what: `bpf.${name}`,
      call: (args, call) => {
        const [min, max] = short.args;
        if (args.length < min || args.length > max) {
          const expected =
            max === 0 ? "no arguments" : `${min === max ? min : `${min} to ${max}`} argument${max === 1 ? "" : "s"}`;
          return fn.report("BPF1010", call, { name: `bpf.${name}`, expected, got: String(args.length) });
        }
        if (short.helper !== undefined && !allowed(fn, short.helper, name, node)) return ERROR;
        fn.mark(call);
        return short.run(fn, args, call);
      },
    };
  }
  const kernel = kernelBuiltin(fn, name) ?? iterator(fn, name) ?? atomic(fn, name);
  if (kernel !== undefined) return kernel;
  const row = helperFor(name);
  if (row !== undefined) {
    return {
      k: "builtin",
      what: `bpf.${name}`,
      call: (args, call) => {
        if (!allowed(fn, row.id, name, node)) return ERROR;
        fn.mark(call);
        return callHelper(fn, row, args, call, helperTypeOf(handle), attachTypeOf(handle));
      },
    };
  }
  const kfunc = kfuncBuiltin(fn, name, node);
  if (kfunc !== undefined) return kfunc;
  return fn.report("BPF3002", node, {
    name,
    hint: hint(name, [...Object.keys(SHORT), ...OTHER_NAMES, ...helperNames(), ...kfuncNames()]),
  });
}

function allowed(fn: Fn, id: number, name: string, node: Ast): boolean {
  const row = helperById(id);
  const { handle } = fn.program;
  if (row === undefined || helperAllowed(row, helperTypeOf(handle), attachTypeOf(handle))) return true;
  const where = row.progs
    .map((p) => p.toLowerCase())
    .slice(0, 6)
    .join(", ");
  fn.report("BPF3003", node, {
    name,
    progType: handle.type,
    where: `${where}${row.progs.length > 6 ? ", …" : ""} programs`,
  });
  return false;
}

function comm(fn: Fn): StringVal {
  return {
    k: "string",
    what: "the name of the current task",
    length: 16,
    // Linux 6.0 to 6.2 and their long-term releases leave old bytes behind the NUL, so what was there before counts.
    write: (dst, n) =>
      fn.b.helper(BPF_FUNC.get_current_comm, [dst, n], { clobbers: "none", mem: [{ arg: 0, mode: "inout", size: n }] }),
  };
}

/** The current task: a trusted pointer where the kernel gives one (5.11), else an address to read through. */
function task(fn: Fn, node: Ast): Val {
  const { kernel } = fn.module;
  if (kernel === undefined) return fn.report("BPF4002", node);
  const struct = kernel.findStruct("task_struct");
  if (struct === undefined) return fn.report("BPF4001", node, { name: "task_struct", hint: "" });
  const { handle } = fn.program;
  const row = helperById(BPF_FUNC.get_current_task_btf);
  const trusted =
    row !== undefined &&
    helperAllowed(row, helperTypeOf(handle), attachTypeOf(handle)) &&
    kernel.hasHelper("get_current_task_btf");
  const id = trusted ? BPF_FUNC.get_current_task_btf : BPF_FUNC.get_current_task;
  if (!allowed(fn, id, "task", node)) return ERROR;
  const v = fn.b.helper(id, [], trusted ? { ...PURE, space: "btf" } : PURE);
  return { k: "scalar", type: { k: "ptr", to: struct, space: "kernel", trust: trusted ? "trusted" : "probe" }, v };
}

/** The address in `node`, and whose memory it is in. */
function addressIn(fn: Fn, node: Ast): { v: Inst; space: PointerSpace } | undefined {
  const val = fn.value(node);
  if (val.k === "error") return undefined;
  if (val.k === "scalar") return { v: val.v, space: val.type.k === "ptr" ? val.type.space : memoryOf(fn) };
  if (val.k === "int") return { v: fn.b.int(val.value), space: memoryOf(fn) };
  fn.scalar(val, node, "an address");
  return undefined;
}

function text(fn: Fn, said: "user" | "kernel" | undefined, args: readonly Ast[], node: Ast): Val {
  const [address, limitNode] = args;
  if (address === undefined) return ERROR;
  let limit: number | undefined;
  if (limitNode !== undefined) {
    const l = fn.value(limitNode);
    if (l.k !== "int" || l.value < 1n || l.value > 4096n) {
      return l.k === "error"
        ? ERROR
        : fn.report("BPF2006", limitNode, {
            expected: "a length from 1 to 4096 known at compile time",
            found: describe(l),
          });
    }
    limit = Number(l.value);
  }
  const val = fn.value(address);
  // A field that is text already: `bpf.str(task.comm)`.
  if (val.k === "string" || (val.k === "place" && val.type.k === "char")) return val;
  if (val.k === "error") return ERROR;
  const at =
    val.k === "scalar"
      ? { v: val.v, space: val.type.k === "ptr" ? val.type.space : memoryOf(fn) }
      : addressIn(fn, address);
  if (at === undefined) return ERROR;
  const space = said ?? (at.space === "unknown" ? undefined : at.space);
  if (space === undefined) return fn.report("BPF3006", address);
  lintSpace(fn, at.space, space, address, "`bpf.str(p)` reads it where it is");
  return stringAt(fn, space, () => at.v, limit ?? 64, node, limit);
}

function read(fn: Fn, space: "user" | "kernel", args: readonly Ast[]): Val {
  const [schemaNode, addressNode] = args;
  if (schemaNode === undefined || addressNode === undefined) return ERROR;
  const schema = fn.expr(schemaNode);
  if (schema.k !== "handle" || !isSchema(schema.value)) {
    return schema.k === "error"
      ? ERROR
      : fn.report("BPF2006", schemaNode, { expected: "a schema", found: describe(schema) });
  }
  const at = addressIn(fn, addressNode);
  const type = fromSchema(schema.value);
  if (at === undefined) return ERROR;
  lintSpace(fn, at.space, space, addressNode, `use \`bpf.${at.space}Read\``);
  if (isScalar(type) && !(type.k === "int" && type.bigEndian === true)) return readMemory(fn, space, at.v, type);
  return fn.settle(copyOf(fn, space, at.v, type), addressNode);
}

/** `bpf.at(Header, p)`: memory behind a pointer that the kernel gave, as a struct in place. */
function viewAt(fn: Fn, args: readonly Ast[]): Val {
  const schema = fn.expr(args[0]!);
  if (schema.k !== "handle" || !isSchema(schema.value)) {
    return schema.k === "error"
      ? ERROR
      : fn.report("BPF2006", args[0]!, { expected: "a schema", found: describe(schema) });
  }
  const v = fn.value(args[1]!);
  if (v.k === "error") return ERROR;
  if (v.k !== "scalar" || v.type.k !== "ptr")
    return fn.report("BPF2006", args[1]!, {
      expected: "a pointer that a helper or kernel function gave",
      found: describe(v),
    });
  const inner: PlaceVal = { k: "place", type: fromSchema(schema.value), base: v.v, off: 0, space: "mem" };
  return v.type.nullable === undefined ? inner : { k: "opt", ptr: v.v, inner, what: v.type.nullable };
}

function stackId(fn: Fn, args: readonly Ast[], flags: number): Val {
  const [node] = args;
  if (node === undefined) return ERROR;
  const map = fn.expr(node);
  if (map.k !== "handle" || !isMap(map.value) || map.value.type !== "stack_trace") {
    return map.k === "error"
      ? ERROR
      : fn.report("BPF2006", node, { expected: "a stackTrace() map", found: describe(map) });
  }
  const name = fn.module.mapName(map.value, map.name);
  return {
    k: "scalar",
    type: S64,
    v: fn.b.helper(BPF_FUNC.get_stackid, [fn.ctx, fn.b.map(name), flags], { clobbers: "none" }),
  };
}

/** Argument of a probed function, by the calling convention. */
function functionArg(fn: Fn, args: readonly Ast[], node: Ast): Val {
  const index = fn.value(args[0]!);
  if (index.k === "error") return ERROR;
  const { handle } = fn.program;
  if (handle.type === "tracing" && handle.attach.how === "trace") {
    const known = fn.module.kernel?.functionArgs(handle.attach.target);
    const arg = index.k === "int" ? known?.[Number(index.value)] : undefined;
    if (arg === undefined || index.k !== "int")
      return fn.report("BPF2006", args[0]!, {
        expected: `an argument index below ${known?.length ?? 0}`,
        found: describe(index),
      });
    return btfArg(fn, arg.type, Number(index.value));
  }
  if (handle.type !== "kprobe")
    return fn.report("BPF3003", node, {
      name: "arg",
      progType: handle.type,
      where: "kprobe, uprobe and fentry programs",
    });
  const row = PT_REGS[fn.module.arch];
  const syscall = handle.attach.how === "ksyscall";
  const names: readonly string[] = syscall ? row.syscallArgs : row.args;
  const regs: Readonly<Record<string, number>> = row.regs;
  const name = index.k === "int" ? names[Number(index.value)] : undefined;
  const off = name === undefined ? undefined : regs[name];
  if (off === undefined)
    return fn.report("BPF2006", args[0]!, {
      expected: `an index from 0 to ${names.length - 1} known at compile time`,
      found: describe(index),
    });
  return register(fn, off);
}

/** A register: signed or unsigned as it is used. */
function register(fn: Fn, off: number): Val {
  const v = fn.b.load(fn.ctx, { size: 8, off, invariant: true });
  return { k: "scalar", type: { k: "int", bits: 64, sign: new Sign() }, v };
}

/** Whose memory a plain number is an address of: a probe in user space sees the user's. */
function memoryOf(fn: Fn): PointerSpace {
  const { how } = fn.program.handle.attach;
  return how === "uprobe" || how === "usdt" ? "user" : "unknown";
}

function functionReturn(fn: Fn, node: Ast): Val {
  const { handle } = fn.program;
  const { attach } = handle;
  if (handle.type === "tracing" && attach.how === "trace" && (attach.at === "fexit" || attach.at === "fmod_ret")) {
    const proto = fn.module.kernel?.prototype(attach.target);
    if (proto === undefined) return fn.report("BPF4001", node, { name: attach.target, hint: "" });
    return btfArg(fn, proto.type, proto.params.length);
  }
  const returns = "ret" in attach && attach.ret;
  if (handle.type !== "kprobe" || (!returns && attach.how !== "kprobe_multi")) {
    return fn.report("BPF3003", node, {
      name: "ret",
      progType: handle.section.split("/")[0] ?? handle.type,
      where: "kretprobe, uretprobe and fexit programs",
    });
  }
  const row = PT_REGS[fn.module.arch];
  const regs: Readonly<Record<string, number>> = row.regs;
  return register(fn, regs[row.ret] ?? 0);
}
