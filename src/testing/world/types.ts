/** What the parts of a test's world say to each other, and to `simulate()`. */
import type { Btf } from "../../btf/btf.ts";
import type { TracepointFormat } from "../../compiler/front/targets.ts";

/** A kernel as its programs see it: types, and layouts of its trace events. */
export interface KernelTypes {
  /** "6.1", "6.12", "6.18", or what the caller named its own. */
  readonly name: string;
  /** `uname -r` of the kernel they are of: "6.1.0-56-cloud-amd64". */
  readonly release: string;
  readonly btf: Btf;
  /** Record of "category:name" ("syscalls:sys_enter_execve"); undefined when this kernel has no such event. */
  readonly tracepointFormat: (name: string) => TracepointFormat | undefined;
  /** Every event as "category:name", sorted. */
  readonly tracepointNames: () => readonly string[];
}

/** Which half of the address space an object lies in. */
export type Space = "kernel" | "user";

/**
 * Where a world puts what pointers point to. Addresses look like the kernel's (0xffff8880…) and
 * like a process's (0x7f…); the VM's implementation keeps them in its own memory.
 */
export interface WorldMemory {
  /** `size` zero bytes; the address is a multiple of 16. `name` is what faults call them. Programs store into them only when `writable`. */
  alloc(size: number, space: Space, name: string, writable?: boolean): bigint;
  /** Gives them back. */
  free(address: bigint): void;
  /** A copy; undefined when not all of them are memory. */
  read(address: bigint, size: number): Uint8Array | undefined;
  /** @throws ArgumentError when not all of them are memory. */
  write(address: bigint, bytes: Uint8Array): void;
}

/** A kernel object in the world's memory. */
export interface KernelObject {
  readonly address: bigint;
  /** "struct task_struct", "unsigned long", … */
  readonly type: string;
  /** Type id in the kernel's BTF. */
  readonly typeId: number;
  readonly size: number;
  /** The value at `path` ("mm.exe_file.f_inode.i_ino"): pointers are followed. */
  get(path: string): unknown;
  /** Changes members; those not named stay. */
  set(fields: Fields): void;
}

/**
 * A value for a member: a number or an enumerator's name for integers, text for `char[]` and `char *`, bytes or a list for
 * arrays, an object for structs and for what a pointer points to (allocated), a `KernelObject`, an address or null for pointers.
 */
export type FieldValue = number | bigint | boolean | string | null | Uint8Array | KernelObject | Fields | FieldList;
/** Values by member name; anonymous structs and unions are looked through. */
export interface Fields {
  readonly [member: string]: FieldValue | undefined;
}
/** Elements of an array, from the first on. */
export interface FieldList extends ReadonlyArray<FieldValue> {}

/** The program that a context is for, as `ProgSpec` says it. */
export interface ContextTarget {
  /** BPF_PROG_TYPE_*. */
  readonly type: number;
  /** BPF_* attach type; 0 for none. */
  readonly expectedAttachType: number;
  /** "syscalls/sys_enter_execve", "sched_switch", "vfs_read", "task", "tcp_congestion_ops/init", … */
  readonly attachTo?: string | undefined;
  /** "tracepoint/syscalls/sys_enter_execve": says what `attachTo` cannot. */
  readonly section?: string | undefined;
}

/**
 * A context in the program's own terms: fields of `__sk_buff`, of a tracepoint's record, arguments of a function by name (or `args` by
 * position, and `ret`), registers. Bytes are taken as they are.
 */
export type ContextValue = Fields | Uint8Array;

/** A context and packet as the VM takes them. */
export interface MadeContext {
  readonly ctx: Uint8Array;
  /** The packet, from its Ethernet header on. */
  readonly data?: Uint8Array;
  /** The context is complete: the VM puts nothing but the packet's bounds into it. */
  readonly exact: boolean;
  /** What the kernel keeps beside them, by field: addresses that the context's pointers have. */
  readonly pointers: Readonly<Record<string, bigint>>;
  /** How many of the context's words are arguments of the traced function, where it is one; what it returned comes behind them. */
  readonly args?: number;
  /** The context afterwards, by field: `ctx` as the run left it. */
  read(ctx: Uint8Array): Readonly<Record<string, unknown>>;
  /** Gives back the memory that was allocated for it: text, packets, structs. */
  release(): void;
}
