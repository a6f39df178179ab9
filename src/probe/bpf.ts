/** `bpf`, the second parameter of a program body: what the program may ask of the kernel. */
import type { CString, KernelStruct, Loose, Pointer } from "./kernel-types.ts";
import type { HelperFunctions, HelpersOf } from "./helper-types.generated.ts";
import type { KfuncFunctions, KfuncsOf } from "./kfunc-types.generated.ts";
import type { StackTrace } from "./map-types.ts";
import type { ProgramType } from "./program-types.ts";
import type { Body, KernelManaged, Schema } from "./schema-types.ts";

/** An address: a kernel pointer, text, or a number. */
export type Address = Pointer | CString | number | Loose;

/** Short names that every program type has. */
export interface CommonNames {
  /** Process id (thread group id) of the current task. `bpf_get_current_pid_tgid`, high half. */
  pid(): number;
  /** Thread id of the current task. */
  tid(): number;
  /** Real user id of the current task. */
  uid(): number;
  /** Real group id of the current task. */
  gid(): number;
  /** Name of the current task, at most 15 bytes. */
  comm(): string;
  /** Nanoseconds since boot, without the time asleep. `bpf_ktime_get_ns`. */
  nsecs(): number;
  /** Number of the CPU this runs on. */
  cpu(): number;
  /** NUMA node of that CPU. */
  numaNode(): number;
  /** The current task: `bpf.task().real_parent.tgid`. */
  task(): KernelStruct<"task_struct">;
  /** A pseudo-random 32-bit number. */
  random(): number;
  /** Jiffies since boot. Kernel 5.5+. */
  jiffies(): number;
  /** Id of the current task's cgroup (version 2). Kernel 4.18+. */
  cgroupId(): number;
  /** Text at an address whose memory is certain (a `char *` argument of a system call, a field of a kernel struct). */
  str(address: Address, limit?: number): string;
  /** Text in user memory. Kernel 5.5+. */
  userStr(address: Address, limit?: number): string;
  /** Text in kernel memory. Kernel 5.5+. */
  kernelStr(address: Address, limit?: number): string;
  /** A value in user memory. Kernel 5.5+. */
  userRead<S extends Schema>(schema: S, address: Address): Body<S>;
  /** A value in kernel memory. Kernel 5.5+. */
  kernelRead<S extends Schema>(schema: S, address: Address): Body<S>;
  /** Whether the running kernel has this field (`bpf.exists(task.field)`) or type (`bpf.exists("struct name")`). */
  exists(fieldOrType: unknown): boolean;
  /** Size of a kernel type in the running kernel, in bytes: `bpf.sizeOf("struct task_struct")`. */
  sizeOf(type: string): number;
  /** The running kernel's value of an enumerator: `bpf.enumValue("pid_type", "PIDTYPE_TGID")`. */
  enumValue(type: string, member: string): number;
  /** An address as a pointer to a kernel struct, read with `probe_read_kernel`: `bpf.cast(p, "sk_buff").len`. */
  cast<const N extends string>(address: Address, struct: N): KernelStruct<N>;
  /** Every process: `for (const t of bpf.tasks())`. Kernel 6.7+. */
  tasks(): Iterable<KernelStruct<"task_struct">>;
  /** Every thread, or those of the process of `task`: `for (const t of bpf.threads())`. Kernel 6.7+. */
  threads(task?: KernelStruct<"task_struct">): Iterable<KernelStruct<"task_struct">>;
  /** The memory areas of a task, from `address` on: `for (const v of bpf.vmas(bpf.task()))`. Kernel 6.7+. */
  vmas(task: KernelStruct<"task_struct">, address?: number | bigint): Iterable<KernelStruct<"vm_area_struct">>;
  /**
   * Cgroups around `start`, as their `cgroup_subsys_state`: `c.cgroup.kn.id`. Kernel 6.7+.
   * @param order default "descendants": parents before their children
   */
  cgroups(
    start: KernelStruct<"cgroup" | "cgroup_subsys_state">,
    order?: CgroupOrder,
  ): Iterable<KernelStruct<"cgroup_subsys_state">>;
  /** Tasks of a cgroup. Only in lsm programs and in iterators that may sleep. Kernel 6.7+. */
  cgroupTasks(
    cgroup: KernelStruct<"cgroup" | "cgroup_subsys_state">,
    which?: "threads" | "processes",
  ): Iterable<KernelStruct<"task_struct">>;
  /** Numbers of the bits that are set in `words` 64-bit words of kernel memory. Kernel 6.11+. */
  bits(address: Address | readonly number[], words: number): Iterable<number>;
  /** Every slab cache. Only in programs that may sleep. Kernel 6.13+. */
  kmemCaches(): Iterable<KernelStruct<"kmem_cache">>;
  /** Every DMA buffer. Only in programs that may sleep. Kernel 6.16+. */
  dmabufs(): Iterable<KernelStruct<"dma_buf">>;
  /**
   * Adds to an integer of 32 or 64 bits in memory, atomically; gives the value before:
   * `bpf.atomicAdd(entry.packets, 1)`. What it gave needs kernel 5.12+.
   */
  atomicAdd(place: number, by: number | bigint): number;
  /** {@link CommonNames.atomicAdd} of the negative. */
  atomicSub(place: number, by: number | bigint): number;
  /** `place &= mask`, atomically; gives the value before. Kernel 5.12+. */
  atomicAnd(place: number, mask: number | bigint): number;
  /** `place |= mask`, atomically; gives the value before. Kernel 5.12+. */
  atomicOr(place: number, mask: number | bigint): number;
  /** `place ^= mask`, atomically; gives the value before. Kernel 5.12+. */
  atomicXor(place: number, mask: number | bigint): number;
  /** Stores `value` and gives the value before, in one step. Kernel 5.12+. */
  atomicExchange(place: number, value: number | bigint): number;
  /** Stores `value` where `expected` is; gives the value before. Kernel 5.12+. */
  atomicCompareExchange(place: number, expected: number | bigint, value: number | bigint): number;
  /**
   * Memory behind a pointer that a helper or kernel function gave, as a `schema` in place:
   * `const h = bpf.at(Header, bpf.dynptrData(d, 0, Header.size)); if (h) …`.
   */
  at<S extends Schema>(schema: S, pointer: Address | undefined): Body<S> | undefined;
  /**
   * Runs `body` while it holds a spin lock of a map value: `bpf.locked(entry.lock, () => { entry.n += 1; })`. Under the
   * lock nothing may be called. Not in programs that trace. Kernel 5.1+.
   */
  locked<T>(lock: KernelManaged, body: () => T): T;
  /** A line in the kernel's trace pipe: `bpf.printk("pid %d", pid)` or a template string. */
  printk(format: string, ...args: readonly (number | bigint | boolean | string | Pointer)[]): void;
}

/** Order of cgroups: it and those below, parents first or last; it and those above. */
export type CgroupOrder = "descendants" | "descendants-last" | "ancestors";

/** Short names of program types that write text for who reads them. */
export interface SeqNames {
  /** Text for who reads the iterator: `bpf.seqPrint("%d\n", pid)` or a template string. 0, or a negative errno. Kernel 5.9+. */
  seqPrint(format: string, ...args: readonly (number | bigint | boolean | string | Pointer)[]): number;
}

/** Short names of program types that may look at stacks. */
export interface StackNames {
  /** Id in `stacks` of this kernel stack, negative when it could not be walked. */
  kernelStack(stacks: StackTrace): number;
  /** Id in `stacks` of the current task's user stack, negative when it could not be walked. */
  userStack(stacks: StackTrace): number;
}

/** Short names of program types that may signal tasks. */
export interface SignalNames {
  /** Sends a signal to the current process; 0, or a negative errno. Kernel 5.3+. */
  signal(signal: number): number;
}

/** Short names of programs on functions: kprobes, uprobes, fentry and fexit. */
export interface FunctionNames {
  /** Argument `index` (from 0) of the probed function, by the calling convention. */
  arg(index: number): number;
  /** Its return value (kretprobe, uretprobe, fexit). */
  ret(): number;
  /** Address of the probed function. Kernel 5.15+. */
  funcAddress(): number;
}

/** `Names` when programs of type `P` have the helper `H`. */
type Having<P extends ProgramType, H extends string, Names> = H extends HelpersOf[P] ? Names : never;

type NamesFor<P extends ProgramType> =
  | keyof CommonNames
  | HelpersOf[P]
  | KfuncsOf[P]
  | Having<P, "getStackid", keyof StackNames>
  | Having<P, "sendSignal", keyof SignalNames>
  | Having<P, "seqPrintf", keyof SeqNames>
  | Having<P, "getFuncIp", keyof FunctionNames>;

interface AllNames
  extends CommonNames, StackNames, SignalNames, SeqNames, FunctionNames, HelperFunctions, KfuncFunctions {}
type NameTable = { [T in ProgramType]: Record<NamesFor<T>, true> };

/**
 * What programs of type `P` may call. A helper that the type lacks is a type error. A subroutine
 * says the types it is good for: `(bpf: Bpf<"tracepoint" | "kprobe">) => …` has what both have.
 */
export type Bpf<P extends ProgramType> = Pick<AllNames, keyof NameTable[P] & keyof AllNames>;
