/** Program handles: what the compiler and the loader read of a declared program. */
import type { Handle } from "./handle.ts";
import type { Schema, StructSchema } from "./schema-types.ts";

/** Program types by their kernel names, `BPF_PROG_TYPE_*` in lower case. */
export type ProgramType =
  | "socket_filter"
  | "kprobe"
  | "sched_cls"
  | "sched_act"
  | "tracepoint"
  | "xdp"
  | "perf_event"
  | "cgroup_skb"
  | "cgroup_sock"
  | "lwt_in"
  | "lwt_out"
  | "lwt_xmit"
  | "sock_ops"
  | "sk_skb"
  | "cgroup_device"
  | "sk_msg"
  | "raw_tracepoint"
  | "cgroup_sock_addr"
  | "lwt_seg6local"
  | "lirc_mode2"
  | "sk_reuseport"
  | "flow_dissector"
  | "cgroup_sysctl"
  | "raw_tracepoint_writable"
  | "cgroup_sockopt"
  | "tracing"
  | "struct_ops"
  | "ext"
  | "lsm"
  | "sk_lookup"
  | "syscall"
  | "netfilter";

/** A place in a binary: exactly one of `symbol`, `address` (virtual) and `offset` (in the file); `symbol` may add `plus` bytes. */
export interface BinaryPlace {
  /** Path, or a name to be found in PATH or among the shared libraries ("bash", "libc.so.6"). */
  readonly binary: string;
  readonly symbol?: string;
  readonly plus?: number;
  readonly address?: number | bigint;
  readonly offset?: number | bigint;
  /** Only in this process; default: all. */
  readonly pid?: number;
}

/** How a program is attached. */
export type Attach =
  | { readonly how: "tracepoint"; readonly category: string; readonly name: string }
  | { readonly how: "raw_tracepoint"; readonly name: string; readonly writable: boolean }
  | {
      readonly how: "trace";
      readonly at: "tp_btf" | "fentry" | "fexit" | "fmod_ret";
      readonly target: string;
      readonly module: string | undefined;
    }
  | { readonly how: "kprobe"; readonly target: string; readonly plus: number; readonly ret: boolean }
  | {
      readonly how: "kprobe_multi";
      readonly patterns: readonly string[];
      readonly ret: boolean;
      readonly session: boolean;
    }
  | { readonly how: "ksyscall"; readonly name: string; readonly ret: boolean }
  | ({ readonly how: "uprobe"; readonly ret: boolean } & BinaryPlace)
  | {
      readonly how: "usdt";
      readonly binary: string;
      readonly provider: string;
      readonly name: string;
      readonly pid?: number;
    }
  | PerfEventAttach
  | { readonly how: "iter"; readonly target: string }
  | { readonly how: "lsm"; readonly hook: string }
  | {
      readonly how: "freplace";
      readonly function: string;
      /** The arguments of the replaced function: a struct is a pointer to one, a string the context of that C name. */
      readonly args: Readonly<Record<string, Schema | string>>;
      readonly returns: Schema | undefined;
    }
  /** A function member of a kernel struct: see structOps. */
  | { readonly how: "struct_ops"; readonly struct: string; readonly member: string }
  | {
      readonly how: "netfilter";
      readonly family: "ipv4" | "ipv6";
      readonly hook: NetfilterHook;
      readonly priority: number;
      readonly defrag: boolean;
    }
  /** By hand, to an interface, cgroup, socket, … named at load. */
  | { readonly how: "target" }
  /** Never attached: run by PROG_TEST_RUN or a tail call. `context` is what user space hands a syscall program. */
  | { readonly how: "none"; readonly context?: StructSchema };

export type NetfilterHook = "prerouting" | "input" | "forward" | "output" | "postrouting";

/** A perf event: `type` and `config` as perf_event_open(2) has them. */
export interface PerfEventAttach {
  readonly how: "perf_event";
  readonly type: number;
  readonly config: number | bigint;
  /** Events between two runs of the program. */
  readonly period: number | bigint | undefined;
  /** Runs per second and CPU; instead of `period`. */
  readonly hz: number | undefined;
  /** -1: this event on every CPU; else on one CPU only. */
  readonly cpu: number;
  readonly pid: number | undefined;
}

/** What a program body returns; what it means depends on the program type. */
export type Verdict = number | boolean | void | undefined;

/** A declared program. `P` is its type, `C` the type of `ctx`. */
export interface ProgramHandle<P extends ProgramType = ProgramType, C = unknown> extends Handle {
  readonly kind: "program";
  readonly type: P;
  /** The SEC() name that libbpf would use, such as "tracepoint/syscalls/sys_enter_execve". */
  readonly section: string;
  readonly attach: Attach;
  readonly sleepable: boolean;
  readonly name: string | undefined;
  /** The body: compiled, never called. */
  readonly fn: (ctx: C, bpf: never) => Verdict;
}

/** A program of any type. */
export type AnyProgram = ProgramHandle<ProgramType, never>;
