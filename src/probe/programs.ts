/** Program declarations for tracing. All inert: they give a handle and attach nothing. */
import { ArgumentError } from "../core/errors.ts";
import type { Bpf } from "./bpf.ts";
import type {
  PerfEventContext,
  RawTracepointContext,
  SkBuffContext,
  SkMsgContext,
  SockAddrContext,
  SockContext,
  SockOpsContext,
  XdpContext,
} from "./contexts.ts";
import { oneOf, program, type ProgramOptions, type SleepableOptions, word } from "./declare.ts";
import type {
  FunctionContext,
  IterContext,
  IterName,
  Loose,
  LsmContext,
  LsmName,
  TpBtfContext,
  TpBtfName,
  TracepointContext,
  TracepointName,
} from "./kernel-types.ts";
import type { Attach, BinaryPlace, ProgramHandle, Verdict } from "./program-types.ts";
import type { Body, Schema, StructSchema } from "./schema-types.ts";
import { isSchema } from "./schema.ts";

/**
 * Runs at a kernel tracepoint; `ctx` has its arguments by name. Kernel 4.7+.
 *
 * @param target "category:name", such as "syscalls:sys_enter_execve"
 * @throws ArgumentError if `target` has another form.
 * @example
 * import { tracepoint } from "bpfkit";
 * export const onExec = tracepoint("syscalls:sys_enter_execve", (ctx, bpf) => {
 *   bpf.printk("%d runs %s", bpf.pid(), bpf.str(ctx.filename));
 * });
 */
export function tracepoint<const N extends TracepointName>(
  target: N,
  fn: (ctx: TracepointContext<N>, bpf: Bpf<"tracepoint">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"tracepoint", TracepointContext<N>> {
  const [, category, name] = /^([^\s:/]+)[:/]([^\s:/]+)$/.exec(target) ?? [];
  if (category === undefined || name === undefined) {
    throw new ArgumentError(
      "tracepoint(target)",
      `expected "category:name" such as "sched:sched_switch", got ${JSON.stringify(target)}`,
    );
  }
  return program("tracepoint", `tracepoint/${category}/${name}`, { how: "tracepoint", category, name }, fn, options, {
    tracepoint,
  });
}

/**
 * Runs at a tracepoint before its arguments are stored: `ctx.args` are the raw arguments. Kernel 4.17+.
 * @param name the tracepoint's name without category
 */
export function rawTracepoint(
  name: string,
  fn: (ctx: RawTracepointContext, bpf: Bpf<"raw_tracepoint">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"raw_tracepoint", RawTracepointContext> {
  word("rawTracepoint(name)", name);
  return program(
    "raw_tracepoint",
    `raw_tracepoint/${name}`,
    { how: "raw_tracepoint", name, writable: false },
    fn,
    options,
    { rawTracepoint },
  );
}

/** {@link rawTracepoint} on a tracepoint whose buffer may be written. Kernel 5.2+. */
export function rawTracepointWritable(
  name: string,
  fn: (ctx: RawTracepointContext, bpf: Bpf<"raw_tracepoint_writable">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"raw_tracepoint_writable", RawTracepointContext> {
  word("rawTracepointWritable(name)", name);
  const attach = { how: "raw_tracepoint", name, writable: true } as const;
  return program("raw_tracepoint_writable", `raw_tracepoint.w/${name}`, attach, fn, options, { rawTracepointWritable });
}

/**
 * Runs at a tracepoint with typed kernel pointers as arguments: field chains are direct loads. Kernel 5.5+.
 * @param name the tracepoint's name without category
 * @example
 * import { histogram, tpBtf } from "bpfkit";
 * export const onSwitch = tpBtf("sched_switch", (ctx, bpf) => { bpf.printk("%d", ctx.next.pid); });
 */
export function tpBtf<const N extends TpBtfName>(
  name: N,
  fn: (ctx: TpBtfContext<N>, bpf: Bpf<"tracing">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"tracing", TpBtfContext<N>> {
  word("tpBtf(name)", name);
  return program(
    "tracing",
    `tp_btf/${name}`,
    { how: "trace", at: "tp_btf", target: name, module: undefined },
    fn,
    options,
    { tpBtf },
  );
}

/** Options of programs on kernel functions. */
export interface FunctionOptions extends SleepableOptions {
  /** The kernel module that has the function. */
  readonly module?: string;
}

/** Runs when a kernel function is entered; `ctx` has its arguments by name. Kernel 5.5+. */
export function fentry<const N extends string>(
  target: N,
  fn: (ctx: FunctionContext<N>, bpf: Bpf<"tracing">) => Verdict,
  options: FunctionOptions = {},
): ProgramHandle<"tracing", FunctionContext<N>> {
  return program("tracing", traceSection("fentry", target, options), trace("fentry", target, options), fn, options, {
    fentry,
  });
}

/** Runs when a kernel function returns: `bpf.ret()` is its result, `ctx` its arguments by name. Kernel 5.5+. */
export function fexit<const N extends string>(
  target: N,
  fn: (ctx: FunctionContext<N>, bpf: Bpf<"tracing">) => Verdict,
  options: FunctionOptions = {},
): ProgramHandle<"tracing", FunctionContext<N>> {
  return program("tracing", traceSection("fexit", target, options), trace("fexit", target, options), fn, options, {
    fexit,
  });
}

/** Runs before a function that allows error injection, or a security hook; a non-zero result replaces the call. Kernel 5.7+. */
export function fmodRet<const N extends string>(
  target: N,
  fn: (ctx: FunctionContext<N>, bpf: Bpf<"tracing">) => Verdict,
  options: FunctionOptions = {},
): ProgramHandle<"tracing", FunctionContext<N>> {
  return program(
    "tracing",
    traceSection("fmod_ret", target, options),
    trace("fmod_ret", target, options),
    fn,
    options,
    { fmodRet },
  );
}

function traceSection(at: "fentry" | "fexit" | "fmod_ret", target: string, options: FunctionOptions): string {
  word(`${at}(target)`, target);
  return `${at}${options.sleepable === true ? ".s" : ""}/${target}`;
}
function trace(at: "fentry" | "fexit" | "fmod_ret", target: string, options: FunctionOptions): Attach {
  return { how: "trace", at, target, module: options.module };
}

/** Options of {@link kprobe}. */
export interface KprobeOptions extends ProgramOptions {
  /** Bytes into the function. */
  readonly plus?: number;
}
/** Runs when a kernel function is entered, by a breakpoint: `bpf.arg(0)`. Kernel 4.1+. */
export function kprobe(
  target: string,
  fn: (ctx: Loose, bpf: Bpf<"kprobe">) => Verdict,
  options: KprobeOptions = {},
): ProgramHandle<"kprobe", Loose> {
  word("kprobe(target)", target);
  const plus = options.plus ?? 0;
  if (!Number.isInteger(plus) || plus < 0)
    throw new ArgumentError("kprobe(plus)", `expected a whole number of bytes, got ${String(plus)}`);
  const section = `kprobe/${target}${plus === 0 ? "" : `+${plus}`}`;
  return program("kprobe", section, { how: "kprobe", target, plus, ret: false }, fn, options, { kprobe });
}
/** Runs when a kernel function returns: `bpf.ret()`. Kernel 4.1+. */
export function kretprobe(
  target: string,
  fn: (ctx: Loose, bpf: Bpf<"kprobe">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"kprobe", Loose> {
  word("kretprobe(target)", target);
  return program("kprobe", `kretprobe/${target}`, { how: "kprobe", target, plus: 0, ret: true }, fn, options, {
    kretprobe,
  });
}
/** Options of {@link kprobeMulti}. */
export interface KprobeMultiOptions extends ProgramOptions {
  /** When to run: on entry (default), on return, or on both with one program (kernel 6.10+). */
  readonly at?: "entry" | "return" | "session";
}
/** {@link kprobe} on many functions at once, by names or patterns with `*` and `?`. Kernel 5.18+. */
export function kprobeMulti(
  patterns: string | readonly string[],
  fn: (ctx: Loose, bpf: Bpf<"kprobe">) => Verdict,
  options: KprobeMultiOptions = {},
): ProgramHandle<"kprobe", Loose> {
  const list = typeof patterns === "string" ? [patterns] : [...patterns];
  if (list.length === 0) throw new ArgumentError("kprobeMulti(patterns)", "expected at least one name or pattern");
  for (const pattern of list) word("kprobeMulti(patterns)", pattern);
  const at = oneOf("kprobeMulti(at)", options.at ?? "entry", ["entry", "return", "session"]);
  const prefix = { entry: "kprobe.multi", return: "kretprobe.multi", session: "kprobe.session" }[at];
  const attach = { how: "kprobe_multi", patterns: list, ret: at === "return", session: at === "session" } as const;
  return program("kprobe", list.length === 1 ? `${prefix}/${list[0]}` : prefix, attach, fn, options, { kprobeMulti });
}
/** Runs when a system call is entered, whatever this architecture calls its function: `ksyscall("execve", …)`. */
export function ksyscall(
  name: string,
  fn: (ctx: Loose, bpf: Bpf<"kprobe">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"kprobe", Loose> {
  word("ksyscall(name)", name);
  return program("kprobe", `ksyscall/${name}`, { how: "ksyscall", name, ret: false }, fn, options, { ksyscall });
}
/** Runs when a system call returns. See {@link ksyscall}. */
export function kretsyscall(
  name: string,
  fn: (ctx: Loose, bpf: Bpf<"kprobe">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"kprobe", Loose> {
  word("kretsyscall(name)", name);
  return program("kprobe", `kretsyscall/${name}`, { how: "ksyscall", name, ret: true }, fn, options, { kretsyscall });
}

function place(argument: string, at: BinaryPlace): string {
  word(`${argument}(binary)`, at?.binary);
  const ways = (["symbol", "address", "offset"] as const).filter((k) => at[k] !== undefined);
  if (ways.length !== 1) {
    throw new ArgumentError(
      argument,
      `expected exactly one of symbol, address and offset, got ${ways.length === 0 ? "none" : ways.join(" and ")}`,
    );
  }
  const where = at.symbol ?? `0x${(at.address ?? at.offset ?? 0).toString(16)}`;
  return `${at.binary}:${where}${at.plus === undefined ? "" : `+${at.plus}`}`;
}
/**
 * Runs when a place in a user program is reached. Kernel 4.1+.
 * @example
 * import { uprobe } from "bpfkit";
 * export const onMalloc = uprobe({ binary: "libc.so.6", symbol: "malloc" }, (ctx, bpf) => { bpf.printk("%d", bpf.arg(0)); });
 */
export function uprobe(
  at: BinaryPlace,
  fn: (ctx: Loose, bpf: Bpf<"kprobe">) => Verdict,
  options: SleepableOptions = {},
): ProgramHandle<"kprobe", Loose> {
  const section = `uprobe${options.sleepable === true ? ".s" : ""}/${place("uprobe", at)}`;
  return program("kprobe", section, { ...at, how: "uprobe", ret: false }, fn, options, { uprobe });
}
/** Runs when a function of a user program returns: `bpf.ret()`. Kernel 4.1+. See {@link uprobe}. */
export function uretprobe(
  at: BinaryPlace,
  fn: (ctx: Loose, bpf: Bpf<"kprobe">) => Verdict,
  options: SleepableOptions = {},
): ProgramHandle<"kprobe", Loose> {
  const section = `uretprobe${options.sleepable === true ? ".s" : ""}/${place("uretprobe", at)}`;
  return program("kprobe", section, { ...at, how: "uprobe", ret: true }, fn, options, { uretprobe });
}
/** A static probe of a user program. */
export interface UsdtPlace {
  readonly binary: string;
  readonly provider: string;
  readonly name: string;
  readonly pid?: number;
}
/** Runs at a static probe (USDT) of a user program. */
export function usdt(
  at: UsdtPlace,
  fn: (ctx: Loose, bpf: Bpf<"kprobe">) => Verdict,
  options: SleepableOptions = {},
): ProgramHandle<"kprobe", Loose> {
  for (const part of ["binary", "provider", "name"] as const) word(`usdt(${part})`, at?.[part]);
  const section = `usdt${options.sleepable === true ? ".s" : ""}/${at.binary}:${at.provider}:${at.name}`;
  return program("kprobe", section, { ...at, how: "usdt" }, fn, options, { usdt });
}

const PERF_TYPE_SOFTWARE = 1;
const PERF_COUNT_SW_CPU_CLOCK = 0;

/** A perf event as perf_event_open(2) has it; exactly one of `period` (events) and `hz` (runs per second). */
export interface PerfEventPlace {
  readonly type: number;
  readonly config: number | bigint;
  readonly period?: number | bigint;
  readonly hz?: number;
  readonly cpu?: number;
  readonly pid?: number;
}
/** Runs each time a perf event overflows. Kernel 4.9+. */
export function perfEvent(
  event: PerfEventPlace,
  fn: (ctx: PerfEventContext, bpf: Bpf<"perf_event">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"perf_event", PerfEventContext> {
  if ((event.period === undefined) === (event.hz === undefined)) {
    throw new ArgumentError("perfEvent(event)", "expected exactly one of period and hz");
  }
  positive("perfEvent(period, hz)", event.period ?? event.hz);
  const { type, config, period, hz, cpu = -1, pid } = event;
  return program("perf_event", "perf_event", { how: "perf_event", type, config, period, hz, cpu, pid }, fn, options, {
    perfEvent,
  });
}
/**
 * Samples every CPU `hz` times a second. Kernel 4.9+.
 * @example
 * import { profile, stackTrace, hash, s32, u64 } from "bpfkit";
 * export const stacks = stackTrace();
 * export const counts = hash(s32, u64);
 * export const onSample = profile({ hz: 99 }, (ctx, bpf) => { counts.add(bpf.kernelStack(stacks), 1); });
 */
export function profile(
  rate: { readonly hz: number; readonly pid?: number },
  fn: (ctx: PerfEventContext, bpf: Bpf<"perf_event">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"perf_event", PerfEventContext> {
  positive("profile(hz)", rate?.hz);
  const attach = {
    how: "perf_event",
    type: PERF_TYPE_SOFTWARE,
    config: PERF_COUNT_SW_CPU_CLOCK,
    period: undefined,
    hz: rate.hz,
    cpu: -1,
    pid: rate.pid,
  } as const;
  return program("perf_event", "perf_event", attach, fn, options, { profile });
}
/** Runs every `ms` milliseconds, on one CPU. Kernel 4.9+. */
export function interval(
  every: { readonly ms: number },
  fn: (ctx: PerfEventContext, bpf: Bpf<"perf_event">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"perf_event", PerfEventContext> {
  positive("interval(ms)", every?.ms);
  const attach = {
    how: "perf_event",
    type: PERF_TYPE_SOFTWARE,
    config: PERF_COUNT_SW_CPU_CLOCK,
    period: Math.round(every.ms * 1e6),
    hz: undefined,
    cpu: 0,
    pid: undefined,
  } as const;
  return program("perf_event", "perf_event", attach, fn, options, { interval });
}
function positive(argument: string, value: unknown): void {
  if (!((typeof value === "number" && Number.isFinite(value)) || typeof value === "bigint") || value <= 0) {
    throw new ArgumentError(argument, `expected a positive number, got ${String(value)}`);
  }
}

/** Runs at a security hook, named without `bpf_lsm_`; 0 allows, a negative errno denies. Kernel 5.7+. */
export function lsm<const N extends LsmName>(
  hook: N,
  fn: (ctx: LsmContext<N>, bpf: Bpf<"lsm">) => Verdict,
  options: SleepableOptions = {},
): ProgramHandle<"lsm", LsmContext<N>> {
  word("lsm(hook)", hook);
  return program("lsm", `lsm${options.sleepable === true ? ".s" : ""}/${hook}`, { how: "lsm", hook }, fn, options, {
    lsm,
  });
}
/** {@link lsm} for the tasks of one cgroup, named at load. Kernel 6.0+. */
export function lsmCgroup<const N extends LsmName>(
  hook: N,
  fn: (ctx: LsmContext<N>, bpf: Bpf<"lsm">) => Verdict,
  options: ProgramOptions = {},
): ProgramHandle<"lsm", LsmContext<N>> {
  word("lsmCgroup(hook)", hook);
  return program("lsm", `lsm_cgroup/${hook}`, { how: "lsm", hook }, fn, options, { lsmCgroup });
}

/** Runs once per object of a kind ("task", "bpf_map", "tcp", …) when its iterator is read. Kernel 5.8+. */
export function iter<const N extends IterName>(
  target: N,
  fn: (ctx: IterContext<N>, bpf: Bpf<"tracing">) => Verdict,
  options: SleepableOptions = {},
): ProgramHandle<"tracing", IterContext<N>> {
  word("iter(target)", target);
  return program(
    "tracing",
    `iter${options.sleepable === true ? ".s" : ""}/${target}`,
    { how: "iter", target },
    fn,
    options,
    { iter },
  );
}

/** What a replaced function takes: integers and booleans, a struct for a pointer to one, or the C name of a context. */
export type ReplacedArgs = Readonly<Record<string, Schema | ContextName>>;
/** Contexts that a replaced function may take. */
export type ContextName = keyof ContextOf;
interface ContextOf {
  xdp_md: XdpContext;
  __sk_buff: SkBuffContext;
  bpf_sock: SockContext;
  bpf_sock_addr: SockAddrContext;
  bpf_sock_ops: SockOpsContext;
  sk_msg_md: SkMsgContext;
}
type ArgOf<T> = T extends keyof ContextOf
  ? ContextOf[T]
  : T extends StructSchema
    ? Body<T> | undefined
    : T extends Schema
      ? Body<T>
      : never;

/** The type of the programs that have functions with such arguments. */
type ProgramWith<A extends ReplacedArgs> = "xdp_md" extends A[keyof A]
  ? "xdp"
  : "__sk_buff" extends A[keyof A]
    ? "sched_cls"
    : "bpf_sock_addr" extends A[keyof A]
      ? "cgroup_sock_addr"
      : "bpf_sock_ops" extends A[keyof A]
        ? "sock_ops"
        : "sk_msg_md" extends A[keyof A]
          ? "sk_msg"
          : "bpf_sock" extends A[keyof A]
            ? "cgroup_sock"
            : "ext";

/** Options of {@link freplace}. */
export interface ReplaceOptions<A extends ReplacedArgs> extends ProgramOptions {
  /** The function's arguments, in order; default: none. */
  readonly args?: A;
  /** What it returns; default `s32`, C's int. */
  readonly returns?: Schema;
}
/**
 * Replaces a global function of a loaded program, named at load; `ctx` has its arguments by name. Kernel 5.6+.
 * @example
 * import { freplace, u32 } from "bpfkit";
 * export const allow = freplace("is_allowed", (ctx) => (ctx.port === 22 ? 1 : 0), { args: { skb: "__sk_buff", port: u32 } });
 */
export function freplace<const A extends ReplacedArgs = Readonly<Record<string, never>>>(
  target: string,
  fn: (ctx: { readonly [K in keyof A]: ArgOf<A[K]> }, bpf: Bpf<ProgramWith<A>>) => Verdict,
  options: ReplaceOptions<A> = {},
): ProgramHandle<"ext", { readonly [K in keyof A]: ArgOf<A[K]> }> {
  word("freplace(target)", target);
  const args = options.args ?? {};
  const names = Object.keys(args);
  if (names.length > 5)
    throw new ArgumentError(
      "freplace(args)",
      `expected at most 5 arguments, as a BPF function has, got ${names.length}`,
    );
  for (const [name, arg] of Object.entries<Schema | string>(args)) {
    if (typeof arg !== "string" && !isSchema(arg))
      throw new ArgumentError(`freplace(args.${name})`, "expected a schema, or the C name of a context such as xdp_md");
  }
  const attach = {
    how: "freplace",
    function: target,
    args: Object.freeze({ ...args }),
    returns: options.returns,
  } as const;
  return program("ext", `freplace/${target}`, attach, fn, options, { freplace });
}

/** Options of {@link syscallProg}. */
export interface SyscallOptions<C extends StructSchema> extends ProgramOptions {
  /** What user space hands over and gets back (`testRun({ ctx })`): `ctx` has its fields, which may be written. */
  readonly context?: C;
}
/**
 * Runs when user space says so (BPF_PROG_RUN) and may call bpf(2) itself. Kernel 5.14+.
 * @example
 * import { struct, syscallProg, u32 } from "bpfkit";
 * const Numbers = struct({ a: u32, b: u32, sum: u32 });
 * export const add = syscallProg((ctx) => { ctx.sum = ctx.a + ctx.b; }, { context: Numbers });
 */
export function syscallProg<C extends StructSchema = StructSchema<Loose, Loose>>(
  fn: (ctx: Body<C>, bpf: Bpf<"syscall">) => Verdict,
  options: SyscallOptions<C> = {},
): ProgramHandle<"syscall", Body<C>> {
  const { context } = options;
  if (context !== undefined && (!isSchema(context) || context.kind !== "struct"))
    throw new ArgumentError("syscallProg(context)", "expected a struct({…})");
  const attach: Attach = context === undefined ? { how: "none" } : { how: "none", context };
  return program("syscall", "syscall", attach, fn, { ...options, sleepable: true }, { syscallProg });
}
